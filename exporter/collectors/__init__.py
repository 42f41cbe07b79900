"""Snapshot -> metric families, one file a subject. Pure: no I/O, no clock.

What is large changes seldom, and what changes at every look is small; they are rendered apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporter.collectors import certificates, devices, expiries, files, itself, nodes, renewals, topics
from exporter.families import Family
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def steady(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """What changes with a certificate or the inventory."""
    for subject in (certificates, files, topics):
        yield from subject.collect(inventory, snapshot)


def lively(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """What changes at every look."""
    for subject in (expiries, nodes, devices, renewals, itself):
        yield from subject.collect(inventory, snapshot)


def basis(inventory: Inventory, snapshot: Snapshot) -> tuple[object, ...]:
    """What `steady` is made from: as long as it compares equal, so does its output.

    Comparing is quick, as an inventory and facts that did not change are the very same objects.
    """
    nodes = []
    for node in inventory.nodes:
        facts = snapshot.node(node.name)
        recorded = any(node.name in renewal.recorded for renewal in snapshot.renewals)
        # Times matter only where one source may contradict another.
        times = (facts.told_at, facts.kept) if facts.kept or recorded else ()
        nodes.append((facts.told, times, facts.files))
    return (inventory, tuple(nodes), snapshot.renewals, snapshot.adopted)
