"""A thousand nodes of ten topics each, polled once a minute: the exporter's share of a core."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.exporter_contenders import Contender, start
from tests.bench.exporter_scrapes import issue
from tests.bench.table import Measured

_NODES, _TOPICS = 1_000, 10
_SHARE = 0.15
_INTERVAL = 60.0
_JITTER = 0.1
"""As exporter/WEB.md has it."""

_TOLERANCE = 0.05
"""Of the interval: a look takes its time, and starts when it is its turn."""

_WINDOW = 90.0
_SCRAPES = 6
_HANGING = 1
"""Nodes that need not be asked so often."""


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
    one = start(place, f"{_INTERVAL:.0f}s", f"--snapshot.file={place / 'snapshot.json'}")
    try:
        one.until(lambda body: body != b"")
        time.sleep(_INTERVAL + 10)  # everybody was asked once, and each has a clock of its own since
        before, begun = one.cpu(), time.perf_counter()
        looks = _looks(one)
        spent = (one.cpu() - before) / (time.perf_counter() - begun)
    finally:
        one.end()
    try:
        seconds = mean_interval(looks)
    except ValueError as error:  # a share of a core for work that was not done would prove nothing
        raise SystemExit(f"{what}: {error}") from None
    return Measured(f"share of a core, {what} (every {seconds:.1f} s) / {_SHARE}", spent, _SHARE, 1.0, 1)


def _looks(one: Contender) -> dict[str, set[float]]:
    """Node -> when looks at it began, as scrapes tell that come as often as Prometheus's."""
    found: dict[str, set[float]] = {}
    for number in range(_SCRAPES + 1):
        for line in gzip.decompress(one.scrape()).decode().splitlines():
            if line.startswith("mdm_node_last_success_timestamp_seconds{"):
                series, _, at = line.rpartition(" ")
                found.setdefault(series, set()).add(float(at))
        if number < _SCRAPES:
            time.sleep(_WINDOW / _SCRAPES)
    return found


def mean_interval(looks: Mapping[str, set[float]]) -> float:
    """Seconds from look to look, over all nodes.

    Raises:
        ValueError: it is not the interval asked for; or some were longer or shorter than its jitter allows.
    """
    at = [sorted(one - {0}) for one in looks.values()]  # 0: never
    gaps = [later - earlier for times in at for earlier, later in pairwise(times)]
    mean = sum(gaps) / max(len(gaps), 1)
    if abs(mean / _INTERVAL - 1) > _TOLERANCE:
        raise ValueError(f"nodes were asked every {mean:.1f} s, not every {_INTERVAL:.0f} s")
    least, most = (_INTERVAL * share for share in (1 - _JITTER, 1 + _JITTER + _TOLERANCE))
    odd = [gap for gap in gaps if not least <= gap <= most]
    unseen = sum(len(times) < 2 for times in at)
    if unseen > _HANGING or len(odd) > len(gaps) / 100:
        raise ValueError(
            f"{unseen} nodes were not asked twice, {len(odd)} times not after {least:.0f} to {most:.0f} s"
        )
    return mean


def _copy(certificates: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in certificates.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
