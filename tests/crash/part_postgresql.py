"""Kill, cut and lose at every request `renewctl` makes of a real PostgreSQL; kill the server too.

Each command of a year starts from a saved state behind a proxy that counts its requests. A strike comes before,
in or after a request. After it the store must be sound and hold a beginning of what the undisturbed command
writes; `status` must tell it; and the same command said again must lead to the undisturbed end. Where a strike
left the same as another one of that command, saying it again is not tried a second time, unless `full`; how
often it was is told.
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.crash.pg_bench import BESIDE, YEAR, Bench, Command
from tests.crash.pg_proxy import COMMIT, CONNECT, PASSWORD, Where
from tests.crash.pg_trial import Baseline, Job, Trials, Verdict
from tests.crash.progress import say
from tests.crash.table import ErrorRow, Part, Row
from tests.support.postgres import running_cluster

_WORKERS = 2
_SEED = 20260704
_PART = "postgresql"


def run(full: bool) -> Part:
    """All of it; `full` tries every placement at every request, and says every command again every time."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-pg-")))
        benches = []
        for number in range(_WORKERS):
            bench = Bench(stack.enter_context(running_cluster()), folder / f"desk{number}")
            stack.callback(bench.close)
            benches.append(bench)
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(Bench.year, benches))
        say("postgresql: counting requests")
        trials = Trials({c.name: Baseline.of(benches[0], c) for c in (*YEAR, *BESIDE)}, remember=not full)
        jobs = list(_jobs(trials, full=full))
        say(
            f"postgresql: {len(jobs)} strikes at {sum(len(b.asked) for b in trials.baselines.values())} requests"
        )
        return _part(trials, _all(trials, benches, jobs))


def _all(trials: Trials, benches: Sequence[Bench], jobs: Sequence[Job]) -> list[Verdict]:
    """Each bench takes the next job until none is left."""
    left = list(reversed(jobs))
    found: list[Verdict] = []
    lock = threading.Lock()

    def work(bench: Bench) -> None:
        while True:
            with lock:
                if not left:
                    return
                job = left.pop()
            verdict = trials.judge(bench, job)
            with lock:
                found.append(verdict)
                if len(found) % 200 == 0:
                    say(f"postgresql: {len(found)} of {len(jobs)}")

    with ThreadPoolExecutor(len(benches)) as pool:
        try:
            list(pool.map(work, benches))
        finally:
            left.clear()  # ended before its time: the threads begin no other
    return found


def _jobs(trials: Trials, *, full: bool) -> Iterable[Job]:
    """Every strike of the run."""
    dice = random.Random(_SEED)  # noqa: S311 - a seed, to see the same again
    for command in (*YEAR, *BESIDE):
        asked = trials.baselines[command.name].asked
        yield from _at_each_request(command, asked, dice, full=full)
        yield from _at_commits(command, asked, dice, full=full)
        yield from _at_the_server(command, asked, dice, full=full)
    yield from _whole_renewals(trials, dice, 200 if full else 20)
    yield from _between_beats(trials, dice, 60 if full else 8)


def _at_each_request(
    command: Command, asked: Sequence[str], dice: random.Random, *, full: bool
) -> Iterable[Job]:
    """Killed at each; the connection cut at each commit, and at one other in ten."""
    for number, label in enumerate(asked, start=1):
        for where in _placements(label, full=full):
            yield Job(command, number, where, "kill")
            if full or label == COMMIT or dice.random() < 0.1:
                yield Job(command, number, where, "cut")


def _at_commits(command: Command, asked: Sequence[str], dice: random.Random, *, full: bool) -> Iterable[Job]:
    """Where a commit is to be: the server gone for good (each try waits), or a cable pulled (waits longer)."""
    commits = [number for number, label in enumerate(asked, start=1) if label == COMMIT]
    for number in commits:
        for where in (Where.BEFORE, Where.AFTER):
            if full or dice.random() < 0.4:
                yield Job(command, number, where, "gone")
    for number in commits if full else dice.sample(commits, 1):
        yield Job(command, number, Where.BEFORE, "silent")


def _at_the_server(
    command: Command, asked: Sequence[str], dice: random.Random, *, full: bool
) -> Iterable[Job]:
    for what, tries in (("backend", 20 if full else 2), ("server", 10 if full else 1)):
        for _ in range(tries):
            number = dice.randint(1, len(asked))
            where = Where.AFTER if asked[number - 1] not in {CONNECT, PASSWORD} else Where.BEFORE
            yield Job(command, number, dice.choice([Where.BEFORE, where]), what)


def _placements(label: str, *, full: bool) -> tuple[Where, ...]:
    if label == COMMIT:
        return tuple(Where)
    if not full or label in {CONNECT, PASSWORD}:
        return (Where.BEFORE,)
    return tuple(Where)


def _whole_renewals(trials: Trials, dice: random.Random, tries: int) -> Iterable[Job]:
    """Killed somewhere, said again, and carried on to the end of the renewal."""
    steps = [command for command in YEAR if command.name != "adopt"]
    for _ in range(tries):
        command = dice.choice(steps)
        number = dice.randint(1, len(trials.baselines[command.name].asked))
        yield Job(command, number, Where.BEFORE, "kill", carry_on=True)


def _between_beats(trials: Trials, dice: random.Random, tries: int) -> Iterable[Job]:
    """Killed at a moment when the holder's beats come between the other requests."""
    for _ in range(tries):
        command: Command = dice.choice([c for c in (*YEAR, *BESIDE) if c.name in {"roll-out", "roll-back"}])
        number = dice.randint(1, len(trials.baselines[command.name].asked))
        yield Job(command, number, Where.BEFORE, "kill", beat=0.02)


_ERRORS = {
    "cut": "connection cut",
    "silent": "connection dead, nobody told",
    "gone": "server out of reach for good",
    "backend": "server process killed",
    "server": "server killed",
}


def _part(trials: Trials, verdicts: Sequence[Verdict]) -> Part:
    by_command: dict[str, Counter[str]] = {}
    by_error: dict[tuple[str, str, str], Counter[str]] = {}
    for verdict in verdicts:
        job = verdict.job
        if job.what == "kill":
            name = _row_name(job)
            count = by_command.setdefault(name, Counter())
        else:
            label = trials.baselines[job.command.name].asked[job.number - 1]
            kind = "commit" if label == COMMIT else "other request"
            count = by_error.setdefault((kind, _ERRORS[job.what], job.where.value), Counter())
        count["traced"] += 1
        count["struck"] += verdict.struck
        count["sound"] += verdict.struck and verdict.sound
        count["healed"] += verdict.struck and verdict.sound and verdict.healed
    rows = [Row(_PART, n, c["traced"], c["struck"], c["sound"], c["healed"]) for n, c in by_command.items()]
    errors = [
        ErrorRow(_PART, error, kind, where, count["traced"], count["healed"])
        for (kind, error, where), count in sorted(by_error.items())
    ]
    failures = [f"{_PART}: {verdict.job}: {text}" for verdict in verdicts for text in verdict.troubles]
    states = [f"{_PART}: {count} x {text}" for text, count in sorted(trials.endings.items())]
    states += _repeated(verdicts)
    return Part(rows, errors, states=states, failures=failures)


def _repeated(verdicts: Sequence[Verdict]) -> list[str]:
    """How much of `healed` and `contained` was tried, command by command, and how much is known from a like one."""
    by_command: dict[str, list[bool]] = {}
    for verdict in verdicts:
        by_command.setdefault(_row_name(verdict.job), []).append(verdict.repeated)
    return [
        f"{_PART}: {name}: said again after {sum(each)} of {len(each)} strikes, the others left the same as one of those"
        for name, each in by_command.items()
    ]


def _row_name(job: Job) -> str:
    if job.carry_on:
        return "whole renewals"
    return "between beats" if job.quick_beats else job.command.name
