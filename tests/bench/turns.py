"""Two contenders by turns, so that whatever else the machine does meets both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.bench.table import Measured


def by_turns(
    what: str,
    ours: Callable[[], object],
    rival: Callable[[], object],
    *,
    bar: float,
    rounds: int,
    before: Callable[[], object] = lambda: None,
) -> Measured:
    """Run both, `rounds` times each, and compare the medians of their wall times.

    Args:
        before: makes the same beginning for each turn; not measured.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        pair = [(ours, taken[0]), (rival, taken[1])]
        for contender, times in pair if number % 2 == 0 else reversed(pair):
            before()
            begun = time.perf_counter()
            contender()
            times.append(time.perf_counter() - begun)
    return Measured(what, statistics.median(taken[0]), statistics.median(taken[1]), bar, rounds)
