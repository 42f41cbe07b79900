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
_MOST = 0.95


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
            topics = [f"com.apple.mgmt.External.{number:08x}" for number in range(_TOPICS)]
            for what, path in (
                ("NanoMDM nodes that tell an exporter their version alone", "/closed"),
                ("NanoMDM nodes asked for 10 topics, 12 requests each", ""),
            ):
                urls = [f"http://127.0.0.1:{port}{path}"] * (_NODES - 1)
                urls.append(f"http://127.0.0.1:{silent.getsockname()[1]}")
                asked = [
                    {"name": f"n{number}", "product": "nanomdm", "url": url}
                    for number, url in enumerate(urls)
                ]
                yield _share(f"1,000 {what}", folder / f"api{path.strip('/')}", asked, topics)
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
        polled = _polled(one, len(nodes))
    finally:
        one.end()
    # A share of a core for work that was not done would prove nothing.
    if polled < _MOST:
        raise SystemExit(f"{what}: {polled:.0%} of the nodes were polled as often as they should be")
    return Measured(f"share of a core, {what} ({polled:.0%} in time) / {_SHARE}", spent, _SHARE, 1.0, 1)


def _polled(one: Contender, nodes: int) -> float:
    """The share of nodes polled at least twice in the two and a half minutes of a run."""
    lines = [line for line in one.text().splitlines() if line.startswith("mdm_node_polls_total{")]
    return sum(float(line.rpartition(" ")[2]) >= 2 for line in lines) / nodes


def _copy(certificates: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in certificates.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
