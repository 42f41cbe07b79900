"""The exporter as what is attacked, as a user starts it: plain or with TLS, its answer as large as asked for."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.attacked import Target
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, exporter, files_node, inventory
from tests.support.https import client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config


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


def fill(folder: Path, certificates: int) -> None:
    """Files of one certificate."""
    pem = apple_like().push(TOPIC).pem
    for number in range(certificates):
        (folder / f"{number}.pem").write_bytes(pem)


def secured(place: Path) -> tuple[str, ssl.SSLContext]:
    """The flag that has an exporter speak TLS, and what a client brings along; it trusts `place/ca.pem`."""
    authority = Authority()
    (place / "ca.pem").write_bytes(authority.pem)
    write_pair(place, authority.server())
    pair = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}}
    return f"--web.config.file={write_config(place, pair)}", client(place / "ca.pem")


@contextlib.contextmanager
def attacked(
    place: Path, certificates: Path, *flags: str, tls: ssl.SSLContext | None = None
) -> Iterator[Attacked]:
    """An exporter that has read every file, twice; it ends in good order, and wrote no traceback."""
    count = sum(1 for _ in certificates.iterdir())
    (place / "push.pem").write_bytes((certificates / "0.pem").read_bytes())
    nodes = [{"name": name, "product": "files", "folder": str(certificates)} for name in ("a", "b")]
    inventory(place, [*nodes, files_node("c", place / "push.pem")])
    with exporter(place, *flags, interval="30s") as process:
        target = Attacked(process.process.pid, process.port, tls, "/metrics")
        end = time.monotonic() + 300  # two looks at thousands of files: on a busy machine more than a minute
        while len((body := target.body()).splitlines()) < 4 * count:
            assert time.monotonic() < end, "not every file of both was read"
            time.sleep(0.2)
        target.quiet, target.usual = target.rss(), len(body)
        yield target
        assert process.stop() == 0
        told = process.log.read_text()
        assert "Traceback" not in told
        assert len(told) < 4000, f"an attack fills the log: {told[-4000:]}"
