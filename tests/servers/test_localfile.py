"""Small files of this machine, whatever lies there."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from renewctl import localfile


class _NothingYet(io.RawIOBase):
    """As /proc/kmsg, which calls itself a regular file: opened without waiting, it has nothing to read yet."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> None:
        return None


def test_what_has_nothing_to_read_yet_is_an_error_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error like any other, so that it is named and the files beside it are read."""
    path = tmp_path / "kmsg"
    path.touch()
    monkeypatch.setattr(os, "fdopen", lambda *_, **__: io.BufferedReader(_NothingYet()))
    with pytest.raises(BlockingIOError, match="temporarily unavailable"):
        localfile.read(path)
