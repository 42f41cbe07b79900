"""Kill the command at every system call that changes or locks a file of the state; let calls fail.

Where a kill or an error left the same as another one at that command, saying the command again is not tried a
second time, unless `full`; how often it was is told.

By `SEED`: which points are carried through the year, where in CI each (call, file kind) fails, what strikes a beat.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any

from tests.crash.kills import beats, certbot, deeds, sandboxed
from tests.crash.kills.bench import Bench, Untouched
from tests.crash.kills.calls import END
from tests.crash.kills.deeds import Verdict
from tests.crash.kills.office import COMMANDS
from tests.crash.progress import say
from tests.crash.table import ErrorRow, Part, Row
from tests.crash.workers import Workers

WORKERS = 2
SEED = 20270101
CARRIED = 20
"""Points that are followed by the rest of the year."""

REAL, REAL_FULL = 4, 40
"""Points of a roll-out by the real playbooks."""

ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES")
STAYING = ("ENOSPC+", "EROFS+")
"""A disk that is full, or read-only, stays so: the call fails, and what comes after it (`calls.STAYS`)."""

IN_BEATS, IN_BEATS_FULL = 20, 200
"""Kills that fall into a beat; half as many errors."""

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
    with memory(full=full) as known:
        return _tried(folder, commands, known, full=full)


@contextmanager
def memory(*, full: bool) -> Iterator[deeds.Known | None]:
    """What all workers know of repeats; the long run remembers nothing."""
    if full:
        yield None
        return
    with get_context("spawn").Manager() as manager:
        yield manager.dict()


def _tried(folder: Path, commands: Sequence[Untouched], known: deeds.Known | None, *, full: bool) -> Part:
    with Workers(WORKERS, initializer=_open_bench, initargs=(folder, known)) as pool:
        rows, repeats, bad = _kills(pool, commands)
        carried, bad_years = _years(pool, commands)
        errors, states, uncontained = _errors(pool, commands, full=full)
        beaten, in_beats, bad_beats = _in_beats(pool, commands, IN_BEATS_FULL if full else IN_BEATS)
    real, bad_real = _real(folder / "sandbox", REAL_FULL if full else REAL)
    anchor = certbot.measure(folder / "certbot")
    say(f"{_PART}: {anchor}")
    failures = [*bad, *bad_years, *bad_real, *uncontained, *bad_beats]
    return Part(
        rows=[*rows, carried, beaten, real],
        errors=[*errors, *in_beats],
        beside=[anchor],
        states=[*repeats, *states],
        failures=failures,
    )


def _kills(pool: Workers, commands: Sequence[Untouched]) -> tuple[list[Row], list[str], list[str]]:
    rows, repeats, failures = [], [], []
    for untouched in commands:
        tasks = [(untouched, at, "") for at in range(len(untouched.points))]
        verdicts = list(pool.map(_kill, tasks, chunksize=4))
        rows.append(_row(untouched.command.name, verdicts))
        repeats.append(repeated(f"killed {untouched.command.name}", verdicts))
        failures += [line for verdict in verdicts for line in verdict.failures]
        say(f"{_PART}: {rows[-1]}")
    return rows, repeats, failures


def _years(pool: Workers, commands: Sequence[Untouched]) -> tuple[Row, list[str]]:
    (last,) = [each for each in commands if each.command.name == "renewal close"]
    points = [
        (each, at, "") for each in commands if deeds.leads_on(each.command) for at in range(len(each.points))
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
    pool: Workers, commands: Sequence[Untouched], *, full: bool
) -> tuple[list[ErrorRow], list[str], list[str]]:
    tasks = _to_fail(commands, full=full)
    verdicts = list(pool.map(_fail, tasks, chunksize=4))
    found: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for (untouched, at, error), verdict in zip(tasks, verdicts, strict=True):
        found[*untouched.points[at].place, error].append(verdict)
    rows = [
        ErrorRow(_PART, call, kind, _shown(error), len(each), sum(verdict.good for verdict in each))
        for (call, kind, error), each in sorted(found.items())
    ]
    ended = Counter(verdict.ended for verdict in verdicts)
    states = [f"{_PART}: {count} x a call failed, the command {how}" for how, count in sorted(ended.items())]
    states.append(repeated("a call failed", verdicts))
    say(f"{_PART}: {len(tasks)} errors injected, {sum(verdict.good for verdict in verdicts)} contained")
    return rows, states, [line for verdict in verdicts for line in verdict.failures]


def _shown(error: str) -> str:
    return f"{error[:-1]}, and stays" if error.endswith("+") else error


def _in_beats(
    pool: Workers, commands: Sequence[Untouched], kills: int
) -> tuple[Row, list[ErrorRow], list[str]]:
    """Kills and errors in the thread that beats, while the command goes on beside it."""
    dice = random.Random(SEED)  # noqa: S311 - a choice to repeat
    kinds = (*ERRORS, *STAYING)
    errors = [kinds[number % len(kinds)] for number in range(kills // 2)]
    strikes = pool.submit(_drawn, commands, dice, kills, errors).result()
    verdicts = list(pool.map(_strike, strikes))
    row = _row("between beats", verdicts[:kills])
    found: dict[str, list[Verdict]] = defaultdict(list)
    for one, verdict in zip(strikes[kills:], verdicts[kills:], strict=True):
        found[one.error].append(verdict)
    rows = [
        ErrorRow(_PART, "any", "in a beat", _shown(error), len(each), sum(verdict.good for verdict in each))
        for error, each in sorted(found.items())
    ]
    say(f"{_PART}: {row}")
    return row, rows, [line for verdict in verdicts for line in verdict.failures]


def _to_fail(commands: Sequence[Untouched], *, full: bool) -> list[Task]:
    """Where calls are to fail: everywhere with every error.

    In CI in each command one of each kind with one error; and one of each kind with each error that stays.
    """
    points = [(each, at) for each in commands for at, point in enumerate(each.points) if point.name != END]
    if full:
        return [(each, at, error) for each, at in points for error in (*ERRORS, *STAYING)]
    dice = random.Random(SEED)  # noqa: S311 - a choice to repeat
    places: dict[Any, list[tuple[Untouched, int]]] = defaultdict(list)
    anywhere: dict[Any, list[tuple[Untouched, int]]] = defaultdict(list)
    for each, at in points:
        places[each.command.name, each.points[at].place].append((each, at))
        anywhere[each.points[at].place].append((each, at))
    once = [(*dice.choice(same), dice.choice(ERRORS)) for same in places.values()]
    return once + [(*dice.choice(same), error) for same in anywhere.values() for error in STAYING]


def repeated(what: str, verdicts: Sequence[Verdict]) -> str:
    """After how many of them the command was said again, and `status` asked."""
    count = sum(verdict.repeated for verdict in verdicts)
    return f"{_PART}: {what}: said again after {count} of {len(verdicts)}, the others left the same as one of those"


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
_known: deeds.Known | None
_beating: Bench | None = None


def _open_bench(folder: Path, known: deeds.Known | None) -> None:
    global _bench, _known  # noqa: PLW0603 - one a worker
    _known = known
    _bench = Bench(folder / current_process().name, folder / "saved")


def _kill(task: Task) -> Verdict:
    untouched, at, _ = task
    return deeds.kill(_bench, untouched, at, _known)


def _carry(year: Any, task: Task) -> Verdict:
    untouched, at, _ = task
    return deeds.carry(_bench, untouched, at, year)


def _fail(task: Task) -> Verdict:
    return deeds.fail(_bench, *task, _known)


def _beating_bench() -> Bench:
    """This worker's bench with real beats, made when it is needed."""
    global _beating  # noqa: PLW0603 - one a worker
    if _beating is None:
        _beating = Bench(_bench.nodes.parents[1] / "beats", _bench.saved, beats.CHILD)
    return _beating


def _drawn(
    commands: Sequence[Untouched], dice: random.Random, kills: int, errors: Sequence[str]
) -> list[beats.Strike]:
    return beats.strikes(_beating_bench(), commands, dice, kills, errors)


def _strike(one: beats.Strike) -> Verdict:
    return beats.strike(_beating_bench(), one)
