"""The exporter itself under attack, as a user starts it, with its own deadlines: a scrape is answered, memory is bounded.

Its answer is large. What needs other deadlines, or an application of its own, is in `tests/web/test_web_attack.py`.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.attacked import Target, closed_within, trickling
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, exporter, files_node, inventory
from tests.support.https import ask, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config

pytestmark = pytest.mark.slow  # a process, ten thousand files: `make test`

CERTIFICATES = 8000
"""In each of two folders that are one: an answer of 5 MB."""

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
PLAIN = HEAD + b"\r\n"
GZIP = HEAD + b"Accept-Encoding: gzip\r\n\r\n"
SCRAPE_SECONDS = 10
"""Prometheus's usual limit."""


class Attacked(Target):
    """The exporter.

    Attributes:
        quiet: MiB it held before the first attack.
        usual: bytes of its answer.
    """

    quiet = 0.0
    usual = 0

    @property
    def grown(self) -> float:
        """MiB it holds more than in peace."""
        return self.rss() - self.quiet

    def most_grown(self, seconds: float) -> float:
        """The most of that for some time."""
        end, most = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            most = max(most, self.grown)
            time.sleep(0.05)
        return most


@pytest.fixture(scope="module")
def exporters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Attacked]]:
    """One that speaks plainly and one with TLS; when all is over they end in good order, and wrote no traceback."""
    certificates, authority = tmp_path_factory.mktemp("certificates"), Authority()
    pem = apple_like().push(TOPIC).pem
    for number in range(CERTIFICATES):
        (certificates / f"{number}.pem").write_bytes(pem)
    secured = tmp_path_factory.mktemp("tls")
    (secured / "ca.pem").write_bytes(authority.pem)
    write_pair(secured, authority.server())
    pair = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}}
    flag = f"--web.config.file={write_config(secured, pair)}"
    with (
        attacked(tmp_path_factory.mktemp("plain"), certificates) as plain,
        attacked(secured, certificates, flag, tls=client(secured / "ca.pem")) as tls,
    ):
        yield {"plain": plain, "tls": tls}


@contextlib.contextmanager
def attacked(
    place: Path, certificates: Path, *flags: str, tls: ssl.SSLContext | None = None
) -> Iterator[Attacked]:
    """An exporter that has read every file."""
    (place / "push.pem").write_bytes((certificates / "0.pem").read_bytes())
    nodes = [{"name": name, "product": "files", "folder": str(certificates)} for name in ("a", "b")]
    inventory(place, [*nodes, files_node("c", place / "push.pem")])
    with exporter(place, *flags, interval="30s") as process:
        target = Attacked(process.process.pid, process.port, tls, "/metrics")
        end = time.monotonic() + 60
        while len((body := target.body()).splitlines()) < 4 * CERTIFICATES:
            assert time.monotonic() < end, "not every file of both was read"
            time.sleep(0.2)
        target.quiet, target.usual = target.rss(), len(body)
        yield target
        assert process.stop() == 0
        told = process.log.read_text()
        assert "Traceback" not in told
        assert len(told) < 4000, f"an attack fills the log: {told[-4000:]}"


@pytest.fixture(params=["plain", "tls"])
def target(request: pytest.FixtureRequest, exporters: dict[str, Attacked]) -> Iterator[Attacked]:
    """It is attacked; while the attackers still stand there, and after, it answers."""
    one = exporters[request.param]
    yield one
    assert one.scrape() < SCRAPE_SECONDS
    one.close()
    assert len(one.body()) == pytest.approx(one.usual, abs=200)


def test_500_idle_connections(target: Attacked) -> None:
    """Each takes little memory, and is gone after ten seconds."""
    idle = [target.connect() for _ in range(500)]
    assert target.scrape() < SCRAPE_SECONDS
    assert target.grown < 100
    assert closed_within(idle, 20) == 500


def test_slowloris(target: Attacked) -> None:
    """A line of a head every half a second helps nobody past the ten seconds."""
    slow = [target.connect() for _ in range(100)]
    for one in slow:
        one.sendall(HEAD)
    with trickling(slow, b"a: b\r\n", 0.5):
        began = time.monotonic()
        while time.monotonic() - began < 9:
            assert target.scrape() < SCRAPE_SECONDS
            time.sleep(0.5)
        time.sleep(5)
    assert closed_within(slow, 1) == 100
    assert target.grown < 60


def test_silent_tcp_connections(target: Attacked) -> None:
    """Half-open TLS handshakes, or no byte at all: dropped at the deadline."""
    silent = [target.raw() for _ in range(200)]
    for one in silent[:100]:
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert target.scrape() < SCRAPE_SECONDS
    assert target.grown < 60
    assert closed_within(silent, 15) == 200


def test_heads_of_10_megabytes(target: Attacked) -> None:
    """Ten at once, as one header or many: refused on the way, and not kept."""
    large = b"X-Large: " + b"a" * 10_000_000 + b"\r\n"
    many = b"X-Many: " + b"b" * 100 + b"\r\n"

    def send(content: bytes) -> None:
        one = target.connect()
        with contextlib.suppress(OSError):
            one.sendall(HEAD + content)
            one.sendall(b"\r\n")
            assert b"200 OK" not in one.recv(4096)

    with ThreadPoolExecutor(10) as pool:
        sending = [pool.submit(send, content) for content in [large, many * 90_000] * 5]
        most = target.most_grown(2)
        assert [one.result() for one in sending] == [None] * 10
    assert most < 60


def test_requests_sent_ahead(target: Attacked) -> None:
    """Ten thousand in one go from each of twenty: gone, at no price in memory."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            target.connect().sendall(PLAIN * 10_000)
    assert target.most_grown(2) < 60


def test_100_scrapes_at_once(target: Attacked) -> None:
    """Each answered in full, three times over."""

    def scrape(_: int) -> int:
        answer = ask(target.port, "/metrics", tls=target.tls, headers={"Accept-Encoding": "gzip"})
        return answer.status

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(scrape, range(300))) == [200] * 300
    assert target.grown < 100


def test_100_probes_of_a_large_node_at_once(target: Attacked) -> None:
    """Scrapes are answered meanwhile, and the node is rendered once, not a hundred times."""

    def probe(_: int) -> int:
        return ask(target.port, "/probe?target=a", tls=target.tls, headers={"Accept-Encoding": "gzip"}).status

    with ThreadPoolExecutor(100) as pool:
        probing = [pool.submit(probe, number) for number in range(100)]
        time.sleep(0.3)
        took = target.scrape()
        assert [one.result() for one in probing] == [200] * 100
    assert took < 1
    assert target.grown < 100


def test_readers_of_a_byte_a_second(target: Attacked) -> None:
    """Others are answered meanwhile, and what they do not take does not pile up."""
    slow = [target.connect(window=4096) for _ in range(20)]
    for one in slow:
        one.sendall(PLAIN)
    for _ in range(8):
        assert target.scrape() < SCRAPE_SECONDS
        for one in slow:
            one.recv(1)
        time.sleep(1)
    assert target.grown < 60


@pytest.mark.parametrize("asked", [PLAIN, PLAIN * 6, GZIP * 6], ids=["plain", "ahead", "ahead, gzip"])
def test_100_readers_who_do_not_read(target: Attacked, asked: bytes) -> None:
    """Each costs 0.3 MB, whatever the size of the answer and however many it asks for.

    With TLS up to 0.6 MB: asyncio reads into 256 KiB a connection, of which the system gives what is touched; where
    the C library takes memory that was used before, that is all of it.
    """
    for _ in range(100):
        target.connect(window=4096).sendall(asked)
    assert target.most_grown(4) < 100 * (0.75 if target.tls else 0.5)


def test_random_bytes(target: Attacked) -> None:
    """Inside TLS and instead of it."""
    dice = random.Random(42)  # noqa: S311 - the same bytes each time
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
    assert target.grown < 60
