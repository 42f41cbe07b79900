"""A desk with its store in SQLite and keys in a folder, and one with both in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk, desk_in
from tests.support.postgres import Database, cluster, database

__all__ = ["cluster", "database"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def desk(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """Ready to adopt, on both kinds of store."""
    url = None
    if request.param == "postgresql":
        made: Database = request.getfixturevalue("database")
        url = made.url
    return desk_in(tmp_path, capsys, monkeypatch, url)


@pytest.fixture
def sqlite_desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Ready to adopt, where the kind of store does not matter."""
    return desk_in(tmp_path, capsys, monkeypatch)


@pytest.fixture
def proven(sqlite_desk: Desk) -> Desk:
    """Every node has the new pair."""
    sqlite_desk.to_proven()
    return sqlite_desk
