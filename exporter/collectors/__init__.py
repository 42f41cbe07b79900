"""Snapshot -> metric families, one file a subject. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from exporter.collectors import certificates, devices, itself, nodes, renewals, topics
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Metric]:
    """Every family, in the order of the reference page."""
    for subject in (certificates, nodes, devices, topics, renewals, itself):
        yield from subject.collect(inventory, snapshot)
