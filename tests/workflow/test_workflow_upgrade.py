"""A newer renewctl in the middle of a renewal: it says what to do, and the renewal goes on after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewctl.cli import main as shell
from tests.support.desk import Desk
from tests.support.old_stores import make_later
from tests.support.pretended_playbooks import Playbooks


def _stopped_in_the_second_wave(desk: Desk) -> None:
    """n1 is done, n2 was begun when the power went; nobody knows what became of it."""
    desk.to_accepted()
    waves: list[int] = []

    def power_cut() -> None:
        waves.append(1)
        if len(waves) > 1:
            raise RuntimeError

    desk.playbooks.meanwhile["rollout"] = power_cut
    assert desk.refusal("renewal", "roll-out", code=1) == "internal"
    desk.playbooks.meanwhile.clear()
    nodes = desk.renewal()["nodes"]
    assert {name: node["outcome"] for name, node in nodes.items()} == {"n1": "proven", "n2": "unknown"}


def _backup(desk: Desk) -> tuple[str | Path, ...]:
    if desk.store.startswith("sqlite"):
        return ()
    path = desk.folder / "before.tar"
    assert desk.told("backup", path)["counts"]["keys"] == 2
    return ("--backup", path)


def test_a_renewal_goes_on_after_an_upgrade_in_its_middle(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rolling out, one node unknown: every command names the upgrade; after it the roll-out is completed."""
    _stopped_in_the_second_wave(desk)
    before = desk.events()
    make_later(monkeypatch)
    for words in (("renewal", "show"), ("renewal", "roll-out"), ("status",), ("adopt", "--certificate", "x")):
        told = desk.run(*words, *(("--certificate-only",) if words[0] == "adopt" else ()))
        assert told.code in {1, 2}
        assert "renewctl store upgrade" in told.err or words[0] == "adopt"
    if not desk.store.startswith("sqlite"):
        assert desk.refusal("store", "upgrade", code=2) == "backup_needed"
    backup = _backup(desk)
    assert desk.told("store", "upgrade", *backup, "--dry-run")["changed"] is False
    told = desk.told("store", "upgrade", *backup)
    assert (told["before"], told["after"], told["changed"]) == (1, 2, True)
    assert (told["copy"] is not None) == desk.store.startswith("sqlite")
    assert desk.events() == before
    assert desk.told("store", "upgrade")["changed"] is False
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert desk.told("renewal", "close")["renewal"]["phase"] == "closed"


def test_an_upgrade_is_told_to_people(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done and where the old store is; in Japanese as well; and that there was nothing to do."""
    desk = sqlite_desk
    assert "of this version already (schema 1)" in desk.run("store", "upgrade").out
    make_later(monkeypatch)
    assert "would upgrade" in desk.run("store", "upgrade", "--dry-run").out
    done = desk.run("store", "upgrade")
    assert "from schema 1 to 2" in done.out
    assert "the old store is kept: " in done.out
    assert "copying" in done.err
    assert shell.main(["--lang", "ja", "store", "upgrade"]) == 0
    assert "すでにこのバージョンです" in capsys.readouterr().out
    assert isinstance(desk.playbooks, Playbooks)
