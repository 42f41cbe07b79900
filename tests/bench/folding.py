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
_WAVES = [[f"n{wave}-{node}" for node in range(10)] for wave in range(5)]
"""Fifty nodes: each event carries all their states on, so one node alone would cost less than is usual."""


def measure(_folder: Path) -> Iterator[Measured]:
    """10,000 events (roll-outs over 50 nodes, finished and begun again) against a tenth of a second of the processor."""
    events = _long_history()
    times = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        renewal = fold(events)
        times.append(time.process_time() - begun)
    if renewal is None or renewal.phase is not Phase.PROVEN or len(renewal.nodes) != sum(map(len, _WAVES)):
        raise SystemExit(f"the long history folds to {renewal}")
    yield Measured(
        "fold of 10,000 events, 50 nodes / 0.1 s, processor time",
        statistics.median(times),
        _SECONDS,
        1.0,
        _ROUNDS,
    )


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
        kinds += _roll_out(run)
    return [event(seq, kind, **body) for seq, (kind, body) in enumerate(kinds, start=1)]


def _roll_out(run: int) -> Iterator[tuple[Kind, dict[str, object]]]:
    yield Kind.ROLL_OUT_STARTED, {"run": run, "waves": _WAVES}
    for wave in _WAVES:
        storages = {node: node for node in wave}
        yield Kind.WAVE_STARTED, {"run": run, "nodes": wave, "storages": storages, "unsettled": []}
        for node in wave:
            yield Kind.NODE_FINISHED, {"run": run, "node": node, "outcome": "proven", "unsettled": []}
    yield Kind.ROLL_OUT_FINISHED, {"run": run, "outcome": "done"}
