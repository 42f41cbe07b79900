"""The key is lost after the person came back from the portal: a new request, Renew on the same row, same topic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.sandbox.worlds import world
from tests.support.operator import Operator, operator

pytestmark = pytest.mark.slow

AGAIN = {"en": "press Renew on the same row again, not Create", "ja": "もう一度同じ行で Renew を押します"}


def test_a_key_lost_before_the_roll_out_leads_to_the_same_row_again(tmp_path: Path) -> None:
    """NEXT STEPS name each command; the first certificate fits no more; nodes get the second; topic and row stay."""
    with operator(replace(world("happy-year"), devices=3), tmp_path) as person:
        first = person.to_accepted()
        old_file = max(person.world.stage.folder.glob("downloads/*"))
        keep = old_file.rename(tmp_path / "first.pem")
        _lose(person)
        told = person.run("renewal", "roll-out")
        assert told.code == 1
        commands = [line.strip() for line in told.err.splitlines() if line.strip().startswith("renewctl ")]
        assert commands == [
            "renewctl renewal abort --reason 'key lost' --topic tokyo",
            "renewctl renewal open --reason 'key lost' --topic tokyo",
            "renewctl renewal request --topic tokyo",
        ]
        assert AGAIN["en"] in told.err
        assert AGAIN["ja"] in person.run("renewal", "roll-out", "--lang", "ja").err
        person.told("renewal", "abort", "--reason", "key lost")
        person.told("renewal", "open", "--reason", "key lost")
        again = person.request.with_name("again.plist")  # the first one is not this renewal's to replace
        for language, sentence in AGAIN.items():
            asked = person.run("renewal", "request", "--out", again, "--lang", language)
            assert asked.code == 3
            assert sentence in asked.err
        assert person.refusal("renewal", "accept", keep, code=1) == "key_of_another_request"
        accepted = person.told("renewal", "accept", person.world.person(again))["renewal"]
        assert accepted["serial"] != first
        assert accepted["topic"] == person.world.stage.topic
        assert person.changes() == dict.fromkeys(person.changes(), 0)
        done = person.told("renewal", "roll-out", "--check-in-timeout", "5", "--canaries", "1")["renewal"]
        assert (done["phase"], done["serial"]) == ("proven", accepted["serial"])
        kept = person.told("renewal", "show", "--name", "tokyo-1")
        assert [event["reason"] for event in kept["events"] if event["kind"] == "aborted"] == ["key lost"]
        assert {key["state"] for key in person.told("keys", "check")["keys"]} == {"opens", "missing"}


def _lose(person: Operator) -> None:
    """The newest sealed key goes away."""
    events = person.told("renewal", "show")["events"]
    [name] = [event["body"]["key_fingerprint"] for event in events if event["kind"] == "key_made"]
    (person.world.stage.folder / "keys" / f"{name}.age").unlink()
