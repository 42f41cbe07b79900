"""Going back to a pair that lets no push through: what that means is said, and nobody is taken there unasked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewctl.apns import PairCheck
from renewctl.reasons import Reason
from tests.support.certs import NOW
from tests.support.desk import APPLE, OLD, Desk
from tests.support.pretended_playbooks import proof

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

EXPIRED = APPLE.push(not_before=NOW - timedelta(days=366), not_after=NOW - timedelta(days=1), key="old")
WANTED = ("--without-push", "--reason", "the new pair is worse")


def expired(desk: Desk) -> None:
    """The pair in use ended yesterday; every node has the new one."""
    desk.adopt(pair=EXPIRED)
    desk.told("renewal", "open")
    desk.told("renewal", "request", code=3)
    desk.told("renewal", "accept", desk.downloaded())
    desk.told("renewal", "roll-out")


def refused(desk: Desk) -> None:
    """Meanwhile the push service refuses the pair that was in use."""
    desk.to_proven()
    desk.push_service = PairCheck(False, Reason.PUSH_CERTIFICATE_REFUSED, 403, "403 BadCertificate")


def forward_only(desk: Desk) -> None:
    """There was no way back when the new pair went out."""
    desk.to_accepted()
    desk.told("renewal", "roll-out", "--forward-only")


def expiry_accepted(desk: Desk) -> object:
    """What the newest playbook was told: by itself it refuses to go back to an expired pair."""
    return desk.playbooks.played[-1].variables["renewctl_previous_expired"]


DOUBTS = [
    (expired, "roll_back_to_expired", []),
    (refused, "roll_back_to_refused", [OLD.serial]),
    (forward_only, "roll_back_forward_only", [OLD.serial]),
]
"""How it comes about, the reason, and which pairs are shown to the push service."""


@pytest.mark.parametrize(("before", "reason", "shown"), DOUBTS)
def test_a_doubtful_way_back_is_not_taken_unasked(
    sqlite_desk: Desk, before: Any, reason: str, shown: list[str]
) -> None:
    """Exit 1 before any node is asked; the option that confirms it is named, and what a person set aside is on record."""
    before(sqlite_desk)
    kinds, played = sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)
    error = sqlite_desk.told("renewal", "roll-back", code=1)["error"]
    assert (error["reason"], error["values"]["option"]) == (reason, "--without-push")
    assert (sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)) == (kinds, played)
    assert sqlite_desk.shown == shown
    assert sqlite_desk.told("renewal", "roll-back", *WANTED)["renewal"]["phase"] == "rolled_back"
    assert expiry_accepted(sqlite_desk) is (before is expired)
    begun = next(one for one in sqlite_desk.events() if one.kind.value == "roll_back_started")
    assert (begun.body["despite"], begun.reason) == (reason, "the new pair is worse")
    rows = sqlite_desk.told("audit", "log")["events"]
    (row,) = [one for one in rows if one["event"] == "roll_back_started"]
    assert (row["node_reason"], row["reason"]) == (reason, "the new pair is worse")


@pytest.mark.parametrize(("before", "reason", "shown"), DOUBTS)
def test_the_dry_run_says_the_same(sqlite_desk: Desk, before: Any, reason: str, shown: list[str]) -> None:
    """Every node is told, and why it would not begin: exit 1, no event; with the option it ends well."""
    before(sqlite_desk)
    kinds = sqlite_desk.kinds()
    told = sqlite_desk.told("renewal", "roll-back", "--dry-run", code=1)
    assert (told["refused"]["reason"], told["waves"]) == (reason, [["n3"], ["n2"], ["n1"]])
    assert sqlite_desk.shown == shown
    assert expiry_accepted(sqlite_desk) is (
        before is expired
    )  # for the playbook: each node is asked all the same
    assert sqlite_desk.told("renewal", "roll-back", "--dry-run", *WANTED)["refused"] is None
    assert sqlite_desk.kinds() == kinds


@pytest.mark.parametrize(
    ("language", "means"), [("en", "devices stay silent"), ("ja", "リモートでのロックも消去もできません")]
)
def test_at_a_terminal_it_is_asked(sqlite_desk: Desk, language: str, means: str) -> None:
    """What going back means, then the question; anything but yes changes nothing, and the way on is shown."""
    expired(sqlite_desk)
    kinds = sqlite_desk.kinds()
    with sqlite_desk.terminal("no"):
        done = sqlite_desk.run("renewal", "roll-back", "--lang", language)
    assert (done.code, sqlite_desk.kinds()) == (1, kinds)
    assert means in done.err
    assert "renewctl renewal roll-back --topic tokyo --without-push --reason" in done.err
    assert "renewctl renewal roll-back --topic tokyo\n" not in done.err
    with sqlite_desk.terminal("yes"):
        done = sqlite_desk.run("renewal", "roll-back", "--lang", language)
    assert done.code == 0
    assert means in done.err
    assert sqlite_desk.renewal()["phase"] == "rolled_back"


def test_a_silent_push_service_does_not_stand_in_the_way(sqlite_desk: Desk) -> None:
    """No answer is no doubt: it is told, and every node is put back."""
    sqlite_desk.to_proven()
    sqlite_desk.push_service = PairCheck(None, Reason.PUSH_SERVICE_TIMEOUT, detail="no answer within 10 s")
    done = sqlite_desk.run("renewal", "roll-back")
    assert done.code == 0
    assert "no answer about the previous pair (no answer within 10 s)" in done.err
    begun = next(one for one in sqlite_desk.events() if one.kind.value == "roll_back_started")
    assert begun.body["despite"] is None


def test_a_previous_pair_that_does_not_work_is_not_tried_again(sqlite_desk: Desk) -> None:
    """Proven wrong on a node: exit 4, its own error with it; first of all the new pair is offered again."""
    sqlite_desk.to_proven()
    dead = proof("wrong", "unknown", "push_certificate_refused")
    sqlite_desk.playbooks.says("rollback", "n2", "wrong", reason=Reason.PUSH_CERTIFICATE_REFUSED, proof=dead)
    error = sqlite_desk.told("renewal", "roll-back", code=4)["error"]
    assert (error["reason"], error["values"]["nodes"]) == ("roll_back_useless", "n2")
    assert [other["reason"] for other in error["others"]] == ["push_certificate_refused"]
    assert "when they answer" not in error["hint"]
    shown = sqlite_desk.told("renewal", "show")
    assert shown["renewal"]["owed_previous"] == ["n2"]
    assert [step["key"] for step in shown["next_steps"]] == ["next.roll_out_instead", "next.roll_back_again"]
    assert sqlite_desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
