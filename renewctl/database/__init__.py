"""Databases: connections, schema, questions that change nothing, and what a driver's complaints mean."""
