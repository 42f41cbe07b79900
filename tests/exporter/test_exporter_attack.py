"""The exporter itself under attack, as a user starts it, with its own deadlines: a scrape is answered, memory is bounded.

Its answer is large. What needs other deadlines, or an application of its own, is in `tests/web/test_web_attack.py`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.attacked import closed_within, trickling
from tests.support.attacked_exporter import Attacked, attacked, fill, secured
from tests.support.attackers import (
    DRIP,
    HEAD,
    LARGE_HEADS,
    PLAIN,
    dice,
    half_open,
    idle,
    scrape,
    send_head,
    send_random_bytes,
    slow_readers,
    slowloris,
    take_a_byte,
)
from tests.support.https import ask

pytestmark = pytest.mark.slow  # a process, ten thousand files: `make test`

CERTIFICATES = 8000
"""In each of two folders that are one: an answer of 5 MB."""

GZIP = HEAD + b"Accept-Encoding: gzip\r\n\r\n"
SCRAPE_SECONDS = 10
"""Prometheus's usual limit."""


@pytest.fixture(scope="module")
def exporters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Attacked]]:
    """One that speaks plainly and one with TLS; when all is over they end in good order, and wrote no traceback."""
    certificates, place = tmp_path_factory.mktemp("certificates"), tmp_path_factory.mktemp("tls")
    fill(certificates, CERTIFICATES)
    flag, context = secured(place)
    with (
        attacked(tmp_path_factory.mktemp("plain"), certificates) as plain,
        attacked(place, certificates, flag, tls=context) as tls,
    ):
        yield {"plain": plain, "tls": tls}


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
    standing = idle(target, 500)
    assert target.scrape() < SCRAPE_SECONDS
    assert target.grown < 100
    assert closed_within(standing, 60) == 500


def test_slowloris(target: Attacked) -> None:
    """A line of a head every half a second helps nobody past the ten seconds."""
    slow = slowloris(target, 100)
    with trickling(slow, DRIP, 0.5) as alive:
        began = time.monotonic()
        while alive:
            assert target.scrape() < SCRAPE_SECONDS
            assert time.monotonic() - began < 60
            time.sleep(0.5)
    assert target.grown < 60


def test_silent_tcp_connections(target: Attacked) -> None:
    """Half-open TLS handshakes, or no byte at all: dropped at the deadline."""
    silent = [*half_open(target, 100), *(target.raw() for _ in range(100))]
    assert target.scrape() < SCRAPE_SECONDS
    assert target.grown < 60
    assert closed_within(silent, 60) == 200


def test_heads_of_10_megabytes(target: Attacked) -> None:
    """Ten at once, as one header or many: refused on the way, and not kept."""
    with ThreadPoolExecutor(10) as pool:
        sending = [pool.submit(send_head, target, content) for content in LARGE_HEADS * 5]
        most = target.most_grown(2)
        assert not [one for one in sending if b"200 OK" in one.result()]
    assert most < 60


def test_requests_sent_ahead(target: Attacked) -> None:
    """Ten thousand in one go from each of twenty: gone, at no price in memory."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            target.connect().sendall(PLAIN * 10_000)
    assert target.most_grown(2) < 60


def test_100_scrapes_at_once(target: Attacked) -> None:
    """Each answered in full, three times over."""
    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(scrape, [target] * 300)) == [200] * 300
    assert target.grown < 100


def test_100_probes_of_a_large_node_at_once(target: Attacked) -> None:
    """Scrapes are answered meanwhile, and the node is rendered once, not a hundred times."""
    ends = time.monotonic() + 120  # a busy machine may make some rounds slow; a hundred renderings, every one
    while (took := scraped_beside_probes(target)) >= 1:
        assert time.monotonic() < ends, took
    assert target.grown < 100


def scraped_beside_probes(target: Attacked) -> float:
    """Seconds a scrape takes while a hundred probes are answered."""

    def probe(_: int) -> int:
        return ask(target.port, "/probe?target=a", tls=target.tls, headers={"Accept-Encoding": "gzip"}).status

    with ThreadPoolExecutor(100) as pool:
        probing = [pool.submit(probe, number) for number in range(100)]
        time.sleep(0.3)
        took = target.scrape()
        assert [one.result() for one in probing] == [200] * 100
    return took


def test_readers_of_a_byte_a_second(target: Attacked) -> None:
    """Others are answered meanwhile, and what they do not take does not pile up."""
    slow = slow_readers(target, 20)
    for _ in range(8):
        assert target.scrape() < SCRAPE_SECONDS
        take_a_byte(slow)
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
    thrown = dice()
    for number in range(60):
        send_random_bytes(target, thrown, inside_tls=number % 2 == 0)
    for text in (b"GET http://[ HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):  # fmt: skip
        one = target.connect()
        with contextlib.suppress(OSError):
            one.sendall(text)
            one.recv(4096)
    assert target.grown < 60
