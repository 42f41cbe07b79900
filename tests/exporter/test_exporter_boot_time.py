"""When this process started, also where a service is not shown the kernel's own figures."""

from __future__ import annotations

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
