"""A server in the open: head deadline, no idle tick, a clean leave."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason
from renewctl.web.serving import listen

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

ROOT = Path(__file__).parents[2]

SERVER = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from renewctl.web import connection, serving

connection.HEAD_SECONDS = 3
serving.KEEP_ALIVE_SECONDS = 60

async def hello(request):
    return PlainTextResponse("hello")

async def slow(request):
    print("under way", flush=True)
    await asyncio.sleep(0.5)
    return PlainTextResponse("slow")

async def echo(request):
    return PlainTextResponse(await request.body())

listener = serving.listen("127.0.0.1:0")
print(listener.getsockname()[1], flush=True)
routes = [Route("/", hello), Route("/slow", slow), Route("/echo", echo, methods=["POST"])]
serving.serve([serving.Site(Starlette(routes=routes), [listener])])
print("left", flush=True)
"""

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Running:
    """The server process and its port."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def woken(self, after: float) -> int:
        """How often its threads went to sleep, and so had been awake, in the seconds from now on."""
        tasks = sorted(Path(f"/proc/{self.process.pid}/task").iterdir())
        before = _slept(tasks)
        time.sleep(after)
        return _slept(tasks) - before


def _slept(tasks: list[Path]) -> int:
    told = [(task / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2] for task in tasks]
    return sum(int(count.split()[0]) for count in told)


@pytest.fixture
def running() -> Iterator[Running]:
    """A small server, its deadlines shortened."""
    made = Running()
    yield made
    made.process.kill()
    made.process.wait()
    assert made.process.stdout is not None
    made.process.stdout.close()


def answered(connection: socket.socket) -> bool:
    """Whether the whole answer of `/` comes."""
    got = b""
    while not got.endswith(b"hello"):
        more = connection.recv(4096)
        assert more, got
        got += more
    return got.startswith(b"HTTP/1.1 200 OK")


def until_closed(connection: socket.socket, drip: bytes = b"") -> None:
    """As long as a connection lives on which a byte is sent now and then."""
    ends = time.monotonic() + 60
    connection.settimeout(0.1)
    while time.monotonic() < ends:
        try:
            if drip:
                connection.send(drip)
            if not connection.recv(4096):
                return
        except TimeoutError:
            continue
        except OSError:
            return
    raise AssertionError("it lives on")


@pytest.mark.parametrize("drip", [b"", b"a", b"\n"], ids=["idle", "slowloris", "blank lines"])
def test_a_request_head_that_does_not_come_ends_the_connection(drip: bytes, running: Running) -> None:
    """One total deadline: bytes that trickle in do not lengthen it; others are answered meanwhile."""
    began = time.monotonic()
    with running.connect() as slow, running.connect() as normal:
        slow.send(b"GET / HTTP/1.1\r\nX-Slow: " if drip == b"a" else drip)
        normal.send(REQUEST)
        assert b"200 OK" in normal.recv(4096)
        until_closed(slow, drip)
    assert time.monotonic() - began > 0.3


def test_a_connection_is_kept_between_requests_and_on_the_clock_in_each(running: Running) -> None:
    """Idle after an answer it may stay; a second head that trickles ends it."""
    with running.connect() as connection:
        for pause in (3.5, 0):  # longer than a head may take
            connection.send(REQUEST)
            assert answered(connection)
            time.sleep(pause)
        connection.send(b"GET / HTTP/1.1\r\n")
        until_closed(connection, b"a: b\r\n")


def test_blank_lines_after_an_answer_do_not_keep_a_connection_for_ever(running: Running) -> None:
    """They stop the keep-alive clock of uvicorn; ours runs instead."""
    with running.connect() as connection:
        connection.send(REQUEST)
        assert answered(connection)
        until_closed(connection, b"\r\n")


def test_head_and_body_of_an_answer_are_one_packet(running: Running) -> None:
    """Whoever reads it wakes once; of each answer on a connection that is kept."""
    with running.connect() as connection:
        for number in (1, 2, 3):
            connection.send(REQUEST)
            assert answered(connection)
            information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156)
            assert struct.unpack_from("I", information, 152) == (number,)  # tcpi_data_segs_in of linux/tcp.h


def test_who_asks_whether_to_send_a_body_is_told_at_once(running: Running) -> None:
    """`Expect: 100-continue`: the invitation does not wait, for up to 200 ms, for more to send."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    waits = []
    with running.connect() as connection:
        for _ in range(5):
            began = time.monotonic()
            connection.send(head)
            assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
            waits.append(time.monotonic() - began)
            connection.send(b"hello")
            assert answered(connection)
    assert min(waits) < 0.1


def test_each_answer_tells_the_time_it_was_given(running: Running) -> None:
    """To the second, also on a connection that is kept."""
    with running.connect() as connection:
        for pause in (1.1, 0):
            asked = time.time()
            connection.send(REQUEST)
            head, _, _ = connection.recv(4096).partition(b"\r\n\r\n")
            told = head.decode().partition("date: ")[2].partition("\r\n")[0]
            assert int(asked) <= parsedate_to_datetime(told).timestamp() <= time.time(), told
            time.sleep(pause)


def test_what_is_no_http_is_answered_400_and_not_logged(running: Running) -> None:
    """Anybody can send bytes."""
    with running.connect() as connection:
        connection.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_sigterm_finishes_what_is_under_way_and_takes_nothing_new(running: Running) -> None:
    """The slow answer arrives, the listener is closed, the process goes on after `serve` and ends with 0."""
    with running.connect() as under_way, running.connect() as idle:
        under_way.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "under way\n"
        running.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: under_way.recv(4096), b""))
        assert b"200 OK" in answer
        assert answer.endswith(b"slow")
        assert idle.recv(1) == b""
    assert running.process.stdout is not None
    assert running.process.stdout.readline() == "left\n"
    assert running.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        running.connect()


@pytest.mark.slow
def test_an_idle_server_uses_no_processor(running: Running) -> None:
    """The tick of uvicorn wakes it ten times a second; here it sleeps on."""
    with running.connect() as connection:
        connection.send(REQUEST)
        assert answered(connection)
    running.woken(after=1)  # what the answer left to do
    assert running.woken(after=5) <= 5


def test_addresses_to_listen_on() -> None:
    """A host, all interfaces, IPv6 in brackets."""
    for address in ("127.0.0.1:0", "localhost:0", ":0", "[::1]:0"):
        with listen(address) as listener:
            assert listener.getsockname()[1] > 0


def test_all_interfaces_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without IPv6 still listens."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(":0") as listener:
        assert listener.family is socket.AF_INET


def test_addresses_nobody_can_listen_on() -> None:
    """What is no address is the command line's fault; what is taken or not ours is not."""
    with pytest.raises(Unusable) as unusable:
        listen("10092")
    assert unusable.value.reason is Reason.LISTEN_ADDRESS_INVALID
    for address in ("203.0.113.1:0", "no-such-host.invalid:0"):
        with pytest.raises(Refused) as refused:
            listen(address)
        assert refused.value.reason is Reason.LISTEN_FAILED
