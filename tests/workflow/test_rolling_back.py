"""The way back, proving again, and the end of a renewal."""

from __future__ import annotations

from datetime import datetime

import pytest

from renewctl.reasons import Reason
from tests.support.certs import TOPIC
from tests.support.desk import OLD, OLD_ENDS, Desk
from tests.support.pretended_playbooks import SLEEPING, looked, proof
from tests.support.scripted_nanomdm import install

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


def test_every_node_is_put_back_newest_first(desk: Desk) -> None:
    """One playbook over all touched nodes with the previous pair; the phase says so, nothing is owed."""
    desk.to_proven()
    told = desk.told("renewal", "roll-back")["renewal"]
    assert (told["phase"], told["owed"]) == ("rolled_back", [])
    played = desk.playbooks.played[-1]
    assert (played.name, played.pairs["renewctl_previous"]) == ("rollback", OLD.pem)
    assert {(n["direction"], n["outcome"]) for n in told["nodes"].values()} == {("previous", "proven")}
    assert desk.kinds()[-3:] == ["node_finished", "node_finished", "roll_back_finished"]
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"


def test_roll_back_says_what_it_does(proven: Desk) -> None:
    """The nodes in the order they are put back, each with its proof of the previous serial."""
    done = proven.run("renewal", "roll-back")
    assert done.code == 0
    assert "putting back: n3, n2, n1" in done.err
    assert f"serial: equal, {OLD.serial}" in done.err
    assert "every node is back on the previous pair" in done.err


@pytest.mark.parametrize("outcome", ["unknown", "failed"])
def test_a_node_that_is_not_put_back_is_owed(proven: Desk, outcome: str) -> None:
    """The others are put back; exit 4 names the one and why; the next roll-back finishes."""
    proven.playbooks.says("rollback", "n2", outcome, reason=Reason.NODE_TIMEOUT)
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2")
    assert [other["reason"] for other in error["others"]] == ["node_timeout"]
    assert proven.events()[-1].body["outcome"] == "owed"
    shown = proven.told("renewal", "show")
    assert [step["key"] for step in shown["next_steps"]] == ["next.roll_back_again", "next.or_roll_out"]
    told = shown["renewal"]
    assert (told["phase"], told["owed"], told["owed_previous"]) == ("rolled_back", [], ["n2"])
    assert (
        "rolled back, but not known to have the previous pair back: n2" in proven.run("renewal", "show").out
    )
    (topic,) = proven.told("status", "--offline", code=4)["topics"]
    assert (topic["owed"], topic["renewal"]["owed_previous"]) == (["n2"], ["n2"])
    assert "warning.owed_previous" in [warn["key"] for warn in topic["warnings"] if warn["attention"]]
    proven.playbooks.answers.clear()
    told = proven.told("renewal", "roll-back")["renewal"]
    assert (told["phase"], told["owed"], told["owed_previous"]) == ("rolled_back", [], [])
    assert "n2" not in proven.run("renewal", "show").out.splitlines()[0]


def test_put_back_without_a_check_in_is_put_back(proven: Desk) -> None:
    """A device that sleeps does not make a node owed: read back is enough."""
    proven.playbooks.says("rollback", "n2", "put_back", proof=SLEEPING)
    told = proven.told("renewal", "roll-back")["renewal"]
    assert (told["phase"], told["nodes"]["n2"]["outcome"]) == ("rolled_back", "installed")


def test_only_touched_nodes_are_put_back(sqlite_desk: Desk) -> None:
    """Stopped at the canary: the others were never touched, and are not now."""
    sqlite_desk.to_accepted()
    sqlite_desk.playbooks.says("rollout", "n1", "not_proven", proof=SLEEPING)
    sqlite_desk.refusal("renewal", "roll-out", code=4)
    sqlite_desk.told("renewal", "roll-back")
    assert sqlite_desk.playbooks.names()[-1] == ("rollback", ("n1",))


def test_roll_back_before_a_node_was_touched(sqlite_desk: Desk) -> None:
    """Nothing to put back: out of order."""
    sqlite_desk.to_accepted()
    kinds = sqlite_desk.kinds()
    for words in ((), ("--dry-run",)):
        assert sqlite_desk.refusal("renewal", "roll-back", *words, code=1) == "out_of_order"
    assert sqlite_desk.kinds() == kinds


def test_a_dry_roll_back(proven: Desk) -> None:
    """Newest first, from which certificate to which; under check: no event, no run; refused without the key."""
    kinds, new = proven.kinds(), proven.renewal()
    for node in ("n2", "n3"):
        seen = looked(node, new["serial"], datetime.fromisoformat(new["not_after"]))
        proven.playbooks.says("rollback", node, "would_put_back", changed=True, observation=seen)
    seen = looked("n1", OLD.serial, OLD_ENDS)
    proven.playbooks.says("rollback", "n1", "unchanged", observation=seen)
    told = proven.told("renewal", "roll-back", "--dry-run")
    assert (told["step"], told["renewal"], told["refused"]) == ("roll-back", "tokyo-1", None)
    assert told["waves"] == [["n3"], ["n2"], ["n1"]]
    before = {"serial": new["serial"], "not_after": new["not_after"]}
    after = {"serial": OLD.serial, "not_after": "2027-01-04T12:00:00Z"}
    assert {one["node"]: (one["would_change"], one["now"], one["after"]) for one in told["nodes"]} == {
        "n1": (False, after, after),
        "n2": (True, before, after),
        "n3": (True, before, after),
    }
    played = proven.playbooks.played[-1]
    assert (played.name, played.check, played.limit) == ("rollback", True, ("n1", "n2", "n3"))
    assert "renewctl_run" not in played.variables
    count = len(proven.playbooks.played)
    proven.lose_keys()
    for words in ((), ("--dry-run",)):
        assert proven.refusal("renewal", "roll-back", *words, code=1) == "key_not_in_store"
    assert (proven.kinds(), len(proven.playbooks.played)) == (kinds, count)


@pytest.mark.parametrize(
    ("language", "would", "until"),
    [
        ("en", "would be given the previous pair", "until 2027-01-04"),
        ("ja", "前の証明書と秘密鍵の組に切り戻されます", "2027年1月4日まで"),
    ],
)
def test_a_dry_roll_back_in_words(proven: Desk, language: str, would: str, until: str) -> None:
    """Its turn, the node, both certificates by serial and end; one that is silent is told, and exit 4."""
    seen = looked("n3", "ab12", OLD_ENDS)
    proven.playbooks.says("rollback", "n3", "would_put_back", changed=True, observation=seen)
    proven.playbooks.says("rollback", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
    done = proven.run("renewal", "roll-back", "--dry-run", "--lang", language)
    assert done.code == 4
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[:2] for row in rows[1:4]] == [["1", "n3"], ["2", "n2"], ["3", "n1"]]
    lines = done.out.splitlines()
    assert would in lines[1]
    assert "ab12" in lines[1]
    assert OLD.serial in lines[1]
    assert lines[1].count(until) == 2
    assert OLD.serial not in lines[2]
    told = proven.told("renewal", "roll-back", "--dry-run", code=4)
    assert (told["refused"]["reason"], told["refused"]["values"]["nodes"]) == ("roll_back_owed", "n2")
    assert [other["reason"] for other in told["refused"]["others"]] == ["node_timeout"]


class TestVerify:
    """Proving again; nothing is changed on any node."""

    def test_a_sleeping_device_wakes_up_later(self, desk: Desk) -> None:
        """Installed, then proven by `verify`; no run is taken, no pair but the new one is told."""
        desk.to_accepted()
        for node in ("n1", "n2", "n3"):
            desk.playbooks.says("rollout", node, "not_proven", proof=SLEEPING)
        desk.told("renewal", "roll-out", "--unproven-ok")
        assert desk.told("renewal", "verify")["renewal"]["phase"] == "proven"
        played = desk.playbooks.played[-1]
        assert (played.name, played.variables["renewctl_previous"]) == ("verify", None)
        assert "renewctl_run" not in played.variables
        assert desk.kinds()[-3:] == ["node_verified"] * 3

    @pytest.mark.parametrize(
        ("outcome", "more", "code", "reason", "phase"),
        [
            ("not_proven", {"proof": SLEEPING}, 4, "nodes_not_proven", "installed"),
            ("unknown", {"reason": Reason.NODE_TIMEOUT}, 4, "nodes_unknown", "proven"),
            ("failed", {"reason": Reason.NODE_DENIED}, 4, "nodes_unknown", "proven"),
            ("wrong", {"reason": Reason.PROOF_CERTIFICATE_DIFFERS}, 1, "nodes_wrong", "rolling_out"),
        ],
    )
    def test_a_node_that_is_no_longer_well(
        self, proven: Desk, outcome: str, more: dict[str, object], code: int, reason: str, phase: str
    ) -> None:
        """Each node's answer is written down; the phase is what it adds up to."""
        proven.playbooks.says("verify", "n2", outcome, **more)
        error = proven.told("renewal", "verify", code=code)["error"]
        assert (error["reason"], error["values"]["nodes"]) == (reason, "n2")
        assert proven.renewal()["phase"] == phase
        proven.playbooks.answers.clear()
        assert proven.told("renewal", "verify")["renewal"]["phase"] == "proven"

    @pytest.mark.parametrize(
        ("language", "told"),
        [("en", "new pair proven; asked in vain"), ("ja", "の確認では応答が得られませんでした")],
    )
    def test_a_node_that_cannot_be_asked_stays_what_it_was(
        self, proven: Desk, language: str, told: str
    ) -> None:
        """Shown with time and reason; proving again comes next, never leaving out a node that has the pair."""
        denied = {"node": "n2", "address": "n2", "got": "401"}
        proven.playbooks.says("verify", "n2", "failed", reason=Reason.NODE_DENIED, values=denied)
        done = proven.run("renewal", "verify", "--lang", language)
        assert done.code == 4
        assert told in done.out
        assert "--leave-out" not in done.err
        shown = proven.told("renewal", "show")
        node = shown["renewal"]["nodes"]["n2"]
        assert (node["outcome"], node["reason"]) == ("proven", "node_denied")
        assert node["unanswered_at"] == proven.events()[-2].at.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert [step["key"] for step in shown["next_steps"]] == ["next.verify_again", "next.close"]
        assert proven.told("status", "--offline")["topics"][0]["owed"] == []

    def test_unproven_is_enough_where_a_person_says_so(self, proven: Desk) -> None:
        """`--unproven-ok`: exit 0, the phase tells the truth."""
        proven.playbooks.says("verify", "n2", "not_proven", proof=SLEEPING)
        assert proven.told("renewal", "verify", "--unproven-ok")["renewal"]["phase"] == "installed"

    def test_nodes_that_were_put_back_are_not_judged_by_the_new_pair(self, proven: Desk) -> None:
        """After a roll-back there is nothing to verify: refused, and the nodes stay as they were told."""
        proven.told("renewal", "roll-back")
        assert proven.refusal("renewal", "verify", code=1) == "out_of_order"
        assert proven.renewal()["phase"] == "rolled_back"

    def test_one_node_put_back_by_the_stop_rule(self, sqlite_desk: Desk) -> None:
        """Only the nodes that hold the new pair are asked; that the others are owed it ends with exit 4."""
        sqlite_desk.to_accepted()
        sqlite_desk.playbooks.says("rollout", "n2", "put_back", proof=proof())
        sqlite_desk.refusal("renewal", "roll-out", code=1)
        error = sqlite_desk.told("renewal", "verify", code=4)["error"]
        assert (error["reason"], error["values"]["nodes"]) == ("nodes_owed", "n2, n3")
        assert sqlite_desk.playbooks.names()[-1] == ("verify", ("n1",))
        assert sqlite_desk.renewal()["nodes"]["n2"]["direction"] == "previous"

    def test_before_the_roll_out(self, sqlite_desk: Desk) -> None:
        """Accepted, no node touched: out of order."""
        sqlite_desk.to_accepted()
        assert sqlite_desk.refusal("renewal", "verify", code=1) == "out_of_order"

    @pytest.mark.parametrize(
        ("language", "told"),
        [
            (
                "en",
                "certificate accepted; “node verified” cannot follow now, only in: rolling out, installed",
            ),
            ("ja", "証明書受け入れ済み。いまは「ノードを確認」に進めません。進める段階: 展開中, 導入済み"),
        ],
    )
    def test_out_of_order_in_words(self, sqlite_desk: Desk, language: str, told: str) -> None:
        """Which step was tried, and in which phases it can follow."""
        sqlite_desk.to_accepted()
        assert told in sqlite_desk.run("renewal", "verify", "--lang", language).err


class TestClose:
    """Ending a renewal that is rolled out."""

    def test_proven_and_nothing_owed(self, desk: Desk) -> None:
        """Closed; nothing follows but next year."""
        desk.to_proven()
        assert desk.told("renewal", "close", "--dry-run")["step"] == "close"
        assert desk.kinds()[-1] == "roll_out_finished"
        assert desk.told("renewal", "close")["renewal"]["phase"] == "closed"
        refused = desk.told("renewal", "close", code=1)["error"]
        assert refused["reason"] == "renewal_none_open"
        assert "renewctl status" in refused["hint"]
        assert "open" not in refused["hint"]
        assert desk.told("renewal", "show")["next_steps"][0]["key"] == "next.nothing_due"

    def test_a_node_that_is_owed(self, sqlite_desk: Desk) -> None:
        """Exit 4, whatever else is said; once it has its pair, or left the inventory, it closes."""
        sqlite_desk.to_accepted()
        sqlite_desk.refusal("renewal", "roll-out", "--leave-out", "n3=repair", code=4)
        kinds = sqlite_desk.kinds()
        for words in ((), ("--dry-run",), ("--without-proof",)):
            error = sqlite_desk.told("renewal", "close", *words, code=4)["error"]
            assert (error["reason"], error["values"]["nodes"]) == ("nodes_owed", "n3")
        assert sqlite_desk.kinds() == kinds
        sqlite_desk.rewrite(nodes=sqlite_desk.inventory["nodes"][:2])
        assert sqlite_desk.told("renewal", "close")["renewal"]["phase"] == "closed"

    def test_a_node_that_is_not_proven(self, sqlite_desk: Desk) -> None:
        """Exit 4 unless a person says so."""
        sqlite_desk.to_accepted()
        sqlite_desk.playbooks.says("rollout", "n2", "not_proven", proof=SLEEPING)
        sqlite_desk.told("renewal", "roll-out", "--unproven-ok")
        for words in ((), ("--dry-run",)):
            error = sqlite_desk.told("renewal", "close", *words, code=4)["error"]
            assert (error["reason"], error["values"]["nodes"]) == ("nodes_not_proven", "n2")
        assert sqlite_desk.told("renewal", "close", "--without-proof")["renewal"]["phase"] == "closed"

    @pytest.mark.parametrize("words", [("--without-proof",), ("--dry-run",)])
    def test_stopped_midway(self, sqlite_desk: Desk, words: tuple[str, ...]) -> None:
        """A node proven wrong: nothing closes over it."""
        sqlite_desk.to_accepted()
        sqlite_desk.playbooks.says("rollout", "n2", "wrong")
        sqlite_desk.refusal("renewal", "roll-out", code=1)
        assert sqlite_desk.refusal("renewal", "close", *words, code=1) == "out_of_order"


def test_a_renewal_is_not_ended_while_a_node_is_owed_the_old_pair(proven: Desk) -> None:
    """Aborted, nobody would speak of that node any more: exit 4 until it is back, or out of the inventory."""
    proven.playbooks.says("rollback", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
    proven.told("renewal", "roll-back", code=4)
    error = proven.told("renewal", "abort", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2")
    proven.rewrite(nodes=[node for node in proven.inventory["nodes"] if node["name"] != "n2"])
    assert proven.told("renewal", "abort")["renewal"]["phase"] == "aborted"


def test_a_roll_out_that_died_before_its_first_wave_can_be_put_back(sqlite_desk: Desk) -> None:
    """No node was touched: no playbook is played, and the renewal can be rolled out or aborted."""
    sqlite_desk.to_accepted()

    def dies() -> None:
        raise KeyboardInterrupt

    sqlite_desk.playbooks.meanwhile["fence"] = dies
    assert sqlite_desk.run("renewal", "roll-out").code == 130
    sqlite_desk.playbooks.meanwhile.clear()
    assert sqlite_desk.renewal()["phase"] == "rolling_out"
    assert sqlite_desk.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    assert sqlite_desk.playbooks.names() == []
    assert sqlite_desk.told("renewal", "abort")["renewal"]["phase"] == "aborted"


def test_a_node_that_was_given_the_new_pair_after_the_roll_back_is_seen(proven: Desk) -> None:
    """A late order was carried out: status leads back again, and the renewal is not ended over it; put back, it is."""
    proven.enroll_of_topic(2)
    proven.told("renewal", "roll-back")
    store = proven.folder / "mdm.db"
    new = (proven.folder / "MDM_ Example_Certificate.pem").read_bytes()
    install(store, TOPIC, new, OLD.key_pem)
    (topic,) = proven.told("status", code=4)["topics"]
    assert topic["owed"] == ["n1"]
    keys = [step["key"] for step in topic["next_steps"]]  # no node's API answers at this desk
    assert [key for key in keys if key != "next.look_at_node"] == ["next.roll_back_again", "next.or_roll_out"]
    for words in ((), ("--dry-run",)):
        error = proven.told("renewal", "abort", *words, code=4)["error"]
        assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n1")
    done = proven.run("renewal", "abort")
    assert "renewctl renewal roll-back --topic tokyo" in done.err
    assert "renewctl renewal abort" not in done.err
    install(store, TOPIC, OLD.pem, OLD.key_pem)
    assert proven.told("renewal", "abort")["renewal"]["phase"] == "aborted"
