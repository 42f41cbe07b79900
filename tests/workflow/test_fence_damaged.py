"""A fence that could not undo a step on one node: the roll-out sends it its pair, and ends well."""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from tests.support.desk import Desk

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

DAMAGED = {"run": 1, "undone": False, "node": "n2", "path": "/etc/mdm/.renewctl/push.pem/releases/ab"}
"""As the collection tells it."""


def test_the_roll_out_does_not_end_there(sqlite_desk: Desk) -> None:
    """Exit 0 and every node proven."""
    sqlite_desk.to_accepted()
    sqlite_desk.playbooks.says(
        "fence", "n2", "fenced", changed=True, reason=Reason.NODE_RELEASE_DAMAGED, values=DAMAGED
    )
    sqlite_desk.told("renewal", "roll-out", code=0)
    assert {node["outcome"] for node in sqlite_desk.renewal()["nodes"].values()} == {"proven"}


def test_where_it_ends_before_the_node_has_its_turn_it_is_unknown(sqlite_desk: Desk) -> None:
    """Proven before, then found with a damaged release, and the run is refused by another: on record, and told."""
    sqlite_desk.to_accepted()
    sqlite_desk.told("renewal", "roll-out", code=0)
    sqlite_desk.playbooks.says(
        "fence", "n2", "fenced", changed=True, reason=Reason.NODE_RELEASE_DAMAGED, values=DAMAGED
    )
    sqlite_desk.playbooks.says("fence", "n1", "failed", reason=Reason.NODE_DENIED, values={"node": "n1"})
    done = sqlite_desk.run("renewal", "roll-out")
    assert sqlite_desk.renewal()["nodes"]["n2"]["outcome"] == "unknown"
    assert str(DAMAGED["path"]) in done.err
