"""Real playbook runs on a node whose step is cut off after the switch: killed by its own reload, or by its disk."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from renewctl.playbook_run import Ended, NodeResult
from renewctl.reasons import Reason
from tests.support.playbook_world import World

pytestmark = pytest.mark.slow

# Reads the order; of a switch, runs the node's Python under strace with the faults asked for in `faults`.
_PYTHON = """#!/bin/sh
cat > {folder}/order.$$
program=/usr/bin/python3
if [ -e {folder}/faults ] && grep -q '"op": "switch"' {folder}/order.$$; then
    program="strace -f -qq -o /dev/null $(cat {folder}/faults) /usr/bin/python3"
fi
$program "$@" < {folder}/order.$$
code=$?
rm {folder}/order.$$
exit $code
"""


class Node:
    """A file node on this machine, with its consumer's reload and its Python."""

    def __init__(self, mdm: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mdm, self.folder = mdm, mdm.folder / "f1"
        self.folder.mkdir(exist_ok=True)
        self.certificate, self.key = self.folder / "push.pem", self.folder / "push.key"
        self.certificate.write_bytes(mdm.old.pem)
        self.key.write_bytes(mdm.old.key.read_bytes())
        self.home = self.folder / ".renewctl" / "push.pem"
        self.reload, self.reloads = mdm.folder / "reload", mdm.folder / "reloads"
        self.reload_does("true")
        python = mdm.folder / "python"
        python.write_text(_PYTHON.format(folder=mdm.folder))
        python.chmod(0o755)
        self.allowed = mdm.folder / "allowed"
        self.allowed.write_text(f"{self.reload}\n")
        monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(self.allowed))
        install = {
            "paths": {"certificate": str(self.certificate), "key": str(self.key)},
            "reload": [str(self.reload)],
            "variables": {"ansible_connection": "local", "ansible_python_interpreter": str(python)},
        }
        mdm.hosts["f1"] = {"renewctl_node": {"name": "f1", "product": "files", "install": install}}

    def reload_does(self, script: str) -> None:
        """What the consumer's reload comes to."""
        self.reload.write_text(f"#!/bin/sh\necho x >> {self.reloads}\n{script}\n")
        self.reload.chmod(0o755)

    def breaks(self, call: str, error: str, nth: int) -> None:
        """In a switch, this call on the journal's new text fails at its nth time."""
        beside = self.home / "state.json.new"
        flags = ["-P", str(beside), "-P", beside.name, "-e", f"inject={call}:error={error}:when={nth}"]
        (self.mdm.folder / "faults").write_text(shlex.join(flags))

    def mends(self) -> None:
        """From now on all is well."""
        (self.mdm.folder / "faults").unlink(missing_ok=True)
        self.reload_does("true")

    def phase(self) -> str:
        """What its journal says."""
        return str(json.loads((self.home / "state.json").read_text())["phase"])

    def serves(self) -> str:
        """Which pair its consumer reads."""
        read = self.certificate.read_bytes(), self.key.read_bytes()
        pairs = {"old": self.mdm.old, "new": self.mdm.new}
        return next(name for name, pair in pairs.items() if read == (pair.pem, pair.key.read_bytes()))


@pytest.fixture
def node(mdm: World, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that does well until the test says otherwise."""
    return Node(mdm, monkeypatch)


def of_f1(ended: Ended) -> NodeResult:
    """What became of the node."""
    return ended.results["f1"]


def judged(mdm: World, node: Node, reason: Reason) -> None:
    """Cut off after the switch: not proven by any step; the next fence puts back and says so; the next run proves."""
    ended = mdm.run("rollout", renewctl_run=7)
    assert ended.exit_code != 0
    assert (of_f1(ended).outcome, of_f1(ended).reason) == ("unknown", reason)
    assert (node.phase(), node.serves()) == ("switching", "new")
    asked = of_f1(mdm.run("verify"))
    assert (asked.outcome, asked.reason) == ("unknown", Reason.NODE_STEP_UNFINISHED)
    seen = of_f1(mdm.run("observe"))
    assert seen.observation is not None
    assert [one.reason for one in seen.observation.failures] == [Reason.NODE_STEP_UNFINISHED]
    assert of_f1(mdm.run("rollout", check=True)).outcome == "would_install"

    node.mends()
    before = node.reloads.read_text()
    fenced = of_f1(mdm.run("fence", renewctl_run=8))
    assert (fenced.outcome, fenced.changed, fenced.reason) == ("fenced", True, Reason.NODE_STEP_UNDONE)
    assert (fenced.values["undone"], fenced.values["serial"]) == (True, mdm.old.serial)
    assert (node.phase(), node.serves()) == ("committed", "old")
    assert node.reloads.read_text() == before + "x\n"
    last = of_f1(mdm.run("rollout", renewctl_run=9))
    assert (last.outcome, node.phase(), node.serves()) == ("proven", "committed", "new")


def test_a_reload_that_kills_the_step_leaves_nothing_proven(mdm: World, node: Node) -> None:
    """As when the system's memory runs out while the consumer starts: SIGKILL after both files are the new ones."""
    node.reload_does("kill -9 $PPID; sleep 1; exit 1")
    judged(mdm, node, Reason.NODE_STEP_FAILED)


@pytest.mark.parametrize(
    ("call", "error"),
    [("write", "ENOSPC"), ("fsync", "EIO"), ("openat", "EROFS"), ("renameat", "EIO")],
)
def test_a_disk_that_fails_at_the_last_record_leaves_nothing_proven(
    mdm: World, node: Node, call: str, error: str
) -> None:
    """The pair is switched and the consumer reloaded, but `committed` cannot be written: full, broken, read-only."""
    node.breaks(call, error, 2)
    judged(mdm, node, Reason.NODE_WRITE_FAILED)


def test_a_disk_that_fails_at_the_first_record_changes_nothing(mdm: World, node: Node) -> None:
    """Before the switch is announced: failed, the old pair, nobody reloaded, nothing for the fence to undo."""
    node.breaks("write", "ENOSPC", 1)
    told = of_f1(mdm.run("rollout", renewctl_run=7))
    assert (told.outcome, told.reason, told.values["got"]) == ("failed", Reason.NODE_WRITE_FAILED, "ENOSPC")
    assert told.values["path"] == str(node.home / "state.json.new")
    assert (node.phase(), node.serves(), node.reloads.exists()) == ("idle", "old", False)
    node.mends()
    fenced = of_f1(mdm.run("fence", renewctl_run=8))
    assert (fenced.changed, fenced.reason) == (False, None)


def test_a_disk_filled_by_the_reload_leaves_nothing_proven(
    mdm: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fault is injected: the consumer's log takes the last block of a small disk."""
    small = mdm.folder / "f1"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=True)
    try:
        node = Node(mdm, monkeypatch)
        node.reload_does(f"cat /dev/zero > {small}/log 2>/dev/null; exit 0")
        mends = node.mends

        def emptied() -> None:
            os.truncate(small / "log", 0)
            mends()

        monkeypatch.setattr(node, "mends", emptied)
        judged(mdm, node, Reason.NODE_WRITE_FAILED)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_going_back_from_a_step_that_was_cut_off(mdm: World, node: Node) -> None:
    """`rollback` alone: its fence undoes, which is told, and the old pair is proven."""
    node.reload_does("kill -9 $PPID; sleep 1; exit 1")
    mdm.run("rollout", renewctl_run=7)
    node.mends()
    back = of_f1(mdm.run("rollback", renewctl_run=8))
    assert (back.outcome, node.phase(), node.serves()) == ("put_back", "committed", "old")
    assert mdm.told("fenced") == [("f1", "fenced")]
    (fenced,) = [
        one.result for one in mdm.events if getattr(one, "state", "") == "fenced" and hasattr(one, "result")
    ]
    assert fenced.reason is Reason.NODE_STEP_UNDONE


def damaged(mdm: World, node: Node) -> None:
    """A step was cut off after the switch, and somebody has written into the pair from before it."""
    node.reload_does("kill -9 $PPID; sleep 1; exit 1")
    mdm.run("rollout", renewctl_run=7)
    node.mends()
    journal = json.loads((node.home / "state.json").read_text())
    release = node.home / "releases" / journal["places"][str(node.certificate)]["previous"]
    with (release / "cert.pem").open("ab") as file:
        file.write(b"# touched\n")


@pytest.mark.parametrize(
    ("playbook", "outcome", "pair"), [("rollout", "proven", "new"), ("rollback", "put_back", "old")]
)
def test_a_pair_that_was_damaged_meanwhile_is_sent(
    mdm: World, node: Node, playbook: str, outcome: str, pair: str
) -> None:
    """Neither way ends at its fence, which names what it could not put back; the node is unknown until then."""
    mdm.api_node("n1")
    damaged(mdm, node)
    fenced = of_f1(mdm.run("fence", renewctl_run=8))
    assert (fenced.outcome, fenced.changed, fenced.reason, fenced.values["undone"]) == (
        "fenced",
        True,
        Reason.NODE_RELEASE_DAMAGED,
        False,
    )
    assert str(fenced.values["path"]).startswith(str(node.home / "releases"))
    asked = of_f1(mdm.run("verify"))
    assert (asked.outcome, asked.reason) == ("unknown", Reason.NODE_STEP_UNFINISHED)
    ended = mdm.run(playbook, renewctl_run=9)
    assert (ended.exit_code, of_f1(ended).outcome) == (0, outcome)
    assert (node.phase(), node.serves()) == ("committed", pair)
    assert mdm.run("fence", renewctl_run=10).exit_code == 0


def test_a_person_who_plays_the_playbooks_is_told_what_a_fence_undid(mdm: World, node: Node) -> None:
    """Ansible itself says `changed` and no more."""
    node.reload_does("kill -9 $PPID; sleep 1; exit 1")
    mdm.run("rollout", renewctl_run=7)
    node.mends()
    said = played(mdm)
    assert "f1: fenced: f1: a step of an earlier run had been cut off; it was undone" in said
    assert f"(serial {mdm.old.serial})" in said
    assert node.serves() == "new"


def test_a_person_who_plays_the_playbooks_is_told_what_a_fence_could_not_undo(mdm: World, node: Node) -> None:
    """The damaged release, once; and the roll-out goes on."""
    damaged(mdm, node)
    said = played(mdm)
    assert f"f1: fenced: f1: {node.home / 'releases'}/" in said
    assert said.count("(node_release_damaged)") == 1
    assert node.serves() == "new"


def played(mdm: World) -> str:
    """What a person reads who types `ansible-playbook renewctl.mdm.rollout`, and it goes well."""
    mdm.hosts["f1"].update(mdm.hosts["f1"]["renewctl_node"]["install"]["variables"])
    inventory, variables = mdm.plain_inventory()
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "renewctl.mdm.rollout", "-i", str(inventory), "-e", f"@{variables}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
