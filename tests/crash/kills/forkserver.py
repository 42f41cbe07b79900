"""Runs commands in forks of a process that has imported everything: importing takes longer than all the rest.

Jobs come as JSON lines on stdin, answers go to stdout. Needs nothing but the standard library, so that other
programs' interpreters can run it too.
"""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

UMASK = 0o077
"""Strict, so that a mode which is only set in a second step is seen to be missing."""

_OPEN = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def serve(gate: int, commands: Iterator[Callable[[list[str]], int]]) -> int:
    """Fork a child for each job; tell its process id, then how it ended.

    Args:
        gate: a descriptor; a child that is to be traced waits until it can read a byte there.
        commands: takes the words of a command line, gives its exit code; one for each job.
    """
    gc.freeze()
    for line in sys.stdin:
        job, command = json.loads(line), next(commands)
        # Opened here: what a child opens before it is traced would be counted by chance.
        streams = [os.open(name, _OPEN, 0o600) for name in (os.devnull, job["out"], job["err"])]
        child = os.fork()
        if child == 0:
            _run(job, gate, streams, command)
        for stream in streams:
            os.close(stream)
        _tell({"child": child})
        _, status = os.waitpid(child, 0)
        _tell({"ended": os.waitstatus_to_exitcode(status)})
    return 0


def _run(
    job: dict[str, Any], gate: int, streams: Sequence[int], command: Callable[[list[str]], int]
) -> NoReturn:
    os.chdir(job["folder"])
    os.umask(UMASK)
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout, sys.stderr = _talk(1), _talk(2)
    if job["gate"]:
        os.read(gate, 1)
    try:
        code = command(job["words"])
    except BaseException:  # noqa: BLE001 - or the fork would go on as a second server
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Aside(io.RawIOBase):
    """A command's talk goes by writev(2), so that a disk which stays full does not silence it: no terminal fills up."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return os.writev(self._number, [data])


def _talk(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(_Aside(number)), encoding="utf-8", line_buffering=True)


def _tell(answer: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
