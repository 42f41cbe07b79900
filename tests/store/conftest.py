"""Both homes of a store, for one suite."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from renewctl.store.write import Stamp, Store
from tests.support.postgres import Database, cluster, database

__all__ = ["cluster", "database"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is to be: an absolute path, or an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/renewctl.db"
    made: Database = request.getfixturevalue("database")
    return made.url


@pytest.fixture
def store_url(url: str) -> str:
    """A store that is there, and empty."""
    Store.create(url)
    return url


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """An empty store's file."""
    path = tmp_path / "store" / "renewctl.db"
    Store.create(f"sqlite:///{path}")
    return path


@pytest.fixture
def stamp() -> Stamp:
    """Who writes in these tests."""
    return Stamp("tanaka@ops1", "ops1", "0.1.0", "d" * 64, "yearly renewal", "CHG-7")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach: pytest's own is closed to all but its user."""
    folder = Path(tempfile.mkdtemp(prefix="renewctl-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
