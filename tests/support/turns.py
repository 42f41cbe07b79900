"""Several people's commands at once, without chance: each is a thread that halts wherever another could come in between.

A command halts before each look at the store and each change of it, before a playbook and before each node's
turn in it, and while it watches somebody else's run; it goes on when the test says so. Time is the test's, and
passes for all at once: whoever lives and is not stopped beats every five seconds, as the lease's own thread would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from renewctl.cli.context import Session
from renewctl.cli.workplace import workplace
from renewctl.errors import RenewctlError
from renewctl.renewal.events import Event, Kind
from renewctl.store.lease import Lease, Timing
from renewctl.store.read import Run
from renewctl.store.write import Stamp, Store
from renewctl.workflow.workplace import Workplace

TIMING = Timing(beat=5.0, lost=20.0, patience=30.0, look=6.0)
_LONGEST = 60.0
"""Seconds a command may take from one halt to the next before the test gives it up."""

Act = Callable[[Workplace], object]
_HERE = threading.local()


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing more is done or written."""


@dataclass
class Clock:
    """The test's time, in seconds, and who beats as it passes."""

    now: float = 1000.0
    leases: dict[TurnLease, Person] = field(default_factory=dict)

    def passes(self, seconds: float) -> None:
        """So many seconds go by; those who are stopped do not notice."""
        self.now += seconds
        for lease, person in list(self.leases.items()):
            if not person.stopped and self.now - lease.beaten >= TIMING.beat:
                lease.beaten = self.now
                lease._beat_once()


class TurnLease(Lease):
    """A lease that beats when the test's time passes."""

    def __init__(self, store: Store, run: Run, person: Person) -> None:
        super().__init__(store, run, clock=lambda: person.clock.now)
        self.beaten = person.clock.now

    def _beat(self) -> None:
        """The thread has nothing to do."""
        self._stop.wait()


class TurnStore(Store):
    """The real store; whoever uses it halts before each use."""

    def __init__(self, url: str) -> None:
        self.person: Person = _HERE.person
        clock = self.person.clock
        super().__init__(url, timing=TIMING, monotonic=lambda: clock.now, sleep=self.person.sleeps)

    def renewals(self) -> dict[str, list[Event]]:
        """Read."""
        self.person.halts("reads")
        return super().renewals()

    def newest_run(self) -> Run | None:
        """Who is, or was last, at work."""
        run = super().newest_run()
        self.person.halts("has looked for a run")
        return run

    def append(
        self, renewal: str, kind: Kind, body: Mapping[str, Any], *, stamp: Stamp, **more: Any
    ) -> Event:
        """Write."""
        self.person.halts(f"writes {kind}")
        return super().append(renewal, kind, body, stamp=stamp, **more)

    def begin_run(self, renewal: str, stamp: Stamp, **more: Any) -> Run:
        """Take the run; its number is told to the test."""
        run = super().begin_run(renewal, stamp, **more)
        self.person.numbers.append(run.number)
        return run

    def raise_run(self, run: Run, above: int) -> Run:
        """Exchange it, at once: the lease's own lock is held."""
        raised = super().raise_run(run, above)
        self.person.numbers.append(raised.number)
        return raised

    def end_run(self, run: Run) -> None:
        """Give it back, unless whoever held it is dead."""
        if not self.person.killed:
            self.person.halts("ends its run", dies=False)
        if not self.person.killed:
            super().end_run(run)

    def lease(self, renewal: str, stamp: Stamp, **more: Any) -> Lease:
        """A lease on the test's clock."""
        lease = TurnLease(self, self.begin_run(renewal, stamp, **more), self.person)
        self.person.clock.leases[lease] = self.person
        return lease


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        refused: the error it ended with; None: it did what was asked.
        broke: anything else that was raised: a fault of the product, or a claim of the test that failed.
    """

    name: str
    refused: RenewctlError | None = None
    broke: BaseException | None = None


@dataclass(eq=False)
class Person:
    """Somebody with a terminal on a host of their own: at most one command at a time.

    Attributes:
        numbers: of every run anybody began, in order; shared by all.
        at: where the command halts; "" while there is none.
    """

    name: str
    clock: Clock
    numbers: list[int]
    at: str = ""
    stopped: bool = False
    killed: bool = False
    ended: list[Ended] = field(default_factory=list)
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def holds(self) -> bool:
        """A run is held, or was until somebody took over."""
        return self in self.clock.leases.values()

    def begins(self, name: str, act: Act) -> None:
        """Type a command; it halts before it does anything."""
        assert not self.at
        self.at = "begins"
        threading.Thread(target=self._run, args=(name, act), daemon=True).start()

    def goes_on(self, halts: int = 1) -> None:
        """Past so many halts, or to the end."""
        while self.at and halts:
            halts -= 1
            self._go.release()
            assert self._back.acquire(timeout=_LONGEST), f"{self.name} hangs after {self.at}"

    def is_killed(self) -> None:
        """SIGKILL, wherever it halts."""
        self.killed = True
        while self.at:
            self.goes_on()
        self.killed = self.stopped = False

    def halts(self, where: str, *, dies: bool = True) -> None:
        """Called by the command: others may come first."""
        if not self.killed:
            self.at = where
            self._back.release()
            self._go.acquire()
        if self.killed and dies:
            raise Killed

    def sleeps(self, seconds: float) -> None:
        """Called by the command: time passes, and others may act."""
        if not self.killed:
            self.clock.passes(seconds)
        self.halts("sleeps")

    def _run(self, name: str, act: Act) -> None:
        _HERE.person = self
        self._go.acquire()
        ended = Ended(name)
        try:
            if not self.killed:
                with workplace(Terminal(self.name)) as work:
                    act(work)
        except RenewctlError as error:
            ended.refused = error
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the test
            ended.broke = error
        for lease in [one for one, holder in self.clock.leases.items() if holder is self]:
            del self.clock.leases[lease]
        if not self.killed:
            self.ended.append(ended)
        self.at = ""
        self._back.release()


class Alone(Person):
    """Somebody who is not disturbed: nobody else's command goes on meanwhile."""

    def halts(self, where: str, *, dies: bool = True) -> None:
        """Nobody could come in between."""

    def acts(self, act: Callable[[], None]) -> None:
        """At once, to its end, on this very thread."""
        _HERE.person = self
        act()


class Terminal(Session):
    """A session of somebody else's than whoever runs the test."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def actor(self) -> str:
        """`user@host`."""
        return f"{self.name}@{self.name}-host"


def here() -> Person:
    """Whose command runs on this thread."""
    person: Person = _HERE.person
    return person
