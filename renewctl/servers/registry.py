"""From a node of the inventory to what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from renewctl.inventory.reading import Node, Product
from renewctl.servers.files import Files
from renewctl.servers.protocol import Server


def connect(node: Node, topics: Sequence[str] = (), *, credential: bool = True) -> Server:
    """The server behind a node. Asks nothing yet.

    Args:
        node: as in the inventory.
        topics: UIDs the node should serve; an API that tells of certificates must be asked for each.
        credential: False: never use the node's API credential (an exporter's default).
    """
    if node.product is Product.NANOMDM:
        from renewctl.servers.nanomdm import NanoMDM  # noqa: PLC0415 - HTTP

        return NanoMDM(node, topics, credential=credential)
    return Files(node)
