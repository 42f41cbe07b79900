"""Renewals as the store tells of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from exporter.collectors.certificates import shown
from exporter.families import Family, seconds, single
from exporter.metrics import (
    RENEWAL_ACCEPTED,
    RENEWAL_NODE_OWED,
    RENEWAL_NODES_OWED,
    RENEWAL_PHASE,
    STORE_HEAD,
    STORE_LAST_SUCCESS,
    STORE_UP,
)
from exporter.snapshot import Known, RenewalFacts, Snapshot
from renewctl.inventory.reading import Inventory
from renewctl.renewal.served import is_pair


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Nothing at all without a store; the last values of a store that cannot be read now."""
    if snapshot.store_up is None:
        return
    phase, accepted = Family(RENEWAL_PHASE), Family(RENEWAL_ACCEPTED)
    owed, node_owed = Family(RENEWAL_NODES_OWED), Family(RENEWAL_NODE_OWED)
    by_topic = {facts.topic: facts for facts in snapshot.renewals}
    for topic in inventory.topics:
        facts = by_topic.get(topic.topic)
        if facts is None:
            continue
        phase.add((topic.topic, facts.renewal, facts.phase), 1)
        if facts.accepted_at is not None:
            accepted.add((topic.topic,), seconds(facts.accepted_at))
        names = [node.name for node in inventory.nodes_of(topic.id)]
        left = dict.fromkeys(nodes_owed(facts, set(names), shown(inventory, snapshot)))
        owed.add((topic.topic,), len(left))
        for name in dict.fromkeys((*names, *left)):
            node_owed.add((topic.topic, name), name in left)
    yield from (phase, accepted, owed, node_owed)
    yield single(STORE_UP, snapshot.store_up)
    yield single(STORE_LAST_SUCCESS, 0 if snapshot.store_read is None else seconds(snapshot.store_read))
    head = Family(STORE_HEAD)
    if snapshot.store_head:
        head.add((snapshot.store_head,), 1)
    yield head


def nodes_owed(
    facts: RenewalFacts, nodes: Collection[str], told: Iterable[tuple[str, Known]]
) -> tuple[str, ...]:
    """Nodes owed a pair, those too that were seen since with the one a roll-back took from them.

    Args:
        facts: of the topic's renewals.
        nodes: names of the topic's nodes.
        told: node name and certificate, all that is shown.
    """
    if facts.left is None:
        return facts.owed
    again = [
        node
        for node, known in told
        if node in nodes and known.served.topic == facts.topic and is_pair(known.served, facts.left)
    ]
    return tuple(dict.fromkeys((*facts.owed, *again)))
