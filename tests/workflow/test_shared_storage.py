"""Nodes that share a storage: what is done through one changes what the other serves, and nothing else is said.

n2 and n3 share one; n1 has its own.
"""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from tests.support.desk import Desk
from tests.support.pretended_playbooks import SLEEPING

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


def outcomes(desk: Desk) -> dict[str, str]:
    """Node -> direction and outcome, as `show` tells."""
    shown = desk.renewal()["nodes"]
    return {name: f"{state['direction']}, {state['outcome']}" for name, state in shown.items()}


def test_after_a_roll_back_the_other_is_unknown_as_soon_as_the_new_pair_goes_out(proven: Desk) -> None:
    """Held at n2, whose storage has the new pair: n3 is no longer called put back; the next run proves both."""
    proven.told("renewal", "roll-back")
    proven.playbooks.says("rollout", "n2", "not_proven", proof=SLEEPING, changed=True)
    proven.told("renewal", "roll-out", code=4)
    assert outcomes(proven) == {"n1": "new, proven", "n2": "new, installed", "n3": "previous, unknown"}
    (topic,) = proven.told("status", "--offline", code=4)["topics"]
    assert {node["name"]: node["state"] for node in topic["nodes"]}["n3"] == "unknown"
    proven.playbooks.answers.clear()
    proven.told("renewal", "roll-out")
    assert outcomes(proven) == dict.fromkeys(("n1", "n2", "n3"), "new, proven")


@pytest.mark.parametrize("answer", ["put_back", "wrong"])
def test_a_wrong_pair_put_back_through_one_takes_the_proof_of_the_other_away(
    proven: Desk, answer: str
) -> None:
    """n3, asked after n2 was proven, finds the pair wrong: what n2 serves now is not known."""
    proven.playbooks.says(
        "rollout", "n3", answer, proof=SLEEPING, changed=True, reason=Reason.PROOF_CERTIFICATE_DIFFERS
    )
    proven.told("renewal", "roll-out", code=1)
    assert outcomes(proven)["n2"] == "new, unknown"
    proven.refusal("renewal", "close", code=1)


def test_a_node_nothing_was_told_of_takes_the_proof_of_the_other_away(proven: Desk) -> None:
    """Killed in the middle: the pair may have been found wrong there, and put back."""
    proven.playbooks.answers["rollout", "n3"] = None
    proven.told("renewal", "roll-out", code=4)
    assert outcomes(proven)["n2"] == "new, unknown"
    assert outcomes(proven)["n1"] == "new, proven"


def test_a_node_that_is_down_leaves_the_other_proven(proven: Desk) -> None:
    """It said why it did nothing."""
    proven.playbooks.says("rollout", "n3", "failed", reason=Reason.NODE_UNREACHABLE)
    proven.told("renewal", "roll-out", code=4)
    assert outcomes(proven) == {"n1": "new, proven", "n2": "new, proven", "n3": "new, unknown"}
