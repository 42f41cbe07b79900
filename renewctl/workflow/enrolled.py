"""What topics enrolled devices really use, asked of every node that can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Node
from renewctl.servers.at_once import of_each
from renewctl.servers.registry import connect


def enrolled_topics(nodes: Sequence[Node]) -> dict[str, int] | None:
    """Topic -> enabled devices over all storages; None where no node can tell.

    Nodes of one storage share their devices: one of them is counted.
    """
    told = of_each(nodes, _ask)
    by_storage = {node.storage: counts for node in nodes if (counts := told[node.name]) is not None}
    if not by_storage:
        return None
    total: Counter[str] = Counter()
    for counts in by_storage.values():
        total.update(counts)
    return dict(total)


def _ask(node: Node) -> dict[str, int] | None:
    try:
        return connect(node).enrolled_topics()
    except RenewctlError:
        return None  # a silent node is shown by `status`; here it only cannot tell
