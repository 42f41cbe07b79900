"""Certificates, keys and requests: read, recognised, checked, made. No node, no store."""
