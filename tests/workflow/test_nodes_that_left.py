"""Nodes that leave the inventory in the middle of a renewal, taken out or under another name: nobody can put them back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from renewctl.observation import Failure
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from tests.support.certs import NOW
from tests.support.desk import Desk
from tests.support.pretended_playbooks import looked, proof

pytestmark = pytest.mark.slow  # a whole desk for each

LEFT = {
    "en": (
        "touched, no longer in the inventory, and not known to have the previous pair back: n3",
        "rolled back, but not known to have the previous pair back: n3",
        "not known any more, perhaps changed through another node; no longer in the inventory",
        "aborted; no longer in the inventory, and nobody knows which pair they have: n3",
    ),
    "ja": (
        "変更したあとインベントリーから外れ、前の組に戻ったか不明なノードがあります: n3",
        "切り戻し済み（前の証明書と秘密鍵の組に戻ったか不明なノードがあります: n3）",
        "不明（別のノードを通じて変更された可能性があります）（インベントリーにありません）",
        "（インベントリーになく、どちらの組が入っているか不明なノードがあります: n3）",
    ),
}


def takes_out(desk: Desk, *names: str) -> None:
    """These nodes are no longer in the inventory."""
    desk.rewrite(nodes=[node for node in desk.inventory["nodes"] if node["name"] not in names])


def renames(desk: Desk, old: str, new: str) -> None:
    """The same server under another name."""
    nodes = desk.inventory["nodes"]
    desk.rewrite(nodes=[node | {"name": new if node["name"] == old else node["name"]} for node in nodes])


def serves_new(desk: Desk, name: str) -> None:
    """That is what a look at this node tells."""
    accepted = next(one.body["pair"] for one in desk.events() if one.kind is Kind.ACCEPTED)
    look = looked(name, accepted["serial"], datetime.fromisoformat(accepted["not_after"]))
    desk.playbooks.says("observe", name, "observed", observation=look)


def steps_of(told: dict[str, Any]) -> list[str]:
    """Keys of NEXT STEPS, without those about nodes whose API does not answer here."""
    keys = [step["key"] for step in told["next_steps"]]
    return [key for key in keys if key != "next.look_at_node"]


def test_a_node_that_was_taken_out_is_not_called_back(proven: Desk) -> None:
    """Exit 4 names it, `status` too; back in the inventory, one more roll-back finishes."""
    nodes = proven.inventory["nodes"]
    takes_out(proven, "n3")
    dry = proven.told("renewal", "roll-back", "--dry-run", code=4)["refused"]
    assert (dry["reason"], dry["values"]["nodes"]) == ("roll_back_gone", "n3")
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_gone", "n3")
    assert proven.playbooks.names()[-1] == ("rollback", ("n1", "n2"))
    assert proven.events()[-1].body["outcome"] == "owed"
    shown = proven.told("renewal", "show")
    told = shown["renewal"]
    assert (told["phase"], told["gone"], told["owed_previous"]) == ("rolled_back", ["n3"], [])
    assert steps_of(shown) == ["next.gone_name_back", "next.gone_let_go", "next.roll_out_after_back"]
    (topic,) = proven.told("status", "--offline", code=4)["topics"]
    assert topic["renewal"]["gone"] == ["n3"]
    assert "warning.gone_previous" in [warn["key"] for warn in topic["warnings"] if warn["attention"]]
    proven.rewrite(nodes=nodes)
    told = proven.told("renewal", "roll-back")["renewal"]
    assert (told["phase"], told["gone"], told["owed_previous"]) == ("rolled_back", [], [])
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_can_be_let_go_on_record(proven: Desk, language: str) -> None:
    """The others back, `abort` ends it; every display, and the auditor's, names the node nobody put back."""
    takes_out(proven, "n3")
    done = proven.run("renewal", "roll-back", "--lang", language)
    refused, phase, row, aborted = LEFT[language]
    assert (refused in done.err, phase in done.out, row in done.out) == (True, True, True)
    done = proven.run("renewal", "abort", "--lang", language)
    assert (done.code, aborted in done.out) == (0, True)
    assert proven.events()[-1].body["let_go"] == ["n3"]
    assert aborted in proven.run("renewal", "show", "--lang", language).out
    proven.run("audit", "report", "--year", "2026", "--lang", language, "--out", "report.html")
    assert aborted in (proven.folder / "report.html").read_text()
    log = [json.loads(line) for line in proven.run("audit", "log", "--format", "jsonl").out.splitlines()]
    assert [line["nodes"] for line in log if line["event"] == "aborted"] == ["n3"]


def test_a_node_under_another_name_is_put_back_under_that(proven: Desk) -> None:
    """It is known by the new pair it serves; its old name stays named until somebody lets it go."""
    renames(proven, "n2", "n2b")
    serves_new(proven, "n2b")
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_gone", "n2")
    assert proven.playbooks.names()[-2:] == [("observe", ("n2b",)), ("rollback", ("n1", "n3", "n2b"))]
    assert proven.renewal()["nodes"]["n2b"]["direction"] == "previous"
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == ["n2"]


def test_a_renamed_node_with_the_new_pair_is_not_let_pass(proven: Desk) -> None:
    """Put back in vain under its new name: it is owed like any other, and the renewal cannot be ended."""
    renames(proven, "n2", "n2b")
    serves_new(proven, "n2b")
    proven.playbooks.says("rollback", "n2b", "unknown", reason=Reason.NODE_TIMEOUT)
    proven.told("renewal", "roll-back", code=4)
    shown = proven.told("renewal", "show")
    assert (shown["renewal"]["owed_previous"], shown["renewal"]["gone"]) == (["n2b"], ["n2"])
    assert steps_of(shown) == ["next.gone_name_back", "next.roll_back_again", "next.or_roll_out"]
    error = proven.told("renewal", "abort", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2b")
    proven.told("renewal", "roll-back", code=4)
    del proven.playbooks.answers["rollback", "n2b"]
    proven.told("renewal", "roll-back", code=4)
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == ["n2"]


@pytest.mark.parametrize("reason", [Reason.NODE_STEP_UNFINISHED, Reason.NODE_PAIR_MISMATCHED])
def test_a_step_that_was_cut_off_or_half_a_pair_gives_a_renamed_node_away(
    proven: Desk, reason: Reason
) -> None:
    """Whatever certificate it serves: the roll-back's fence undoes its step, the roll-back sends it the pair."""
    renames(proven, "n2", "n2b")
    failure = Failure(reason, {"node": "n2b", "path": "/x"})
    look = replace(looked("n2b", "1", NOW), failures=(failure,))
    proven.playbooks.says("observe", "n2b", "observed", observation=look)
    proven.told("renewal", "roll-back", code=4)
    assert proven.playbooks.names()[-1] == ("rollback", ("n1", "n3", "n2b"))


def test_nodes_the_renewal_never_touched_are_left_as_they_are(sqlite_desk: Desk) -> None:
    """One left out because it is dead, one new: looked at, named where silent, not put back, in nobody's way."""
    sqlite_desk.to_accepted()
    sqlite_desk.refusal("renewal", "roll-out", "--leave-out", "n2=disk is being replaced", code=4)
    first, *_ = nodes = [node for node in sqlite_desk.inventory["nodes"] if node["name"] != "n3"]
    sqlite_desk.rewrite(nodes=[*nodes, first | {"name": "n9"}])
    sqlite_desk.playbooks.answers["observe", "n2"] = None
    old = looked("n9", "1", NOW)
    sqlite_desk.playbooks.says("observe", "n9", "observed", observation=old)
    dry = sqlite_desk.told("renewal", "roll-back", "--dry-run", code=4)
    assert [node["node"] for node in dry["nodes"]] == ["n1"]
    done = sqlite_desk.run("renewal", "roll-back")
    assert (done.code, "so left as they are: n2." in done.err) == (4, True)
    assert sqlite_desk.playbooks.names()[-1] == ("rollback", ("n1",))
    told = sqlite_desk.renewal()
    assert (sorted(told["nodes"]), told["owed_previous"], told["gone"]) == (["n1", "n3"], [], ["n3"])
    assert sqlite_desk.told("renewal", "abort")["renewal"]["let_go"] == ["n3"]


def test_a_node_with_a_storage_of_its_own_stays_what_it_was(proven: Desk) -> None:
    """Put back and proven, then taken out: what others are given later does not change what is told of it."""
    proven.told("renewal", "roll-back")
    takes_out(proven, "n1")
    proven.told("renewal", "roll-out")
    told = proven.renewal()["nodes"]["n1"]
    assert (told["direction"], told["outcome"]) == ("previous", "proven")
    assert "put back and proven; no longer in the inventory" in proven.run("renewal", "show").out
    proven.told("renewal", "roll-back")
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == []


def test_a_storage_under_another_name_may_be_that_of_one_that_left(proven: Desk) -> None:
    """Put back, then taken out; the storage it shared has another name now: what it has is not known any more."""
    proven.told("renewal", "roll-back")
    takes_out(proven, "n3")
    proven.rewrite(nodes=[node | {"storage": node["storage"] * 2} for node in proven.inventory["nodes"]])
    proven.told("renewal", "roll-out")
    assert proven.renewal()["nodes"]["n3"]["outcome"] == "unknown"


def test_a_new_node_may_be_one_that_left(proven: Desk) -> None:
    """Given the new pair, it takes away what was known of a node that was put back, whatever its storage."""
    proven.told("renewal", "roll-back")
    renames(proven, "n1", "n9")
    proven.told("renewal", "roll-out")
    assert proven.renewal()["nodes"]["n1"]["outcome"] == "unknown"


def test_both_kinds_of_nodes_left_are_told(proven: Desk) -> None:
    """One gives no answer, one is gone: exit 4 for the first, the other beside it."""
    takes_out(proven, "n3")
    proven.playbooks.says("rollback", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2")
    assert [other["reason"] for other in error["others"]] == ["node_timeout", "roll_back_gone"]


def test_none_of_those_touched_is_left(sqlite_desk: Desk) -> None:
    """Stopped at the canary, which was taken out: the rest is looked at; nothing is called back without it."""
    sqlite_desk.to_accepted()
    sqlite_desk.playbooks.says("rollout", "n1", "not_proven", proof=proof("not_proven"))
    sqlite_desk.refusal("renewal", "roll-out", code=4)
    takes_out(sqlite_desk, "n1")
    assert sqlite_desk.refusal("renewal", "roll-back", code=4) == "roll_back_gone"
    assert sqlite_desk.playbooks.names()[-1] == ("observe", ("n2", "n3"))
    assert sqlite_desk.told("renewal", "abort")["renewal"]["let_go"] == ["n1"]


def test_forward_the_others_go_on_without_it(sqlite_desk: Desk) -> None:
    """A dead node is taken out, as NEXT STEPS advise: named, never proven; closed without it, on record."""
    sqlite_desk.to_accepted()
    sqlite_desk.playbooks.says("rollout", "n3", "unknown", reason=Reason.NODE_TIMEOUT)
    sqlite_desk.refusal("renewal", "roll-out", code=4)
    takes_out(sqlite_desk, "n3")
    shown = sqlite_desk.told("renewal", "show")
    assert steps_of(shown)[0] == "next.gone_roll_out"
    told = sqlite_desk.told("renewal", "roll-out")["renewal"]
    assert (told["phase"], told["gone"]) == ("proven", ["n3"])
    (topic,) = sqlite_desk.told("status", "--offline")["topics"]
    warned = {warn["key"]: warn["attention"] for warn in topic["warnings"]}
    assert warned["warning.gone_new"] is False
    assert "no longer in the inventory" in sqlite_desk.run("renewal", "show").out
    assert sqlite_desk.told("renewal", "close")["renewal"]["let_go"] == ["n3"]
    assert "warning.gone_new" not in str(sqlite_desk.told("status", "--offline"))


def test_what_a_node_has_that_was_away_during_a_roll_back_is_not_known(proven: Desk) -> None:
    """It may share the storage of one that was put back: proven before, unknown when it is in the inventory again."""
    nodes = proven.inventory["nodes"]
    takes_out(proven, "n2")
    proven.told("renewal", "roll-back", code=4)
    assert proven.renewal()["nodes"]["n2"]["outcome"] == "unknown"
    proven.rewrite(nodes=nodes[:2])
    proven.playbooks.says("rollout", "n1", "not_proven", proof=proof("not_proven"))
    proven.refusal("renewal", "roll-out", code=4)
    assert proven.refusal("renewal", "close", "--without-proof", code=1) == "out_of_order"
