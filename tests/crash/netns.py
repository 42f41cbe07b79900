"""Machines of a roll-out: a controller and its nodes, each in a network namespace with a cable of its own.

::

    with network(3) as net:
        listener = net.nodes[0].listen()          # a socket at that node's address, served from anywhere
        net.nodes[0].cut()                        # as if somebody pulled the cable
        subprocess.run([*net.controller.exec, "ping", net.nodes[0].address])

Addresses are of 192.0.2.0/24 (RFC 5737, documentation) and exist in the namespaces alone, so several networks
may be up side by side. Names carry our process id; what is left of a run that was killed goes with the next.
Needs root and `ip` (apt: iproute2).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
"""setns(2): the namespace must be one of networks; from linux/sched.h."""

_NAMES = re.compile(r"rk(\d+)-\d+")
_NAMED = Path("/run/netns")  # where ip(8) keeps them
_COUNT = itertools.count()
_HOSTS_A_CABLE = 4  # each cable is a /30: two addresses, and two that nobody may have


@dataclass(frozen=True)
class Machine:
    """One namespace.

    Attributes:
        name: as ip(8) knows it.
        address: of its end of the cable; the controller's is the loopback.
        cable: its end of the cable; empty for the controller.
    """

    name: str
    address: str
    cable: str = ""

    @property
    def exec(self) -> Sequence[str]:
        """What to put before a command, so that it runs here."""
        return ("ip", "netns", "exec", self.name)

    def listen(self, port: int = 0) -> socket.socket:
        """A listening socket at this machine's address; a socket stays where it was made."""
        made: list[socket.socket] = []

        def make() -> None:
            _enter(self.name)
            made.append(socket.create_server((self.address, port), backlog=64))

        thread = threading.Thread(target=make)  # it ends in the other namespace; we never leave ours
        thread.start()
        thread.join()
        return made[0]

    def cut(self) -> None:
        """Pull the cable out at this end: the other end loses its carrier, packets vanish."""
        _ip("-n", self.name, "link", "set", self.cable, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("-n", self.name, "link", "set", self.cable, "up")

    def processes(self) -> dict[int, str]:
        """Process id -> program, of what runs here."""
        found = {}
        for pid in map(int, _ip("netns", "pids", self.name).split()):
            with suppress(OSError):  # it has ended
                found[pid] = os.path.basename(os.readlink(f"/proc/{pid}/exe"))  # noqa: PTH115, PTH119 - a text
        return found


@dataclass(frozen=True)
class Network:
    """A controller and its nodes."""

    controller: Machine
    nodes: Sequence[Machine]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Build it; take it down at the end, whatever happened, and end what still runs in it."""
    sweep()
    names = [f"rk{os.getpid()}-{next(_COUNT)}" for _ in range(count + 1)]
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        controller = Machine(names[0], "127.0.0.1")
        nodes = [_wired(controller, name, number) for number, name in enumerate(names[1:])]
        yield Network(controller, nodes)
    finally:
        for name in reversed(names):
            _remove(name)


def _wired(controller: Machine, name: str, number: int) -> Machine:
    cable = f"v{name.removeprefix('rk')}"  # at most 15 characters
    far = f"{cable}c"
    first = number * _HOSTS_A_CABLE
    node = Machine(name, f"192.0.2.{first + 2}", cable)
    _ip("link", "add", cable, "netns", name, "type", "veth", "peer", "name", far, "netns", controller.name)
    _ip("-n", name, "address", "add", f"{node.address}/30", "dev", cable)
    _ip("-n", controller.name, "address", "add", f"192.0.2.{first + 1}/30", "dev", far)
    _ip("-n", name, "link", "set", cable, "up")
    _ip("-n", controller.name, "link", "set", far, "up")
    return node


def _remove(name: str) -> None:
    if not (_NAMED / name).exists():
        return
    ends = time.monotonic() + 10
    while pids := _ip("netns", "pids", name).split():
        for pid in map(int, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > ends:
            break
        time.sleep(0.05)
    _ip("netns", "del", name)


def sweep() -> None:
    """Namespaces of a run that was killed: their names say which process made them."""
    for path in _NAMED.glob("rk*-*"):
        found = _NAMES.fullmatch(path.name)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            with suppress(subprocess.CalledProcessError):  # another run sweeps as well
                _remove(path.name)


def _enter(name: str) -> None:
    with (_NAMED / name).open("rb") as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout
