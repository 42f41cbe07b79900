"""Stores of earlier schemas as they were kept, and a later schema that there is not yet.

A kept store is in the middle of a roll-out: n1 proven, n2 unknown, n3 untouched, run 1 not ended.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from renewctl.database import sql_version
from renewctl.store import migrations
from tests.support.postgres import Cluster

FOLDER = Path(__file__).parents[1] / "store"
KEPT = {kind: FOLDER / "old_stores" / f"schema-1.{kind}.sql" for kind in ("sqlite", "postgresql")}
LATER = FOLDER / "later"


def kept_file(path: Path) -> str:
    """URL of a new file with the kept store of schema 1."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(KEPT["sqlite"].read_text())
    path.chmod(0o640)
    return f"sqlite:///{path}"


def kept_database(cluster: Cluster) -> str:
    """URL of a new database with the kept store of schema 1."""
    made = cluster.create_database()
    with made.connect() as connection:
        connection.execute(f"SET ROLE {made.owner}")
        connection.execute(f"GRANT ALL ON SCHEMA public TO {made.owner}")
        connection.execute(KEPT["postgresql"].read_text().encode())
    return made.url


def make_later(patch: pytest.MonkeyPatch) -> None:
    """From here on this process is a renewctl of schema 2."""
    patch.setattr(migrations, "VERSIONS", (*migrations.VERSIONS, LATER))
    patch.setattr(sql_version, "SCHEMA", 2)
