"""A cable that is pulled between connecting and sending, and put back in."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from tests.crash.netns import network

pytestmark = pytest.mark.slow  # the kernel's own patience is waited out

_NEIGHBOUR_SECONDS = 4.0
"""Packets that wait for the next hop's address wait three seconds, whatever becomes of their connection (arp(7))."""

_SENDER = """
import socket, sys
from renewctl.servers.deadline import Deadline
with Deadline(float(sys.argv[3])) as deadline:
    connection = deadline.watch(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
    print("connected", flush=True)
    sys.stdin.readline()
    connection.sendall(b"a pair")
    print("sent", flush=True)
    try:
        connection.recv(1)
    except OSError:
        pass
"""


@pytest.mark.parametrize("killed", [False, True], ids=["late", "killed"])
def test_what_did_not_arrive_never_does(killed: bool) -> None:
    """By itself the kernel sends again and again, after our deadline and after our death."""
    with network(1) as net, net.nodes[0].listen() as listener:
        address = [net.nodes[0].address, str(listener.getsockname()[1])]
        words = [*net.controller.exec, sys.executable, "-c", _SENDER, *address, "60" if killed else "10"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender:
            assert sender.stdin is not None
            assert sender.stdout is not None
            assert sender.stdout.readline() == "connected\n"
            taken, _ = listener.accept()
            net.nodes[0].cut()
            print("send", file=sender.stdin, flush=True)
            assert sender.stdout.readline() == "sent\n"
            if killed:
                sender.kill()
            sender.communicate(timeout=120)
        time.sleep(_NEIGHBOUR_SECONDS)
        net.nodes[0].mend()
        with taken:
            assert received(taken, seconds=10) == b""


def received(connection: socket.socket, seconds: float) -> bytes:
    """What comes in that time."""
    connection.settimeout(seconds)
    end = time.monotonic() + seconds
    try:
        return connection.recv(100)
    except TimeoutError:
        assert time.monotonic() >= end
        return b""
    except ConnectionError:  # the kernel over there has given up
        return b""
