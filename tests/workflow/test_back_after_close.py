"""The certificate of a closed renewal turns out to be wrong: back to the pair before it, by a renewal of its own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from renewctl.cli.context import Session
from tests.support.desk import NODES, OLD, OLD_ENDS, Desk

pytestmark = pytest.mark.slow  # a whole desk for each

COMMANDS = [
    "renewctl renewal open --reason 'why the certificate is wrong' --topic tokyo",
    "renewctl renewal accept --previous --topic tokyo",
    "renewctl renewal roll-out --topic tokyo",
]
WORDS = {
    "en": (
        "tokyo-1 was closed (",
        "a closed renewal is not opened again",
        "and the pair in use now is the way back",
    ),
    "ja": (
        "tokyo-1 は終了しています（",
        "終了した年次更新は再開できません",
        "いまの組が切り戻し先になります",
    ),
}


@pytest.fixture
def closed(desk: Desk) -> Desk:
    """Rolled out, proven, closed; on both kinds of store."""
    desk.to_proven()
    desk.told("renewal", "close")
    return desk


def commands_of(text: str) -> list[str]:
    """Command lines of NEXT STEPS."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("renewctl ")]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_roll_back_after_close_names_the_way(closed: Desk, language: str) -> None:
    """Exit 1, nothing written; which renewal, since when it is closed, three commands that can be pasted."""
    kinds = closed.kinds()
    for words in ((), ("--dry-run",)):
        done = closed.run("renewal", "roll-back", "--lang", language, *words)
        assert done.code == 1
        assert [words for words in WORDS[language] if words not in done.err] == []
        assert commands_of(done.err) == COMMANDS
    assert closed.refusal("renewal", "roll-back", code=1) == "renewal_closed"
    assert closed.kinds() == kinds


def test_these_commands_put_every_node_back(closed: Desk) -> None:
    """Canary first, each proven; the pair before is in use, the other is the way back; nothing was asked of the portal."""
    before = closed.renewal()["serial"]
    opened = closed.told("renewal", "open", "--reason", "no device answers")
    assert [step["key"] for step in opened["next_steps"]] == ["next.request", "next.or_accept_previous"]
    assert opened["next_steps"][1]["command"] == COMMANDS[1]
    accepted = closed.told("renewal", "accept", "--previous")["renewal"]
    assert (accepted["phase"], accepted["serial"], accepted["previous_serial"]) == (
        "accepted",
        OLD.serial,
        before,
    )
    assert closed.told("renewal", "accept", "--previous")["renewal"] == accepted
    done = closed.told("renewal", "roll-out")["renewal"]
    assert (done["phase"], set(done["nodes"]), done["owed"]) == ("proven", set(NODES), [])
    played = closed.playbooks.played[-1]
    assert (played.name, played.pairs["renewctl_pair"]) == ("rollout", OLD.pem)
    assert closed.kinds("tokyo-2")[:2] == ["opened", "accepted"]
    closed.told("renewal", "close")
    assert closed.told("audit", "verify")["findings"] == []
    assert {key["state"] for key in closed.told("keys", "check")["keys"]} == {"opens"}
    closed.told("renewal", "open")
    assert closed.told("renewal", "accept", "--previous")["renewal"]["serial"] == before


def test_that_can_be_rolled_back_like_any_other(closed: Desk) -> None:
    """If the pair before is worse, one command gives every node the other one again."""
    before = closed.renewal()["serial"]
    closed.told("renewal", "open")
    closed.told("renewal", "accept", "--previous")
    closed.told("renewal", "roll-out")
    assert closed.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    closed.told("renewal", "abort")
    assert closed.told("renewal", "open")["renewal"]["previous_serial"] == before


def test_a_file_and_the_pair_before_are_two_things(closed: Desk) -> None:
    """Exit 2, both are named; the file of the pair before alone is refused as ever, in whatever phase."""
    closed.told("renewal", "open")
    file = closed.file("old.pem", OLD.pem)
    assert closed.refusal("renewal", "accept", file, "--previous", code=2) == "option_invalid"
    assert closed.refusal("renewal", "accept", file, code=1) == "out_of_order"
    closed.told("renewal", "request", code=3)
    assert closed.refusal("renewal", "accept", file, code=1) == "key_of_another_request"
    assert closed.told("renewal", "accept", "--previous")["renewal"]["serial"] == OLD.serial


def test_a_dry_run_only_checks(closed: Desk) -> None:
    """Exit 0, no event."""
    closed.told("renewal", "open")
    assert closed.told("renewal", "accept", "--previous", "--dry-run")["step"] == "accept"
    assert closed.kinds("tokyo-2") == ["opened"]


@pytest.mark.parametrize("gone", ["expired", "key"])
def test_a_pair_of_no_use_any_more_leads_to_a_new_one(
    closed: Desk, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Expired, or its key is lost: refused; where that is known, the way leads to the portal at once."""
    closed.told("renewal", "open")
    if gone == "key":
        closed.lose_keys()
    else:
        later = OLD_ENDS + timedelta(days=1)
        monkeypatch.setattr(Session.__init__, "__defaults__", (None, None, False, lambda: later))
    reason = {"key": "key_not_in_store", "expired": "certificate_expired"}[gone]
    assert closed.refusal("renewal", "accept", "--previous", code=1) == reason
    closed.told("renewal", "abort")
    led = commands_of(closed.run("renewal", "roll-back").err)
    assert led == (COMMANDS if gone == "key" else COMMANDS[:1])


def test_without_a_pair_before_there_is_none_to_accept(desk: Desk) -> None:
    """Adopted, never renewed: refused with what to do; a roll-back is told that nothing is open."""
    desk.adopt()
    assert desk.refusal("renewal", "roll-back", code=1) == "renewal_none_open"
    desk.told("renewal", "open")
    assert desk.refusal("renewal", "accept", "--previous", code=1) == "no_pair_before"
