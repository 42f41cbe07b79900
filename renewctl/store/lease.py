"""The right to change nodes, while it lasts: beats in the background, and a question before every change.

A holder beats; another takes over only after it has seen no beat for longer than the holder goes on without
one. Each measures on its own clock, and nobody compares two clocks.

The processes a holder starts ask as well, at a file in memory that they inherit: it tells until when changes
may begin. A holder that was stopped and wakes up after a takeover finds its time over, and so do they.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from renewctl.errors import Attention, RenewctlError
from renewctl.reasons import Reason
from renewctl.store.read import Run


@dataclass(frozen=True)
class Timing:
    """The clockwork of runs, in seconds.

    Attributes:
        beat: how often a holder says that it lives.
        lost: a holder that could not say so for this long starts no further change.
        patience: how long another must see no beat before it takes over; well above `lost`.
        look: how often that other one looks.
    """

    beat: float = 5.0
    lost: float = 20.0
    patience: float = 30.0
    look: float = 1.0


class Holder(Protocol):
    """What a lease needs of the store."""

    timing: Timing

    def beat(self, run: Run, /) -> None:
        """Say that the holder lives; `run_lost` where the run is not its own any more."""

    def end_run(self, run: Run, /) -> None:
        """Give the run back."""

    def raise_run(self, run: Run, above: int, /) -> Run:
        """Exchange the run for one of a higher number; `run_lost` where it is not its own any more."""


def _awake_or_not() -> float:
    """Seconds that go on while the machine sleeps: a closed laptop must notice that its run has gone."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A run held by this process: a thread beats, `check` says whether changes may still begin.

    Attributes:
        run: what is held.
        permit: descriptor of the file children ask, little-endian float64: seconds of CLOCK_BOOTTIME.
    """

    def __init__(self, store: Holder, run: Run, *, clock: Callable[[], float] = _awake_or_not) -> None:
        self.run = run
        self._store, self._clock = store, clock
        self._heard = clock()
        self._is_lost = self._is_left = False
        self._exchange = threading.Lock()
        self.permit = os.memfd_create("renewctl-permit")
        self._permit_until(self._heard + store.timing.lost)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def check(self) -> None:
        """Ask before every change.

        Raises:
            Attention: `run_lost`: somebody took over, or may have: no beat was possible for too long.
        """
        if self._is_lost or self._clock() - self._heard >= self._store.timing.lost:
            raise lost(self.run)

    def raise_above(self, number: int) -> None:
        """Go on under a higher number than nodes carry.

        Raises:
            Attention: `run_lost`.
        """
        self.check()
        with self._exchange:
            self.run = self._store.raise_run(self.run, number)

    def leave_unended(self) -> None:
        """What was begun may still be carried out: whoever comes next must wait as for a holder that died."""
        self._is_left = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        # A lease that could not be given back only makes the next holder wait.
        with suppress(RenewctlError):
            if not self._is_left:
                self._store.end_run(self.run)
        os.close(self.permit)

    def _permit_until(self, instant: float) -> None:
        with suppress(OSError):  # no memory for it: children go by the last one, which ends by itself
            os.pwrite(self.permit, struct.pack("<d", instant), 0)

    def _beat(self) -> None:
        while not (self._stop.wait(self._store.timing.beat) or self._is_lost):
            self._beat_once()

    def _beat_once(self) -> None:
        before = self._clock()  # what counts is when it was sent, not when the answer came
        try:
            with self._exchange:
                self._store.beat(self.run)
        except Attention:
            self._is_lost = True
            self._permit_until(0.0)
        except RenewctlError:
            pass  # out of reach: how long is what `check` asks
        else:
            self._heard = before
            self._permit_until(before + self._store.timing.lost)


def held(run: Run) -> Attention:
    """Somebody else has the run."""
    return Attention(
        Reason.RUN_HELD,
        holder=run.holder,
        host=run.host,
        since=run.since,
        run=run.number,
        renewal=run.renewal,
    )


def lost(run: Run) -> Attention:
    """The run is not ours any more, or may not be."""
    return Attention(Reason.RUN_LOST, run=run.number, renewal=run.renewal)
