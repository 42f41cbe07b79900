"""A PostgreSQL of our own for the tests that need one, an inventory over SQLite; signals as they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.inventory.reading import Inventory
from tests.support.exporter_values import inventory, node
from tests.support.postgres import cluster, database

__all__ = ["cluster", "database"]


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """The exporter's `main` blocks SIGHUP, which the processes of later tests would inherit."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def sqlite_inventory(tmp_path: Path) -> Inventory:
    """Nodes `a` and `b`, in a folder of its own, the store beside it."""
    made = inventory(node("a"), node("b"), store=f"sqlite:///{tmp_path / 'store.db'}")
    return replace(made, path=tmp_path / "inventory.yaml")
