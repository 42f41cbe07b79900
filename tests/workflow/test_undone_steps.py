"""A step that was cut off on a file node: no proof stands on it, and what the next fence undid is told and kept."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from renewctl.reasons import Reason
from renewctl.renewal.history import Recorded, histories
from renewctl.store.write import Store
from tests.support.certs import NOW
from tests.support.desk import OLD, Desk
from tests.support.pretended_playbooks import proof

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

CUT_OFF = {
    **proof("unknown", reason="node_step_unfinished"),
    "rungs": {"read_back": "unknown", "serial": "not_available", "push": "not_available"},
}


@pytest.fixture
def accepted(sqlite_desk: Desk) -> Desk:
    """The new certificate is accepted."""
    sqlite_desk.to_accepted()
    return sqlite_desk


def undone(desk: Desk, node: str, serial: str) -> None:
    """The next fence undoes a step on this node."""
    values = {"run": 1, "undone": True, "node": node, "serial": serial}
    desk.playbooks.says("fence", node, "fenced", changed=True, reason=Reason.NODE_STEP_UNDONE, values=values)


def state(desk: Desk, node: str) -> tuple[str, str, str | None]:
    """Direction, outcome and reason of a node, as `show` tells."""
    told = desk.renewal()["nodes"][node]
    return told["direction"], told["outcome"], told["reason"]


def recorded(desk: Desk, node: str) -> Recorded | None:
    """What a node is on record with."""
    with Store(desk.store) as store:
        return histories(store.renewals())["tokyo"].recorded(node)


def in_status(desk: Desk, node: str) -> dict[str, Any]:
    """A node in `status`."""
    (topic,) = desk.told("status", "--offline", code=4)["topics"]
    found: dict[str, Any] = next(one for one in topic["nodes"] if one["name"] == node)
    return found


@pytest.mark.parametrize(
    ("language", "line"),
    [
        (
            "en",
            "n2: a step of an earlier run had been cut off; it was undone, and the pair from before that step",
        ),
        ("ja", "n2: 以前の実行の処理が途中で打ち切られていたため取り消し、その前の組"),
    ],
)
def test_what_the_fence_undid_is_said_and_kept(accepted: Desk, language: str, line: str) -> None:
    """A line with the serial, an event before the first wave, the audit's answer; then the roll-out goes on."""
    undone(accepted, "n2", OLD.serial)
    done = accepted.run("renewal", "roll-out", "--lang", language)
    assert done.code == 0
    (said,) = [one for one in done.err.splitlines() if line in one]
    assert OLD.serial in said
    assert accepted.kinds()[-9:-6] == ["roll_out_started", "node_finished", "wave_started"]
    (kept,) = [one for one in accepted.events() if one.body.get("reason") == "node_step_undone"]
    assert {name: kept.body[name] for name in ("node", "direction", "outcome", "changed")} == {
        "node": "n2",
        "direction": "previous",
        "outcome": "installed",
        "changed": True,
    }
    assert accepted.renewal()["phase"] == "proven"
    (told,) = [
        one for one in accepted.run("audit", "log", "--format", "jsonl").out.splitlines() if "undone" in one
    ]
    assert json.loads(told)["serial"] == OLD.serial
    assert accepted.run("audit", "verify").code == 0


def test_another_node_that_cannot_be_fenced_does_not_hide_it(accepted: Desk) -> None:
    """Nothing is rolled out; the node that was put back is on record with the previous pair, and owed the new one."""
    accepted.playbooks.says(
        "rollout", "n1", "unknown", reason=Reason.NODE_STEP_FAILED, values={"got": "switch"}
    )
    accepted.told("renewal", "roll-out", code=4)
    assert state(accepted, "n1") == ("new", "unknown", "node_step_failed")
    assert recorded(accepted, "n1") is None
    undone(accepted, "n1", OLD.serial)
    accepted.playbooks.says("fence", "n3", "unknown", reason=Reason.NODE_UNREACHABLE, values={"got": "x"})
    error = accepted.told("renewal", "roll-out", code=4)["error"]
    assert (error["reason"], error["values"]["node"], error.get("others", [])) == (
        "node_unreachable",
        "n3",
        [],
    )
    assert state(accepted, "n1") == ("previous", "installed", "node_step_undone")
    assert accepted.renewal()["phase"] == "rolling_out"
    known = recorded(accepted, "n1")
    assert known is not None
    assert known.pair.serial == OLD.serial
    shown = in_status(accepted, "n1")
    assert (shown["state"], shown["certificate"]["serial"]) == ("owed", OLD.serial)


def test_a_way_back_that_was_cut_off_leads_to_the_new_pair(accepted: Desk) -> None:
    """What was before that step is what the fence puts back: it is the new pair, read back, not proven."""
    undone(accepted, "n1", accepted.renewal()["serial"])
    accepted.playbooks.says("fence", "n3", "unknown", reason=Reason.NODE_UNREACHABLE, values={"got": "x"})
    accepted.told("renewal", "roll-out", code=4)
    assert state(accepted, "n1") == ("new", "installed", "node_step_undone")


@pytest.mark.parametrize("serial", ["0123", "-"])
def test_a_pair_of_another_year_is_not_taken_for_last_year_s(accepted: Desk, serial: str) -> None:
    """A proof of last year stood on a step that was cut off then: the node is unknown, on record with nothing."""
    accepted.told("renewal", "roll-out")
    accepted.told("renewal", "close")
    accepted.told("renewal", "open")
    accepted.told("renewal", "request", code=3)
    later = NOW + timedelta(days=700)
    accepted.told("renewal", "accept", accepted.downloaded("second.pem", not_after=later))
    known = recorded(accepted, "n1")
    assert known is not None
    undone(accepted, "n1", serial)
    accepted.playbooks.says("fence", "n3", "unknown", reason=Reason.NODE_UNREACHABLE, values={"got": "x"})
    accepted.told("renewal", "roll-out", code=4)
    assert state(accepted, "n1") == ("new", "unknown", "node_step_undone")
    assert recorded(accepted, "n1") is None
    assert in_status(accepted, "n1")["state"] == "unknown"


def test_nothing_closes_over_a_step_that_was_cut_off(accepted: Desk) -> None:
    """The node itself says so at the next look: the proof on record is gone, and `close` with it."""
    accepted.told("renewal", "roll-out")
    accepted.playbooks.says("verify", "n2", "unknown", proof=CUT_OFF, reason=Reason.NODE_STEP_UNFINISHED)
    error = accepted.told("renewal", "verify", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("nodes_unknown", "n2")
    assert [one["reason"] for one in error["others"]] == ["node_step_unfinished"]
    assert (accepted.renewal()["phase"], state(accepted, "n2")[1]) == ("rolling_out", "unknown")
    for words in ((), ("--without-proof",)):
        assert accepted.refusal("renewal", "close", *words, code=1) == "out_of_order"
    assert in_status(accepted, "n2")["state"] == "unknown"
    steps = [step["key"] for step in accepted.told("renewal", "show")["next_steps"]]
    assert steps[0] == "next.roll_out_again"
    accepted.playbooks.answers.clear()
    undone(accepted, "n2", OLD.serial)
    assert accepted.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert accepted.told("renewal", "close")["renewal"]["phase"] == "closed"
