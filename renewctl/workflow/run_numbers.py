"""Which number of a run a node may tell: one that is too high is not believed, nor followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from renewctl.inventory.reading import Node
from renewctl.playbook_events import Ended, NodeResult
from renewctl.reasons import Reason
from renewctl.servers.files import home_of

HIGHEST_RUN = 1_000_000_000
"""No run is above it, here and in the collection (`pair_journal`): every database has room for it."""

LEAP = 1_000_000
"""How far ahead of its store's newest run a node is believed. No store is restored that many runs late, and a
node that lies takes a thousandth of all numbers at a time."""

_SHOWN = 20
"""So much of a number or text that is not believed is repeated."""


class Answer(Protocol):
    """What a node answered."""

    @property
    def reason(self) -> str | None:
        """Why it refused."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What goes with it."""


def highest_believed(own: int) -> int:
    """The highest run a node may carry beside a store whose newest is `own`; the next one has to fit too."""
    return min(own + LEAP, HIGHEST_RUN - 1)


def run_number(told: object, own: int) -> int | None:
    """A run as a node tells it; None where that is no number it can have, 0 for a node without any.

    Args:
        own: the newest run of the store.
    """
    return told if type(told) is int and 0 <= told <= highest_believed(own) else None


def superseded_by(answer: Answer) -> int:
    """The run a node carries, where it refused ours because of it; 0 otherwise. After `believed`."""
    told = answer.values.get("expected")
    return told if answer.reason == Reason.RUN_SUPERSEDED and type(told) is int else 0


def believed(ended: Ended, nodes: Iterable[Node], own: int) -> Ended:
    """The same, but a node that refused a run for one that is not believed is told of as that."""
    known = {node.name: node for node in nodes}
    results = {name: _believed(result, known.get(name), own) for name, result in ended.results.items()}
    return replace(ended, results=results)


def _believed(result: NodeResult, node: Node | None, own: int) -> NodeResult:
    told = result.values.get("expected")
    if result.reason is not Reason.RUN_SUPERSEDED or run_number(told, own) is not None:
        return result
    return replace(result, reason=Reason.RUN_TOO_HIGH, values=too_high(result.node, node, told, own))


def too_high(name: str, node: Node | None, told: object, own: int) -> dict[str, Any]:
    """What `run_too_high` tells: the number, and the file on the node to mend."""
    got = str(told)[:_SHOWN] if isinstance(told, int | str) else "-"
    return {"node": name, "got": got, "expected": highest_believed(own), "path": _journal(node)}


def _journal(node: Node | None) -> str:
    """Where the collection keeps the journal of a node's first place (`pair_journal`)."""
    if node is None or node.install is None:
        return ".renewctl/*/state.json"
    return f"{home_of(next(iter(node.install.places[0].files.values())))}/state.json"
