"""An operator's desk for commands that need an inventory, a store and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk, desk_in


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder and a home of the test's own, in English."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RENEWCTL_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Ready to adopt; its store is SQLite."""
    return desk_in(tmp_path, capsys, monkeypatch)
