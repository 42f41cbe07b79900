"""A thousand nodes of ten topics each, polled once a minute: the exporter's share of a core."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.exporter_contenders import Contender, start
from tests.bench.exporter_scrapes import issue
from tests.bench.table import Measured

_NODES, _TOPICS = 1_000, 10
_SHARE = 0.15
_WINDOW = 90.0


def measure(folder: Path) -> Iterator[Measured]:
    """Nodes of files (a folder each), and NanoMDM nodes asked over HTTP for each topic, one hanging among them."""
    certificates = folder / "certificates"
    certificates.mkdir()
    issue(certificates, _TOPICS)
    files = [
        {"name": f"n{number}", "product": "files", "folder": str(_copy(certificates, folder / f"n{number}"))}
        for number in range(_NODES)
    ]
    yield _share("1,000 nodes of files, 10 topics each", folder / "files", files, ())
    words = [sys.executable, "-m", "tests.bench.telling_server"]
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            hosts = [port] * (_NODES - 1) + [silent.getsockname()[1]]
            asked = [
                {"name": f"n{number}", "product": "nanomdm", "url": f"http://127.0.0.1:{host}"}
                for number, host in enumerate(hosts)
            ]
            topics = [f"com.apple.mgmt.External.{number:08x}" for number in range(_TOPICS)]
            yield _share("1,000 NanoMDM nodes, 12 requests each", folder / "api", asked, topics)
        finally:
            server.terminate()


def _share(what: str, place: Path, nodes: Sequence[dict[str, Any]], topics: Sequence[str]) -> Measured:
    place.mkdir()
    whole: dict[str, Any] = {"version": 1, "store": "none", "nodes": nodes}
    if topics:
        whole["topics"] = [
            {"id": f"t{number}", "topic": uid, "name": "T", "account": {"alias": "a"}}
            for number, uid in enumerate(topics)
        ]
    (place / "inventory.yaml").write_text(json.dumps(whole), encoding="utf-8")
    one = start(place, "60s", f"--snapshot.file={place / 'snapshot.json'}")
    try:
        one.until(lambda body: body != b"")
        time.sleep(70)  # everybody was asked once, and each has a clock of its own since
        before, begun = one.cpu(), time.perf_counter()
        time.sleep(_WINDOW)
        spent = (one.cpu() - before) / (time.perf_counter() - begun)
        _require_polled(one, len(nodes))
    finally:
        one.end()
    return Measured(f"share of a core, {what}, once a minute / {_SHARE}", spent, _SHARE, 1.0, 1)


def _require_polled(one: Contender, nodes: int) -> None:
    """A share of a core for work that was not done would prove nothing."""
    counts = [
        float(line.rpartition(" ")[2])
        for line in one.text().splitlines()
        if line.startswith("mdm_node_polls_total{")
    ]
    if len(counts) != nodes or sum(count >= 2 for count in counts) < nodes * 0.95:
        raise SystemExit(f"polls of {len(counts)} nodes: {sorted(counts)[:10]} …")


def _copy(certificates: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in certificates.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
