"""Asking many nodes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from renewctl.inventory.reading import Node

_Answer = TypeVar("_Answer")

_AT_ONCE = 16


def of_each(nodes: Sequence[Node], ask: Callable[[Node], _Answer]) -> dict[str, _Answer]:
    """Node name -> what `ask` gave for it, in the order of the nodes; raises what `ask` raises."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((node.name for node in nodes), pool.map(ask, nodes), strict=True))
