"""The store: events, documents and runs in SQLite or PostgreSQL, and who may change nodes while."""
