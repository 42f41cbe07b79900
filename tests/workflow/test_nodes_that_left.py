"""Nodes that leave the inventory in the middle of a renewal, taken out or under another name: nobody can put them back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from renewctl.reasons import Reason
from tests.support.desk import Desk
from tests.support.pretended_playbooks import proof

pytestmark = pytest.mark.slow  # a whole desk for each

LEFT = {
    "en": (
        "given the new pair and no longer in the inventory, so nobody put them back: n3",
        "rolled back, but not known to have the previous pair back: n3",
        "unknown; no longer in the inventory",
        "aborted; no longer in the inventory, and nobody knows which pair they have: n3",
    ),
    "ja": (
        "前の組に戻していないノードがあります: n3",
        "切り戻し済み（前の証明書と秘密鍵の組に戻ったか不明なノードがあります: n3）",
        "不明（インベントリーにありません）",
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
    """Its old name stays owed until somebody lets it go; the new one is read back, and put back, with the rest."""
    renames(proven, "n2", "n2b")
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_gone", "n2")
    assert proven.playbooks.names()[-1] == ("rollback", ("n1", "n3", "n2b"))
    assert proven.renewal()["nodes"]["n2b"]["direction"] == "previous"
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == ["n2"]


def test_while_a_node_is_missing_none_that_was_not_read_back_is_let_pass(proven: Desk) -> None:
    """Put back in vain, then renamed: the renewal is not ended before that node is back under its new name."""
    proven.playbooks.says("rollback", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
    proven.told("renewal", "roll-back", code=4)
    renames(proven, "n2", "n2b")
    shown = proven.told("renewal", "show")
    assert (shown["renewal"]["owed_previous"], shown["renewal"]["gone"]) == (["n2b"], ["n2"])
    assert steps_of(shown) == ["next.gone_name_back", "next.roll_back_again", "next.or_roll_out"]
    error = proven.told("renewal", "abort", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2b")
    proven.told("renewal", "roll-back", code=4)
    assert proven.told("renewal", "abort")["renewal"]["let_go"] == ["n2"]


def test_both_kinds_of_nodes_left_are_told(proven: Desk) -> None:
    """One gives no answer, one is gone: exit 4 for the first, the other beside it."""
    takes_out(proven, "n3")
    proven.playbooks.says("rollback", "n2", "unknown", reason=Reason.NODE_TIMEOUT)
    error = proven.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_owed", "n2")
    assert [other["reason"] for other in error["others"]] == ["node_timeout", "roll_back_gone"]


def test_none_of_those_touched_is_left(sqlite_desk: Desk) -> None:
    """Stopped at the canary, which was taken out: the rest is read back; nothing is called back without it."""
    sqlite_desk.to_accepted()
    sqlite_desk.playbooks.says("rollout", "n1", "not_proven", proof=proof("not_proven"))
    sqlite_desk.refusal("renewal", "roll-out", code=4)
    takes_out(sqlite_desk, "n1")
    assert sqlite_desk.refusal("renewal", "roll-back", code=4) == "roll_back_gone"
    assert sqlite_desk.playbooks.names()[-1] == ("rollback", ("n2", "n3"))
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
