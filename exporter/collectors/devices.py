"""Devices by node and topic, in cumulative windows of their last check-in."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.families import Family
from exporter.metrics import DEVICES_ENROLLED, DEVICES_SEEN
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Counts as each node's storage tells them."""
    enrolled, seen = Family(DEVICES_ENROLLED), Family(DEVICES_SEEN)
    for node in inventory.nodes:
        for counts in snapshot.node(node.name).devices or ():
            labels = (node.name, node.storage, counts.topic)
            enrolled.add(labels, counts.enabled)
            for window, count in sorted(counts.seen_within.items()):
                seen.add((*labels, str(window)), count)
    yield enrolled
    yield seen
