"""`child` with real beats: they come every few milliseconds, while the pretended playbooks take their time.

Where `beats.Watch` asks for it, the beating thread waits until it is traced, and the playbooks wait for it: so
that calls are counted from the first beat on.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from renewctl.playbook_run import Ended
from renewctl.store import lease
from tests.crash.kills import child, nodes

BEATS = lease.Timing(beat=0.004, lost=600.0, patience=0.5, look=0.02)
WATCH, THREAD, TRACED = "watch", "thread", "traced"
"""Files beside the nodes' folder: there is a watcher; who beats; the watcher is ready."""

_PAUSE = 0.04
"""Seconds before each event of a playbook: several beats."""

_LONGEST = 60.0
_ready = threading.Event()


def play(folder: Path) -> Callable[..., Ended]:
    """The pretended playbooks, at the pace of real beats."""
    at_once = nodes.play(folder)

    def run(*words: Any, on_event: Callable[[Any], None], **options: Any) -> Ended:
        _ready.wait(_LONGEST)

        def slowly(event: Any) -> None:
            time.sleep(_PAUSE)
            on_event(event)

        return at_once(*words, on_event=slowly, **options)

    return run


def beat_watched(here: Path, beat: Callable[[lease.Lease], None], held: lease.Lease) -> None:
    """What the thread of a lease does: wait for the watcher where there is one, then beat."""
    if (here / WATCH).exists():
        beside = here / f"{THREAD}.new"
        beside.write_text(str(threading.get_native_id()))
        beside.replace(here / THREAD)
        ends = time.monotonic() + _LONGEST
        while not (here / TRACED).exists() and time.monotonic() < ends:
            time.sleep(0.005)
    _ready.set()
    beat(held)


def main(words: list[str]) -> int:
    """As `child.main`."""
    here, beat = Path(words[0]).parent, lease.Lease._beat
    lease.Lease._beat = lambda held: beat_watched(here, beat, held)  # type: ignore[method-assign]
    child.QUIET_RUNS, child.play = BEATS, play
    return child.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
