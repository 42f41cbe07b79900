"""SIGHUP as a request to read everything again.

A thread waits for it, and no handler runs: however many come, at whatever moment, none interrupts, piles up
or ends the process. While one is answered, one more is kept.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("web")


def hold() -> None:
    """Keep a SIGHUP until `answered` takes it. First of all: a thread blocks what its parent does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what is ignored (nohup) is never kept


@contextmanager
def answered(answer: Callable[[], object]) -> Iterator[None]:
    """Call `answer` for a SIGHUP, in a thread of its own; at the end, wait for a call under way.

    Needs `hold`. Afterwards SIGHUP stays held, so that a late one does not end the process halfway.
    """
    leaving = threading.Event()

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            if leaving.is_set():
                return
            try:
                answer()
            except Exception as error:
                log.error("SIGHUP was not answered: %s", type(error).__name__)  # noqa: TRY400 - as in serving
                log.debug("SIGHUP", exc_info=error)

    thread = threading.Thread(target=wait, name="hang-ups")
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        os.kill(os.getpid(), signal.SIGHUP)  # for the thread; where another one has ended it, it stays held
        thread.join()
