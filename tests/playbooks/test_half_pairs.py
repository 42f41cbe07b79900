"""Real playbook runs on a node whose key is not its certificate's: proven by none, mended by the next."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from renewctl.reasons import Reason
from tests.playbooks.test_cut_off_rollout import Node, of_f1
from tests.support.playbook_world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def node(mdm: World, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that does well until the test says otherwise."""
    return Node(mdm, monkeypatch)


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_roll_back_over_an_old_certificate_put_there_by_hand(mdm: World, node: Node, how: str) -> None:
    """The key was forgotten: the certificate alone proves nothing, so the old pair is put back, and reloaded."""
    mdm.run("rollout", renewctl_run=7)
    if how == "moved":  # as rsync and `install` do
        node.certificate.unlink()
    node.certificate.write_bytes(mdm.old.pem)
    assert of_f1(mdm.run("rollback", check=True)).outcome == "would_put_back"
    before = node.reloads.read_text()
    ended = mdm.run("rollback", renewctl_run=8)
    assert (ended.exit_code, of_f1(ended).outcome, of_f1(ended).changed) == (0, "put_back", True)
    assert node.serves() == "old"
    assert node.reloads.read_text() == before + "x\n"


def test_a_key_that_was_overwritten_is_found_and_mended(mdm: World, node: Node) -> None:
    """`verify` says wrong with the path, `observe` tells, the dry run would install, and the roll-out does."""
    mdm.run("rollout", renewctl_run=7)
    node.key.write_bytes(b"x")
    ended = mdm.run("verify")
    asked = of_f1(ended)
    assert ended.exit_code != 0
    assert (asked.outcome, asked.reason) == ("wrong", Reason.NODE_PAIR_MISMATCHED)
    assert asked.values["path"] == str(node.certificate)
    seen = of_f1(mdm.run("observe")).observation
    assert seen is not None
    assert [one.reason for one in seen.failures] == [Reason.NODE_PAIR_MISMATCHED]
    assert of_f1(mdm.run("rollout", check=True)).outcome == "would_install"
    ended = mdm.run("rollout", renewctl_run=8)
    assert (ended.exit_code, of_f1(ended).outcome, node.serves()) == (0, "proven", "new")
    assert of_f1(mdm.run("rollback", renewctl_run=9)).outcome == "put_back"
    assert node.serves() == "old"


BY_HAND: dict[str, Callable[[Node], object]] = {
    "key removed": lambda node: node.key.unlink(),
    "certificate emptied": lambda node: node.certificate.write_bytes(b""),
    "certificate emptied by its name": lambda node: (
        node.certificate.unlink(),
        node.certificate.write_bytes(b""),
    ),
    "certificate is none": lambda node: (node.certificate.unlink(), node.certificate.write_bytes(b"x")),
}


@pytest.mark.parametrize("damage", BY_HAND)
def test_what_the_dry_runs_promise_of_a_damaged_node_is_done(mdm: World, node: Node, damage: str) -> None:
    """`verify` says wrong; both dry runs say what roll-out and roll-back then do."""
    mdm.run("rollout", renewctl_run=7)
    BY_HAND[damage](node)
    asked = of_f1(mdm.run("verify"))
    assert (asked.outcome, asked.reason) == ("wrong", Reason.NODE_PAIR_MISMATCHED)
    ended = mdm.run("rollout", check=True)
    assert (ended.exit_code, of_f1(ended).outcome) == (0, "would_install")
    ended = mdm.run("rollout", renewctl_run=8)
    assert (ended.exit_code, of_f1(ended).outcome, node.serves()) == (0, "proven", "new")
    BY_HAND[damage](node)
    ended = mdm.run("rollback", check=True)
    assert (ended.exit_code, of_f1(ended).outcome) == (0, "would_put_back")
    ended = mdm.run("rollback", renewctl_run=9)
    assert (ended.exit_code, of_f1(ended).outcome, node.serves()) == (0, "put_back", "old")


def test_a_new_certificate_put_there_by_hand_on_shared_storage(mdm: World, node: Node) -> None:
    """The old key is beside it: not `unchanged`, the pair is installed."""
    node.certificate.write_bytes(mdm.new.pem)
    ended = mdm.run("rollout", renewctl_run=7, renewctl_storage_shared=True)
    assert (ended.exit_code, of_f1(ended).outcome, node.serves()) == (0, "proven", "new")


def test_a_damaged_key_is_not_what_a_roll_back_leads_to(mdm: World, node: Node) -> None:
    """Cut short on the node between two roll-outs: the way back sends the old pair anew."""
    mdm.run("rollout", renewctl_run=7)
    mdm.run("rollback", renewctl_run=8)
    node.key.write_bytes(node.key.read_bytes()[:60])
    mdm.run("rollout", renewctl_run=9)
    ended = mdm.run("rollback", renewctl_run=10)
    assert (ended.exit_code, of_f1(ended).outcome, node.serves()) == (0, "put_back", "old")


@pytest.mark.parametrize(
    ("damage", "playbook", "outcome", "pair"),
    [
        ("certificate empty", "rollout", "proven", "new"),
        ("certificate empty", "rollback", "put_back", "old"),
        ("key gone", "rollback", "put_back", "old"),
    ],
)
def test_what_consumers_read_was_damaged_after_a_step_was_cut_off(
    mdm: World, node: Node, damage: str, playbook: str, outcome: str, pair: str
) -> None:
    """Before its rename: the fence names the release and takes part; then either way sends its pair."""
    mdm.run("rollout", renewctl_run=7)
    mdm.run("rollback", renewctl_run=8)
    journal = node.home / "state.json"
    told = json.loads(journal.read_text())
    names = told["places"][str(node.certificate)]
    told["places"][str(node.certificate)] = {"active": names["previous"], "previous": names["active"]}
    journal.write_text(json.dumps({**told, "phase": "switching"}))
    if damage == "key gone":
        node.key.resolve().unlink()
    else:
        node.certificate.write_bytes(b"")
    fenced = of_f1(mdm.run("fence", renewctl_run=9))
    assert (fenced.outcome, fenced.reason) == ("fenced", Reason.NODE_RELEASE_DAMAGED)
    ended = mdm.run(playbook, renewctl_run=10)
    assert (ended.exit_code, of_f1(ended).outcome) == (0, outcome)
    assert (node.phase(), node.serves()) == ("committed", pair)
