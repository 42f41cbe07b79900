"""Processes that share the work, and how all of them are ended before its time.

Whoever is told to end (SIGTERM; at the top Ctrl-C as well) leaves by SystemExit from where it is, so that each
`finally` takes down what it had built; its own workers are told first, and waited for. What is still there after
that is killed with all below it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

PATIENCE = 20.0
"""Seconds a worker has to take down what it built: a world of namespaces and servers takes a few."""


class Workers(ProcessPoolExecutor):
    """A pool that ends at once, and in order, where its block is left by SystemExit.

    Args:
        count: of processes.
        start: how they are started; None: as Python does.
        patience: seconds they have to end; longer where they have workers of their own.
        initializer: called in each of them with `initargs`.
    """

    def __init__(
        self,
        count: int,
        *,
        start: str | None = None,
        patience: float = PATIENCE,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        arguments = (initializer, initargs)
        super().__init__(count, mp_context=get_context(start), initializer=_begin, initargs=arguments)
        self._patience = patience

    def submit(self, run: Callable[..., Any], /, *words: Any, **more: Any) -> Future[Any]:
        """As any pool; `map` comes this way too."""
        return super().submit(_unless_ended, run, *words, **more)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Wait for the work; where it is to end before its time, for the workers alone."""
        if kind is not None and not issubclass(kind, Exception):
            self._end()
        return super().__exit__(kind, error, trace)

    def _end(self) -> None:
        workers = list((self._processes or {}).values())
        self.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        ends = time.monotonic() + self._patience
        left = {worker.sentinel: worker for worker in workers}
        while left and (seconds := ends - time.monotonic()) > 0:
            ended = wait(list(left), seconds)
            left = {sentinel: worker for sentinel, worker in left.items() if sentinel not in ended}
        for worker in left.values():
            assert worker.pid is not None
            kill_with_all_below(worker.pid)


def leave_when_told() -> None:
    """From now on SIGTERM, and Ctrl-C unless it is ignored (a run in the background), raise SystemExit here."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def kill_with_all_below(pid: int) -> None:
    """Kill a process and everything it started, also what has a session of its own."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # it starts nothing meanwhile
    for child in _children(pid):
        kill_with_all_below(child)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _begin(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, _leave)
    if initializer is not None:
        initializer(*initargs)


def _unless_ended(run: Callable[..., Any], /, *words: Any, **more: Any) -> Any:
    """A pool hands what a task raised to whoever asked, and its process takes the next one: not after this."""
    try:
        return run(*words, **more)
    except SystemExit as end:
        os._exit(int(end.code or 0))


def _leave(number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # told twice: what is being taken down is taken down
    raise SystemExit(128 + number)  # as shells say


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found
