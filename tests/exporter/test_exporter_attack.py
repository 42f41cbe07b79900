"""The exporter itself under readers who do not read: a scrape is answered, and their answers are not kept for them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory
from tests.support.https import ask, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config

pytestmark = pytest.mark.slow  # a process, ten thousand files: `make test`

CERTIFICATES = 8000
"""In each of two folders that are one: an answer of 5 MB."""

PLAIN = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
GZIP = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


@dataclass
class Target:
    """The exporter, spoken to plainly or with TLS."""

    running: Exporter
    tls: ssl.SSLContext | None

    def scrape(self) -> bytes:
        """A usual one."""
        return ask(self.running.port, "/metrics", tls=self.tls).body

    def lazy(self) -> socket.socket:
        """A connection whose other side keeps next to nothing for us."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", self.running.port))
        return raw if self.tls is None else self.tls.wrap_socket(raw, server_hostname="localhost")


@pytest.fixture(scope="module", params=["plain", "tls"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An exporter whose answer is large; at its end, no traceback was written."""
    place = tmp_path_factory.mktemp("attack")
    (place / "certificates").mkdir()
    pem = apple_like().push(TOPIC).pem
    for number in range(CERTIFICATES):
        (place / f"certificates/{number}.pem").write_bytes(pem)
    nodes = [{"name": name, "product": "files", "folder": str(place / "certificates")} for name in ("a", "b")]
    (place / "push.pem").write_bytes(pem)
    inventory(place, [*nodes, files_node("c", place / "push.pem")])
    authority, secure = Authority(), request.param == "tls"
    write_pair(place, authority.server())
    (place / "ca.pem").write_bytes(authority.pem)
    pair = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}} if secure else {}
    web = write_config(place, pair)
    with exporter(place, f"--web.config.file={web}", interval="30s") as running:
        target = Target(running, client(place / "ca.pem") if secure else None)
        end = time.monotonic() + 60
        while len(target.scrape().splitlines()) < 4 * CERTIFICATES:
            assert time.monotonic() < end, "not every file of both was read"
            time.sleep(0.2)
        yield target
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


def rss(running: Exporter) -> float:
    """Memory it holds now, MiB."""
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("asked", [PLAIN, PLAIN * 6, GZIP * 6], ids=["plain", "ahead", "ahead, gzip"])
def test_100_readers_who_do_not_read(target: Target, asked: bytes) -> None:
    """Each costs half a megabyte at most, whatever the size of the answer and however many it asks for."""
    usual = target.scrape()
    before = rss(target.running)
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(target.lazy()).sendall(asked)
        end = time.monotonic() + 4
        most = 0.0
        while time.monotonic() < end:
            most = max(most, rss(target.running) - before)
            time.sleep(0.05)
        assert most < 100 * 0.5
        assert len(target.scrape()) == pytest.approx(len(usual), abs=100)
