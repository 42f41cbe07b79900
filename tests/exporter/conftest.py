"""A PostgreSQL of our own for the tests that need one; signals as they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.postgres import cluster, database

__all__ = ["cluster", "database"]


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """The exporter's `main` blocks SIGHUP, which the processes of later tests would inherit."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
