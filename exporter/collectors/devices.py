"""Devices by node and topic, in cumulative windows of their last check-in."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.families import Family, seconds
from exporter.metrics import DEVICE_LAST_SEEN, DEVICES_DROPPED, DEVICES_ENROLLED, DEVICES_SEEN
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Counts as each node's storage tells them."""
    enrolled, seen = Family(DEVICES_ENROLLED), Family(DEVICES_SEEN)
    last_seen, dropped = Family(DEVICE_LAST_SEEN), Family(DEVICES_DROPPED)
    for node in inventory.nodes:
        facts = snapshot.node(node.name)
        if facts.silent is not None:
            for device in facts.silent:
                last_seen.add((node.name, node.storage, device.topic, device.enrollment), seconds(device.at))
            known = sum(counts.enabled for counts in facts.devices or ())
            dropped.add((node.name, node.storage), max(known - len(facts.silent), 0))
        for counts in facts.devices or ():
            labels = (node.name, node.storage, counts.topic)
            enrolled.add(labels, counts.enabled)
            for window, count in sorted(counts.seen_within.items()):
                seen.add((*labels, str(window)), count)
    yield from (enrolled, seen, last_seen, dropped)
