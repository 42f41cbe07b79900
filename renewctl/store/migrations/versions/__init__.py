"""Revisions: what is written here is history, and never changed."""
