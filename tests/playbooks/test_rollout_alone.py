"""What the collection refuses by itself, without `renewctl` in front of it."""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from tests.support.playbook_world import World

pytestmark = pytest.mark.slow

OTHER = "com.apple.mgmt.External.99999999-2222-4333-8444-555555555555"


@pytest.mark.parametrize("limit", [None, ["n1"]])
def test_a_pair_of_another_topic_reaches_no_node(mdm: World, limit: list[str] | None) -> None:
    """What Create at the portal gives: refused by its UID before a node or the push service is asked."""
    mdm.api_node("n1")
    before = len(mdm.pushes.log())
    ended = mdm.run("rollout", limit=limit, renewctl_topic=OTHER)
    assert ended.exit_code != 0
    assert ended.push_service is not None
    assert ended.push_service.reason is Reason.TOPIC_DIFFERS
    assert mdm.changes() == {"n1": []}
    assert len(mdm.pushes.log()) == before


def test_a_wave_shows_the_pairs_first_unless_its_run_has_done_so(mdm: World) -> None:
    """Under a limit nobody knows what fence showed to whom; `renewctl` says so for its own waves."""
    mdm.api_node("n1")
    shown = mdm.run("rollout", limit=["n1"], check=True)
    assert shown.push_service is not None
    assert shown.push_service.accepted
    assert mdm.run("rollout", limit=["n1"], check=True, renewctl_shown=True).push_service is None
