"""A node's run number that cannot be right is not believed: nobody follows it, the node is named."""

from __future__ import annotations

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import pair_journal

from renewctl.reasons import Reason
from renewctl.store.read import StoreReader
from renewctl.workflow.run_numbers import HIGHEST_RUN, LEAP, run_number
from tests.support.desk import Desk

LIES = (LEAP + 2, HIGHEST_RUN, 2**31 - 2, 2**31 - 1, 202_611_301_200, -1, "7", True, None)
"""Of a node beside a store whose newest run is 1."""


def _newest(desk: Desk) -> int:
    with StoreReader(desk.store) as store:
        run = store.newest_run()
    return 0 if run is None else run.number


def _lies(desk: Desk, playbook: str, node: str, told: object) -> None:
    values = {"node": node, "got": 1, "expected": told}
    desk.playbooks.says(playbook, node, "failed", reason=Reason.RUN_SUPERSEDED, values=values)


def test_both_sides_have_one_bound() -> None:
    """What the playbooks take, the controller can believe, and the store of either kind holds."""
    assert pair_journal.HIGHEST_RUN == HIGHEST_RUN < 2**31


def test_what_is_believed() -> None:
    """A whole number, not too far ahead of the store, and with room for the next one."""
    assert [run_number(told, 1) for told in LIES] == [None] * len(LIES)
    assert [run_number(told, 1) for told in (0, 1, 41, LEAP + 1)] == [0, 1, 41, LEAP + 1]
    near = HIGHEST_RUN - 3
    assert [run_number(told, near) for told in (near, HIGHEST_RUN - 1, HIGHEST_RUN)] == [
        near,
        HIGHEST_RUN - 1,
        None,
    ]


@pytest.mark.parametrize("told", [LEAP + 2, 2**31 - 1, "7"])
def test_a_node_that_tells_such_a_number_stops_the_roll_out(sqlite_desk: Desk, told: object) -> None:
    """It is named, with the file to mend; the store does not follow it."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.hold_files("n2")
    _lies(desk, "fence", "n2", told)
    error = desk.told("renewal", "roll-out", code=4)["error"]
    assert (error["reason"], error["values"]["node"]) == ("run_too_high", "n2")
    assert error["values"]["path"] == "/srv/.renewctl/push.pem/state.json"
    assert "/srv/.renewctl/push.pem/state.json" in error["hint"]
    assert (_newest(desk), desk.playbooks.names()) == (1, [])


def test_the_next_roll_out_and_roll_back_go_on_as_ever(desk: Desk) -> None:
    """On either kind of store: after the lie, without that node or with it mended."""
    desk.to_accepted()
    for told in (2**31 - 1, 2**31 - 2):
        _lies(desk, "fence", "n1", told)
        assert desk.refusal("renewal", "roll-out", code=4) == "run_too_high"
    desk.playbooks.answers.clear()
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert desk.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    assert _newest(desk) == 4


def test_a_roll_back_goes_on_without_it(sqlite_desk: Desk) -> None:
    """The others have the previous pair back; it is owed, with its reason; mended, it follows."""
    desk = sqlite_desk
    desk.to_proven()
    _lies(desk, "rollback", "n3", 2**31 - 1)
    done = desk.told("renewal", "roll-back", code=4)
    assert done["error"]["reason"] == "roll_back_owed"
    assert [one["reason"] for one in done["error"]["others"]] == ["run_too_high"]
    assert desk.playbooks.names()[-1] == ("rollback", ("n1", "n2", "n3"))
    assert {name: one["direction"] for name, one in desk.renewal()["nodes"].items() if name != "n3"} == {
        "n1": "previous",
        "n2": "previous",
    }
    desk.playbooks.answers.clear()
    assert desk.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    assert _newest(desk) == 3


@pytest.mark.parametrize("told", [2**31 - 1, 2**31 - 2, LEAP + 2])
def test_a_restore_goes_on_from_the_highest_that_is_believed(desk: Desk, told: int) -> None:
    """The node that tells more is named, with why and the file; the roll-out after it is not led astray."""
    desk.to_accepted()
    desk.told("backup", "b.tar")
    desk.lose_disk()
    desk.hold_files("n1", "n2")
    desk.playbooks.says("observe", "n1", "observed", values={"run": told})
    desk.playbooks.says("observe", "n2", "observed", values={"run": 41})
    shown = desk.told("restore", "b.tar", "--dry-run", code=4)
    assert shown["run"] == 42
    done = desk.run("restore", "b.tar")
    assert done.code == 4
    assert f"n1: run {told} is not believed" in done.err
    assert "/srv/.renewctl/push.pem/state.json" in done.err
    assert [(one["run"], one["reason"]) for one in shown["nodes"]] == [
        (None, "run_too_high"),
        (41, None),
        (0, None),
    ]
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert _newest(desk) == 43
