"""What is told of this process, also where the kernel tells less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter import process


def test_a_hidden_proc_stat_is_made_up_for_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ProcSubset=pid` hides it (systemd.exec(5)): the start is told all the same, to a second or two."""
    told = process._boot_time()

    def hidden(*_: object, **__: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", "/proc/stat")

    monkeypatch.setattr(Path, "read_text", hidden)
    assert abs(process._boot_time() - told) <= 2


def test_open_files_are_counted_also_by_a_kernel_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 6.2 gives their folder the size 0: they are listed, and the folder that is read is one of them."""
    told = process._open_files()
    with Path(os.devnull).open("rb"):
        assert process._open_files() == told + 1
        listed = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as prometheus_client does
        monkeypatch.setattr(os, "stat", lambda _: os.stat_result((0,) * 10))
        assert process._open_files() == listed
