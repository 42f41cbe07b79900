"""The exporters that are compared: how each is started over the same folder of certificates."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.42.0",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}
"""What Prometheus 2.42 sends."""

_PEER = ROOT / ".cache" / "query-exporter"
_PINS = ROOT / "tests" / "bench" / "rivals" / "query-exporter.txt"


class Contender:
    """A running exporter, scraped over one connection that is kept."""

    def __init__(
        self, name: str, words: list[str], port: int, log: Path, headers: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._headers = {**HEADERS, **(headers or {})}
        self.began = time.perf_counter()
        self._port = port
        with log.open("w") as out:
            self._process = subprocess.Popen(words, stdout=out, stderr=out, cwd=ROOT, env=_environment())
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def scrape(self) -> bytes:
        """One answer, as sent.

        Raises:
            OSError: nobody listens (yet).
        """
        self._connection.request("GET", "/metrics", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"{self.name}: {answer.status}")
        return body

    def until(self, complete: Callable[[bytes], bool]) -> float:
        """Scrape until the answer is complete; seconds since the program was started."""
        while time.perf_counter() - self.began < 120:
            try:
                if complete(self.scrape()):
                    return time.perf_counter() - self.began
            except (OSError, http.client.HTTPException):
                self._connection.close()
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise SystemExit(f"{self.name} did not answer")

    def text(self) -> str:
        """One answer, as text, over a new connection."""
        self._connection.close()
        body = self.scrape()
        return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode()

    def cpu(self) -> float:
        """CPU seconds so far, in nanoseconds' steps: the process's own clock (clock_getcpuclockid)."""
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def rss(self) -> float:
        """Resident memory, MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def end(self) -> None:
        """Let it go."""
        self._connection.close()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def ours(folder: Path, place: Path) -> Contender:
    """`renewctl-exporter`: one node of files over the folder, polled every 30 s, no store."""
    place.mkdir()
    node = {"name": "pki", "product": "files", "folder": str(folder)}
    watched = {"version": 1, "store": "none", "nodes": [node]}
    (place / "inventory.yaml").write_text(json.dumps(watched), encoding="utf-8")
    return start(place, "30s")


def start(place: Path, interval: str, *flags: str, headers: Mapping[str, str] | None = None) -> Contender:
    """`renewctl-exporter` over the inventory in a folder.

    Args:
        headers: sent beside Prometheus's own.
    """
    port = free_port()
    words = [
        sys.executable, "-m", "exporter.main", f"--config.file={place / 'inventory.yaml'}",
        f"--web.listen-address=127.0.0.1:{port}", f"--poll.interval={interval}", *flags,
    ]  # fmt: skip
    return Contender("ours", words, port, place / "log", headers)


def naive(folder: Path, place: Path) -> Contender:
    """prometheus_client, reading the files at each scrape."""
    place.mkdir()
    port = free_port()
    words = [sys.executable, "-m", "tests.bench.rivals.naive_exporter", str(folder), str(port)]
    return Contender("naive", words, port, place / "log")


def query_exporter(folder: Path, place: Path) -> Contender:
    """query-exporter over a SQLite table of the same certificates, asked every 30 s."""
    place.mkdir()
    _build_query_exporter()
    _fill(place / "certs.db", folder)
    names = ["not_after_timestamp_seconds", "not_before_timestamp_seconds"]
    metric = {"type": "gauge", "description": "Of a certificate.", "labels": ["file", "topic", "serial"]}
    query = {
        "databases": ["certs"],
        "interval": 30,
        "metrics": [f"cert_{name}" for name in names],
        "sql": "SELECT file, topic, serial, after AS cert_not_after_timestamp_seconds,"
        " before AS cert_not_before_timestamp_seconds FROM certs",
    }
    config = {
        "databases": {"certs": {"dsn": f"sqlite:///{place / 'certs.db'}"}},
        "metrics": {f"cert_{name}": metric for name in names},
        "queries": {"certs": query},
    }
    (place / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    port = free_port()
    words = [
        str(_PEER / "bin" / "query-exporter"), "--host=127.0.0.1", f"--port={port}",
        f"--config={place / 'config.yaml'}", "--process-stats",
    ]  # fmt: skip
    return Contender("query-exporter", words, port, place / "log")


def _build_query_exporter() -> None:
    """An environment of its own: it wants other versions of our libraries."""
    if not (_PEER / "bin" / "query-exporter").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", _PEER], check=True)
        pip = [_PEER / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", _PINS], check=True)


def _fill(database: Path, folder: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE certs (file, topic, serial, after, before)")
        for path in folder.iterdir():
            one = x509.load_pem_x509_certificate(path.read_bytes())
            row = (
                path.name,
                one.subject.rfc4514_string(),
                f"{one.serial_number:x}",
                one.not_valid_after_utc.timestamp(),
                one.not_valid_before_utc.timestamp(),
            )
            connection.execute("INSERT INTO certs VALUES (?, ?, ?, ?, ?)", row)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("STATE_", "COVERAGE"))}
