"""From a node of the inventory to what can be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from renewctl.inventory.reading import Node, Product
from renewctl.servers.files import Files
from renewctl.servers.protocol import Server


def connect(
    node: Node,
    topics: Sequence[str] = (),
    *,
    credential: bool = True,
    before_change: Callable[[], None] | None = None,
) -> Server:
    """The server behind a node. Asks nothing yet.

    Args:
        node: as in the inventory.
        topics: UIDs the node should serve; an API that tells of certificates must be asked for each.
        credential: False: never use the node's API credential (an exporter's default).
        before_change: called right before a pair is sent; what it raises keeps it from being sent.
    """
    if node.product is Product.NANOMDM:
        from renewctl.servers.nanomdm import NanoMDM  # noqa: PLC0415 - HTTP

        return NanoMDM(node, topics, credential=credential, before_change=before_change)
    return Files(node)
