"""Waves (canary first, counted in storages) and the rule that stops a roll-out. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from renewctl.errors import Unusable
from renewctl.inventory.reading import Node
from renewctl.reasons import Reason
from renewctl.renewal.events import Outcome

DEFAULT_WAVES: tuple[int | str, ...] = (1, "25%", "100%")
"""One storage as the canary, a quarter, the rest; the last size repeats."""

_WHOLE = 100


class Decision(StrEnum):
    """What follows after a wave."""

    GO_ON = "go_on"
    HOLD = "hold"  # nothing is wrong, something is not known or not proven: a person decides
    STOP = "stop"  # a pair was proven wrong, or a node refused it


def parse_waves(text: str) -> tuple[int | str, ...]:
    """Read sizes as people write them: `1,25%,100%`.

    Raises:
        Unusable: `waves_invalid`.
    """
    sizes: list[int | str] = []
    for part in (piece.strip() for piece in text.split(",")):
        number = part.removesuffix("%")
        if not number.isdecimal() or int(number) == 0 or (part.endswith("%") and int(number) > _WHOLE):
            raise Unusable(Reason.WAVES_INVALID, got=text, expected="1,25%,100%")
        sizes.append(part if part.endswith("%") else int(number))
    return tuple(sizes)


def plan(nodes: Sequence[Node], sizes: Sequence[int | str] = DEFAULT_WAVES) -> tuple[tuple[str, ...], ...]:
    """Group nodes into waves of whole storages, in the inventory's order.

    Nodes that share storage are one place to install: they go in the same wave. A percentage is of
    all storages, rounded down, at least one (as in Ansible's `serial`).
    """
    storages: dict[str, list[str]] = {}
    for node in nodes:
        storages.setdefault(node.storage, []).append(node.name)
    places = list(storages.values())
    waves: list[tuple[str, ...]] = []
    taken = 0
    while taken < len(places):
        size = _count(sizes[min(len(waves), len(sizes) - 1)], len(places))
        batch = places[taken : taken + size]
        waves.append(tuple(name for place in batch for name in place))
        taken += size
    return tuple(waves)


def decide(outcomes: Mapping[str, Outcome], *, unproven_ok: bool = False) -> Decision:
    """The stop rule: wrong or refused stops; unknown or unproven holds; else go on.

    Args:
        outcomes: what is known of each node of the wave.
        unproven_ok: a person said that installed without a device's check-in is enough.
    """
    seen = set(outcomes.values())
    if seen & {Outcome.WRONG, Outcome.FAILED}:
        return Decision.STOP
    if Outcome.UNKNOWN in seen or (Outcome.INSTALLED in seen and not unproven_ok):
        return Decision.HOLD
    return Decision.GO_ON


def _count(size: int | str, total: int) -> int:
    if isinstance(size, int):
        return size
    return max(1, math.floor(total * int(size.removesuffix("%")) / _WHOLE))
