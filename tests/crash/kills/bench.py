"""Where commands are killed: an office of its own, put into any saved state, and a server to fork from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Self

from tests.crash.kills import left, office, truth, upkeep
from tests.crash.kills.calls import Call, calls_in
from tests.crash.kills.office import COMMANDS, Command
from tests.crash.kills.strace import Done, Forks, alone
from tests.crash.kills.truth import Told
from tests.crash.kills.upkeep import SCHEMA_2


@dataclass(frozen=True)
class Untouched:
    """A command that nobody killed.

    Attributes:
        code, again: exit codes of the command, and of the same one repeated.
        before, after: what the store told.
        points: its changing and locking calls.
    """

    command: Command
    code: int
    again: int
    before: Told
    after: Told
    points: Sequence[Call]


class Bench:
    """One office to work in. Every bench has its own; saved states are shared, and only read.

    Args:
        folder: of this bench alone, on a file system in memory: syncing must not cost a disk's time.
        saved: where states are saved, one folder a command.
        child: the module that runs commands.
    """

    def __init__(self, folder: Path, saved: Path, child: str = "tests.crash.kills.child") -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.office, self.nodes = folder / "work" / "office", folder / "work" / "nodes"
        self._work, self._copy, self._log = folder / "work", folder / "copy", folder / "alone"
        self.saved = saved
        self._child = [sys.executable, "-m", child, str(self.nodes)]
        self.forks = Forks(folder / "forks", self._child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.forks.close()

    def begin(self, command: Command) -> None:
        """The state in which a command begins."""
        office.copy(self.saved / self._start(command), self._work)

    def save(self, name: str) -> None:
        """Keep this state as the end of a command."""
        office.copy(self._work, self.saved / name)

    def furnish(self) -> None:
        """Save the states in which nothing was done yet."""
        for bare in (False, True):
            shutil.rmtree(self._work, ignore_errors=True)
            office.furnish(self.office, bare=bare)
            self.nodes.mkdir()
            self.save(f"nothing {bare}")

    def words(self, command: Command) -> tuple[str, ...]:
        """The command line after `renewctl`."""
        world = (command.world,) if command.world else ()
        return (*world, *command.name.split(), *command.words)

    def run(self, command: Command) -> Done:
        """As typed; the download is brought before it is asked for."""
        self._bring(command)
        return self.forks.run(self.office, self.words(command))

    def kill(self, command: Command, at: Call) -> Done:
        """Killed as it enters a call."""
        self._bring(command)
        return self.forks.kill(self.office, self.words(command), at)

    def fail(self, command: Command, at: Call, error: str) -> Done:
        """A call of it fails: once, or (`ENOSPC+`) it and all after it."""
        self._bring(command)
        return self.forks.fail(self.office, self.words(command), at, error)

    def calls(self, done: Done) -> list[Call]:
        """The changing and locking calls of a traced run."""
        return calls_in(done.lines, str(self.office), office.kind_of)

    def told(self) -> Told:
        """What the store tells now, as the command line reads it."""
        return truth.told(truth.read(self.office, recover=True))

    def copy_told(self) -> Told:
        """The same of a copy, so that nothing is rolled back here."""
        return truth.told(truth.read(self._copied(), recover=True))

    def untouched(self, command: Command) -> Untouched:
        """Run a command through: twice in a row, and watched, forked and alone; saves its end.

        Raises:
            RuntimeError: it does not end as it must; or forked and alone it does not make the same calls, or
                other threads make some.
        """
        self._get_ready(command)
        before = self.told()
        done = self.run(command)
        with self._reading(command, lambda: self.office):
            after = self.told()
        if done.code != command.ends or list(self._promised(command)):
            raise RuntimeError(f"{command.name} untouched ended with {done.code}: {done.err}")
        self.save(command.name)
        again = self.run(command).code
        with self._reading(command, lambda: self.office):
            if self.told().folds != after.folds:
                raise RuntimeError(f"{command.name} repeated leads to another state")
        self.begin(command)
        self._bring(command)
        points = self.calls(self.forks.watch(self.office, self.words(command)))
        self._require_same(command, points)
        return Untouched(command, command.ends, again, before, after, points)

    def wrong_now(self, untouched: Untouched) -> list[str]:
        """What is wrong right after a kill. Looks at a copy: the repeat must mend the real thing."""
        command, before, after = untouched.command, untouched.before, untouched.after
        with self._reading(command, self._copied):
            seen = self._copied()
            return [
                *truth.exporter_sees(seen, before, after),
                *truth.owner_sees(seen, before, after),
                *command.always(seen),
            ]

    def left(self, command: Command) -> str:
        """What was left here, in a word (`left.left`). Of use when `wrong_now` has looked, and found nothing wrong."""
        return left.left(self._work, self._copy, left.contents(self.saved / self._start(command)))

    def wrongly_told(self, command: Command) -> list[str]:
        """What `renewctl status` gets wrong, as things are in the copy that `wrong_now` has looked at."""
        if not (self._copy / "renewctl.yaml").exists():
            return []
        with self._reading(command, lambda: self._copy):
            return self._status(command, truth.told(truth.read(self._copy, recover=True)))

    def wrong_after(self, untouched: Untouched, done: Done) -> list[str]:
        """What is wrong after the repeat."""
        wrong = []
        if done.code not in {untouched.code, untouched.again} or "Traceback" in done.err:
            wrong.append(f"the repeat ended with {done.code}: {done.err[-500:]}")
        with self._reading(untouched.command, lambda: self.office):
            told = self.told()
            if told.folds != untouched.after.folds:
                wrong.append(f"the repeat led to {told.folds}, expected {untouched.after.folds}")
            wrong += truth.owner_sees(self.office, told, told)
        return [*wrong, *self._promised(untouched.command)]

    def _promised(self, command: Command) -> Iterator[str]:
        """What a command that came to its end promised, and is not so."""
        yield from command.always(self.office)
        yield from command.done(self.office)

    def _copied(self) -> Path:
        office.copy(self.office, self._copy)
        return self._copy

    @contextmanager
    def _reading(self, command: Command, seen: Callable[[], Path]) -> Iterator[None]:
        """Read as the renewctl of the store's schema does, where a command changes that; to ask it, rolls back."""
        changes = command.world == SCHEMA_2
        with truth.as_of(upkeep.schema(seen() / office.STORE)) if changes else nullcontext():
            yield

    def _start(self, command: Command) -> str:
        """The name of the state in which a command begins."""
        if command.begins is not None:
            return f"ready for {command.name}"
        return command.before or f"nothing {command.name == 'init'}"

    def _get_ready(self, command: Command) -> None:
        if command.begins is not None:
            office.copy(self.saved / str(command.before), self._work)
            command.begins(self.office)
            self.save(self._start(command))
        self.begin(command)

    def _status(self, command: Command, told: Told) -> list[str]:
        """What `renewctl status` gets wrong; after an upgrade it is the new renewctl that is asked."""
        new = command.world == SCHEMA_2 and upkeep.schema(self._copy / office.STORE) == 2
        done = self.forks.run(self._copy, (*[SCHEMA_2] * new, "status", "--offline", "--json"))
        if done.code not in {0, 4}:
            return [f"status ended with {done.code}: {done.out}{done.err}"]
        shown = json.loads(done.out)["topics"][0]["renewal"]
        fold = told.folds.get(office.RENEWAL)
        expected = None if fold is None else fold["phase"]
        got = None if shown is None else shown["phase"]
        return [] if got == expected else [f"status says {got}, the events say {expected}"]

    def _bring(self, command: Command) -> None:
        if office.DOWNLOAD in command.words and not (self.office / office.DOWNLOAD).exists():
            office.bring_download(self.office)

    def _require_same(self, command: Command, points: Sequence[Call]) -> None:
        self.begin(command)
        self._bring(command)
        plain = [sys.executable, "-m", "renewctl"]
        program = [*(self._child if command.plays or command.world else plain), *self.words(command)]
        threads = alone(program, self.office, self._log)
        first, *others = [calls_in(lines, str(self.office), office.kind_of) for lines in threads]
        if [call.place for call in first] != [call.place for call in points] or any(others):
            raise RuntimeError(f"{command.name}: {_difference(first, points)}; other threads: {others}")


def _place(call: Call | None) -> tuple[str, str] | None:
    return call and call.place


def _difference(alone: Sequence[Call], forked: Sequence[Call]) -> str:
    """Where the calls of a process of its own and of a fork part."""
    pairs = zip_longest(alone, forked)
    at, pair = next(
        ((at, pair) for at, pair in enumerate(pairs) if _place(pair[0]) != _place(pair[1])), (0, ())
    )
    return f"alone {len(alone)} calls, forked {len(forked)}; number {at}: {pair}"


def command(name: str) -> Command:
    """By its name."""
    return next(one for one in COMMANDS if one.name == name)
