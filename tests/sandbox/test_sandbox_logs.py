"""Logs of the world are JSON lines that can be read while they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from renewctl.sandbox.serving import JsonLines, read_lines, utc_text


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Each line has a time in UTC; reading can begin at an instant."""
    log = JsonLines(tmp_path / "log")
    log.write(event="first")
    log.write(event="second")
    log.close()
    first, second = read_lines(tmp_path / "log")
    assert (first["event"], second["event"]) == ("first", "second")
    since = datetime.fromisoformat(str(second["time"]))
    assert [line["event"] for line in read_lines(tmp_path / "log", since)] == ["second"]
    assert list(read_lines(tmp_path / "log", since + timedelta(seconds=1))) == []


def test_a_line_half_written_is_not_read(tmp_path: Path) -> None:
    """What has no end of line yet is left for later; a log not begun is empty."""
    path = tmp_path / "log"
    assert list(read_lines(path)) == []
    path.write_text('{"time": "1"}\n{"time": "2", "ev')
    assert list(read_lines(path)) == [{"time": "1"}]


def test_times_are_utc() -> None:
    """Microseconds and a Z, so that text order is time order."""
    assert utc_text(datetime(2026, 11, 23, 9, 30, tzinfo=UTC)) == "2026-11-23T09:30:00.000000Z"
