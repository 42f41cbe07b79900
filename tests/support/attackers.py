"""What is done to a server under attack, each move by itself: tests judge what comes of it, the bench keeps it up."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence

from tests.support.attacked import Target
from tests.support.https import ask

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
PLAIN = HEAD + b"\r\n"
DRIP = b"a: b\r\n"
"""A line of a head, for a slowloris."""

LARGE_HEADS = (b"X-Large: " + b"a" * 10_000_000 + b"\r\n", (b"X-Many: " + b"b" * 100 + b"\r\n") * 90_000)
"""10 MB, as one header and as many."""


def dice() -> random.Random:
    """Throws the same bytes each time."""
    return random.Random(42)  # noqa: S311 - what is sent to a server under attack is no secret


def idle(target: Target, count: int) -> list[socket.socket]:
    """Connections that send nothing."""
    return [target.connect() for _ in range(count)]


def slowloris(target: Target, count: int) -> list[socket.socket]:
    """Connections that have begun a head."""
    slow = idle(target, count)
    for one in slow:
        one.sendall(HEAD)
    return slow


def half_open(target: Target, count: int) -> list[socket.socket]:
    """TCP connections with the beginning of a TLS handshake."""
    begun = [target.raw() for _ in range(count)]
    for one in begun:
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return begun


def slow_readers(target: Target, count: int) -> list[socket.socket]:
    """Connections that asked, and have hardly room for the answer."""
    slow = [target.connect(window=4096) for _ in range(count)]
    for one in slow:
        one.sendall(PLAIN)
    return slow


def take_a_byte(readers: Sequence[socket.socket]) -> None:
    """Each of them one."""
    for one in readers:
        one.recv(1)


def send_head(target: Target, content: bytes) -> bytes:
    """Ask with this in the head; the beginning of the answer, nothing where the connection was cut."""
    one = target.connect()
    with contextlib.suppress(OSError):
        one.sendall(HEAD + content)
        one.sendall(b"\r\n")
        return one.recv(4096)
    return b""


def scrape(target: Target) -> int:
    """As Prometheus does; the status."""
    return ask(target.port, "/metrics", tls=target.tls, headers={"Accept-Encoding": "gzip"}).status


def send_random_bytes(target: Target, dice: random.Random, *, inside_tls: bool) -> None:
    """Up to 5 kB, then what comes back."""
    one = target.connect() if inside_tls else target.raw()
    with contextlib.suppress(OSError):
        one.sendall(dice.randbytes(dice.randrange(1, 5000)))
        one.shutdown(socket.SHUT_WR)
        one.recv(4096)
