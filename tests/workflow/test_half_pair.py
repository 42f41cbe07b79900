"""A node whose key is no longer its certificate's: the proof on record is gone, and rolling out again mends it."""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from tests.support.desk import Desk
from tests.support.pretended_playbooks import proof

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("en", "n2: the certificate that is read as /x and the key read with it do not belong together"),
        ("ja", "n2: /x から読まれる証明書と"),
    ],
)
def test_a_proven_node_whose_key_was_overwritten(sqlite_desk: Desk, language: str, line: str) -> None:
    """`verify` ends with 1 and names it, `status` calls it wrong, the first next step is to roll out again."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("renewal", "roll-out")
    values = {"node": "n2", "path": "/x"}
    reason = Reason.NODE_PAIR_MISMATCHED
    wrong = proof("wrong", "not_available", reason.value)
    desk.playbooks.says("verify", "n2", "wrong", proof=wrong, reason=reason, values=values)
    assert line in desk.run("renewal", "verify", "--lang", language).err
    error = desk.told("renewal", "verify", code=1)["error"]
    assert (error["reason"], [one["reason"] for one in error["others"]]) == ("nodes_wrong", [reason.value])
    (topic,) = desk.told("status", "--offline", code=4)["topics"]
    assert next(one["state"] for one in topic["nodes"] if one["name"] == "n2") == "wrong"
    assert desk.told("renewal", "show")["next_steps"][0]["key"] == "next.roll_out_again"
    desk.playbooks.answers.clear()
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
