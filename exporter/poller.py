"""Asks each node, and the store, on its own clock: a slow one delays nobody, none is asked twice at once."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from exporter.snapshot import Snapshot
from exporter.vital import vital_thread

log = logging.getLogger("exporter")

Change = Callable[[Snapshot], Snapshot]
"""What a look learned, as a change of the snapshot. Quick and pure but for logging."""

LOOK_SECONDS = 30
"""Then an answer is overdue: the node counts as silent and its place is given to others."""

CONCURRENCY = 16
"""Looks under way that are not overdue; each is a thread that waits."""

LONGEST_BACKOFF = 8
"""A node that has been silent for long is asked at every so many intervals."""

LONGEST_PAUSE = 900.0
"""Seconds: but not less often than this, unless the interval itself is longer. A round has to end well within
the 1800 s that RenewctlExporterStale gives it."""

_SPREAD_SECONDS = 0.02
"""First looks begin this far apart on average: a thousand nodes are not asked in one instant."""

_JITTER = 0.1


class Look(Protocol):
    """Something to ask again and again.

    Attributes:
        least_seconds: between two looks that told something, however short the interval is.
    """

    least_seconds: float

    @property
    def question(self) -> object:
        """Equal to another look's where both ask the same of the same."""

    def look(self) -> Change:
        """Ask once; may take long; never raises."""

    def overdue(self) -> Change:
        """What to publish while an answer is overdue."""

    def silent(self, snapshot: Snapshot) -> bool:
        """Whether the last look got no answer, or was refused: then it is asked less often."""


@dataclass
class _UnderWay:
    look: Look
    deadline: float
    overdue: bool = False


class Poller:
    """Keeps the snapshot fresh.

    Args:
        looks: name -> what to ask. Names of nodes, and one of the caller's choice for the store.
        snapshot: what is known at the start.
        interval: seconds between two looks at the same thing.
        changed: told, without arguments, after each change of `snapshot`.
    """

    def __init__(
        self, looks: Mapping[str, Look], snapshot: Snapshot, interval: float, changed: Callable[[], None]
    ) -> None:
        self.snapshot = snapshot
        self._looks: Mapping[str, Look] = {}
        self._interval = interval
        self._changed = changed
        self._random = random.Random()  # noqa: S311 - jitter
        self._due: list[tuple[float, str]] = []
        self._under_way: dict[str, _UnderWay] = {}
        self._silent_looks: dict[str, int] = {}
        self._unasked: set[str] = set()
        self._leaving = False
        self._wake = threading.Condition()
        self._refused = False
        self._thread = vital_thread("poller", self._run)
        self._take(looks)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing new; looks under way are left to end with the process."""
        with self._wake:
            self._leaving = True
            self._wake.notify()
        self._thread.join()

    def change_to(self, looks: Mapping[str, Look], fitted: Callable[[Snapshot], Snapshot]) -> None:
        """Go on with other looks.

        What asks the same as before keeps its time, however often this is called; a long pause after silence
        ends early. A look under way is waited for before its name is asked again.

        Args:
            looks: as at the start.
            fitted: the snapshot, as far as the new looks are about it.
        """
        with self._wake:
            self.snapshot = fitted(self.snapshot)
            self._take(looks)
            self._wake.notify()

    @property
    def all_asked(self) -> bool:
        """Everything has answered or failed once since the start."""
        return not self._unasked

    def _take(self, looks: Mapping[str, Look]) -> None:
        now = time.monotonic()
        before, due = self._looks, {name: at for at, name in self._due}
        same = {name for name in looks if name in before and before[name].question == looks[name].question}
        spread = min(self._interval, _SPREAD_SECONDS * (len(looks) - len(same)))
        self._looks = looks
        self._due = []
        for name, look in looks.items():
            if name in self._under_way:
                continue  # due when that has ended
            first = now + self._random.random() * spread
            usual = now + max(self._interval, look.least_seconds)
            self._due.append((min(due[name], usual) if name in same else first, name))
        heapq.heapify(self._due)
        self._silent_looks = {name: self._silent_looks[name] if name in same else 0 for name in looks}
        self._unasked = {name for name in looks if name not in same or name in self._unasked}

    def _run(self) -> None:
        with self._wake:
            while not self._leaving:
                now = time.monotonic()
                self._note_overdue(now)
                self._begin_due(now)
                next_event = self._next_event()
                self._wake.wait(None if next_event is None else max(next_event - time.monotonic(), 0.001))

    def _begin_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now and self._places() > 0:
            _, name = heapq.heappop(self._due)
            if not self._begun(name, now):
                heapq.heappush(self._due, (now + self._interval, name))

    def _begun(self, name: str, now: float) -> bool:
        """Whether the look has a thread; the system may have none left, for a while."""
        look = self._looks[name]
        thread = threading.Thread(target=self._look, args=(name, look), name=f"look {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._refused:
                log.warning("looks cannot begin and are tried again: %s", error)
            self._refused = True
            return False
        self._refused = False
        self._under_way[name] = _UnderWay(look, now + LOOK_SECONDS)
        return True

    def _note_overdue(self, now: float) -> None:
        for name, under_way in self._under_way.items():
            if under_way.deadline <= now:
                under_way.overdue = True
                # Say it again at each interval: that we still watch is a fact with a time, too.
                under_way.deadline = now + self._interval
                if name in self._looks:
                    self._apply(name, self._looks[name].overdue())

    def _look(self, name: str, look: Look) -> None:
        change = look.look()
        with self._wake:
            if self._leaving:
                return
            del self._under_way[name]
            now = self._looks.get(name)
            if now is not None:
                pause = 0.0  # what was asked is not what is to be asked now
                if now.question == look.question:
                    self._apply(name, change)
                    pause = self._pause(name)
                heapq.heappush(self._due, (time.monotonic() + pause, name))
            self._wake.notify()

    def _apply(self, name: str, change: Change) -> None:
        try:
            self.snapshot = change(self.snapshot)
        except Exception as error:
            # What is known stays, and so does the place in the queue: whatever one look causes stays with it.
            # No traceback: it may hold what a node sent.
            log.error("what a look at %s told cannot be taken: %s", name, type(error).__name__)  # noqa: TRY400
            log.debug("%s", name, exc_info=error)
        self._unasked.discard(name)
        self._changed()

    def _pause(self, name: str) -> float:
        silent = self._looks[name].silent(self.snapshot)
        count = self._silent_looks[name] + 1 if silent else 0
        self._silent_looks[name] = count
        # The first silent look is repeated at the usual interval.
        times = min(1 << max(count - 1, 0), LONGEST_BACKOFF)
        seconds = max(self._interval, min(self._interval * times, LONGEST_PAUSE))
        if not silent:
            seconds = max(seconds, self._looks[name].least_seconds)
        return seconds * self._random.uniform(1 - _JITTER, 1 + _JITTER)

    def _places(self) -> int:
        return CONCURRENCY - sum(not under_way.overdue for under_way in self._under_way.values())

    def _next_event(self) -> float | None:
        times = [under_way.deadline for under_way in self._under_way.values()]
        if self._due and self._places() > 0:
            times.append(self._due[0][0])
        return min(times, default=None)
