"""One deadline for whatever is done over connections."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from types import TracebackType
from typing import Self


class Deadline:
    """Ends whatever its connections are doing once the time is up.

    A timeout of requests is one for each read: a server that drips a byte now and then never meets it.
    Shutting the socket down from another thread ends handshake, headers and body alike. (A slow resolver or
    several dead addresses may take longer; the connection is then closed before anything is sent.)
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._seconds = seconds
        self._ends = math.inf
        self._over = False
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)

    def watch(self, connection: socket.socket) -> socket.socket:
        """Take a new connection under watch."""
        with self._changed:
            # A duplicate: TLS takes the descriptor out of the object it wraps.
            self._sockets.append(connection.dup())
            if self.expired:
                _shut_down(connection)
        return connection

    def rest(self) -> None:
        """Nothing is waited for; the connections stay."""
        self._ends = math.inf

    def again(self) -> None:
        """The whole time anew, for what comes next over the same connections."""
        self._ends = time.monotonic() + self._seconds

    def _run(self) -> None:
        """Asleep no longer than the time is long, so that nobody need wake it when that begins anew."""
        with self._changed:
            while not self._over:
                left = self._ends - time.monotonic()
                if left <= 0:
                    self._expire()
                    return
                self._changed.wait(min(left, self._seconds))

    def _expire(self) -> None:
        self.expired = True
        for connection in self._sockets:
            _shut_down(connection)

    def __enter__(self) -> Self:
        self.again()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
            for connection in self._sockets:
                connection.close()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed by the other side
        connection.shutdown(socket.SHUT_RDWR)
