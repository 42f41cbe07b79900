"""The tables of a store as they are today; how they came to be is told by `renewctl.store.migrations`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()
EVENTS = Table(
    "events", METADATA,
    Column("renewal", Text, primary_key=True), Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True), Column("at", Text, nullable=False),
    Column("kind", Text, nullable=False), Column("body", Text, nullable=False),
    Column("actor", Text, nullable=False), Column("authenticated", Text, nullable=False),
    Column("host", Text, nullable=False), Column("version", Text, nullable=False),
    Column("inventory_digest", Text, nullable=False), Column("reason", Text), Column("ticket", Text),
    Column("previous", Text, nullable=False), Column("hash", Text, nullable=False),
)  # fmt: skip
DOCUMENTS = Table(
    "documents", METADATA,
    Column("sha256", Text, primary_key=True), Column("body", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)  # fmt: skip
RUNS = Table(
    "runs", METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False), Column("token", Text, nullable=False),
    Column("renewal", Text, nullable=False), Column("holder", Text, nullable=False),
    Column("host", Text, nullable=False), Column("since", Text, nullable=False),
    Column("beat", Integer, nullable=False), Column("ended", Text),
)  # fmt: skip
META = Table("meta", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
KEYS = Table(
    "keys", METADATA,
    Column("fingerprint", Text, primary_key=True), Column("sealed", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)  # fmt: skip

IN_FILES = (EVENTS, DOCUMENTS, RUNS, META)
"""A store in a file has these; in PostgreSQL also `keys`."""
