"""One journal on one node was edited, or the node lies: no other node and no later roll-out suffers from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.story.test_lost_disk import NAMES, FileNodes, person
from tests.support.operator import Operator

__all__ = ["person"]

pytestmark = pytest.mark.slow


def _journal(nodes: FileNodes, name: str) -> Path:
    return nodes.folder / name / ".renewctl" / "push.pem" / "state.json"


def _run(nodes: FileNodes, name: str) -> int:
    number: int = json.loads(_journal(nodes, name).read_text())["run"]
    return number


def _edit(nodes: FileNodes, name: str, run: int) -> None:
    path = _journal(nodes, name)
    path.write_text(json.dumps({**json.loads(path.read_text()), "run": run}))


@pytest.mark.parametrize("edited", [2_147_483_647, 900_000_000])
def test_an_edited_journal_ends_nothing(person: Operator, edited: int) -> None:
    """Named by roll-out, roll-back and restore; mended as the hint says, all goes on from where it stood."""
    nodes = FileNodes(person)
    new = person.to_accepted()
    person.told("backup", "kept.tar")
    person.told("renewal", "roll-out", "--leave-out", "f3=later", code=4)
    _edit(nodes, "f1", edited)
    refused = person.told("renewal", "roll-out", code=4)["error"]
    assert (refused["reason"], refused["values"]["node"]) == ("run_too_high", "f1")
    assert refused["values"]["path"] == str(_journal(nodes, "f1"))
    assert [_run(nodes, name) < 10 for name in NAMES] == [False, True, True]
    back = person.told("renewal", "roll-back", code=4)["error"]
    assert [back["reason"], *(one["reason"] for one in back["others"])] == ["roll_back_owed", "run_too_high"]
    assert [nodes.serial(name) == new for name in NAMES] == [True, False, False]
    nodes.lose_disk()
    restored = person.told("restore", "kept.tar", code=4)
    assert [one["reason"] for one in restored["nodes"]] == ["run_too_high", None, None]
    assert restored["run"] < 10
    _edit(nodes, "f1", 1)
    assert person.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert [nodes.serial(name) for name in NAMES] == [new] * 3
