"""Nodes: do they answer, what could not be learned, how old is what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from exporter.families import Family, seconds
from exporter.metrics import (
    NODE_FAILURES,
    NODE_LAST_SUCCESS,
    NODE_POLL_FAILURES,
    NODE_POLL_SECONDS,
    NODE_POLLS,
    NODE_SNAPSHOT,
    NODE_UP,
)
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


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """One series a node, and one a reason: what the inventory expects is never missing."""
    up, failures = Family(NODE_UP), Family(NODE_FAILURES)
    success, age = Family(NODE_LAST_SUCCESS), Family(NODE_SNAPSHOT)
    took, polls, failed = Family(NODE_POLL_SECONDS), Family(NODE_POLLS), Family(NODE_POLL_FAILURES)
    for node in inventory.nodes:
        facts = snapshot.node(node.name)
        if facts.up is not None:
            up.add((node.name, node.product), facts.up)
        counts = Counter(facts.failures)
        for reason in (*REASONS, *counts):
            failures.add((node.name, reason), counts[reason])
        success.add((node.name,), seconds(facts.last_success))
        age.add((node.name,), seconds(facts.oldest))
        if facts.seconds is not None:
            took.add((node.name,), facts.seconds)
        polls.add((node.name,), facts.looks)
        failed.add((node.name,), facts.failed_looks)
    yield from (up, failures, success, age, took, polls, failed)
