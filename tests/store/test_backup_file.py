"""The file of a backup: read back as it was written, or refused."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from renewctl.errors import RenewctlError
from renewctl.upkeep import backup_file
from renewctl.upkeep.backup_file import Backup

EVENT = {"renewal": "tokyo-1", "seq": 1, "hash": "ab" * 32, "body": '{"更新":1}', "reason": None}
SMALL = Backup(
    made_at=datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC),
    version="0.1.0",
    kind="sqlite",
    schema=1,
    tables={
        "events": [EVENT],
        "documents": [{"sha256": "cd" * 32, "body": b"\x00\xff", "at": "x"}],
        "runs": [],
    },
    keys={"ef" * 32: b"age-encryption.org/v1\n\x01\x02"},
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A backup of one event, one document and one key."""
    path = tmp_path / "small.tar"
    backup_file.write(path, SMALL)
    return path


def test_it_reads_back_as_it_was_written(small: Path) -> None:
    """Texts, numbers, absent cells and bytes; the same name each time."""
    assert backup_file.read(small)[0] == SMALL
    again = small.with_name("again.tar")
    assert backup_file.write(again, SMALL) == backup_file.read(small)[1]
    assert again.read_bytes() == small.read_bytes()


def test_any_changed_byte_is_noticed(small: Path) -> None:
    """Flip bits all over the file: it is refused, or reads the same (tar's own dates and padding)."""
    whole, good = small.read_bytes(), backup_file.read(small)
    broken, refused = small.with_name("broken.tar"), 0
    for position in range(0, len(whole), 7):
        broken.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            found = backup_file.read(broken)
        except RenewctlError as error:
            assert error.reason.value in {"backup_unreadable", "backup_damaged"}  # noqa: PT017
            refused += 1
        else:
            assert found == good
    assert refused > 100


@pytest.mark.parametrize("part", [0.0, 0.05, 0.3, 0.6])
def test_a_file_cut_short_is_refused(small: Path, part: float) -> None:
    """A copy that ended early is no backup."""
    whole = small.read_bytes()
    used = whole.rstrip(b"\0")
    small.write_bytes(used[: int(len(used) * part)])
    with pytest.raises(RenewctlError, match="backup_"):
        backup_file.read(small)


def _rewritten(small: Path, change: Callable[[dict[str, bytes]], None]) -> str:
    """The reason a file is refused with whose parts somebody changed, sums and all."""
    with tarfile.open(small) as tar:
        parts = {about.name: tar.extractfile(about).read() for about in tar}  # type: ignore[union-attr]
    change(parts)
    with tarfile.open(small, "w") as tar:
        for name, content in parts.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    with pytest.raises(RenewctlError) as refused:
        backup_file.read(small)
    return refused.value.reason.value


def _summed(parts: dict[str, bytes], **more: Any) -> None:
    told = json.loads(parts.pop("manifest.json"))
    del told["sha256"]
    told |= {"files": backup_file.sums(parts), **more}
    parts["manifest.json"] = json.dumps({**told, "sha256": backup_file.digest(told)}).encode()


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("events.jsonl", b'{"renewal": "tokyo-1"}\n'),
        ("events.jsonl", b"[]\n"),
        ("events.jsonl", b'{"renewal; DROP TABLE events": 1}\n'),
        ("events.jsonl", b"{"),
        ("documents.jsonl", b'{"body": {"base64": "?"}}\n'),
        ("documents.jsonl", b'{"body": {}}\n'),
        ("keys/../../etc/passwd", b"x"),
        ("runs.jsonl", b'{"number": 1}\n'),
    ],
)
def test_parts_that_fit_their_sums_and_are_no_backup(small: Path, part: str, content: bytes) -> None:
    """Rows that are none, odd column names, a path for a key, counts that differ: refused, never a traceback."""

    def change(parts: dict[str, bytes]) -> None:
        parts[part] = content
        _summed(parts)

    assert _rewritten(small, change) == "backup_damaged"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"format": 2}, "backup_newer"),
        ({"format": "1"}, "backup_unreadable"),
        ({"made_at": 7}, "backup_damaged"),
        ({"schema": None}, "backup_damaged"),
    ],
)
def test_manifests_of_others(small: Path, more: dict[str, Any], reason: str) -> None:
    """A newer form says so; anything else is no manifest of ours."""
    assert _rewritten(small, lambda parts: _summed(parts, **more)) == reason


def test_a_tar_of_something_else(small: Path) -> None:
    """No manifest, a folder, a link: no backup."""
    assert _rewritten(small, lambda parts: parts.clear()) == "backup_damaged"
    with tarfile.open(small, "w") as tar:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(RenewctlError, match="backup_damaged"):
        backup_file.read(small)
