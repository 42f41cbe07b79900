"""A thousand nodes of ten topics each, polled once a minute: the exporter's share of a core."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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
"""Of the mean interval: jitter evens out over a thousand nodes, a look takes its time."""

_WINDOW = 90.0
_HANGING = 1
"""Nodes that need not be asked as often."""


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
        asked_before, polls = _polls(one)
        before, begun = one.cpu(), time.perf_counter()
        time.sleep(_WINDOW)
        spent = (one.cpu() - before) / (time.perf_counter() - begun)
        asked, polls_then = _polls(one)
    finally:
        one.end()
    try:
        seconds = mean_interval(polls, polls_then, asked - asked_before)
    except ValueError as error:  # a share of a core for work that was not done would prove nothing
        raise SystemExit(f"{what}: {error}") from None
    return Measured(f"share of a core, {what} (every {seconds:.1f} s) / {_SHARE}", spent, _SHARE, 1.0, 1)


def _polls(one: Contender) -> tuple[float, dict[str, float]]:
    """When a page was made, and the finished polls it tells of, by series: pages are made some seconds apart."""
    before, end = _counted(one), time.perf_counter() + _INTERVAL
    while (now := _counted(one)) == before and time.perf_counter() < end:
        time.sleep(0.2)
    return time.perf_counter(), now


def _counted(one: Contender) -> dict[str, float]:
    lines = (line for line in one.text().splitlines() if line.startswith("mdm_node_polls_total{"))
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def mean_interval(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> float:
    """Seconds between two polls of a node, over all nodes and the seconds between two counts.

    Raises:
        ValueError: it is not the interval asked for, or some node was asked more or less often than its jitter lets it.
    """
    polls = [after[name] - before[name] for name in before]
    found = len(polls) * seconds / max(sum(polls), 1)
    if abs(found / _INTERVAL - 1) > _TOLERANCE:
        raise ValueError(f"nodes were asked every {found:.1f} s, not every {_INTERVAL:.0f} s")
    least = seconds // (_INTERVAL * (1 + _JITTER + _TOLERANCE))
    most = seconds // (_INTERVAL * (1 - _JITTER)) + 1
    odd = [name for name, count in zip(before, polls, strict=True) if not least <= count <= most]
    if len(odd) > _HANGING:
        raise ValueError(
            f"{len(odd)} nodes were not asked {least:.0f} to {most:.0f} times in {seconds:.0f} s, as {odd[0]}"
        )
    return found


def _copy(certificates: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in certificates.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
