"""Watches MDM nodes and publishes what it saw; changes nothing and can never open a key."""
