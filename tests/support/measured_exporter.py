"""`renewctl-exporter` with a clock that can be moved, and a look inside: `python -m tests.support.measured_exporter FLAGS…`.

A line on standard input is a command, answered by a line of JSON on standard output: `move SECONDS`, `measure` what it
holds, `dump PATH` for a snapshot of tracemalloc, `refuse` to let no look begin, as a system without threads does, `allow`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from exporter import expiry_look, main, node_look, probe, running, store_look
from exporter.status import route

_SAMPLES = 20
_PAUSE_SECONDS = 0.05


class Clock(datetime):
    """What time the exporter thinks it is."""

    moved = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The real one, and what it was moved by."""
        return datetime.now(tz) + cls.moved


_refusing = threading.Event()
_start = threading.Thread.start


def _starting(thread: threading.Thread) -> None:
    """As a system answers that may have no threads left."""
    if _refusing.is_set() and thread.name.startswith("look "):
        raise RuntimeError("can't start new thread")
    _start(thread)


def holds() -> Mapping[str, int]:
    """What this process holds on to: the least of several samples, since looks and scrapes are always under way."""
    samples = [_sample() for _ in range(_SAMPLES)]
    return {name: min(sample[name] for sample in samples) for name in samples[0]}


def _sample() -> dict[str, int]:
    time.sleep(_PAUSE_SECONDS)
    gc.collect()
    threads = [thread.name for thread in threading.enumerate()]
    looking = sum(name.startswith("look ") for name in threads)
    loops = [
        one for one in gc.get_objects() if isinstance(one, asyncio.AbstractEventLoop) and one.is_running()
    ]
    return {
        "traced": tracemalloc.get_traced_memory()[0],
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "looking": looking,
        "threads": len(threads) - looking,
        "tasks": sum(len(asyncio.all_tasks(loop)) for loop in loops),
    }


def _obey() -> None:
    for line in sys.stdin:
        command, *arguments = line.split()
        answer: Mapping[str, int] = {}
        if command == "move":
            Clock.moved += timedelta(seconds=float(arguments[0]))
        elif command == "measure":
            answer = holds()
        elif command == "refuse":
            _refusing.set()
        elif command == "allow":
            _refusing.clear()
        else:
            tracemalloc.take_snapshot().dump(arguments[0])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    for module in (expiry_look, node_look, probe, route, running, store_look):
        module.datetime = Clock  # type: ignore[attr-defined]
    expiry_look._ASKED_SECONDS = 0.0
    threading.Thread.start = _starting  # type: ignore[method-assign]
    tracemalloc.start()
    # As the exporter's own threads do: a SIGHUP that one thread does not block ends the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    threading.Thread(target=_obey, name="measuring", daemon=True).start()
    sys.exit(main.main(sys.argv[1:]))
