"""How long a scrape takes while others hold on to the exporter; the rival is the same exporter, left in peace.

Those with a bar here; every kind of attack, without one, is in `attack_kinds`.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench import attack_kinds
from tests.bench.table import Measured
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory

_ATTACKERS = 100
_ROUNDS = 60
_PATIENCE_SECONDS = 15
_TRICKLE_SECONDS = 1
_HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"


def measure(folder: Path) -> Iterator[Measured]:
    """A scrape beside 100 idle connections and beside 100 slowloris against a quiet one; how many are dropped; then every kind."""
    (folder / "a.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(folder, [files_node("a", folder / "a.pem")])
    with exporter(folder) as running:
        yield _beside(running, "100 idle connections", b"")
        yield _beside(running, "100 slowloris", b"a: b\r\n")
        yield _dropped(running)
    yield from attack_kinds.measure(folder)


def _beside(running: Exporter, what: str, drip: bytes) -> Measured:
    """Quiet and attacked by turns: whatever else the machine does meets both."""
    quiet: list[float] = []
    attacked: list[float] = []
    for _ in range(3):
        quiet += _scrapes(running)
        with _held(running.port, drip):
            attacked += _scrapes(running)
    ours, rival = statistics.median(attacked), statistics.median(quiet)
    return Measured(f"scrape with {what} / quiet", ours, rival, bar=3, rounds=_ROUNDS)


def _scrapes(running: Exporter) -> list[float]:
    times = []
    for _ in range(_ROUNDS // 3):
        begun = time.perf_counter()
        running.get("/metrics")
        times.append(time.perf_counter() - begun)
    return times


def _dropped(running: Exporter) -> Measured:
    """Counted in connections: of 100 slowloris all within 15 s, or the bar is missed."""
    with _held(running.port, b"a: b\r\n") as connections:
        time.sleep(_PATIENCE_SECONDS)
        gone = sum(map(_is_gone, connections))
    # As a ratio that may not exceed 1: those there were against those that are gone.
    return Measured(
        f"of 100 slowloris not dropped within {_PATIENCE_SECONDS} s, + 1 / 1", 101 - gone, 1, bar=1, rounds=1
    )


@contextlib.contextmanager
def _held(port: int, drip: bytes) -> Iterator[Sequence[socket.socket]]:
    """Connections that send nothing, or a line of a head each second."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(_ATTACKERS)]
    leaving = threading.Event()
    thread = threading.Thread(target=_trickle, args=(connections, drip, leaving.wait))
    if drip:
        for one in connections:
            one.sendall(_HEAD)
    thread.start()
    try:
        yield connections
    finally:
        leaving.set()
        thread.join()
        for one in connections:
            one.close()


def _trickle(connections: Sequence[socket.socket], drip: bytes, wait: Callable[[float], bool]) -> None:
    while not wait(_TRICKLE_SECONDS):
        for one in connections if drip else ():
            with contextlib.suppress(OSError):
                one.sendall(drip)


def _is_gone(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
