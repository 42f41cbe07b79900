"""What was measured, as values and as one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One comparison.

    Attributes:
        what: was measured, ours and the rival's name in it.
        ours, rival: seconds of wall time (medians where there was more than one round).
        bar: the ratio not to be exceeded.
        rounds: how often each was run, taking turns.
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
    lines = [f"{'':62} {'ours s':>8} {'rival s':>8} {'ratio':>7} {'bar':>6} {'rounds':>6}"]
    for one in found:
        verdict = "" if one.holds else "  MISSED"
        lines.append(
            f"{one.what:62} {one.ours:8.3f} {one.rival:8.3f} {one.ratio:7.3f} {one.bar:6.2f} {one.rounds:6}{verdict}"
        )
    return "\n".join(lines)
