"""The exporter itself."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.families import Family, seconds, single
from exporter.metrics import BUILD_INFO, LAST_ROUND
from exporter.snapshot import Snapshot
from renewctl import __version__
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Version, and how far the asking has come."""
    build = Family(BUILD_INFO)
    build.add((__version__,), 1)
    yield build
    looks = [snapshot.node(node.name).looked_at for node in inventory.nodes]
    done = [at for at in looks if at is not None]
    yield single(LAST_ROUND, seconds(min(done)) if done and len(done) == len(looks) else 0)
