"""Under attack, plain and with TLS: a normal scrape is still answered, memory is bounded, no traceback is written."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.https import ask, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import WebServer, web_server, write_config

pytestmark = pytest.mark.slow  # many connections, deadlines: `make test`

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
SHORT = {"HEAD_SECONDS": 1.5, "HANDSHAKE_SECONDS": 1.5, "ANSWER_SECONDS": 2.0}
"""Deadlines for tests that wait for them."""


class Target:
    """A server under attack, spoken to plainly or with TLS."""

    def __init__(self, server: WebServer, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.tls = tls
        self.opened: list[socket.socket] = []

    def connect(self, window: int | None = None) -> socket.socket:
        """A connection, its handshake done; closed at the end of the test.

        Args:
            window: bytes our side of it takes before they are read; None: what the kernel thinks best.
        """
        raw = self.raw(window)
        if self.tls is None:
            return raw
        self.opened.remove(raw)
        try:
            wrapped = self.tls.wrap_socket(raw, server_hostname="localhost")
        except OSError:
            raw.close()
            raise
        self.opened.append(wrapped)
        return wrapped

    def raw(self, window: int | None = None) -> socket.socket:
        """A TCP connection."""
        connection = socket.socket()
        connection.settimeout(30)
        if window is not None:  # before the connection: the kernel has told the other side by then
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.connect(("127.0.0.1", self.server.port))
        self.opened.append(connection)
        return connection

    def scrape(self, path: str = "/") -> float:
        """A normal request on a new connection; seconds it took."""
        began = time.monotonic()
        answer = ask(self.server.port, path, tls=self.tls)
        assert answer.status == 200
        return time.monotonic() - began


@pytest.fixture(params=["plain", "tls"])
def attack(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., contextlib.AbstractContextManager[Target]]:
    """Begins an attack; after it the server still answers, ends in good order, and wrote no traceback."""
    authority = Authority()
    write_pair(tmp_path, authority.server())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    secure = request.param == "tls"
    pair = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}} if secure else {}

    @contextlib.contextmanager
    def begin(**constants: float) -> Iterator[Target]:
        with web_server(write_config(tmp_path, pair), **constants) as server:
            target = Target(server, client(tmp_path / "ca.pem") if secure else None)
            target.scrape()
            try:
                yield target
                target.scrape()
            finally:
                for one in target.opened:
                    one.close()
            server.process.terminate()
            assert server.process.wait(30) == 0
            assert "Traceback" not in server.log.read_text(), server.log.read_text()
            assert len(server.log.read_text()) < 2000, "an attack fills the log"

    return begin


Attack = Callable[..., contextlib.AbstractContextManager[Target]]


def closed_within(connections: list[socket.socket], seconds: float) -> int:
    """How many the other side has ended by then."""
    end = time.monotonic() + seconds
    left = list(connections)
    while left and time.monotonic() < end:
        for one in list(left):
            one.settimeout(0.001)
            with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
                try:
                    gone = one.recv(65536) == b""
                except (ConnectionError, ssl.SSLError):
                    gone = True
                if gone:
                    left.remove(one)
        time.sleep(0.05)
    return len(connections) - len(left)


def test_500_idle_connections(attack: Attack) -> None:
    """A scrape is answered while they stand, and each takes little memory."""
    with attack() as target:
        before = target.server.rss()
        for _ in range(500):
            target.connect()
        assert target.scrape() < 10
        assert target.server.rss() - before < 100


def test_more_connections_than_there_is_room_for(attack: Attack) -> None:
    """Whoever waited longest is put out, the newcomer is let in: 512 idle connections shut nobody out."""
    with attack(MAX_CONNECTIONS=20, HEAD_SECONDS=60.0) as target:
        first = [target.connect() for _ in range(20)]
        for _ in range(20):
            target.connect()
            target.scrape()
        assert closed_within(first, 5) == 20


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


def test_slowloris_and_idle_connections_are_dropped_at_the_deadline(attack: Attack) -> None:
    """Whatever trickles in."""
    with attack(**SHORT) as target:
        slow = [target.connect() for _ in range(60)]
        for one in slow[:30]:
            one.sendall(HEAD)
        leaving = threading.Event()

        def trickle() -> None:
            while not leaving.wait(0.3):
                for one in slow[:30]:
                    with contextlib.suppress(OSError):
                        one.sendall(b"a: b\r\n")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert target.scrape() < 10
            time.sleep(4)
        finally:
            leaving.set()
            thread.join()
        assert closed_within(slow, 10) == 60


def test_silent_tcp_connections(attack: Attack) -> None:
    """Half-open TLS handshakes, or no HTTP at all: answered meanwhile, dropped at the deadline."""
    with attack(**SHORT) as target:
        silent = [target.raw() for _ in range(200)]
        for one in silent[:100]:
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert target.scrape() < 10
        assert closed_within(silent, 15) == 200


def test_heads_of_10_megabytes(attack: Attack) -> None:
    """Ten at once, as one header or many: refused on the way, and not kept."""
    large = b"X-Large: " + b"a" * 10_000_000 + b"\r\n"
    many = b"X-Many: " + b"b" * 100 + b"\r\n"
    with attack() as target:
        before = target.server.rss()

        def send(content: bytes) -> None:
            one = target.connect()
            with contextlib.suppress(OSError):
                one.sendall(HEAD + content)
                one.sendall(b"\r\n")
                assert b"200 OK" not in one.recv(4096)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(send, [large, many * 90_000] * 5))
        assert target.scrape() < 10
        assert target.server.rss() - before < 60


def test_a_body_nobody_wants(attack: Attack) -> None:
    """10 MB after a GET, or a length that never comes: answered, dropped, not kept."""
    with attack(**SHORT) as target:
        before = target.server.rss()
        one = target.connect()
        with contextlib.suppress(OSError):
            one.sendall(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"a" * 10_000_000)
        two = target.connect()
        two.sendall(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"a" * 10)
        assert b"200 OK" in two.recv(4096)
        two.sendall(b"a" * 10)
        assert closed_within([two], 20) == 1
        assert target.server.rss() - before < 30


def test_requests_sent_ahead(attack: Attack) -> None:
    """Ten thousand in one go from each of twenty: gone, at no price in memory."""
    with attack() as target:
        before = target.server.rss()
        for _ in range(20):
            with contextlib.suppress(OSError):
                target.connect().sendall(b"GET /large HTTP/1.1\r\n\r\n" * 10_000)
        assert target.scrape() < 10
        assert target.server.rss() - before < 120


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
    connection.settimeout(30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while more := connection.recv(1 << 20):
            got += len(more)
    return got


def test_100_scrapes_at_once(attack: Attack) -> None:
    """Each answered."""
    with attack() as target, ThreadPoolExecutor(100) as pool:
        assert len(list(pool.map(lambda _: target.scrape(), range(300)))) == 300


def test_random_bytes(attack: Attack) -> None:
    """Inside TLS and instead of it."""
    dice = random.Random(42)  # noqa: S311 - the same bytes each time
    with attack() as target:
        for number in range(60):
            one = target.raw() if number % 2 else target.connect()
            with contextlib.suppress(OSError):
                one.sendall(dice.randbytes(dice.randrange(1, 5000)))
                one.shutdown(socket.SHUT_WR)
                one.recv(4096)
        for text in (b"GET http://[ HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):  # fmt: skip
            one = target.connect()
            with contextlib.suppress(OSError):
                one.sendall(text)
                one.recv(4096)


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
