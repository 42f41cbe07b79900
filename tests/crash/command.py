"""A command that is watched while it runs, and may be killed at a moment of somebody's choice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_AS_TYPED = ("env", "--default-signal=INT")
"""A run in the background ignores SIGINT, and so would its children: then a Ctrl-C would be none."""


class Command:
    """One running command, in a process group of its own.

    Attributes:
        began: when, by the monotonic clock.
        lines: its talk so far: when, and the line.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        talks_on_stdout: bool = False,
    ) -> None:
        self.lines: list[tuple[float, str]] = []
        self._told = threading.Condition()
        self._out: list[str] = []
        self.process = subprocess.Popen(
            [*_AS_TYPED, *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.began = time.monotonic()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        streams = ((self.process.stdout, talks_on_stdout), (self.process.stderr, True))
        self._readers = [threading.Thread(target=self._read, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()

    @property
    def out(self) -> str:
        """Its standard output."""
        return "".join(self._out)

    @property
    def talk(self) -> str:
        """Everything it told, as one text."""
        return "\n".join(line for _, line in self.lines)

    def wait_lines(self, count: int, seconds: float) -> bool:
        """Wait until it told so many lines; False where it ended, or the time did, before that."""
        ends = time.monotonic() + seconds
        with self._told:
            while len(self.lines) < count:
                if self.process.poll() is not None or time.monotonic() > ends:
                    return False
                self._told.wait(0.05)
        return True

    def wait_word(self, word: str, seconds: float) -> bool:
        """Wait until it told a line with this word in it."""
        ends = time.monotonic() + seconds
        while not any(word in line for _, line in list(self.lines)):
            if self.process.poll() is not None or time.monotonic() > ends:
                return False
            time.sleep(0.01)
        return True

    def kill(self, how: signal.Signals, *, group: bool) -> bool:
        """Send a signal to the process, or to its whole group; False where it has ended before."""
        if self.process.poll() is not None:
            return False
        (os.killpg if group else os.kill)(self.process.pid, how)
        return True

    def wait(self, seconds: float) -> int:
        """Its exit code; a grandchild that holds its output open is not waited for."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(0.5)
        return code

    def _read(self, stream: IO[str], is_talk: bool) -> None:
        with stream:
            for line in stream:
                if not is_talk:
                    self._out.append(line)
                    continue
                with self._told:
                    self.lines.append((time.monotonic(), line.rstrip()))
                    self._told.notify_all()
