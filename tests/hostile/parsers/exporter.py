"""The exporter: its own file of the last snapshot, and whatever comes in on its port."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from exporter import snapshot_file
from exporter.collectors import lively, steady
from exporter.rendering import Page, Part, accepts_gzip, choose_format
from exporter.snapshot import ExpiryFacts, Known, NodeFacts, RenewalFacts, Snapshot
from renewctl.inventory import reading
from renewctl.observation import DeviceCounts, SeenFile, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, PairRef
from tests.hostile.limited import MEGABYTES
from tests.hostile.parser import Made, Parser
from tests.support.inventories import TOPIC, right, write

_AT = datetime(2026, 11, 29, 10, tzinfo=UTC)

_SERVER = """
import os, sys, threading
from pathlib import Path
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # it ends with the child
from exporter.running import Exporter, Settings
from renewctl.inventory.reading import load
from renewctl.web import serving
listener = serving.listen("127.0.0.1:0")
print(listener.getsockname()[1], flush=True)
path = Path(sys.argv[1])
exporter = Exporter(Settings(path, [], [], None, None, None, 3600.0), load(path))  # it watches nothing
serving.serve([exporter.site([listener])])
"""


def _snapshot() -> Made:
    folder = Path(mkdtemp())
    path, inventory = folder / "snapshot.json", reading.load(write(folder, right()))
    known = Known(ServedCertificate(TOPIC, _AT, Source.API, "0b", "f", "k", "CN=x"), _AT)
    facts = NodeFacts(
        looked_at=_AT,
        up=True,
        failures=(Reason.NODE_TIMEOUT,),
        last_success=_AT,
        told=(known.served,),
        told_at=_AT,
        kept=(known,),
        devices=(DeviceCounts(TOPIC, 3, {86_400: 2}),),
        devices_at=_AT,
        files=(SeenFile("/pki/a.pem", TOPIC, _AT), SeenFile("/pki/b.pem", reason=Reason.FILE_NOT_FOUND)),
        gone={"/pki/b.pem": _AT},
    )
    expiries = {("ade_token", "school", ""): ExpiryFacts(_AT, Reason.NODE_TIMEOUT, _AT)}
    left = PairRef("d", "f", "0b", _AT, "k")
    renewal = RenewalFacts(
        "tokyo", "tokyo-1", "open", _AT, ("n1",), {"n1": known}, Direction.PREVIOUS, {"n1": _AT}, left
    )
    snapshot_file.save(path, Snapshot({"n1": facts}, (renewal,), {"tokyo": known}, expiries, None, "h", _AT))

    def take(data: bytes) -> None:
        path.write_bytes(data)
        found = snapshot_file.load(path)
        assert found is not None
        Page(
            [Part(steady(inventory, found)), Part(lively(inventory, found))]
        )  # it is what the exporter begins with

    return Made(take, [path.read_bytes()])


def _headers() -> Made:
    def take(data: bytes) -> None:
        text = data.decode("latin-1")  # as the server hands headers out
        choose_format(text)
        accepts_gzip(text)

    return Made(
        take, [b"application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5", b"gzip;q=1, *;q=0"]
    )


def _http() -> Made:
    """Raw bytes to the port; after each the server still says that it is healthy, and has not grown."""
    pipe, inventory = subprocess.PIPE, write(Path(mkdtemp()), right())
    program = [sys.executable, "-c", _SERVER, str(inventory)]
    server = subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    status = Path(f"/proc/{server.pid}/status")

    def said(data: bytes, wanted: bytes, seconds: float = 5.0) -> bytes:
        answer = b""
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.sendall(data)
            while wanted not in answer and (more := connection.recv(65_536)):
                answer += more
        return answer

    def peak() -> int:
        return next(
            int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")
        )

    healthy = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    said(healthy, b"healthy\n")
    before = peak()

    def take(data: bytes) -> None:
        said(data, b"\r\n\r\n", 0.2)
        assert b"200 OK" in said(healthy, b"healthy\n")
        assert peak() - before < MEGABYTES * 1024

    good = [
        healthy,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
        b"GET /probe?target=tokyo-1&module=x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?lang=ja HTTP/1.1\r\nHost: x\r\nAccept-Language: ja;q=0.9,en\r\n\r\n",
    ]
    return Made(take, good)


PARSERS = [
    Parser(
        "exporter.snapshot",
        _snapshot,
        ["exporter.snapshot_file", "exporter.families"],
        (snapshot_file.UnusableSnapshot,),
        json=True,
    ),
    Parser("exporter.headers", _headers, ["exporter.rendering"]),
    Parser("exporter.http", _http, ["renewctl.web.serving", "exporter.app"], examples=0.5, seconds=2.0),
]
