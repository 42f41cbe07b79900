"""A server under attack, spoken to plainly or with TLS; connections are closed at the end."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.https import ask


class Target:
    """What is attacked.

    Args:
        pid: of its process.
        tls: what a client brings along; None: it speaks plainly.
        path: what a normal scrape asks for.
    """

    def __init__(self, pid: int, port: int, tls: ssl.SSLContext | None, path: str = "/") -> None:
        self._pid = pid
        self.port = port
        self.tls = tls
        self._path = path
        self.opened: list[socket.socket] = []

    def connect(self, window: int | None = None) -> socket.socket:
        """A connection, its handshake done.

        Args:
            window: bytes our side of it takes before they are read; None: what the kernel thinks best.
        """
        raw = self.raw(window)
        if self.tls is None:
            return raw
        self.opened.remove(raw)
        try:
            wrapped = self.tls.wrap_socket(raw, server_hostname="localhost")
        except OSError:
            raw.close()
            raise
        self.opened.append(wrapped)
        return wrapped

    def raw(self, window: int | None = None) -> socket.socket:
        """A TCP connection."""
        connection = socket.socket()
        connection.settimeout(120)
        if window is not None:  # before the connection: the kernel has told the other side by then
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.connect(("127.0.0.1", self.port))
        self.opened.append(connection)
        return connection

    def scrape(self) -> float:
        """A normal request on a new connection; seconds it took."""
        began = time.monotonic()
        assert self.body()
        return time.monotonic() - began

    def body(self) -> bytes:
        """What a normal request is answered with."""
        answer = ask(self.port, self._path, tls=self.tls)
        assert answer.status == 200
        return answer.body

    def rss(self) -> float:
        """Memory it holds now, MiB."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        """Leave it in peace."""
        for one in self.opened:
            one.close()
        self.opened.clear()


def closed_within(connections: Sequence[socket.socket], seconds: float) -> int:
    """How many the other side has ended by then."""
    end = time.monotonic() + seconds
    left = list(connections)
    while left and time.monotonic() < end:
        for one in list(left):
            one.settimeout(0.001)
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                try:
                    gone = one.recv(65536) == b""
                except (ConnectionError, ssl.SSLError):
                    gone = True
                if gone:
                    left.remove(one)
        time.sleep(0.05)
    return len(connections) - len(left)


@contextlib.contextmanager
def trickling(
    connections: Sequence[socket.socket], line: bytes, seconds: float
) -> Iterator[set[socket.socket]]:
    """A line of a head on each now and then, as long as the other side takes it; gives those that still do."""
    leaving, alive = threading.Event(), set(connections)

    def trickle() -> None:
        while not leaving.wait(seconds):
            for one in connections:
                try:
                    one.sendall(line)
                except OSError:
                    alive.discard(one)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield alive
    finally:
        leaving.set()
        thread.join()
