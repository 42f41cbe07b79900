"""A PostgreSQL of our own for the tests that need one."""

from __future__ import annotations

from tests.support.postgres import cluster, database

__all__ = ["cluster", "database"]
