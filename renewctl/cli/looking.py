"""Looks at many nodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Inventory, Node
from renewctl.observation import Failure, Observation
from renewctl.servers.at_once import of_each


def look(inventory: Inventory, nodes: Sequence[Node], now: datetime) -> dict[str, Observation]:
    """Node name -> what one look gave; a node's fault is in its observation."""
    uids = {topic.id: topic.topic for topic in inventory.topics}
    return of_each(nodes, lambda node: _one(node, [uids[name] for name in node.topics], now))


def _one(node: Node, topics: Sequence[str], now: datetime) -> Observation:
    from renewctl.servers.registry import connect  # noqa: PLC0415 - HTTP and SQL

    try:
        return connect(node, topics).observe(now)
    except RenewctlError as error:  # a password that cannot be read, say
        values = {name: str(value) for name, value in error.values.items()}
        return Observation(node.name, now, failures=(Failure(error.reason, values),))
