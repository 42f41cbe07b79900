"""What was measured, as values and as one table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One comparison.

    Attributes:
        what: was measured, ours and the rival's name in it.
        ours, rival: seconds of wall time (medians where there was more than one round), unless `what` says
            another measure.
        bar: the ratio not to be exceeded; infinite: none, it is only told.
        rounds: how often each was run, taking turns; 0: the rival was not, its value is computed from others.
    """

    what: str
    ours: float
    rival: float
    bar: float
    rounds: int

    @property
    def ratio(self) -> float:
        """Ours to the rival's."""
        return self.ours / self.rival

    @property
    def holds(self) -> bool:
        """Whether the bar is kept."""
        return self.ratio <= self.bar


def shown(found: Iterable[Measured]) -> str:
    """The table, one line a comparison."""
    lines = [f"{'':62} {'ours':>10} {'rival':>10} {'ratio':>8} {'bar':>7} {'rounds':>6}"]
    for one in found:
        verdict = "" if one.holds else "  MISSED"
        bar = "-" if math.isinf(one.bar) else f"{one.bar:.4g}"
        lines.append(
            f"{one.what:62} {one.ours:10.5f} {one.rival:10.5f} {one.ratio:8.4f} {bar:>7} {one.rounds:6}{verdict}"
        )
    return "\n".join(lines)
