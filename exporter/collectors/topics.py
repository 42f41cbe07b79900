"""Topics: what the inventory says, and whether anything is known of their date."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.collectors.certificates import shown
from exporter.families import Family
from exporter.metrics import TOPIC_EXPIRY_KNOWN, TOPIC_INFO, TOPIC_NODE, TOPIC_WINDOW
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """One series a topic; every topic has the same set of the inventory's own labels, empty if not given."""
    own = sorted({name for topic in inventory.topics for name in topic.labels})
    window = Family(TOPIC_WINDOW)
    info, nodes = Family(TOPIC_INFO, tuple(f"label_{name}" for name in own)), Family(TOPIC_NODE)
    for topic in inventory.topics:
        window.add((topic.topic,), topic.window.total_seconds())
        fixed = (topic.topic, topic.id, topic.name, topic.owner or "", topic.account.alias)
        info.add((*fixed, *(topic.labels.get(name, "") for name in own)), 1)
        for node in inventory.nodes_of(topic.id):
            nodes.add((topic.topic, node.name), 1)
    yield from (window, info, nodes, *dated(inventory, snapshot))


def dated(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Whether these nodes tell a date of each topic."""
    told = {known.served.topic for _, known in shown(inventory, snapshot)}
    family = Family(TOPIC_EXPIRY_KNOWN)
    for topic in inventory.topics:
        family.add((topic.topic,), topic.topic in told)
    yield family
