"""One strike at one request of one command, and what must be true after it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.crash.pg_bench import YEAR, Bench, Command, Ended
from tests.crash.pg_child import RARE_BEATS
from tests.crash.pg_judge import Rows, folded, rows_of, told, troubles
from tests.crash.pg_proxy import Strike, Where

_KILLED = -signal.SIGKILL
_REFUSED, _ATTENTION = 1, 4
_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'renewctl'"
)


@dataclass(frozen=True)
class Job:
    """One strike.

    Attributes:
        number: of the request, from 1.
        what: `kill` the command; `cut`, `silent`, `gone`: its connection (`Strike.link`); kill the `backend`, or
            the whole `server`.
        carry_on: live through the rest of the renewal afterwards.
        beat: seconds between the beats of a run.
    """

    command: Command
    number: int
    where: Where
    what: str
    carry_on: bool = False
    beat: float = RARE_BEATS

    @property
    def quick_beats(self) -> bool:
        """Beats come between the other requests, so the number is not of one certain request."""
        return self.beat != RARE_BEATS

    def __str__(self) -> str:
        return f"{self.what} {self.where} request {self.number} of {self.command.name}"


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        healed: the command said again led to the undisturbed end.
        repeated: it was said again after this very strike; otherwise after another one that had left the same.
        troubles: a line for each thing that was not as it must be.
    """

    job: Job
    struck: bool
    sound: bool
    healed: bool
    repeated: bool
    troubles: tuple[str, ...]


@dataclass(frozen=True)
class Baseline:
    """A command undisturbed: what it asks, what it writes, where it leads."""

    asked: list[str]
    told: list[tuple[str, str, str]]
    folded: str

    @classmethod
    def of(cls, bench: Bench, command: Command) -> Baseline:
        """Run it twice: it must ask the same both times, else a number would not name a request."""
        seen = []
        for _ in range(2):
            bench.back_to(command.before)
            ended = bench.run(command.words)
            rows = rows_of(bench)
            assert ended.code == command.code, (command, ended)
            assert not troubles(bench, rows), command
            seen.append(cls(ended.asked, told(rows), folded(rows)))
        assert seen[0] == seen[1], command
        return seen[0]


@dataclass
class Trials:
    """Judges strikes.

    Attributes:
        remember: where a strike leaves what another has left, do not say the command again.
        endings: how often a command that lived on ended how.
    """

    baselines: Mapping[str, Baseline]
    remember: bool
    endings: Counter[str] = field(default_factory=Counter)
    _known: dict[object, list[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, bench: Bench, job: Job) -> Verdict:
        """Strike, look, say the command again, look again."""
        bench.back_to(job.command.before)
        ended = bench.run(job.command.words, _strike(bench, job), job.beat)
        if job.what == "server":
            bench.cluster.start()
        rows = rows_of(bench)
        struck = ended.struck and (ended.code == _KILLED or job.what != "kill")
        left = [*self._ended_well(job, ended, rows), *troubles(bench, rows)]
        after, repeated = self._said_again(bench, job, rows)
        missed = [] if struck else [f"the request never came, or nobody died: {ended}"]
        return Verdict(job, struck, not left, not after, repeated, (*missed, *left, *after))

    def _ended_well(self, job: Job, ended: Ended, rows: Rows) -> list[str]:
        """The store holds a beginning of what the command writes; one that lived on said what it did."""
        baseline = self.baselines[job.command.name]
        holds = told(rows)
        found = []
        if holds != baseline.told[: len(holds)]:
            found.append(f"neither before nor after: {holds[-3:]}")
        if ended.code == _KILLED:
            return found
        with self._lock:
            self.endings[f"{job.what}: exit {ended.code}"] += 1
        if "Traceback" in ended.err or ended.code not in {job.command.code, _REFUSED, _ATTENTION}:
            found.append(f"exit {ended.code}: {ended.err[-2000:]}")
        elif ended.code == job.command.code and holds != baseline.told:
            found.append("said that it was done, and it was not")
        elif ended.code != job.command.code and "hint: " not in ended.err:
            found.append(f"no clear message: {ended.err[-2000:]}")
        return found

    def _said_again(self, bench: Bench, job: Job, rows: Rows) -> tuple[list[str], bool]:
        """What is wrong after the repeat, and whether this strike had one of its own."""
        known = (job.command.name, tuple(told(rows)), _beside(bench))
        if self.remember and not job.carry_on and not job.quick_beats:
            with self._lock:
                if known in self._known:
                    return self._known[known], False
        found = [*_status(bench, rows), *self._again(bench, job.command)]
        if job.carry_on and not found:
            found = self._rest(bench, job.command)
        with self._lock:
            self._known.setdefault(known, found)
        return found, True

    def _again(self, bench: Bench, command: Command) -> list[str]:
        ended = bench.run(command.words)
        rows = rows_of(bench)
        found = troubles(bench, rows)
        if ended.code not in {command.code, command.again}:
            found.append(f"said again: exit {ended.code}: {ended.err[-2000:]}")
        if folded(rows) != self.baselines[command.name].folded:
            found.append(f"said again, it led elsewhere: {folded(rows)}")
        return found

    def _rest(self, bench: Bench, command: Command) -> list[str]:
        names = [one.name for one in YEAR]
        if command.name == "request":
            bench.download()
        for following in YEAR[names.index(command.name) + 1 :]:
            if found := self._again(bench, following):
                return found
            if following.name == "request":
                bench.download()
        return []


def _beside(bench: Bench) -> object:
    """What a strike left beside the events: rows of the other tables, files for people, what nodes were asked."""
    with bench.admin() as connection:
        state = connection.execute(
            "SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM documents),"
            " (SELECT count(*) FROM runs), (SELECT count(*) FROM runs WHERE ended IS NULL)"
        ).fetchone()
    files = sorted(path.name for path in bench.folder.iterdir() if path.is_file())
    played = bench.played().read_text().count("\n") if bench.played().exists() else 0
    return state, tuple(files), played


def _strike(bench: Bench, job: Job) -> Callable[[Callable[[], int]], Strike]:
    def make(pid: Callable[[], int]) -> Strike:
        acts: Mapping[str, Callable[[], None]] = {
            "kill": lambda: os.kill(pid(), signal.SIGKILL),
            "backend": lambda: _kill_backends(bench),
            "server": bench.cluster.kill,
        }
        link = job.what if job.what in {"silent", "gone"} else "cut"
        return Strike(job.number, job.where, acts.get(job.what, lambda: None), link)

    return make


def _kill_backends(bench: Bench) -> None:
    with bench.admin() as connection:
        for (pid,) in connection.execute(_BACKENDS).fetchall():
            os.kill(pid, signal.SIGKILL)
            return  # the others end with it: the postmaster begins anew


def _status(bench: Bench, rows: Rows) -> list[str]:
    """The next command tells the state as the events do, and calls unknown what is unknown."""
    ended = bench.run(("status", "--offline", "--json"))
    if ended.code not in {0, _ATTENTION}:
        return [f"status: exit {ended.code}: {ended.out} {ended.err}"]
    shown = json.loads(ended.out)["topics"][0]
    renewals = json.loads(folded(rows)).get("tokyo", {"renewals": []})["renewals"]
    latest = renewals[-1] if renewals else None
    got = None if shown["renewal"] is None else shown["renewal"]["phase"]
    found = (
        [] if got == (None if latest is None else latest["phase"]) else [f"status tells {got} of {latest}"]
    )
    unknown = {n for n, s in (latest or {"nodes": {}})["nodes"].items() if s["outcome"] == "unknown"}
    calls = {node["name"] for node in shown["nodes"] if node["state"] == "unknown"}
    return found if unknown <= calls else [*found, f"status does not call {unknown - calls} unknown"]
