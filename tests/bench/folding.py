"""How long the history of a very long renewal takes to fold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from renewctl.renewal.events import Event, Kind
from renewctl.renewal.rules import Phase, fold
from tests.bench.table import Measured
from tests.support.history import event

_EVENTS, _SECONDS, _ROUNDS = 10_000, 0.1, 9


def measure(_folder: Path) -> Iterator[Measured]:
    """10,000 events (roll-outs begun, held, begun again) against a tenth of a second."""
    events = _long_history()
    times = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        renewal = fold(events)
        times.append(time.perf_counter() - begun)
    if renewal.phase is not Phase.ROLLING_OUT:
        raise SystemExit(f"the long history folds to {renewal.phase}")
    yield Measured("fold of 10,000 events / 0.1 s", statistics.median(times), _SECONDS, 1.0, _ROUNDS)


def _long_history() -> list[Event]:
    kinds: list[tuple[Kind, dict[str, object]]] = [
        (Kind.OPENED, {}),
        (Kind.KEY_MADE, {}),
        (Kind.CSR_MADE, {}),
        (Kind.REQUESTED, {}),
        (Kind.ACCEPTED, {}),
    ]
    run = 0
    while len(kinds) < _EVENTS:
        run += 1
        kinds += [
            (Kind.ROLL_OUT_STARTED, {"run": run}),
            (Kind.WAVE_STARTED, {"run": run}),
            (Kind.NODE_FINISHED, {"run": run, "outcome": "installed"}),
            (Kind.ROLL_OUT_FINISHED, {"run": run, "outcome": "held"}),
        ]
    return [event(seq, kind, **body) for seq, (kind, body) in enumerate(kinds, start=1)]
