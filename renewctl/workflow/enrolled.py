"""What topics enrolled devices really use, asked of every node that can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Node
from renewctl.servers.registry import connect

_AT_ONCE = 16


def enrolled_topics(nodes: Sequence[Node]) -> dict[str, int] | None:
    """Topic -> enabled devices over all storages; None where no node can tell.

    Nodes of one storage share their devices: one of them is counted.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(zip(nodes, pool.map(_ask, nodes), strict=True))
    by_storage = {node.storage: counts for node, counts in told if counts is not None}
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
