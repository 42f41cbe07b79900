"""Kill the command at every system call that changes or locks a file of the state; let calls fail.

Seeds: which points are carried through the year, and where in CI each (call, file kind) fails, by `SEED`.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import current_process
from pathlib import Path
from typing import Any

from tests.crash.kills import certbot, deeds, sandboxed
from tests.crash.kills.bench import Bench, Untouched
from tests.crash.kills.calls import END
from tests.crash.kills.deeds import Verdict
from tests.crash.kills.office import COMMANDS
from tests.crash.progress import say
from tests.crash.table import ErrorRow, Part, Row

WORKERS = 2
SEED = 20270101
CARRIED = 20
"""Points that are followed by the rest of the year."""

REAL, REAL_FULL = 4, 40
"""Points of a roll-out by the real playbooks."""

ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES")
_PART = "sqlite"
_MEMORY = Path("/dev/shm")

Task = tuple[Untouched, int, str]
"""A command, the number of a point, an error (or nothing)."""


def run(full: bool) -> Part:
    """All of it; `full` lets every point fail with every error, not one of each kind with one."""
    in_memory = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="renewctl-crash-", dir=in_memory))
    try:
        return _run(folder, full=full)
    finally:
        shutil.rmtree(folder)


def _run(folder: Path, *, full: bool) -> Part:
    with Bench(folder / "main", folder / "saved") as bench:
        bench.furnish()
        commands = [bench.untouched(each) for each in COMMANDS]
    say(f"{_PART}: {sum(len(each.points) for each in commands)} points in {len(commands)} commands")
    with ProcessPoolExecutor(WORKERS, initializer=_open_bench, initargs=(folder,)) as pool:
        rows, bad = _kills(pool, commands)
        carried, bad_years = _years(pool, commands)
        errors, states, uncontained = _errors(pool, commands, full=full)
    real, bad_real = _real(folder / "sandbox", REAL_FULL if full else REAL)
    anchor = certbot.measure(folder / "certbot")
    say(f"{_PART}: {anchor}")
    failures = [*bad, *bad_years, *bad_real, *uncontained]
    return Part(rows=[*rows, carried, real], errors=errors, beside=[anchor], states=states, failures=failures)


def _kills(pool: ProcessPoolExecutor, commands: Sequence[Untouched]) -> tuple[list[Row], list[str]]:
    rows, failures = [], []
    for untouched in commands:
        tasks = [(untouched, at, "") for at in range(len(untouched.points))]
        verdicts = list(pool.map(_kill, tasks, chunksize=4))
        rows.append(_row(untouched.command.name, verdicts))
        failures += [line for verdict in verdicts for line in verdict.failures]
        say(f"{_PART}: {rows[-1]}")
    return rows, failures


def _years(pool: ProcessPoolExecutor, commands: Sequence[Untouched]) -> tuple[Row, list[str]]:
    (last,) = [each for each in commands if each.command.name == "renewal close"]
    # `init` writes an inventory of its own, without a vendor: no year follows from it.
    points = [
        (each, at, "") for each in commands if each.command.name != "init" for at in range(len(each.points))
    ]
    tasks = random.Random(SEED).sample(points, CARRIED)  # noqa: S311 - a choice to repeat
    verdicts = list(pool.map(partial(_carry, last.after.folds), tasks))
    row = _row("the rest of the year", verdicts)
    say(f"{_PART}: {row}")
    return row, [f"to the year's end: {line}" for verdict in verdicts for line in verdict.failures]


def _real(folder: Path, count: int) -> tuple[Row, list[str]]:
    folder.mkdir()
    verdicts = sandboxed.sample(folder, count, SEED)
    row = _row("roll-out by real playbooks, a sample", verdicts)
    say(f"{_PART}: {row}")
    return row, [line for verdict in verdicts for line in verdict.failures]


def _errors(
    pool: ProcessPoolExecutor, commands: Sequence[Untouched], *, full: bool
) -> tuple[list[ErrorRow], list[str], list[str]]:
    tasks = _to_fail(commands, full=full)
    verdicts = list(pool.map(_fail, tasks, chunksize=4))
    found: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for (untouched, at, error), verdict in zip(tasks, verdicts, strict=True):
        found[*untouched.points[at].place, error].append(verdict)
    rows = [
        ErrorRow(_PART, *place, injected=len(each), contained=sum(verdict.good for verdict in each))
        for place, each in sorted(found.items())
    ]
    ended = Counter(verdict.ended for verdict in verdicts)
    states = [f"{_PART}: {count} x a call failed, the command {how}" for how, count in sorted(ended.items())]
    say(f"{_PART}: {len(tasks)} errors injected, {sum(verdict.good for verdict in verdicts)} contained")
    return rows, states, [line for verdict in verdicts for line in verdict.failures]


def _to_fail(commands: Sequence[Untouched], *, full: bool) -> list[Task]:
    """Where calls are to fail: everywhere with every error; in CI in each command one of each kind with one."""
    points = [(each, at) for each in commands for at, point in enumerate(each.points) if point.name != END]
    if full:
        return [(each, at, error) for each, at in points for error in ERRORS]
    dice = random.Random(SEED)  # noqa: S311 - a choice to repeat
    places: dict[Any, list[tuple[Untouched, int]]] = defaultdict(list)
    for each, at in points:
        places[each.command.name, each.points[at].place].append((each, at))
    return [(*dice.choice(same), dice.choice(ERRORS)) for same in places.values()]


def _row(name: str, verdicts: Sequence[Verdict]) -> Row:
    return Row(
        _PART,
        name,
        traced=len(verdicts),
        killed=sum(verdict.hit for verdict in verdicts),
        consistent=sum(not verdict.wrong_now for verdict in verdicts),
        healed=sum(not verdict.wrong_after for verdict in verdicts),
    )


_bench: Bench


def _open_bench(folder: Path) -> None:
    global _bench  # noqa: PLW0603 - one a worker
    _bench = Bench(folder / current_process().name, folder / "saved")


def _kill(task: Task) -> Verdict:
    untouched, at, _ = task
    return deeds.kill(_bench, untouched, at)


def _carry(year: Any, task: Task) -> Verdict:
    untouched, at, _ = task
    return deeds.carry(_bench, untouched, at, year)


def _fail(task: Task) -> Verdict:
    return deeds.fail(_bench, *task)
