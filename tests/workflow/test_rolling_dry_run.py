"""What a roll-out would do: told wave by wave, and nothing is changed."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest

from renewctl.reasons import Reason
from tests.support.desk import OLD, OLD_ENDS, Desk
from tests.support.pretended_playbooks import looked

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


@pytest.fixture
def accepted(sqlite_desk: Desk) -> Desk:
    """The new certificate is accepted."""
    sqlite_desk.to_accepted()
    return sqlite_desk


class TestDryRun:
    """What would change where."""

    def test_every_node_is_named_and_nothing_is_written(self, desk: Desk) -> None:
        """Waves and nodes; run under check; no event, no run taken."""
        desk.to_accepted()
        desk.playbooks.says("rollout", "n2", "unchanged")
        kinds = desk.kinds()
        told = desk.told("renewal", "roll-out", "--dry-run")
        assert told["waves"] == [["n1"], ["n2", "n3"]]
        assert {one["node"]: one["would_change"] for one in told["nodes"]} == {
            "n1": True,
            "n2": False,
            "n3": True,
        }
        (one,) = desk.playbooks.played
        assert (one.check, one.limit) == (True, ("n1", "n2", "n3"))
        assert "renewctl_run" not in one.variables
        assert desk.kinds() == kinds
        done = desk.run("renewal", "roll-out", "--dry-run")
        assert "would be given the new pair" in done.out
        assert "has the new pair already" in done.out

    @pytest.mark.parametrize(
        ("language", "old", "new"),
        [("en", "until 2027-01-04", "until "), ("ja", " 2027年1月4日まで", "日まで")],
    )
    def test_what_changes_is_told(self, accepted: Desk, language: str, old: str, new: str) -> None:
        """Serial and end date now and then, for each node; a dash where it cannot tell what it serves."""
        serial = accepted.renewal()["serial"]
        seen = looked("n1", OLD.serial, OLD_ENDS)
        accepted.playbooks.says("rollout", "n1", "would_install", changed=True, observation=seen)
        accepted.playbooks.says("rollout", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
        words = ("renewal", "roll-out", "--dry-run")
        told = accepted.told(*words, code=4)
        assert (told["step"], told["renewal"]) == ("roll-out", "tokyo-1")
        after = {"serial": serial, "not_after": accepted.renewal()["not_after"]}
        assert {one["node"]: (one["now"], one["after"]) for one in told["nodes"]} == {
            "n1": ({"serial": OLD.serial, "not_after": "2027-01-04T12:00:00Z"}, after),
            "n2": (None, None),
            "n3": (None, after),
        }
        shown = accepted.run(*words, "--lang", language).out.splitlines()
        assert f"{OLD.serial}" in shown[1]
        assert old in shown[1]
        assert serial in shown[1].partition(old)[2]
        assert new in shown[1].partition(serial)[2]
        assert (serial in shown[2], serial in shown[3]) == (False, True)

    def test_a_newer_pair_on_a_host_that_only_ansible_reaches(self, accepted: Desk) -> None:
        """It is on no record: the plan is shown, and refused, as is said of nodes that can be asked from here."""
        by_hand = looked("n1", "abcdef", OLD_ENDS + timedelta(days=300))
        accepted.playbooks.says("rollout", "n1", "would_install", changed=True, observation=by_hand)
        told = accepted.told("renewal", "roll-out", "--dry-run", code=1)
        assert (told["refused"]["reason"], told["refused"]["values"]["node"]) == ("pair_not_on_record", "n1")
        assert len(told["nodes"]) == 3
        accepted.told("renewal", "roll-out", "--dry-run", "--forward-only")

    def test_who_is_left_out_is_told_with_the_reason(self, accepted: Desk) -> None:
        """It is in no wave, but not forgotten."""
        words = ("renewal", "roll-out", "--dry-run", "--leave-out", "n3=in repair")
        told = accepted.told(*words)
        assert (told["waves"], told["left_out"]) == ([["n1"], ["n2"]], {"n3": "in repair"})
        assert "left out of the roll-out: n3: in repair" in accepted.run(*words).out

    def test_a_node_without_an_answer(self, accepted: Desk) -> None:
        """Shown as such beside the others, then the dry run ends as the roll-out would."""
        accepted.playbooks.says("rollout", "n2", "failed", reason=Reason.NODE_UNREACHABLE)
        told = accepted.told("renewal", "roll-out", "--dry-run", code=4)
        assert {one["node"]: (one["would_change"], one["reason"]) for one in told["nodes"]} == {
            "n1": (True, None),
            "n2": (None, "node_unreachable"),
            "n3": (True, None),
        }
        assert "n2 cannot be reached" in told["nodes"][1]["message"]
        assert (told["refused"]["reason"], told["refused"]["exit_code"]) == ("node_unreachable", 4)
        done = accepted.run("renewal", "roll-out", "--dry-run")
        assert done.code == 4
        rows = {line.split()[1]: line for line in done.out.splitlines()}
        assert "would be given the new pair" in rows["n1"]
        assert "gives no answer" in rows["n2"]
        assert "n2 cannot be reached" in rows["n2"]
        assert "needs attention: n2 cannot be reached" in done.err
        assert "nothing was written" in done.err

    def test_the_way_past_it_can_be_pasted(self, accepted: Desk) -> None:
        """NEXT STEPS name the silent nodes and keep what was typed; as printed it rolls out to the others."""
        accepted.playbooks.says("rollout", "n3", "failed", reason=Reason.NODE_TIMEOUT)
        words = ("renewal", "roll-out", "--leave-out", "n2=new disk")
        done = accepted.run(*words, "--dry-run")
        assert "NODE=REASON" not in done.err
        (line,) = [line.strip() for line in done.err.splitlines() if "--leave-out" in line]
        assert line.endswith("--leave-out 'n2=new disk' --leave-out n3=node_timeout")
        told = accepted.told(*shlex.split(line)[1:], code=4)
        assert told["error"]["reason"] == "nodes_owed"
        assert accepted.playbooks.names()[-1] == ("rollout", ("n1",))

    def test_a_node_nothing_was_told_of(self, accepted: Desk) -> None:
        """Neither yes nor no: null for programs; exit 4, since it is not known what would happen."""
        accepted.playbooks.answers["rollout", "n3"] = None
        told = accepted.told("renewal", "roll-out", "--dry-run", code=4)
        unknown = dict.fromkeys(("would_change", "now", "after", "reason", "message"))
        assert told["nodes"][2] == {"node": "n3", **unknown}
        assert told["refused"]["reason"] == "nodes_unknown"
        assert "gives no answer" in accepted.run("renewal", "roll-out", "--dry-run").out
