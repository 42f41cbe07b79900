"""The exporter itself under readers who do not read: a scrape is answered, and their answers are not kept for them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory

pytestmark = pytest.mark.slow  # a process, ten thousand files: `make test`

CERTIFICATES = 8000
"""In each of two folders that are one: an answer of 5 MB."""

PLAIN = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
GZIP = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter whose answer is large; at its end, no traceback was written."""
    place = tmp_path_factory.mktemp("attack")
    (place / "certificates").mkdir()
    pem = apple_like().push(TOPIC).pem
    for number in range(CERTIFICATES):
        (place / f"certificates/{number}.pem").write_bytes(pem)
    nodes = [{"name": name, "product": "files", "folder": str(place / "certificates")} for name in ("a", "b")]
    (place / "push.pem").write_bytes(pem)
    inventory(place, [*nodes, files_node("c", place / "push.pem")])
    with exporter(place, interval="30s") as running:
        running.wait(lambda series: len(series) > 4 * CERTIFICATES, "every file of both")
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


def rss(running: Exporter) -> float:
    """Memory it holds now, MiB."""
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("asked", [PLAIN, PLAIN * 6, GZIP * 6], ids=["plain", "ahead", "ahead, gzip"])
def test_100_readers_who_do_not_read(running: Exporter, asked: bytes) -> None:
    """Each costs four tenths of a megabyte at most, whatever the size of the answer and however many it asks for."""
    usual = running.get("/metrics")
    before = rss(running)
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            one = opened.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", running.port))
            one.sendall(asked)
        end = time.monotonic() + 4
        most = 0.0
        while time.monotonic() < end:
            most = max(most, rss(running) - before)
            time.sleep(0.05)
        assert most < 100 * 0.4
        assert len(running.get("/metrics").body) == pytest.approx(len(usual.body), abs=100)
