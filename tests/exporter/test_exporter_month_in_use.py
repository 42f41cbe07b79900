"""A month of an exporter in use: polls, scrapes, reloads, nodes that fail and recover. Nothing grows."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.exporter_process import Exporter, port_told
from tests.support.https import Answer, ask, basic, client
from tests.support.month import Month, month

pytestmark = pytest.mark.slow

STEPS, POLLS = 8, 6
"""In a day: the clock is moved so often, and each time every node that answers is polled so often (so every 30 minutes)."""

JUMPS = (3, 20)
"""Days on which the clock jumps: in the week of files that are gone that counts for a day at most; it is over when it is measured."""

MEASURED = (12, 18, 30)
"""Days that are alike; by the first all that is kept for a week has come and gone."""

MOST = {
    "traced": 100_000,
    "resident": 3_000_000,
    "descriptors": 8,
    "threads": 8,
    "looking": 16,
    "tasks": 8,
    "series": 0,
    "kept": 100,
}
"""Growth that is none: bytes, and what comes and goes at any moment. One left a day would be 18."""

FORMATS = (
    {},
    {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"},
    {"Accept-Encoding": "gzip"},
)


class Running(Exporter):
    """The exporter, and what it holds."""

    tls: ssl.SSLContext

    def tell(self, command: str) -> dict[str, int]:
        """Have it do something beside its work."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """Ask once, as Prometheus is let in."""
        with_password = {**basic("prometheus", "swordfish"), **(headers or {})}
        return ask(self.port, path, tls=self.tls, headers=with_password, method=method)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """As `exporter` starts it, in a process that can be measured."""
    log = folder / "exporter.log"
    words = [
        sys.executable, "-m", "tests.support.measured_exporter", f"--config.file={folder / 'inventory.yaml'}",
        "--web.listen-address=127.0.0.1:0", f"--web.config.file={folder / 'web.yml'}", "--poll.interval=20ms",
        f"--snapshot.file={folder / 'snapshot.json'}",
    ]  # fmt: skip
    # What coverage notes down would be measured, too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
    with process:
        try:
            made = Running(process, port_told(process, log), log)
            made.tls = client(folder / "ca.pem")
            yield made
        finally:
            process.kill()


def one_day(number: int, around: Month, exporter: Running) -> None:
    """A slip in the inventory and its mending, a reload, scrapes of every kind, looks at everything."""
    around.day(number)
    around.inventory(number, nodez=[])
    assert exporter.get("/-/reload", method="POST").status == 500
    around.inventory(number)
    read = "mdm_exporter_config_last_reload_success_timestamp_seconds"
    before = exporter.series()[read]
    if number % 2:
        assert exporter.get("/-/reload", method="POST").status == 200
    else:
        exporter.process.send_signal(signal.SIGHUP)
    exporter.wait(lambda series: series[read] > before, read)
    mishaps(number, around.folder, exporter)
    polled = 'mdm_node_polls_total{node="pki"}'
    for _ in range(STEPS):
        exporter.tell(f"move {86_400 / STEPS}")
        until = exporter.series()[polled] + POLLS
        for headers in FORMATS:
            assert exporter.get("/metrics", headers).status == 200
        for path in ("/?lang=ja", "/?lang=en", "/probe?target=api", "/probe?target=unknown", "/nothing"):
            exporter.get(path)
        exporter.wait(lambda series, until=until: series[polled] >= until, polled)


def mishaps(number: int, folder: Path, exporter: Running) -> None:
    """A lost mount, no thread left for a moment, a disk that takes nothing, a clock that jumps to 2036 and back."""
    lost = 'mdm_node_up{node="mount",product="files"}'
    exporter.wait(lambda series: series[lost] == (number % 2 == 0), lost)
    exporter.tell("refuse")
    time.sleep(0.1)
    exporter.tell("allow")
    if number % 3 == 0:
        in_the_way, written = folder / "snapshot.json.new", "mdm_exporter_snapshot_written"
        refused(in_the_way)
        exporter.wait_for(written, 0)
        in_the_way.rmdir()
        exporter.wait_for(written, 1)
    if number in JUMPS:
        polled = 'mdm_node_polls_total{node="pki"}'
        for days in (3650, -3650):
            exporter.tell(f"move {days * 86_400}")
            until = exporter.series()[polled] + POLLS
            exporter.wait(lambda series, until=until: series[polled] >= until, polled)


def refused(path: Path) -> None:
    """A folder where the snapshot is to be written, at a moment when nothing is being written there."""
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return


def compared(seen: Mapping[int, Mapping[str, int]]) -> dict[str, tuple[int, ...]]:
    """What grew: name -> its values on the days of `MEASURED`."""
    early, middle, late = (seen[day] for day in MEASURED)
    more = {name: late[name] - early[name] for name in early}
    # A snapshot of tracemalloc, as on the first of these days, takes memory that the allocator keeps.
    more["resident"] = late["resident"] - middle["resident"]
    return {
        name: tuple(seen[day][name] for day in MEASURED) for name, most in MOST.items() if more[name] > most
    }


def greedy(before: Path, after: Path) -> str:
    """The lines of code that hold more than before, the greediest first."""
    earlier, later = (tracemalloc.Snapshot.load(str(path)) for path in (before, after))
    return "\n".join(map(str, later.compare_to(earlier, "lineno")[:15]))


def test_a_month_in_use_leaves_nothing_behind(tmp_path: Path) -> None:
    """Memory, descriptors, threads, tasks, series and the snapshot's size are after 30 days what they were after 12."""
    seen: dict[int, dict[str, int]] = {}
    with month(tmp_path) as around, running(tmp_path) as exporter:
        for number in range(1, MEASURED[-1] + 1):
            one_day(number, around, exporter)
            if number in MEASURED:
                held = exporter.tell("measure")
                series, kept = len(exporter.series()), (tmp_path / "snapshot.json").stat().st_size
                seen[number] = {**held, "series": series, "kept": kept}
            if number in {MEASURED[0], MEASURED[-1]}:
                exporter.tell(f"dump {tmp_path / f'{number}.traced'}")
        assert exporter.stop() == 0
    assert "Traceback" not in exporter.log.read_text()
    assert compared(seen) == {}, greedy(tmp_path / "12.traced", tmp_path / "30.traced")
