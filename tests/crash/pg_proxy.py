"""Stands between `renewctl` and PostgreSQL, counts what the client asks, and strikes at one chosen request.

A request is what the client sends up to the point where it waits for an answer: a start, a password, a simple
query, or an extended query up to its Sync (postgresql.org/docs/15/protocol-message-formats.html).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

COMMIT, CONNECT, PASSWORD, LEAVE = "COMMIT", "connect", "password", "leave"
ENDS_A_REQUEST = b"pQSX"
_READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery, but for the last byte


class Where(StrEnum):
    """At which moment of a request."""

    BEFORE = "before"  # the server never sees it
    IN = "in"  # the server gets half of it
    AFTER = "after"  # the server has done it and answered; the answer is lost


@dataclass(frozen=True)
class Strike:
    """What is to happen, and when.

    Attributes:
        number: of the request, from 1, over all connections.
        act: called at that moment, before the connection ends.
        link: `cut`: both ends; `silent`: the server's end stays open, as when a cable is pulled;
            `gone`: cut, and nobody is let through any more.
    """

    number: int
    where: Where
    act: Callable[[], None]
    link: str = "cut"


class Proxy:
    """Listens on a loopback port of its own.

    Args:
        server: tells the port of the server as it is now.
    """

    def __init__(self, server: Callable[[], int]) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._strike: Strike | None = None
        self._gone = False
        self.asked: list[str] = []
        self.struck = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, strike: Strike | None) -> None:
        """Count from 1 again; what was open is let go."""
        with self._lock:
            left, self._open = self._open, []
            self.asked, self.struck, self._gone, self._strike = [], False, False, strike
        for link in left:
            _end(link)

    def close(self) -> None:
        """Stop listening, let everything go."""
        self.begin(None)
        _end(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server()), timeout=60)
        except OSError:
            _end(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open += [client, server]
            gone = self._gone
        link = _Link(client, server)
        if gone:
            link.cut()
            return
        threading.Thread(target=link.answers, daemon=True).start()
        with contextlib.suppress(OSError):
            for label, request in _requests(client):
                strike = self._counted(label)
                if strike is not None:
                    self._hit(link, strike, request)
                    return
                server.sendall(request)
        link.hang_up()

    def _counted(self, label: str) -> Strike | None:
        if label == LEAVE:  # nobody waits for an answer to it, so it comes now or a moment later
            return None
        with self._lock:
            self.asked.append(label)
            strike = self._strike
            if strike is None or len(self.asked) != strike.number or self.struck:
                return None
            self.struck = True
            self._gone = strike.link == "gone"
        return strike

    def _hit(self, link: _Link, strike: Strike, request: bytes) -> None:
        if strike.where is Where.IN:
            link.server.sendall(request[: max(1, len(request) // 2)])
        if strike.where is Where.AFTER:
            link.swallow = True
            link.server.sendall(request)
            link.swallowed.wait(60)
        strike.act()
        if strike.link == "silent":
            _end(link.client)
        else:
            link.cut()


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.swallow = False
        self.swallowed = threading.Event()

    def answers(self) -> None:
        """From the server to the client, unless they are to be lost."""
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if not self.swallow:
                    self.client.sendall(data)
                elif data[-6:-1] == _READY:
                    self.swallowed.set()
        self.swallowed.set()
        _end(self.client)

    def hang_up(self) -> None:
        """The client has gone."""
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Both ends."""
        _end(self.client)
        _end(self.server)


def _requests(client: socket.socket) -> Iterator[tuple[str, bytes]]:
    """What the client sends, a request at a time, labelled; what it began and did not end is left out."""
    read = client.makefile("rb")
    begun = True
    request, label = b"", ""
    while True:
        kind = b"" if begun else read.read(1)
        length = read.read(4)
        if len(length) < 4 or (not begun and not kind):
            return
        body = read.read(int.from_bytes(length, "big") - 4)
        request += kind + length + body
        label = label or _label(kind, body)
        if begun:
            # A question for TLS or GSS comes before the real start (codes 80877103, 80877104).
            begun = body[:4] in {(80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")}
        elif kind not in ENDS_A_REQUEST:
            continue
        yield label, request
        request, label = b"", ""


def _label(kind: bytes, body: bytes) -> str:
    """A word or two for people: the beginning of the statement, else the kind of message."""
    if kind in {b"Q", b"P"}:
        text = body.lstrip(b"\0").partition(b"\0")[0].decode(errors="replace")
        return " ".join(text.split()[:3])
    return {b"": CONNECT, b"p": PASSWORD, b"X": LEAVE}.get(kind, "")


def _end(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
