"""The roll-out: waves, the stop rule, and what is written down of each node; the playbooks only pretend."""

from __future__ import annotations

from typing import Any

import pytest

from renewctl.errors import Refused
from renewctl.playbook_run import PushServiceChecked
from renewctl.reasons import Reason
from tests.support.desk import OLD, Desk
from tests.support.pretended_playbooks import SLEEPING, proof

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


@pytest.fixture
def accepted(sqlite_desk: Desk) -> Desk:
    """The new certificate is accepted."""
    sqlite_desk.to_accepted()
    return sqlite_desk


def nodes_of(desk: Desk) -> dict[str, tuple[str, str]]:
    """Node -> direction and outcome, as `show` tells."""
    shown = desk.renewal()["nodes"]
    return {name: (state["direction"], state["outcome"]) for name, state in shown.items()}


def test_canary_first_then_a_node_of_each_storage(desk: Desk) -> None:
    """n1 alone; then n2, and n3 that shares n2's storage only after it: never two writers of one storage."""
    desk.to_accepted()
    told = desk.told("renewal", "roll-out")["renewal"]
    assert desk.playbooks.names() == [("rollout", ("n1",)), ("rollout", ("n2",)), ("rollout", ("n3",))]
    assert (told["phase"], told["owed"], told["forward_only"]) == ("proven", [], False)
    assert nodes_of(desk) == dict.fromkeys(("n1", "n2", "n3"), ("new", "proven"))
    assert desk.kinds()[-8:] == [
        "roll_out_started",
        *["wave_started", "node_finished"] * 3,
        "roll_out_finished",
    ]
    (run,) = {event.body["run"] for event in desk.events() if "run" in event.body}
    assert {one.variables["renewctl_run"] for one in desk.playbooks.played} == {run}


def test_both_pairs_go_to_the_playbooks_without_a_key(desk: Desk) -> None:
    """Certificates as files that end with the run; keys by reference alone: no private key in any variable."""
    desk.to_accepted()
    desk.told("renewal", "roll-out", "--canaries", "2", "--check-in-timeout", "7")
    (one, *_) = desk.playbooks.played
    assert one.name == "fence"
    assert one.pairs["renewctl_previous"] == OLD.pem
    assert one.pairs["renewctl_pair"] == (desk.folder / "MDM_ Example_Certificate.pem").read_bytes()
    assert one.variables["renewctl_canaries"] == 2
    assert one.variables["renewctl_check_in_timeout"] == 7
    key = one.variables["renewctl_pair"]["key"]
    place = {"sealed"} if desk.store.startswith("sqlite") else {"table", "fingerprint"}
    assert set(key) == {"identity", *place}
    assert "PRIVATE KEY" not in str(one.variables) + str(one.hosts)
    if "table" in key:
        assert key["table"] == {"file": str(desk.folder / "store.url")}
    assert one.hosts["n1"]["renewctl_node"]["name"] == "n1"


def test_again_asks_every_node_and_stays_proven(accepted: Desk) -> None:
    """A second roll-out: nodes say `unchanged`, the phase stays proven."""
    accepted.told("renewal", "roll-out")
    for node in ("n1", "n2", "n3"):
        accepted.playbooks.says("rollout", node, "unchanged", proof=proof())
    assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    changed = [event.body["changed"] for event in accepted.events() if event.kind.value == "node_finished"]
    assert changed == [True] * 3 + [False] * 3
    told = accepted.run("renewal", "roll-out").err
    assert told.count("had the new pair already; proven, nothing changed") == 3


def test_other_waves(accepted: Desk) -> None:
    """`--waves 100%`: one wave, still one node a storage first."""
    accepted.told("renewal", "roll-out", "--waves", "100%")
    assert accepted.playbooks.names() == [("rollout", ("n1", "n2")), ("rollout", ("n3",))]
    (started,) = [event for event in accepted.events() if event.kind.value == "roll_out_started"]
    assert started.body["waves"] == [["n1", "n2", "n3"]]


@pytest.mark.parametrize(
    ("answer", "code", "reason", "state"),
    [
        (("wrong", {"reason": Reason.PROOF_CERTIFICATE_DIFFERS}), 1, "roll_out_stopped", ("new", "wrong")),
        (("failed", {"reason": Reason.NODE_STORED_OTHER}), 1, "roll_out_stopped", ("new", "failed")),
        (("put_back", {"proof": proof(), "changed": True}), 1, "roll_out_stopped", ("previous", "proven")),
        (("put_back", {"proof": SLEEPING}), 1, "roll_out_stopped", ("previous", "installed")),
        (("not_proven", {"proof": SLEEPING}), 4, "nodes_not_proven", ("new", "installed")),
        (("unknown", {"reason": Reason.NODE_TIMEOUT}), 4, "nodes_unknown", ("new", "unknown")),
        (("failed", {"reason": Reason.NODE_UNREACHABLE}), 4, "nodes_unknown", ("new", "unknown")),
        (("failed", {"reason": Reason.NODE_TIMEOUT}), 4, "nodes_unknown", ("new", "unknown")),
        (("held", {}), 4, "nodes_unknown", ("new", "unknown")),
        (None, 4, "nodes_unknown", ("new", "unknown")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_node_that_does_not_do_well_ends_the_roll_out(
    accepted: Desk, answer: Any, code: int, reason: str, state: tuple[str, str]
) -> None:
    """Wrong, refused or put back stops (1); unproven or unknown holds (4); the next node is never touched."""
    if answer is None:
        accepted.playbooks.answers["rollout", "n2"] = None
    else:
        accepted.playbooks.says("rollout", "n2", answer[0], **answer[1])
    error = accepted.told("renewal", "roll-out", code=code)["error"]
    assert (error["reason"], error["values"]["nodes"]) == (reason, "n2")
    assert accepted.playbooks.names() == [("rollout", ("n1",)), ("rollout", ("n2",))]
    assert nodes_of(accepted) == {"n1": ("new", "proven"), "n2": state}
    finished = accepted.events()[-1]
    assert finished.kind.value == "roll_out_finished"
    assert finished.body["outcome"] == ("stopped" if code == 1 else "held")
    assert accepted.renewal()["phase"] == "rolling_out"
    assert "n3" in accepted.renewal()["owed"]
    accepted.playbooks.answers.clear()
    assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"


def test_installed_is_enough_where_a_person_says_so(accepted: Desk) -> None:
    """`--unproven-ok`: no waiting for check-ins; the phase is installed, not proven."""
    for node in ("n1", "n2", "n3"):
        accepted.playbooks.says("rollout", node, "not_proven", proof=SLEEPING)
    assert accepted.told("renewal", "roll-out", "--unproven-ok")["renewal"]["phase"] == "installed"


def test_a_person_sees_progress_and_where_it_stopped(accepted: Desk) -> None:
    """Talk on stderr: preparing, waves, each node's proof a line a rung; the state on stdout; exit 1."""
    accepted.playbooks.says(
        "rollout", "n2", "put_back", proof=proof(), reason=Reason.PROOF_CERTIFICATE_DIFFERS
    )
    done = accepted.run("renewal", "roll-out")
    assert done.code == 1
    for words in ("preparing 3 nodes", "wave 1 of", "n1: installing and proving", "n1: new pair proven"):
        assert words in done.err
    serial = accepted.renewal()["serial"]
    assert f"serial: equal, {serial}" in done.err
    assert "check-in: device DEVICE-1 woke up and checked in" in done.err
    assert f"serial: equal, {OLD.serial}" in done.err
    assert "the roll-out stopped at n2" in done.err
    assert done.err.index("error: ") < done.err.index("NEXT STEPS")
    assert "n2" in done.out
    assert "put back and proven" in done.out


def test_one_node_left_out_stays_owed(accepted: Desk) -> None:
    """The others are proven; exit 4 names the one left out; the reason given is recorded."""
    error = accepted.told("renewal", "roll-out", "--leave-out", "n3=in repair = again", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("nodes_owed", "n3")
    (started,) = [event for event in accepted.events() if event.kind.value == "roll_out_started"]
    assert started.body["left_out"] == {"n3": "in repair = again"}
    assert (accepted.renewal()["phase"], accepted.renewal()["owed"]) == ("proven", ["n3"])
    assert "proven, but still without the new pair: n3" in accepted.run("renewal", "show").out
    assert "proven, but still without the new pair: n3" in accepted.run("status").out
    _shows_why(accepted, "n3", "in repair = again")
    error = accepted.told("renewal", "verify", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("nodes_owed", "n3")
    assert accepted.told("renewal", "roll-out")["renewal"]["owed"] == []
    assert "but still without" not in accepted.run("renewal", "verify").out


def _shows_why(desk: Desk, node: str, why: str) -> None:
    """In `status` and `renewal show`, for people in both languages, and beside every phase for programs."""
    for language, words in (("en", f"left out: {why}"), ("ja", f"除外。理由: {why}")):
        rows = desk.run("renewal", "show", "--lang", language).out.splitlines()
        assert [words in row for row in rows if row.startswith(f"{node} ")] == [True]
    assert f"left out of the roll-out: {node}: {why}" in desk.run("status").out
    assert f"展開から除外したノード: {node}（理由: {why}）" in desk.run("status", "--lang", "ja").out
    assert desk.renewal()["left_out"] == {node: why}
    (topic,) = desk.told("status", "--offline", code=4)["topics"]
    assert (topic["owed"], topic["left_out"]) == ([node], {node: why})
    assert (topic["renewal"]["phase"], topic["renewal"]["owed"]) == ("proven", [node])


def test_a_node_left_out_that_has_the_new_pair_is_not_owed(accepted: Desk) -> None:
    """Left out of a second roll-out, it still has what the first one gave it: exit 0."""
    accepted.told("renewal", "roll-out")
    assert accepted.told("renewal", "roll-out", "--leave-out", "n3=disk")["renewal"]["owed"] == []
    assert "disk" not in accepted.run("status").out
    assert "left out" not in accepted.run("renewal", "show").out


class TestPreFlight:
    """Before any node is given anything."""

    def refused(self, desk: Desk, code: int) -> dict[str, Any]:
        """The error; no node was given anything, and the phase is what it was."""
        error: dict[str, Any] = desk.told("renewal", "roll-out", code=code)["error"]
        assert desk.playbooks.names() == []
        assert desk.kinds()[-2:] == ["roll_out_started", "roll_out_finished"]
        assert desk.events()[-1].body["outcome"] == "stopped"
        assert (desk.renewal()["phase"], desk.renewal()["nodes"]) == ("accepted", {})
        return error

    @pytest.mark.parametrize("reason", [Reason.NEW_PAIR_REFUSED, Reason.PREVIOUS_PAIR_REFUSED, None])
    def test_the_push_service_refuses_a_pair(self, accepted: Desk, reason: Reason | None) -> None:
        """Refused with its reason; without one it is not known why. Nothing stays begun."""
        accepted.playbooks.push_service = PushServiceChecked(False, None, None, reason, {"got": "x"})
        error = self.refused(accepted, 1)
        assert error["reason"] == (reason or Reason.PUSH_SERVICE_UNKNOWN).value
        accepted.playbooks.push_service = PushServiceChecked(True, {}, {}, None, {})
        assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"

    def test_a_node_does_not_answer(self, accepted: Desk) -> None:
        """Exit 4, the node named: no node is touched while one cannot be fenced."""
        accepted.playbooks.says("fence", "n2", "unknown", reason=Reason.NODE_UNREACHABLE, values={"got": "x"})
        error = self.refused(accepted, 4)
        assert (error["reason"], error["values"]["node"]) == ("node_unreachable", "n2")

    def test_several_nodes_do_not_answer(self, accepted: Desk) -> None:
        """One bad node never hides the next: all are told, and all can be left out with one line."""
        for node in ("n2", "n3"):
            accepted.playbooks.says("fence", node, "unknown", reason=Reason.NODE_TIMEOUT)
        error = self.refused(accepted, 4)
        assert [other["values"]["node"] for other in error["others"]] == ["n3"]
        line = "--leave-out n2=node_timeout --leave-out n3=node_timeout"
        assert line in accepted.run("renewal", "roll-out").err

    def test_it_failed_without_a_reason(self, accepted: Desk) -> None:
        """Ansible ended otherwise than it should, and no node says why: its last lines are told."""
        accepted.playbooks.exit_codes["fence"] = 4
        accepted.playbooks.answers["fence", "n2"] = None
        error = self.refused(accepted, 4)
        assert (error["reason"], error["values"]["exit_code"]) == ("fence_failed", 4)
        assert error["values"]["nodes"] == "n2"
        assert "--leave-out n2=fence_failed" in accepted.run("renewal", "roll-out").err
        assert error["values"]["got"] == "the tail"


@pytest.mark.parametrize("playbook", ["fence", "rollout"])
def test_a_playbook_that_fails_leaves_its_nodes_unknown(accepted: Desk, playbook: str) -> None:
    """Ended without a word: told as it is; what had begun is unknown, and the same command goes on."""

    def broken() -> None:
        raise Refused(Reason.PLAYBOOK_FAILED, got="boom", exit_code=250)

    accepted.playbooks.meanwhile[playbook] = broken
    assert accepted.refusal("renewal", "roll-out", code=1) == "playbook_failed"
    begun = {} if playbook == "fence" else {"n1": ("new", "unknown")}
    assert nodes_of(accepted) == begun
    done = accepted.run("renewal", "roll-out")
    assert done.code == 1
    assert "NEXT STEPS" in done.err
    accepted.playbooks.meanwhile.clear()
    assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
