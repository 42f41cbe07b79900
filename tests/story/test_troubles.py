"""A roll-out meets nodes that lie, sleep, or die; and a second operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.sandbox.worlds import world
from tests.support.operator import Operator, operator
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

QUICK = ("--check-in-timeout", "60", "--canaries", "1")


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Operator]:
    """Three nodes with their own storages; the new certificate is accepted."""
    with operator(replace(world("happy-year"), devices=6), tmp_path) as somebody:
        somebody.to_accepted()
        yield somebody


def test_a_node_that_keeps_the_old_pair_stops_the_roll_out(person: Operator) -> None:
    """200 and nothing stored: proven wrong, put back and proven, the next node never touched."""
    person.world.switch("node-2", keeps_old_pair=True)
    assert person.refusal("renewal", "roll-out", *QUICK, code=1) == "roll_out_stopped"
    nodes = person.told("renewal", "show")["renewal"]["nodes"]
    assert (nodes["node-1"]["direction"], nodes["node-1"]["outcome"]) == ("new", "proven")
    assert (nodes["node-2"]["direction"], nodes["node-2"]["outcome"]) == ("previous", "proven")
    assert "node-3" not in nodes
    assert person.changes()["node-3"] == 0
    person.world.switch("node-2", keeps_old_pair=False)
    assert person.told("renewal", "roll-out", *QUICK)["renewal"]["phase"] == "proven"


def test_a_node_that_is_down_is_unknown_and_done_when_it_is_back(person: Operator) -> None:
    """No answer is neither done nor failed: exit 4, nothing put back; the next roll-out does what is owed."""
    person.world.take_down("node-2")
    assert person.refusal("renewal", "roll-out", *QUICK, code=4) in {"nodes_unknown", "node_unreachable"}
    assert person.changes()["node-3"] == 0
    status = person.told("status", code=4)
    assert "node-2" in json.dumps(status)
    person.world.bring_back("node-2")
    assert person.told("renewal", "roll-out", *QUICK)["renewal"]["phase"] == "proven"


def test_roll_back_goes_on_past_a_dead_node_and_finishes_later(person: Operator) -> None:
    """The others are put back at once; the dead one is owed the previous pair until it answers."""
    person.told("renewal", "roll-out", *QUICK)
    person.world.take_down("node-2")
    assert person.refusal("renewal", "roll-back", *QUICK, code=4) == "roll_back_owed"
    shown = person.told("renewal", "show")["renewal"]
    assert (shown["phase"], shown["owed"], shown["owed_previous"]) == ("rolled_back", [], ["node-2"])
    nodes = shown["nodes"]
    assert {name: node["direction"] for name, node in nodes.items()} == dict.fromkeys(nodes, "previous")
    assert nodes["node-2"]["outcome"] == "unknown"
    person.world.bring_back("node-2")
    back = person.told("renewal", "roll-back", *QUICK)["renewal"]
    assert (back["phase"], back["owed"], back["owed_previous"]) == ("rolled_back", [], [])
    assert {node["outcome"] for node in back["nodes"].values()} == {"proven"}


def test_a_second_operator_is_told_who_holds_the_run(person: Operator) -> None:
    """While one rolls out, another is refused with the holder's name, and the first one ends well."""
    person.world.switch("node-1", slow_seconds=4)
    first = person.start("renewal", "roll-out", *QUICK)
    eventually(lambda: person.told("renewal", "show")["renewal"]["phase"] == "rolling_out", 60)
    second = person.told("renewal", "roll-out", *QUICK, code=4)
    assert second["error"]["reason"] == "run_held"
    assert second["error"]["values"]["holder"]
    person.world.switch("node-1", slow_seconds=0)
    out, err = first.communicate(timeout=240)
    assert first.returncode == 0, (out, err)
    assert json.loads(out)["renewal"]["phase"] == "proven"
