"""Whoever stops talking is cut off in time, however many are asked at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from renewctl.servers import deadline as clock
from renewctl.servers.deadline import Deadline


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection; nobody writes at the other one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        yield ours, theirs


def test_a_shorter_one_that_began_later_ends_first(pair: tuple[socket.socket, socket.socket]) -> None:
    """The one watcher, asleep until the longer ends, is woken for the shorter."""
    with Deadline(60) as long, Deadline(0.05) as short:
        short.watch(pair[0])
        began = time.monotonic()
        assert pair[0].recv(1) == b""
        assert time.monotonic() - began < 60
        assert (short.expired, long.expired) == (True, False)


def test_what_connects_too_late_is_cut_off_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """A resolver may take longer than the deadline."""
    with Deadline(0.01) as deadline:
        end = time.monotonic() + 60
        while not deadline.expired:
            assert time.monotonic() < end
            time.sleep(0.01)
        deadline.watch(pair[0])
        assert pair[0].recv(1) == b""


def looked() -> None:
    """Wait until the watcher has looked at the clock as it is now."""
    end = time.monotonic() + 60
    with Deadline(0.01) as another:
        while not another.expired:
            assert time.monotonic() < end
            time.sleep(0.01)


def asleep(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """What a suspend leaves: the clock went on, and no thread's sleep did."""
    awake = clock._now
    monkeypatch.setattr(clock, "_now", lambda: awake() + seconds)


def test_time_goes_on_while_the_machine_sleeps(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute's deadline on a laptop shut for an hour ends when it is opened, not a minute of work later."""
    with Deadline(60) as deadline:
        deadline.watch(pair[0])
        began = time.monotonic()
        while clock._watcher._looks_at != deadline.ends:  # until the watcher sleeps
            assert time.monotonic() - began < 60
            time.sleep(0.01)
        asleep(monkeypatch, 3600)
        assert pair[0].recv(1) == b""
        assert time.monotonic() - began < 60
        assert deadline.expired


def test_a_conversation_that_rests_is_not_cut_off(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two questions the time stands still; the next one has the whole of it, and no more."""
    with Deadline(60) as deadline:
        deadline.watch(pair[0])
        deadline.rest()
        asleep(monkeypatch, 3600)
        looked()
        pair[1].send(b"a")
        assert pair[0].recv(1) == b"a"
        deadline.again()
        asleep(monkeypatch, 30)
        looked()
        assert not deadline.expired
        asleep(monkeypatch, 30)
        assert pair[0].recv(1) == b""
        assert deadline.expired


def test_who_insists_does_not_wait_for_the_watcher(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent: over is over; in time is left alone."""
    with Deadline(60) as deadline:
        deadline.watch(pair[0])
        deadline.insist()
        before = deadline.expired
        asleep(monkeypatch, 3600)
        deadline.insist()
        assert (before, deadline.expired) == (False, True)
        with pytest.raises(BrokenPipeError):
            pair[0].send(b"a")


def test_a_hundred_are_watched_by_one_thread() -> None:
    """Fifty nodes of a wave at once are fifty threads already."""
    before = threading.active_count()
    deadlines = [Deadline(60) for _ in range(100)]
    for one in deadlines:
        one.__enter__()
    assert threading.active_count() <= before + 1
    for one in deadlines:
        one.__exit__(None, None, None)


_FORKED = """
import os, socket, sys
from renewctl.servers.deadline import Deadline
with Deadline(60):  # the parent's watcher runs
    child = os.fork()
    if child == 0:
        ours, theirs = socket.socketpair()
        ours.settimeout(30)
        with Deadline(0.05) as deadline:
            deadline.watch(ours)
            os._exit(0 if ours.recv(1) == b"" and deadline.expired else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_watches_by_itself() -> None:
    """Ansible forks its workers; threads do not come along, and a lock comes in whatever state it was."""
    assert subprocess.run([sys.executable, "-c", _FORKED], timeout=60, check=False).returncode == 0
