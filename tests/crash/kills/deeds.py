"""What is done at one point: kill there, kill and carry on to the end of the year, or let the call fail."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.crash.kills.bench import Bench, Untouched, command
from tests.crash.kills.office import Command
from tests.crash.kills.strace import Done
from tests.crash.kills.truth import with_less

YEAR = ("init --existing", "adopt", "open", "request", "accept", "roll-out", "verify", "close")
"""The commands of a good year, in order, `renewal` left out."""

_ORDERLY = frozenset({1, 4})
"""Exit codes of a command that could not do what was asked: refused or faulty, attention."""


@dataclass(frozen=True)
class Verdict:
    """What came of one point.

    Attributes:
        where: the point, for whoever has to see it again.
        hit: it died, or failed, at that call, after the same calls as the untouched run.
        wrong_now, wrong_after: what is wrong right after, and after the repeat.
        ended: how a command with a failing call ended, in a word or two.
        repeated: `status` was asked, and the command said again, after this very one; otherwise after another one
            that had left the same.
    """

    where: str
    hit: bool
    wrong_now: Sequence[str]
    wrong_after: Sequence[str]
    ended: str = ""
    repeated: bool = True

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return self.hit and not self.wrong_now and not self.wrong_after

    @property
    def failures(self) -> Iterator[str]:
        """One line each."""
        if not self.hit:
            yield f"{self.where}: not hit there"
        yield from (f"{self.where}: right after: {wrong}" for wrong in self.wrong_now)
        yield from (f"{self.where}: repeated: {wrong}" for wrong in self.wrong_after)


Known = MutableMapping[str, tuple[Sequence[str], Sequence[str]]]
"""What a command left, in a word -> what was wrong with `status`, and with the repeat."""


def kill(bench: Bench, untouched: Untouched, at: int, known: Known | None = None) -> Verdict:
    """Kill at a point, look, repeat; `known`: do not repeat where another one left the same."""
    bench.begin(untouched.command)
    done = bench.kill(untouched.command, untouched.points[at])
    hit = done.killed and bench.calls(done) == list(untouched.points[: at + 1])
    wrong_now, wrong_after, repeated = afterwards(bench, untouched, bench.wrong_now(untouched), known)
    return Verdict(_where(untouched, at), hit, wrong_now, wrong_after, repeated=repeated)


def carry(bench: Bench, untouched: Untouched, at: int, year: Any) -> Verdict:
    """Kill at a point, repeat, and go on to the end of the year; `year`: the fold of one that nobody killed."""
    first = kill(bench, untouched, at)
    wrong = list(first.wrong_after)
    for name in _rest(untouched.command.name):
        code = bench.run(command(name)).code
        if code not in {0, 3}:
            wrong.append(f"then {name} ended with {code}")
    told = bench.told()
    if told.folds != year:
        wrong.append(f"the year came to {told.folds}, expected {year}")
    return Verdict(first.where, first.hit, first.wrong_now, wrong)


def fail(bench: Bench, untouched: Untouched, at: int, error: str, known: Known | None = None) -> Verdict:
    """Let a call fail, once or with all after it (`ENOSPC+`), look, repeat where nothing fails any more."""
    point = untouched.points[at]
    bench.begin(untouched.command)
    done = bench.fail(untouched.command, point, error)
    hit = any("(INJECTED)" in line for line in done.lines) and bench.calls(done)[at] == point
    expected = untouched
    if untouched.command.goes_on:
        expected = replace(untouched, after=with_less(untouched.after, bench.copy_told()))
    wrong_now = [*badly_told(untouched, done), *bench.wrong_now(expected)]
    wrong_now, wrong_after, repeated = afterwards(bench, untouched, wrong_now, known)
    ended = "done all the same" if done.code == untouched.code else f"told, exit {done.code}"
    return Verdict(f"{_where(untouched, at)}, {error}", hit, wrong_now, wrong_after, ended, repeated)


def afterwards(
    bench: Bench, untouched: Untouched, wrong_now: Sequence[str], known: Known | None = None
) -> tuple[Sequence[str], Sequence[str], bool]:
    """What is wrong now, `status` asked as well; what is wrong after the repeat; whether both were tried here.

    Where anything was wrong already, they always are.
    """
    command = untouched.command
    word = "" if known is None or wrong_now else f"{command.name} {bench.left(command)}"
    if known is not None and word in known:
        return (*known[word], False)
    told = [*wrong_now, *bench.wrongly_told(command)]
    found = told, bench.wrong_after(untouched, bench.run(command))
    if known is not None and word:
        known[word] = found
    return (*found, True)


def badly_told(untouched: Untouched, done: Done) -> Iterator[str]:
    """What is wrong with how a command ended in which a call failed: one error and its hint, no traceback."""
    lines = [*done.err.splitlines(), ""]
    errors = [at for at, line in enumerate(lines) if line.startswith(("error: ", "needs attention: "))]
    hints = [at for at in errors if lines[at + 1].startswith("  hint: ")]  # warnings have some of their own
    unforeseen = "Traceback" in done.err or "unexpected happened" in done.err
    if done.code == untouched.code:
        told_well = len(errors) == len(hints) == (1 if done.code in _ORDERLY else 0)
    else:
        enough = len(errors) >= 1 if untouched.command.goes_on else len(errors) == 1
        told_well = done.code in _ORDERLY and len(errors) == len(hints) and enough
    if unforeseen or not told_well:
        yield f"ended with {done.code}: {done.err}"


def leads_on(command: Command) -> bool:
    """Whether a year follows from it: `init` writes an inventory without a vendor, the others stand beside."""
    return command.name.removeprefix("renewal ") in {*YEAR, "roll-back"}


def _rest(name: str) -> Sequence[str]:
    """The year's commands after this one; a roll-back is followed by the roll-out again."""
    done = name.removeprefix("renewal ")
    at = YEAR.index("accept" if done == "roll-back" else done)
    return [one if one in YEAR[:2] else f"renewal {one}" for one in YEAR[at + 1 :]]


def _where(untouched: Untouched, at: int) -> str:
    point = untouched.points[at]
    return f"{untouched.command.name}, point {at} of {len(untouched.points)}, {point.name} of {point.kind}"
