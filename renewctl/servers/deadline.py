"""One deadline for whatever is done over connections."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

_LOOK_SECONDS = 1.0
"""The watcher's longest sleep while a deadline runs. It sleeps on a clock that stands still with the machine:
what ended while that was suspended is ended this much after it wakes up, not after all that was left."""

_GIVE_UP, _SEE_TO_IT = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""What becomes of bytes under way when a socket is closed (socket(7), SO_LINGER)."""


def _now() -> float:
    """Seconds that go on while the machine sleeps: whoever waits out our deadline does not sleep with us."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """Ends whatever its connections are doing once the time is up.

    A timeout of requests is one for each read: a server that drips a byte now and then never meets it.
    Shutting the socket down from another thread ends handshake, headers and body alike. (A slow resolver or
    several dead addresses may take longer; the connection is then closed before anything is sent.)

    Attributes:
        expired: the time was up.
        ends: when it is, in seconds of CLOCK_BOOTTIME; infinity while nothing is waited for.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.ends = math.inf
        self._seconds = seconds
        self._sockets: list[socket.socket] = []

    def watch(self, connection: socket.socket) -> socket.socket:
        """Take a new connection under watch.

        What was sent and has not arrived is given up when the time is up or this process dies: by itself the
        kernel goes on trying for a quarter of an hour (tcp(7), tcp_retries2), and a cable mended meanwhile
        would bring a node a pair that nobody waits for any more.
        """
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _GIVE_UP)
        with _watcher.lock:
            # A duplicate: TLS takes the descriptor out of the object it wraps.
            self._sockets.append(connection.dup())
            if self.expired:
                _shut_down(connection)
        return connection

    def rest(self) -> None:
        """Nothing is waited for; the connections stay."""
        self.ends = math.inf

    def again(self) -> None:
        """The whole time anew, for what comes next over the same connections."""
        self.ends = _now() + self._seconds
        _watcher.begin(self)

    def insist(self) -> None:
        """End it now if its time is up, though the watcher may still sleep."""
        with _watcher.lock:
            if self.ends <= _now():
                self.expire()

    def expire(self) -> None:
        """The time is up; called under the watcher's lock."""
        self.expired = True
        for connection in self._sockets:
            _shut_down(connection)

    def __enter__(self) -> Self:
        self.again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watcher.end(self)
        for connection in self._sockets:
            if not self.expired:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SEE_TO_IT)
            connection.close()


class _Watcher:
    """One thread for all deadlines of a process: fifty threads more would wait for one another."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._watched: set[Deadline] = set()
        self._looks_at = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, deadline: Deadline) -> None:
        """Keep an eye on it."""
        with self.lock:
            self._watched.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif deadline.ends < self._looks_at:  # seldom: what began before ends before
                self.lock.notify()

    def end(self, deadline: Deadline) -> None:
        """It was done in time, or not."""
        with self.lock:
            self._watched.discard(deadline)

    def _run(self) -> None:
        with self.lock:
            while True:
                now = _now()
                for late in [one for one in self._watched if one.ends <= now]:
                    self._watched.discard(late)
                    late.expire()
                self._looks_at = min((one.ends for one in self._watched), default=math.inf)
                resting = self._looks_at == math.inf
                self.lock.wait(None if resting else min(self._looks_at - now, _LOOK_SECONDS))


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed by the other side
        connection.shutdown(socket.SHUT_RDWR)


_watcher = _Watcher()


def _watch_anew() -> None:
    """A forked process has the lock in whatever state it was, and no thread."""
    global _watcher  # noqa: PLW0603 - one a process
    _watcher = _Watcher()


os.register_at_fork(after_in_child=_watch_anew)
