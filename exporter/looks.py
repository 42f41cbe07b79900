"""Everything an inventory asks to be looked at, each by a name of its own."""

from __future__ import annotations

from exporter.expiry_look import ExpiryLook, expiring, key_of
from exporter.node_look import NodeLook
from exporter.poller import Look
from exporter.store_look import StoreLook
from renewctl.inventory.reading import Inventory

_MARK = "\N{SECTION SIGN}"
"""No node can be called so."""


def looks(inventory: Inventory) -> dict[str, Look]:
    """Nodes, the store if there is one, and what else expires."""
    uids = {topic.id: topic.topic for topic in inventory.topics}
    found: dict[str, Look] = {
        node.name: NodeLook(node, [uids[id_] for id_ in node.topics]) for node in inventory.nodes
    }
    if inventory.store:
        found[f"{_MARK} store"] = StoreLook(inventory)
    for one in expiring(inventory):
        found[" ".join((_MARK, *key_of(one)))] = ExpiryLook(one)
    return found
