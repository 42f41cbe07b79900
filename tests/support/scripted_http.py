r"""An HTTP server that does exactly what a test wrote down, byte by byte; it knows no MDM product.

::

    with scripted(reply(200, b"{}"), drip(b"HTTP/1.1 200 OK\r\n", pause=0.5)) as server:
        ... server.url, server.requests
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Act = Callable[[socket.socket], None]
"""What is done with a connection once its request has been read."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Scripted:
    """The running server and what it was asked."""

    port: int
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


def reply(status: int, body: bytes = b"", *headers: str) -> Act:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return lambda connection: connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(data: bytes) -> Act:
    """Just these bytes, then the end."""
    return lambda connection: connection.sendall(data)


def drip(head: bytes, piece: bytes = b"x", *, pause: float, times: int = 1000) -> Act:
    """Some bytes, then one piece now and then: each read succeeds, the whole never ends."""

    def act(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(times):
            time.sleep(pause)
            connection.sendall(piece)

    return act


def silence(connection: socket.socket) -> None:
    """Say nothing until the client leaves."""
    connection.settimeout(30)
    connection.recv(1)


def slam(connection: socket.socket) -> None:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection: socket.socket) -> None:
    """Close without a byte of an answer."""
    assert connection.fileno() >= 0


@contextmanager
def scripted(*acts: Act, tls: ssl.SSLContext | None = None, greet: Act | None = None) -> Iterator[Scripted]:
    """Serve one connection an act, the last act for all that follow; `greet` comes before any reading."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Scripted(listener.getsockname()[1], "https" if tls else "http")
    thread = threading.Thread(target=_serve, args=(listener, server, list(acts), tls, greet), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _serve(
    listener: socket.socket,
    server: Scripted,
    acts: list[Act],
    tls: ssl.SSLContext | None,
    greet: Act | None,
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        act = acts.pop(0) if len(acts) > 1 else acts[0]
        with suppress(OSError), connection:
            connection.settimeout(30)
            if greet is not None:
                greet(connection)
            elif tls is None:
                _answer(connection, server, act)
            else:
                with tls.wrap_socket(connection, server_side=True) as wrapped:
                    _answer(wrapped, server, act)


def _answer(connection: socket.socket, server: Scripted, act: Act) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    method, target, _ = line.split(" ", 2)
    server.requests.append(Request(method, target, headers, body))
    act(connection)
