"""Devices as a cell of a table: nodes of one storage tell of the same ones, so the number stands once."""

from __future__ import annotations

from renewctl.cli.output import Output
from renewctl.inventory.reading import Node


class DeviceCells:
    """The cells of one table, from its top to its end."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._told: dict[tuple[str, str], str] = {}

    def cell(self, node: Node, topic: str, count: int | None) -> object:
        """The number at the first node of a storage that tells; at the others, whose it is.

        Args:
            topic: the UID.
            count: None where the node cannot tell.
        """
        if count is None:
            return None
        first = self._told.setdefault((node.storage, topic), node.name)
        return count if first == node.name else self._output.text("devices.shared", node=first)
