"""Children of the fork server: two threads that start and await them get each one's exit code."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.crash.pg_child import ended, start

pytestmark = pytest.mark.slow


def test_a_start_beside_a_child_that_ends_takes_nobodys_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Starting one reads what others came to; the one that awaits it must not find that gone: 255, for no reason."""
    read = forkserver.read_signed

    def slowly(fd: int) -> int:
        time.sleep(0.2)
        return int(read(fd))

    first = start(["--help"], tmp_path)
    assert wait([first.sentinel], 60)
    monkeypatch.setattr(forkserver, "read_signed", slowly)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(start, ["--help"], tmp_path)
        time.sleep(0.05)
        assert ended(first, 60) == 0
        assert ended(second.result(), 60) == 0
    assert (tmp_path / "out").read_text().startswith("Usage: renewctl")
