"""Under attack, plain and with TLS, with short deadlines or applications that only a test has.

The exporter itself is attacked in `tests/exporter/test_exporter_attack.py`: idle connections, slowloris, half-open
handshakes, large heads, many scrapes, random bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.attacked import Target, closed_within
from tests.support.https import ask, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import WebServer, web_server, write_config

pytestmark = pytest.mark.slow  # many connections, deadlines: `make test`

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
SHORT = {"HEAD_SECONDS": 6.0, "ANSWER_SECONDS": 2.0}
"""Deadlines for tests that wait for them; a head of their own they send in time, on a busy machine too."""


class Attacked(Target):
    """The test server."""

    def __init__(self, server: WebServer, tls: ssl.SSLContext | None) -> None:
        super().__init__(server.process.pid, server.port, tls)
        self.server = server


@pytest.fixture(params=["plain", "tls"])
def attack(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., contextlib.AbstractContextManager[Attacked]]:
    """Begins an attack; after it the server still answers, ends in good order, and wrote no traceback."""
    authority = Authority()
    write_pair(tmp_path, authority.server())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    secure = request.param == "tls"
    pair = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}} if secure else {}

    @contextlib.contextmanager
    def begin(**constants: float) -> Iterator[Attacked]:
        with web_server(write_config(tmp_path, pair), **constants) as server:
            target = Attacked(server, client(tmp_path / "ca.pem") if secure else None)
            target.scrape()
            try:
                yield target
                target.scrape()
            finally:
                target.close()
            server.process.terminate()
            assert server.process.wait(60) == 0
            assert "Traceback" not in server.log.read_text(), server.log.read_text()
            assert len(server.log.read_text()) < 2000, "an attack fills the log"

    return begin


Attack = Callable[..., contextlib.AbstractContextManager[Attacked]]


def test_more_connections_than_there_is_room_for(attack: Attack) -> None:
    """Whoever waited longest is put out, the newcomer is let in: 512 idle connections shut nobody out."""
    with attack(MAX_CONNECTIONS=20, HEAD_SECONDS=60.0) as target:
        first = [target.connect() for _ in range(20)]
        for _ in range(20):
            target.connect()
            target.scrape()
        assert closed_within(first, 60) == 20


def test_who_has_asked_something_is_put_out_after_who_has_not(attack: Attack) -> None:
    """A request counts as a sign of life."""
    with attack(MAX_CONNECTIONS=10, HEAD_SECONDS=60.0) as target:
        alive = target.connect()
        for _ in range(8):
            target.connect()
        target.scrape()  # accepted after them, so they are in
        alive.sendall(HEAD + b"\r\n")
        assert b"200 OK" in alive.recv(4096)
        for _ in range(6):
            target.connect()
        alive.sendall(HEAD + b"\r\n")
        answer = b""
        while b"200 OK" not in answer:  # what is left of the first answer may come before it
            answer += alive.recv(4096)


def test_a_body_nobody_wants(attack: Attack) -> None:
    """10 MB after a GET, or a length that never comes: answered, dropped, not kept."""
    with attack(**SHORT) as target:
        before = target.rss()
        one = target.connect()
        with contextlib.suppress(OSError):
            one.sendall(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"a" * 10_000_000)
        two = target.connect()
        two.sendall(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"a" * 10)
        assert b"200 OK" in two.recv(4096)
        two.sendall(b"a" * 10)
        assert closed_within([two], 60) == 1
        assert target.rss() - before < 30


@pytest.mark.parametrize("asks_again", [False, True], ids=["silent", "asks again"])
def test_readers_of_a_byte_a_second(attack: Attack, asks_again: bool) -> None:
    """Of an answer of 16 MB: others are answered meanwhile; whoever does not take it is dropped, asking again or not."""
    with attack(**SHORT) as target:
        slow = [target.connect(window=4096) for _ in range(10)]
        for one in slow:
            one.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 8
        alive = set(slow)
        while time.monotonic() < end:
            time.sleep(0.5)
            for one in list(alive):
                try:
                    if asks_again:
                        one.sendall(HEAD + b"\r\n")
                    one.recv(1)
                except OSError:
                    alive.discard(one)
        assert target.scrape() < 10
        # What was on its way arrives; the rest never does.
        with ThreadPoolExecutor(len(slow)) as pool:
            assert max(pool.map(arrived, slow)) < 1_000_000


def test_who_reads_slowly_but_reads_is_given_everything(attack: Attack) -> None:
    """What was held back goes on whenever there is room, with TLS around it, too; and so does the next answer."""
    with attack() as target:
        one = target.connect(window=32768)
        one.sendall((b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n") * 2 + HEAD + b"Connection: close\r\n\r\n")
        for _ in range(20):
            time.sleep(0.05)
            one.recv(65536)
        assert arrived(one) > 2 * 16_000_000 - 20 * 65536


def arrived(connection: socket.socket) -> int:
    """Bytes that come in the end.

    Raises:
        TimeoutError: the connection was not ended.
    """
    got = 0
    connection.settimeout(120)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while more := connection.recv(1 << 20):
            got += len(more)
    return got


def test_a_fault_of_the_application_costs_one_answer(attack: Attack) -> None:
    """500, a line in the log, and on."""
    with attack() as target:
        assert ask(target.server.port, "/broken", tls=target.tls).status == 500
        target.server.wait_for_log("/broken failed: ValueError")
        assert "what somebody sent" not in target.server.log.read_text()


def test_it_leaves_while_under_attack(attack: Attack) -> None:
    """SIGTERM ends it in time, however many hang on: the fixture waits for it."""
    with attack() as target:
        for _ in range(50):
            target.connect().sendall(HEAD)
            target.raw()
        os.sched_yield()
