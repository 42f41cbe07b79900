"""The page follows the snapshot; nothing a node says can blank it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import collectors, snapshot_file
from exporter.keeping import Keeper
from exporter.publisher import Publisher
from exporter.rendering import Format
from exporter.snapshot import NodeFacts, Snapshot
from tests.support.exporter_values import inventory, seen, served


def text(publisher: Publisher) -> str:
    """The page as scrapes see it."""
    return publisher.page.body(Format.TEXT, compressed=False).whole().decode()


def until_shown(publisher: Publisher, line: str) -> None:
    """Wait for a page with it."""
    end = time.monotonic() + 60
    while line not in text(publisher):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_first_page_is_there_before_the_first_change() -> None:
    """From the snapshot there is at the start; without a path nothing is kept."""
    kept = Snapshot().with_node("a", NodeFacts().after(seen(served())))
    publisher = Publisher(lambda: (inventory(), kept), Keeper(None), threading.Event())
    assert 'mdm_node_up{node="a",product="nanomdm"} 1.0' in text(publisher)
    assert "mdm_exporter_snapshot_written" not in text(publisher)
    publisher.start()
    publisher.stop()


def test_a_snapshot_that_cannot_be_rendered_leaves_the_page_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Said in the log, and what was learned is kept on disk all the same; the next good one is shown."""
    snapshot, changed = Snapshot(), threading.Event()
    publisher = Publisher(lambda: (inventory(), snapshot), Keeper(tmp_path / "snapshot.json"), changed)
    before, lively = publisher.page, collectors.lively

    def broken(*_arguments: object) -> Iterator[object]:
        raise ValueError("odd")

    monkeypatch.setattr(collectors, "lively", broken)
    publisher.start()
    changed.set()
    end = time.monotonic() + 60
    while snapshot_file.load(tmp_path / "snapshot.json") is None:
        assert time.monotonic() < end
    assert publisher.page is before
    assert "could not be rendered" in caplog.text
    monkeypatch.setattr(collectors, "lively", lively)
    snapshot = Snapshot().with_node("a", NodeFacts().after(seen()))
    changed.set()
    until_shown(publisher, 'mdm_node_up{node="a",product="nanomdm"} 1.0')
    publisher.stop()
    assert snapshot_file.load(tmp_path / "snapshot.json") == snapshot


def test_a_snapshot_that_cannot_be_kept_is_told_in_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """0 until it was written and from a failure on, 1 while it is; at once, not one look later; the log says so once."""
    path, snapshot = tmp_path / "snapshot.json", Snapshot()
    publisher = Publisher(lambda: (inventory(), snapshot), Keeper(path), threading.Event())
    in_the_way = tmp_path / "snapshot.json.new"

    def told(days: int) -> list[str]:
        nonlocal snapshot
        snapshot = snapshot.with_node("a", NodeFacts().after(seen(served(days=days))))
        publisher.publish()
        return [line for line in text(publisher).splitlines() if line.startswith("mdm_exporter_snapshot_wr")]

    assert "mdm_exporter_snapshot_written 0.0" in text(publisher)
    assert told(1) == ["mdm_exporter_snapshot_written 1.0"]
    in_the_way.mkdir()
    for days in (2, 3):
        assert told(days) == ["mdm_exporter_snapshot_written 0.0"]
    assert [f"{path} cannot be written" in message for message in caplog.messages] == [True]
    in_the_way.rmdir()
    assert told(4) == ["mdm_exporter_snapshot_written 1.0"]
