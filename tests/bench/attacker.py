"""Attacks an exporter until it is told to end: a process of its own, so that whoever measures does not wait for it.

::

    python -m tests.bench.attacker ATTACK PORT [CA]   # says "begun" once it stands

CA: the authority of an exporter with TLS.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import socket

from tests.support import attackers
from tests.support.attacked import Target
from tests.support.https import client

Begin = Callable[[Target], Sequence[socket]]
GoOn = Callable[[Target, Sequence[socket]], None]

_POOL = ThreadPoolExecutor(100)
_HALF_OPEN = 100
_DICE = attackers.dice()


def _nothing(_target: Target) -> Sequence[socket]:
    return ()


def _stand(_target: Target, _connections: Sequence[socket]) -> None:
    time.sleep(1)


def _half_open(target: Target, _connections: Sequence[socket]) -> None:
    """Anew each second: an exporter without TLS does not wait for the rest of it."""
    time.sleep(1)
    target.close()
    attackers.half_open(target, _HALF_OPEN)


def _drip(_target: Target, connections: Sequence[socket]) -> None:
    for one in connections:
        with suppress(OSError):
            one.sendall(attackers.DRIP)
    time.sleep(0.5)


def _read(_target: Target, connections: Sequence[socket]) -> None:
    attackers.take_a_byte(connections)
    time.sleep(1)


def _large_heads(target: Target, _connections: Sequence[socket]) -> None:
    list(_POOL.map(partial(attackers.send_head, target), attackers.LARGE_HEADS * 5))
    target.close()


def _scrapes(target: Target, _connections: Sequence[socket]) -> None:
    list(_POOL.map(attackers.scrape, [target] * 1000))


def _random_bytes(target: Target, _connections: Sequence[socket]) -> None:
    for inside_tls in (True, False):
        attackers.send_random_bytes(target, _DICE, inside_tls=inside_tls)
    target.close()


ATTACKS: Mapping[str, tuple[Begin, GoOn]] = {
    "500 idle connections": (partial(attackers.idle, count=500), _stand),
    "100 slowloris": (partial(attackers.slowloris, count=100), _drip),
    "100 half-open TLS": (partial(attackers.half_open, count=_HALF_OPEN), _half_open),
    "10 heads of 10 MB at once": (_nothing, _large_heads),
    "100 scrapes at once": (_nothing, _scrapes),
    "20 readers, a byte a second": (partial(attackers.slow_readers, count=20), _read),
    "random bytes": (_nothing, _random_bytes),
}
"""Each: how it is begun, and what is then done again and again."""


def main(attack: str, port: str, ca: str = "") -> None:
    """Begin, say so, go on."""
    begin, go_on = ATTACKS[attack]
    target = Target(0, int(port), client(Path(ca)) if ca else None, "/metrics")
    connections = begin(target)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    while True:
        go_on(target, connections)


if __name__ == "__main__":
    main(*sys.argv[1:])
