"""Kills and errors that fall into a beat: the thread that beats is traced, while the command goes on beside it.

Calls of two threads interleave as chance will have it, so a beat's calls are no row of points as the command's
own are: which of them is struck is drawn by a seed, out of the first few beats.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kills.beating import THREAD, TRACED, WATCH
from tests.crash.kills.bench import Bench, Untouched
from tests.crash.kills.calls import END, Call
from tests.crash.kills.deeds import Verdict, afterwards, badly_told
from tests.crash.kills.strace import SECONDS, Done, failing_at, injected, killed_at

CHILD = "tests.crash.kills.beating"
COMMANDS = ("renewal roll-out", "renewal roll-back")
"""Those that hold a run long enough."""

_BEATS = 5
"""A roll-out of two nodes lasts for more than these."""

KILL = ""


@dataclass(frozen=True)
class Strike:
    """One of them.

    Attributes:
        at: the call of the beating thread.
        error: `ENOSPC`, or `ENOSPC+`; `KILL`.
    """

    untouched: Untouched
    at: Call
    error: str

    def __str__(self) -> str:
        what = self.error or "killed"
        return f"{self.untouched.command.name}, in a beat, {self.at.name} {self.at.nth} of {self.at.kind}, {what}"


def beats(bench: Bench, untouched: Untouched) -> list[Call]:
    """The changing and locking calls of the first few beats of a command."""
    bench.begin(untouched.command)
    calls = [
        call for call in bench.calls(_watched(bench, untouched, ["-e", "trace=all"])) if call.name != END
    ]
    if not calls:
        raise RuntimeError(f"{untouched.command.name}: no beat came")
    # A beat begins with the same call on the same file as the first one did.
    begins = [at for at, call in enumerate(calls) if call.place == calls[0].place]
    return calls[: begins[min(_BEATS * _per_beat(calls), len(begins) - 1)]]


def _per_beat(calls: Sequence[Call]) -> int:
    """How often a beat makes the call it begins with: the journal is taken away once a beat."""
    ends = next(at for at, call in enumerate(calls) if call.name.startswith("unlink"))
    return sum(call.place == calls[0].place for call in calls[: ends + 1])


def strikes(
    bench: Bench, commands: Sequence[Untouched], dice: random.Random, kills: int, errors: Sequence[str]
) -> list[Strike]:
    """So many kills, and one for each of these errors."""
    chosen = [(each, beats(bench, each)) for each in commands if each.command.name in COMMANDS]
    found = []
    for error in [KILL] * kills + list(errors):
        untouched, calls = dice.choice(chosen)
        found.append(Strike(untouched, dice.choice(calls), error))
    return found


def strike(bench: Bench, one: Strike) -> Verdict:
    """Strike, look, repeat."""
    untouched, kill = one.untouched, one.error == KILL
    bench.begin(untouched.command)
    what = [killed_at(one.at)] if kill else failing_at(one.at, one.error)
    done = _watched(bench, untouched, injected(*what))
    wrong_now = [] if kill else list(badly_told(untouched, done))
    wrong_now, wrong_after, _ = afterwards(bench, untouched, [*wrong_now, *bench.wrong_now(untouched)])
    ended = "" if kill else "done all the same" if done.code == untouched.code else f"told, exit {done.code}"
    return Verdict(str(one), _hit(bench, one, done), wrong_now, wrong_after, ended)


def _hit(bench: Bench, one: Strike, done: Done) -> bool:
    """The beating thread died at that call, or was told there that it failed."""
    same = [call for call in bench.calls(done) if (call.name, call.nth) == (one.at.name, one.at.nth)]
    if one.error == KILL:
        return done.killed and bool(same) and bench.calls(done)[-1] == same[0]
    return any("(INJECTED)" in line for line in done.lines)


def _watched(bench: Bench, untouched: Untouched, choice: Sequence[str]) -> Done:
    """The command, its beating thread under strace."""
    here = bench.nodes.parent
    (here / WATCH).touch()
    try:
        return bench.forks.in_thread(
            bench.office, bench.words(untouched.command), choice, lambda: _thread(here), (here / TRACED).touch
        )
    finally:
        for name in (WATCH, THREAD, TRACED):
            (here / name).unlink(missing_ok=True)


def _thread(here: Path) -> int:
    ends = time.monotonic() + SECONDS
    while not (here / THREAD).exists():
        if time.monotonic() > ends:
            raise RuntimeError("nobody beats")
        time.sleep(0.005)
    return int((here / THREAD).read_text())
