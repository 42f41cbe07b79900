"""A month of looks, in a minute: nothing grows, whatever comes and goes."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter import node_look
from exporter.keeping import Keeper
from exporter.node_look import NodeLook
from exporter.publisher import Publisher
from exporter.rendering import Format
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Node, Product
from tests.support.certs import apple_like
from tests.support.exporter_values import inventory

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)
A_DAY = timedelta(days=1) // INTERVAL


class Clock(datetime):
    """The looks' own time."""

    at = BEGAN

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003 - the real one's
        """Simulated."""
        return cls.at


def allocated() -> int:
    """Blocks of memory that Python objects take. Pages in use are of all tests that ran in this process before."""
    gc.collect()
    return sys.getallocatedblocks()


def held() -> set[object]:
    """Threads and open files of this process. Those of tests that ran in it before may end any time."""
    files = set[object]()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            files.add((file.name, file.readlink()))
    return files | set(threading.enumerate())


def one_day(folder: Path, day: int, pem: bytes) -> None:
    """Every day a file under a new name, one taken away, one broken; the clean-up job of the next morning."""
    (folder / f"backup-{day:02}.pem").write_bytes(pem)
    (folder / f"broken-{day:02}.pem").write_bytes(b"\x00" * day)
    for name in (f"backup-{day - 1:02}.pem", f"broken-{day - 1:02}.pem"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.slow
def test_a_month_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, open files, threads, series and the snapshot on disk are after 30 days what they were after 12."""
    monkeypatch.setattr(node_look, "datetime", Clock)
    folder, pem = tmp_path / "pki", apple_like().push().pem
    folder.mkdir()
    (folder / "push.pem").write_bytes(pem)
    node = Node("pki", Product.FILES, (), "pki", folder=folder)
    look, snapshot = NodeLook(node, []), Snapshot()
    keeper, asked = Keeper(tmp_path / "snapshot.json"), inventory(node)
    publisher = Publisher(lambda: (asked, snapshot), keeper, threading.Event())
    seen: dict[int, tuple[int, int, int, int]] = {}
    before = held()
    for day in range(1, 31):
        one_day(folder, day, pem)
        for number in range(A_DAY):
            Clock.at = BEGAN + day * timedelta(days=1) + number * INTERVAL
            snapshot = look.look()(snapshot)
            if number % 60 == 0:
                publisher.publish()
        keeper.keep(snapshot)
        series = (
            publisher.page.body(Format.TEXT, compressed=False)
            .whole()
            .count(b"\nmdm_certificate_file_readable{")
        )
        kept = (tmp_path / "snapshot.json").stat().st_size
        seen[day] = (allocated(), len(held() - before), series, kept)
    assert snapshot.node("pki").looks == 30 * A_DAY
    early, late = seen[12], seen[30]
    assert late[1:3] == early[1:3]
    assert late[2] == 1 + 2 + 2 * 7
    assert abs(late[3] - early[3]) < 100
    assert late[0] - early[0] < 2_000, {day: values[0] for day, values in seen.items()}
