"""Ports for servers that take no listening socket from us: they are told a number, and bind it themselves, later."""

from __future__ import annotations

import itertools
import random
import socket

_PORTS = range(12_000, 32_000)
"""Below those that Linux gives to whoever connects (32768 and up, ip_local_port_range): of such, an outgoing
connection of anybody's could take one between our look and the server's start, or while the server starts again."""

_next = itertools.count(random.SystemRandom().randrange(len(_PORTS)))
"""Each process begins somewhere else, and gives no port twice: two that look at once do not find the same."""


def free_port() -> int:
    """A loopback port nobody has bound now."""
    for _ in _PORTS:
        port = _PORTS[next(_next) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
