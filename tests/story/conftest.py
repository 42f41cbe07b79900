"""One PostgreSQL a worker; a whole real year for each story, on both kinds of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Cluster, cluster
from tests.support.year import Year, real_year

__all__ = ["cluster"]


@pytest.fixture(params=["sqlite", "postgresql"])
def year(request: pytest.FixtureRequest, tmp_path: Path, cluster: Cluster) -> Iterator[Year]:
    """Four real NanoMDM processes with two devices each, 42 days before the end."""
    store = cluster.create_database().url if request.param == "postgresql" else None
    with real_year(tmp_path, cluster, store) as running:
        yield running
