"""A fence that undid one node's step and could not prepare another says what is so, in both languages."""

from __future__ import annotations

import pytest

from renewctl.reasons import Reason
from tests.support.desk import OLD, Desk

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


@pytest.mark.parametrize(
    ("language", "false", "true"),
    [
        (
            "en",
            ("nothing was changed", "nothing to do"),
            ("nothing further was begun", "when it is run again"),
        ),
        ("ja", ("何も変更していません", "対応は不要"), ("先へ進んでいません", "もう一度実行すると")),
    ],
)
def test_what_a_fence_undid_is_never_called_nothing(
    sqlite_desk: Desk, language: str, false: tuple[str, ...], true: tuple[str, ...]
) -> None:
    """n1 is back on the pair from before, n2 says nothing: the roll-out ended, and n1 waits for the next one."""
    sqlite_desk.to_accepted()
    undone = {"reason": Reason.NODE_STEP_UNDONE, "values": {"node": "n1", "serial": OLD.serial}}
    sqlite_desk.playbooks.says("fence", "n1", "fenced", changed=True, **undone)
    sqlite_desk.playbooks.answers["fence", "n2"] = None
    sqlite_desk.playbooks.exit_codes["fence"] = 4
    told = sqlite_desk.run("--lang", language, "renewal", "roll-out")
    assert told.code == 4
    assert not [text for text in false if text in told.err]
    assert [text for text in true if text not in told.err] == []
