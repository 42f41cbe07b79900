"""Nodes: do they answer, what could not be learned, how old is what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from exporter.families import Family, seconds
from exporter.metrics import NODE_FAILURES, NODE_LAST_SUCCESS, NODE_SNAPSHOT, NODE_UP
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory
from renewctl.reasons import NODE_REASONS, Reason

#: Pre-set to 0 for every node: what servers tell, and what the exporter adds to it.
REASONS: tuple[Reason, ...] = tuple(
    dict.fromkeys(
        (
            *NODE_REASONS,
            Reason.NODE_TIMEOUT,
            Reason.SECRET_COMMAND_NOT_ALLOWED,
            Reason.SECRET_UNREADABLE,
            Reason.INTERNAL,
        )
    )
)


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Metric]:
    """One series a node, and one a reason: what the inventory expects is never missing."""
    up, failures = Family(NODE_UP), Family(NODE_FAILURES)
    success, age = Family(NODE_LAST_SUCCESS), Family(NODE_SNAPSHOT)
    for node in inventory.nodes:
        facts = snapshot.node(node.name)
        if facts.up is not None:
            up.add((node.name, node.product), facts.up)
        counts = Counter(facts.failures)
        for reason in (*REASONS, *counts):
            failures.add((node.name, reason), counts[reason])
        success.add((node.name,), seconds(facts.last_success))
        age.add((node.name,), seconds(min((known.at for known in facts.certificates), default=None)))
    for family in (up, failures, success, age):
        yield family.metric()
