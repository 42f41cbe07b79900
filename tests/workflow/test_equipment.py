"""What this host lacks is told before anything is written down, or a node is touched."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from renewctl import secrets
from renewctl.inventory.reading import load
from renewctl.reasons import Reason
from renewctl.workflow.equipment import require_equipped
from tests.support.desk import Desk

pytestmark = pytest.mark.slow  # a whole desk for each

RELOAD = "/usr/local/bin/reload-mdm"


def of_files(name: str, **more: Any) -> dict[str, Any]:
    """A node of files that reloads."""
    paths = {"certificate": f"/srv/{name}/push.pem", "key": f"/srv/{name}/push.key"}
    return {
        "name": name,
        "product": "files",
        "install": {"host": "h", "paths": paths, "reload": [RELOAD], **more},
    }


@pytest.fixture
def allowed(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This host's list, which names the program; a node of files is in the inventory."""
    listed = sqlite_desk.file("allowed", f"{RELOAD}\n".encode())
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(listed))
    sqlite_desk.rewrite(nodes=[*sqlite_desk.inventory["nodes"], of_files("f1")])
    return listed


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_list_without_the_reload_command(sqlite_desk: Desk, allowed: Path, dry: tuple[str, ...]) -> None:
    """Another operator's laptop: a roll-out is refused, dry too; no node is asked and no event written."""
    sqlite_desk.to_accepted()
    known, played = sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)
    allowed.unlink()
    error = sqlite_desk.told("renewal", "roll-out", *dry, code=1)["error"]
    assert (error["reason"], error["values"]["node"], error["values"]["program"]) == (
        "reload_not_allowed",
        "f1",
        RELOAD,
    )
    assert (sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)) == (known, played)
    allowed.write_text(f"{RELOAD}\n")
    sqlite_desk.told("renewal", "roll-out", *dry)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "f1: the list of this host does not name its reload command"), ("ja", "f1: 再読み込みコマンド")],
)
def test_a_roll_back_goes_on_past_a_reload_command_that_is_not_listed(
    sqlite_desk: Desk, allowed: Path, language: str, words: str
) -> None:
    """Said beforehand, dry too; that node is owed and the others are back; with the command listed it follows."""
    sqlite_desk.to_accepted()
    sqlite_desk.told("renewal", "roll-out")
    allowed.unlink()
    values = {"node": "f1", "program": RELOAD, "path": str(allowed)}
    sqlite_desk.playbooks.says("rollback", "f1", "failed", reason=Reason.RELOAD_NOT_ALLOWED, values=values)
    dry = sqlite_desk.run("renewal", "roll-back", "--dry-run", "--lang", language)
    assert (dry.code, words in dry.err) == (4, True)
    done = sqlite_desk.run("renewal", "roll-back", "--lang", language)
    assert (done.code, words in done.err, str(allowed) in done.err) == (4, True, True)
    told = {name: one["direction"] for name, one in sqlite_desk.renewal()["nodes"].items()}
    assert (told["n1"], told["n2"], told["n3"]) == ("previous", "previous", "previous")
    [topic] = sqlite_desk.told("status", "--offline", code=4)["topics"]
    assert topic["renewal"]["owed_previous"] == ["f1"]
    allowed.write_text(f"{RELOAD}\n")
    sqlite_desk.playbooks.answers.clear()
    sqlite_desk.told("renewal", "roll-back")


def test_all_that_is_missing_is_told_at_once(sqlite_desk: Desk, allowed: Path) -> None:
    """A reload command, the password of a PKCS#12 file, that of three nodes' API: once each."""
    place = {"pkcs12": "/srv/f2/push.p12", "password": {"file": "p12"}}
    sqlite_desk.rewrite(nodes=[*sqlite_desk.inventory["nodes"], of_files("f2", paths=place)])
    sqlite_desk.file("p12", b"geheim")
    sqlite_desk.to_accepted()
    known = sqlite_desk.kinds()
    for lost in (allowed, sqlite_desk.folder / "p12", sqlite_desk.folder / "pw"):
        lost.unlink()
    secrets.forget()
    error = sqlite_desk.told("renewal", "roll-out", code=1)["error"]
    others = [(one["reason"], one["values"].get("node") or one["values"]["where"]) for one in error["others"]]
    assert error["values"]["node"] == "f1"
    assert others == [
        ("reload_not_allowed", "f2"),
        ("secret_unreadable", f"file:{sqlite_desk.folder}/pw"),
        ("secret_unreadable", f"file:{sqlite_desk.folder}/p12"),
    ]
    assert sqlite_desk.kinds() == known


def test_a_roll_back_goes_on_past_a_password_that_cannot_be_read(sqlite_desk: Desk) -> None:
    """It is an emergency: the node itself says what it lacks, in its turn, and is owed; the others are back."""
    sqlite_desk.to_accepted()
    sqlite_desk.told("renewal", "roll-out")
    (sqlite_desk.folder / "pw").unlink()
    secrets.forget()
    where = {"node": "n3", "where": "file:pw", "detail": "ENOENT"}
    sqlite_desk.playbooks.says("rollback", "n3", "failed", reason=Reason.SECRET_UNREADABLE, values=where)
    assert sqlite_desk.refusal("renewal", "roll-back", code=4) == "roll_back_owed"
    told = {name: one["direction"] for name, one in sqlite_desk.renewal()["nodes"].items()}
    assert (told["n1"], told["n2"]) == ("previous", "previous")
    assert sqlite_desk.told("status", "--offline", code=4)["topics"][0]["renewal"]["owed_previous"] == ["n3"]


def test_passwords_that_hang_are_read_side_by_side(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault that is down costs its patience once, not once a node."""
    meet = threading.Barrier(3, timeout=60)
    monkeypatch.setattr(secrets, "read", lambda _ref: meet.wait())
    nodes = sqlite_desk.inventory["nodes"]
    sqlite_desk.rewrite(
        nodes=[{**node, "password": {"file": f"pw-{number}"}} for number, node in enumerate(nodes)]
    )
    require_equipped(load(sqlite_desk.folder / "renewctl.yaml").nodes)


def test_a_node_that_is_left_out_may_want_what_it_likes(sqlite_desk: Desk, allowed: Path) -> None:
    """It is not changed from here; the others go on."""
    sqlite_desk.to_accepted()
    allowed.unlink()
    assert (
        sqlite_desk.refusal("renewal", "roll-out", "--leave-out", "f1=from the other host", code=4)
        == "nodes_owed"
    )
