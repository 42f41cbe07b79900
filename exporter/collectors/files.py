"""Certificate files on this machine: which there are, what each holds, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.families import Family, seconds
from exporter.metrics import FILE_EXPIRY, FILE_FAILURE, FILE_READABLE
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Every file, bad ones among them; its last known date, whatever it is like now."""
    expiry, readable, failure = Family(FILE_EXPIRY), Family(FILE_READABLE), Family(FILE_FAILURE)
    for node in inventory.nodes:
        for file in snapshot.node(node.name).files:
            readable.add((node.name, file.path), file.reason is None)
            if file.not_after is not None:
                expiry.add((node.name, file.path, file.topic), seconds(file.not_after))
            if file.reason is not None:
                failure.add((node.name, file.path, file.reason), 1)
    yield from (expiry, readable, failure)
