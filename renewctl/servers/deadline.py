"""One deadline for whatever is done over connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Deadline:
    """Ends whatever its connections are doing once the time is up.

    A timeout of requests is one for each read: a server that drips a byte now and then never meets it.
    Shutting the socket down from a timer ends handshake, headers and body alike. (A slow resolver or several
    dead addresses may take longer; the connection is then closed before anything is sent.)
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._seconds = seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = self._new_timer()

    def watch(self, connection: socket.socket) -> socket.socket:
        """Take a new connection under watch."""
        with self._lock:
            # A duplicate: TLS takes the descriptor out of the object it wraps.
            self._sockets.append(connection.dup())
            if self.expired:
                _shut_down(connection)
        return connection

    def rest(self) -> None:
        """Nothing is waited for; the connections stay."""
        self._timer.cancel()

    def again(self) -> None:
        """The whole time anew, for what comes next over the same connections."""
        self._timer = self._new_timer()
        self._timer.start()

    def _new_timer(self) -> threading.Timer:
        timer = threading.Timer(self._seconds, self._expire)
        timer.daemon = True
        return timer

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                _shut_down(connection)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed by the other side
        connection.shutdown(socket.SHUT_RDWR)
