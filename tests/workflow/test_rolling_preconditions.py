"""What is known before a node is touched: order, keys, the way back, choices, enrolled devices."""

from __future__ import annotations

import importlib.util
from datetime import timedelta

import pytest

from tests.support.desk import APPLE, OLD, OLD_ENDS, Desk
from tests.support.identities import Identity

pytestmark = pytest.mark.slow

OTHER = "com.apple.mgmt.External.77777777-0000-4000-8000-000000000000"


def nothing_happened(desk: Desk, kinds: list[str]) -> None:
    """No event, no playbook, no run."""
    assert desk.kinds() == kinds
    assert desk.playbooks.played == []


@pytest.mark.parametrize("step", ["open", "csr_made", "requested"])
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["real", "dry"])
def test_before_a_certificate_is_accepted(sqlite_desk: Desk, step: str, words: tuple[str, ...]) -> None:
    """Out of order in every earlier phase, also for the dry run."""
    sqlite_desk.adopt()
    sqlite_desk.told("renewal", "open")
    if step != "open":
        more = ["--csr-only"] if step == "csr_made" else []
        sqlite_desk.told("renewal", "request", *more, code=3)
    kinds = sqlite_desk.kinds()
    for command in ("roll-out", "roll-back"):
        assert sqlite_desk.refusal("renewal", command, *words, code=1) == "out_of_order"
    assert sqlite_desk.refusal("renewal", "verify", code=1) == "out_of_order"
    assert sqlite_desk.refusal("renewal", "close", *words, code=1) == "out_of_order"
    nothing_happened(sqlite_desk, kinds)


def test_the_new_key_is_not_in_the_key_store(desk: Desk) -> None:
    """Lost since: refused before anything is fenced."""
    desk.to_accepted()
    kinds = desk.kinds()
    desk.lose_keys()
    for words in ((), ("--dry-run",)):
        assert desk.refusal("renewal", "roll-out", *words, code=1) == "key_not_in_store"
    nothing_happened(desk, kinds)


def test_an_identity_that_opens_nothing(sqlite_desk: Desk) -> None:
    """Somebody else's identity, or none at all: refused, named."""
    sqlite_desk.to_accepted()
    kinds, keys = sqlite_desk.kinds(), sqlite_desk.inventory["keys"]
    (sqlite_desk.folder / "stranger").mkdir()
    stranger = Identity(sqlite_desk.folder / "stranger", "age")
    sqlite_desk.rewrite(keys=keys | {"identity": {"file": str(stranger.file)}})
    assert sqlite_desk.refusal("renewal", "roll-out", code=1) == "identity_cannot_open"
    sqlite_desk.rewrite(keys={name: part for name, part in keys.items() if name != "identity"})
    assert sqlite_desk.refusal("renewal", "roll-out", code=2) == "inventory_missing_key"
    nothing_happened(sqlite_desk, kinds)


def test_a_certificate_that_came_with_another_key_store(sqlite_desk: Desk) -> None:
    """The previous key is missing although it was adopted: no way back, so no way forward by itself."""
    sqlite_desk.to_accepted()
    fingerprint = next(event.body["pair"]["key_fingerprint"] for event in sqlite_desk.events("tokyo-0"))
    (sqlite_desk.folder / "keys" / f"{fingerprint}.age").unlink()
    error = sqlite_desk.told("renewal", "roll-out", code=1)["error"]
    assert (error["reason"], error["others"][0]["reason"]) == ("previous_key_lost", "key_not_in_store")
    assert "--forward-only" in sqlite_desk.run("renewal", "roll-out").err
    assert sqlite_desk.told("renewal", "roll-out", "--forward-only")["renewal"]["forward_only"] is True


def test_no_way_back_unless_a_person_says_so(desk: Desk) -> None:
    """Adopted without its key: refused, the option named; with it the nodes get no previous pair."""
    desk.to_accepted("--certificate-only")
    kinds = desk.kinds()
    for words in ((), ("--dry-run",)):
        error = desk.told("renewal", "roll-out", *words, code=1)["error"]
        assert (error["reason"], error["values"]["got"]) == ("previous_pair_missing", OLD.serial)
        assert error["values"]["option"] == "--forward-only"
    nothing_happened(desk, kinds)
    told = desk.told("renewal", "roll-out", "--forward-only")["renewal"]
    assert (told["phase"], told["forward_only"]) == ("proven", True)
    assert desk.playbooks.played[0].variables["renewctl_previous"] is None
    assert desk.playbooks.played[0].variables["renewctl_forward_only"] is True
    for words in ((), ("--dry-run",)):
        assert desk.refusal("renewal", "roll-back", *words, code=1) == "previous_pair_missing"


def test_nothing_was_ever_adopted(sqlite_desk: Desk) -> None:
    """No previous pair is known at all: a dash where its serial would be."""
    sqlite_desk.told("renewal", "open")
    sqlite_desk.told("renewal", "request", code=3)
    sqlite_desk.told("renewal", "accept", sqlite_desk.downloaded())
    error = sqlite_desk.told("renewal", "roll-out", code=1)["error"]
    assert (error["reason"], error["values"]["got"]) == ("previous_pair_missing", "-")


def test_what_a_node_serves_is_on_no_record(sqlite_desk: Desk) -> None:
    """Renewed by hand since: the way back would be another pair, so both stop, and lead to taking it over."""
    sqlite_desk.to_accepted()
    file, by_hand = sqlite_desk.folder / "push.pem", APPLE.push(key="by hand")
    install = {"host": "localhost", "paths": {"certificate": str(file), "key": str(file.with_suffix(".key"))}}
    served = [{"name": name, "product": "files", "install": install} for name in ("f1", "f2")]
    sqlite_desk.rewrite(nodes=[*sqlite_desk.inventory["nodes"], *served])
    kinds = sqlite_desk.kinds()
    file.write_bytes(by_hand.pem)
    for words in ((), ("--dry-run",)):
        error = sqlite_desk.told("renewal", "roll-out", *words, code=1)["error"]
        assert (error["reason"], error["values"]["node"]) == ("pair_not_on_record", "f1")
        assert (error["values"]["got"], error["values"]["expected"]) == (by_hand.serial, OLD.serial)
        assert [other["values"]["node"] for other in error["others"]] == ["f2"]
        said = sqlite_desk.run("renewal", "roll-out", *words).err
        assert "renewctl renewal abort" in said
        assert "--topic tokyo --forward-only" in said
    nothing_happened(sqlite_desk, kinds)
    left_out = [word for name in ("f1", "f2") for word in ("--leave-out", f"{name}=by hand")]
    sqlite_desk.told("renewal", "roll-out", "--dry-run", *left_out)
    sqlite_desk.told("renewal", "roll-out", "--dry-run", "--forward-only")
    for known in (OLD, APPLE.push(key="forgotten", not_after=OLD_ENDS - timedelta(days=1))):
        file.write_bytes(known.pem)  # the pair on record; an older one, of a node that was forgotten
        sqlite_desk.told("renewal", "roll-out", "--dry-run")


def test_leaving_out_a_node_nobody_knows(sqlite_desk: Desk) -> None:
    """Exit 2; the nodes there are, are named."""
    sqlite_desk.to_accepted()
    kinds = sqlite_desk.kinds()
    error = sqlite_desk.told("renewal", "roll-out", "--leave-out", "n9=gone", code=2)["error"]
    assert (error["reason"], error["values"]["expected"]) == ("node_not_in_inventory", "n1, n2, n3")
    nothing_happened(sqlite_desk, kinds)


@pytest.mark.parametrize("text", ["n1", "n1=", "n1=  ", "="])
def test_leaving_out_without_a_reason(sqlite_desk: Desk, text: str) -> None:
    """A node is left out for a reason that can be read next year: exit 2 names the form."""
    error = sqlite_desk.told("renewal", "roll-out", "--leave-out", text, code=2)["error"]
    assert (error["reason"], error["values"]["expected"]) == ("option_invalid", "NODE=REASON")


@pytest.mark.parametrize("text", ["", "0", "-1", "1,", "101%", "x", "1;2", "0%", "1.5"])
def test_waves_that_are_none(sqlite_desk: Desk, text: str) -> None:
    """Exit 2, with an example."""
    error = sqlite_desk.told("renewal", "roll-out", "--waves", text, code=2)["error"]
    assert (error["reason"], error["values"]["expected"]) == ("waves_invalid", "1,25%,100%")


@pytest.mark.parametrize("words", [("--canaries", "0"), ("--canaries", "x"), ("--check-in-timeout", "0.5")])
def test_numbers_out_of_range(sqlite_desk: Desk, words: tuple[str, str]) -> None:
    """Exit 2 before anything is looked at."""
    assert sqlite_desk.refusal("renewal", "roll-out", *words, code=2) == "option_value"


def test_enrolled_devices_are_asked_about_again(sqlite_desk: Desk) -> None:
    """Between acceptance and roll-out devices turn out to use another topic: refused before any node."""
    sqlite_desk.to_accepted()
    kinds = sqlite_desk.kinds()
    sqlite_desk.enroll(OTHER)
    for words in ((), ("--dry-run",)):
        error = sqlite_desk.told("renewal", "roll-out", *words, code=1)["error"]
        assert error["reason"] == "enrolled_topic_differs"
        assert OTHER in error["values"]["got"]
        assert "find that UID's row at the portal, as mdm@example.com or" in error["hint"]
    nothing_happened(sqlite_desk, kinds)
    sqlite_desk.enroll_of_topic(2)
    assert sqlite_desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"


def test_the_inventory_names_another_topic_since(sqlite_desk: Desk) -> None:
    """Accepted for another UID than the one that stands there now: refused before any node, with both."""
    sqlite_desk.to_accepted()
    kinds = sqlite_desk.kinds()
    (topic,) = sqlite_desk.inventory["topics"]
    sqlite_desk.rewrite(topics=[topic | {"topic": OTHER}])
    for words in ((), ("--dry-run",)):
        error = sqlite_desk.told("renewal", "roll-out", *words, code=1)["error"]
        assert (error["reason"], error["values"]["got"]) == ("id_of_other_topic", OTHER)
        assert error["values"]["expected"] == topic["topic"]
    nothing_happened(sqlite_desk, kinds)


def test_a_connection_the_inventory_may_not_ask_for(sqlite_desk: Desk) -> None:
    """Refused where it is read: nothing is announced that was never begun, and `status` says it too."""
    sqlite_desk.to_accepted()
    kinds = sqlite_desk.kinds()
    install = {"paths": {"pem": "/etc/push.pem"}, "variables": {"ansible_password": "x"}}
    sqlite_desk.rewrite(
        nodes=[*sqlite_desk.inventory["nodes"], {"name": "f1", "product": "files", "install": install}]
    )
    for words in (("renewal", "roll-out"), ("renewal", "roll-back"), ("status", "--offline")):
        assert sqlite_desk.refusal(*words, code=2) == "connection_variable_refused"
    sqlite_desk.rewrite(nodes=sqlite_desk.inventory["nodes"][:3])
    nothing_happened(sqlite_desk, kinds)


def test_without_ansible_nothing_begins(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 names the extra; the phase stays what it was, forward and back."""
    sqlite_desk.to_proven()
    kinds, played = sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ansible" else find(name))
    for command in ("roll-out", "roll-back"):
        for words in ((), ("--dry-run",)):
            assert sqlite_desk.refusal("renewal", command, *words, code=2) == "extra_missing"
    assert (sqlite_desk.kinds(), len(sqlite_desk.playbooks.played)) == (kinds, played)
