"""A closed renewal's certificate is wrong: its nodes go back to the pair before, by a renewal of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.sandbox.worlds import world
from tests.support.operator import Operator, operator

pytestmark = pytest.mark.slow


def serials(person: Operator) -> set[str]:
    """What the nodes serve, as they say themselves."""
    [topic] = person.told("status", code=4)["topics"]
    return {str(node["certificate"]["serial"]) for node in topic["nodes"]}


def test_every_node_serves_the_pair_before_again_proven_by_devices(tmp_path: Path) -> None:
    """Nobody is sent to the portal; each node is pushed to with the older pair and a device checks in."""
    with operator(replace(world("happy-year"), devices=3), tmp_path) as person:
        new = person.to_accepted()
        quick = ("--check-in-timeout", "5", "--canaries", "1")
        person.told("renewal", "roll-out", *quick)
        person.told("renewal", "close")
        old = person.told("renewal", "show")["renewal"]["previous_serial"]
        assert person.refusal("renewal", "roll-back", code=1) == "renewal_closed"
        person.told("renewal", "open", "--reason", "devices fall silent")
        assert person.told("renewal", "accept", "--previous")["renewal"]["serial"] == old != new
        done = person.told("renewal", "roll-out", *quick)["renewal"]
        assert done["phase"] == "proven"
        rungs = [node["proof"]["rungs"] for node in done["nodes"].values()]
        assert {(each["push"], each["check_in"]) for each in rungs} == {("yes", "yes")}
        assert serials(person) == {old}
        person.told("renewal", "close")
        assert person.told("audit", "verify")["findings"] == []
