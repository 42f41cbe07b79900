"""Keys of a whole inventory: proven, sealed anew, destroyed; never lost on the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from renewctl.cli.context import Session
from renewctl.cli.workplace import workplace
from renewctl.inventory.reading import load
from renewctl.keys import keystore
from renewctl.keys.keystore import KeyFolder, KeyHome, KeyTable
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.workflow import keyring
from tests.support.certs import pkcs1, rsa_key
from tests.support.desk import Desk
from tests.support.identities import Identity

pytestmark = pytest.mark.slow  # a whole desk for each


def _home(desk: Desk) -> KeyHome:
    return keystore.home(load(desk.folder / "renewctl.yaml").keys, desk.store)


def _sealed(desk: Desk) -> dict[str, bytes]:
    home = _home(desk)
    return {name: home.sealed(name) for name in home.names()}


def _stranger(desk: Desk, kind: str = "age", name: str = "stranger") -> Identity:
    (desk.folder / name).mkdir()
    return Identity(desk.folder / name, kind)


def _keys(desk: Desk, **changes: Any) -> None:
    desk.rewrite(keys={k: v for k, v in (desk.inventory["keys"] | changes).items() if v is not None})


def _by_role(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {use["role"]: key for key in document["keys"] for use in key["needed_by"]}


def _states(document: dict[str, Any]) -> list[str]:
    return sorted(key["state"] for key in document["keys"])


def test_every_key_still_needed_is_proven_to_open(desk: Desk) -> None:
    """In use, way back and accepted: opened, and each the one its name and its certificate say."""
    desk.to_accepted()
    checked = desk.told("keys", "check")
    assert _states(checked) == ["opens", "opens"]
    assert set(_by_role(checked)) == {"accepted", "current", "previous"}
    [recipient] = desk.inventory["keys"]["recipients"]
    assert [key["recipients"] for key in checked["keys"]] == [[recipient], [recipient]]
    assert [key["header"] for key in checked["keys"]] == [{"ssh": [], "x25519": 1}] * 2
    assert [warn["key"] for warn in checked["warnings"]] == ["warning.recipients_one"]
    done = desk.run("keys", "check")
    assert done.code == 0
    assert "opens 2 of the keys still needed; 0 cannot be used" in done.err


def test_another_identity_can_be_tried(desk: Desk) -> None:
    """The escrow's, before the day it is needed; one that opens nothing ends with 1, one that is none with 2."""
    desk.to_request()
    checked = desk.told("keys", "check", "--identity", _stranger(desk).file, code=1)
    assert _states(checked) == ["failed", "failed"]
    assert {key["fault"]["reason"] for key in checked["keys"]} == {"identity_cannot_open"}
    assert _by_role(checked)["pending"]["state"] == "failed"
    nonsense = desk.file("nonsense", b"hello")
    assert desk.refusal("keys", "check", "--identity", nonsense, code=2) == "identity_invalid"
    done = desk.run("keys", "check", "--identity", desk.folder / "stranger" / "identity-age0")
    assert done.code == 1
    assert "renewctl renewal request --new-key --reason 'key lost' --topic tokyo" in done.err


def test_a_missing_key_is_told_with_what_it_is_needed_for(desk: Desk) -> None:
    """Named by events, not kept: exit 1, and the way on for each use."""
    desk.to_accepted()
    desk.lose_keys()
    checked = desk.told("keys", "check", code=1)
    assert _states(checked) == ["missing", "missing"]
    assert {key["fault"]["reason"] for key in checked["keys"]} == {"key_lost"}
    steps = [step["key"] for step in checked["next_steps"]]
    assert {"next.lost_key.restore", "next.lost_key.abort", "next.portal.again"} <= set(steps)


def test_a_key_under_anothers_name_is_found_out(sqlite_desk: Desk) -> None:
    """It opens, and is not the one: a restored file with the wrong name."""
    sqlite_desk.to_accepted()
    one, other = sorted((sqlite_desk.folder / "keys").glob("*.age"))
    one.write_bytes(other.read_bytes())
    checked = sqlite_desk.told("keys", "check", code=1)
    assert {key["fingerprint"]: (key["fault"] or {}).get("reason") for key in checked["keys"]} == {
        one.stem: "key_name_differs",
        other.stem: None,
    }
    assert {key["fingerprint"]: key["sealed_to"] for key in checked["keys"]} == {
        one.stem: None,
        other.stem: "current",
    }


@pytest.mark.parametrize("left", [-3, 10], ids=["its content", "its header"])
def test_of_a_damaged_key_nobody_says_whom_it_is_sealed_to(sqlite_desk: Desk, left: int) -> None:
    """What was written down is not what is there; `rekey` would not help either."""
    sqlite_desk.to_accepted()
    damaged, other = sorted((sqlite_desk.folder / "keys").glob("*.age"))
    damaged.write_bytes(damaged.read_bytes()[:left])
    checked = sqlite_desk.told("keys", "check", code=1)
    assert {key["fingerprint"]: key["sealed_to"] for key in checked["keys"]} == {
        damaged.stem: None,
        other.stem: "current",
    }
    assert "next.rekey" not in {step["key"] for step in checked["next_steps"]}


def test_a_record_that_does_not_fit_its_certificate_is_found_out(sqlite_desk: Desk) -> None:
    """The adopted certificate and the key on record for it do not belong together."""
    sqlite_desk.to_accepted()
    accepted = sqlite_desk.events()[-1].body["pair"]["key_fingerprint"]
    adopted = sqlite_desk.events("tokyo-0")[-1].body
    body = {**adopted, "pair": {**adopted["pair"], "key_fingerprint": accepted}}
    with _work() as work:
        work.write("tokyo-0", Kind.ADOPTED, body, 2)
    checked = sqlite_desk.told("keys", "check", code=1)
    faults = {key["fingerprint"]: key["fault"] for key in checked["keys"]}
    assert faults[accepted]["reason"] == "key_of_other_certificate"


def test_a_key_no_event_names_is_told_and_left_alone(desk: Desk) -> None:
    """Sealed by somebody whose event never came, perhaps this very moment: listed, never destroyed."""
    desk.adopt()
    name = _home(desk).seal(pkcs1(rsa_key("nobody's")))
    _keys(desk, destroy_after="1h")
    checked = desk.told("keys", "check")
    assert {key["fingerprint"]: key["state"] for key in checked["keys"]}[name] == "unnamed"
    _later(desk, 3000)
    assert desk.told("keys", "destroy")["keys"] == []
    assert name in _home(desk).names()


def test_new_recipients_open_every_key_after_a_rekey(desk: Desk) -> None:
    """An escrow and an operator's SSH key join: told as due, tried dry, done, on record; `age` agrees."""
    desk.to_accepted()
    escrow, ssh = _stranger(desk, name="escrow"), _stranger(desk, "ed25519", "ssh")
    own = desk.inventory["keys"]["recipients"]
    _keys(desk, recipients=[*own, ssh.recipient.strip()], escrow=[escrow.recipient])
    due = desk.told("keys", "check", code=4)
    assert {key["sealed_to"] for key in due["keys"]} == {"others"}
    assert due["warnings"] == []
    before = _sealed(desk)
    assert len(desk.told("keys", "rekey", "--dry-run")["keys"]) == 2
    assert (_sealed(desk), desk.kinds(KEY_STORE)) == (before, [])
    done = desk.told("keys", "rekey", "--reason", "second operator", "--ticket", "OPS-7")
    assert [key["fault"] for key in done["keys"]] == [None, None]
    assert desk.kinds(KEY_STORE) == ["rekey_started", "key_resealed", "key_resealed"]
    assert {(event.reason, event.ticket) for event in desk.events(KEY_STORE)} == {
        ("second operator", "OPS-7")
    }
    for identity in (escrow, ssh):
        assert _states(desk.told("keys", "check", "--identity", identity.file)) == ["opens", "opens"]
    checked = desk.told("keys", "check")
    assert {key["sealed_to"] for key in checked["keys"]} == {"current"}
    assert [key["header"]["x25519"] for key in checked["keys"]] == [2, 2]
    [tag] = checked["keys"][0]["header"]["ssh"]
    for name, sealed in _sealed(desk).items():
        assert sealed != before[name]
        assert f"-> ssh-ed25519 {tag} ".encode() in sealed
        for identity in (escrow, ssh):
            opened = subprocess.run(
                ["age", "-d", "-i", str(identity.file)], input=sealed, capture_output=True, check=True
            )
            assert opened.stdout.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert desk.told("keys", "rekey")["keys"] == []
    assert len(desk.kinds(KEY_STORE)) == 3


def test_a_recipient_that_left_is_told_what_still_opens_to_him(desk: Desk) -> None:
    """New files do not open to his identity; copies made before do, and that is said in so many words."""
    desk.to_accepted()
    [left], stays = desk.inventory["keys"]["recipients"], _stranger(desk)
    _keys(desk, recipients=[stays.recipient])
    assert desk.refusal("keys", "rekey", code=1) == "rekey_not_proven"
    assert desk.kinds(KEY_STORE) == []
    done = desk.run("keys", "rekey", "--proof-identity", stays.file)
    assert done.code == 0
    assert f"no longer a recipient: {left}. Copies and backups made before still open to it" in done.err
    assert _states(desk.told("keys", "check", code=1)) == ["failed", "failed"]
    assert _states(desk.told("keys", "check", "--identity", stays.file)) == ["opens", "opens"]


def test_a_key_that_does_not_open_stays_and_the_others_go_on(sqlite_desk: Desk) -> None:
    """One damaged file: named, exit 1, left as it is."""
    sqlite_desk.to_accepted()
    damaged, other = sorted((sqlite_desk.folder / "keys").glob("*.age"))
    damaged.write_bytes(damaged.read_bytes()[:-3])
    before = damaged.read_bytes()
    _keys(sqlite_desk, escrow=[_stranger(sqlite_desk).recipient])
    done = sqlite_desk.told("keys", "rekey", code=1)
    assert {key["fingerprint"]: (key["fault"] or {}).get("reason") for key in done["keys"]} == {
        damaged.stem: "sealed_key_damaged",
        other.stem: None,
    }
    assert damaged.read_bytes() == before
    assert sqlite_desk.kinds(KEY_STORE) == ["rekey_started", "key_resealed"]


class _Killed(BaseException):
    """What a kill looks like from inside."""


def _dies(monkeypatch: pytest.MonkeyPatch, where: type, name: str, nth: int, *, after: bool) -> None:
    """The nth call of a method dies, before or after it did its work."""
    real: Callable[..., Any] = getattr(where, name)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != nth:
            return real(*arguments, **named)
        if after:
            real(*arguments, **named)
        raise _Killed

    monkeypatch.setattr(where, name, dying)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["replace 2", "write 1", "write 2"])
def test_an_interrupted_rekey_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    """Killed around every change: each key opens at every moment, nothing claims too much, again ends it."""
    desk.to_accepted()
    _keys(desk, escrow=[_stranger(desk).recipient])
    name, nth = step.split()
    homes = KeyFolder if desk.store.startswith("sqlite") else KeyTable
    where = homes if name == "replace" else keyring._Record
    with monkeypatch.context() as patch:
        _dies(patch, where, name, int(nth), after=after)
        with pytest.raises(_Killed):
            desk.run("keys", "rekey")
    between = desk.run("keys", "check", "--json")
    assert _states(between.document) == ["opens", "opens"]
    for key in between.document["keys"]:
        if key["sealed_to"] == "current":
            assert key["header"]["x25519"] == 2
    desk.told("keys", "rekey")
    checked = desk.told("keys", "check")
    assert {key["sealed_to"] for key in checked["keys"]} == {"current"}
    assert desk.told("keys", "rekey")["keys"] == []
    if homes is KeyFolder:
        assert {path.suffix for path in (desk.folder / "keys").iterdir()} == {".age"}


def test_two_who_rekey_at_once_do_not_mix(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told that somebody else moved before it changed a file; the first one's files stay."""
    desk.to_accepted()
    _keys(desk, escrow=[_stranger(desk).recipient])
    real = keyring._Record.write

    def meanwhile(record: Any, kind: Kind, body: Any) -> None:
        monkeypatch.setattr(keyring._Record, "write", real)
        with _work() as other:
            assert all(
                one.fault is None for one in keyring.rekey(other, keyring.sorted_keys(other), *_own(desk))
            )
        theirs.update(_sealed(desk))
        real(record, kind, body)

    theirs: dict[str, bytes] = {}
    monkeypatch.setattr(keyring._Record, "write", meanwhile)
    assert desk.refusal("keys", "rekey", code=4) == "somebody_else_moved"
    assert _sealed(desk) == theirs
    assert {key["sealed_to"] for key in desk.told("keys", "check")["keys"]} == {"current"}


def test_a_key_replaced_by_somebody_else_is_not_overwritten(desk: Desk) -> None:
    """What is kept is not what was read: refused, and the other's file stays."""
    desk.adopt()
    home = _home(desk)
    [name] = home.names()
    theirs = home.sealed(name)
    with pytest.raises(Exception, match="key_changed_meanwhile"):
        home.replace(name, b"what I read", b"what I wrote")
    assert home.sealed(name) == theirs


# Destruction


def _later(desk: Desk, days: int) -> None:
    """The clock goes on; nothing else does."""
    at = datetime.now(UTC) + timedelta(days=days)
    Session.__init__.__defaults__ = (None, None, False, lambda: at)


def test_superseded_keys_are_kept_unless_the_inventory_says_how_long(desk: Desk) -> None:
    """No `destroy_after`: the command says what to write, and destroys nothing."""
    desk.adopt()
    assert desk.refusal("keys", "destroy", code=2) == "inventory_missing_key"
    assert len(_home(desk).names()) == 1


def test_a_superseded_key_is_destroyed_after_its_time_on_record(desk: Desk) -> None:
    """The way back goes once its certificate has ended and the time is over; what is in use never."""
    desk.to_proven()
    desk.told("renewal", "close")
    _keys(desk, destroy_after="400d")
    [adopted] = {event.body["pair"]["key_fingerprint"] for event in desk.events("tokyo-0")}
    assert desk.told("keys", "destroy")["keys"] == []  # valid still: `adopt` could be a way back
    assert _by_role(desk.told("keys", "check"))["previous"]["fingerprint"] == adopted
    _later(desk, 399)
    assert desk.told("keys", "destroy")["keys"] == []
    _later(desk, 401)
    for words in (("--dry-run",), ()):
        [gone] = desk.told("keys", "destroy", *words)["keys"]
        assert (gone["fingerprint"], gone["named_by"]) == (adopted, ["tokyo-0", "tokyo-1"])
        assert (adopted in _home(desk).names()) == bool(words)
    assert desk.kinds(KEY_STORE) == ["destruction_started", "key_destroyed"]
    checked = desk.told("keys", "check")
    assert {key["fingerprint"]: key["state"] for key in checked["keys"]}[adopted] == "destroyed"
    assert _states(checked) == ["destroyed", "opens"]
    assert desk.told("keys", "destroy")["keys"] == []
    done = desk.run("keys", "destroy")
    assert "no key has been superseded for 400 days" in done.err


def test_the_pair_before_is_kept_while_a_renewal_may_go_back_to_it(desk: Desk) -> None:
    """NEXT STEPS of the next renewal offer it: needed as long as its certificate is valid."""
    desk.to_proven()
    desk.told("renewal", "close")
    steps = desk.told("renewal", "open")["next_steps"]
    assert "next.or_accept_previous" in [step["key"] for step in steps]
    [adopted] = {event.body["pair"]["key_fingerprint"] for event in desk.events("tokyo-0")}
    [key] = [key for key in desk.told("keys", "check")["keys"] if key["fingerprint"] == adopted]
    assert (key["state"], [use["role"] for use in key["needed_by"]]) == ("opens", ["previous"])
    _later(desk, 3000)
    _keys(desk, destroy_after="1h")
    assert [key["fingerprint"] for key in desk.told("keys", "destroy")["keys"]] == [adopted]


def test_no_key_of_an_open_renewal_is_destroyed(desk: Desk) -> None:
    """Not even one that a new key replaced: somebody may come back from the portal with its certificate."""
    desk.to_request()
    desk.told("renewal", "request", "--new-key", code=3)
    _keys(desk, destroy_after="1h")
    _later(desk, 3000)
    assert desk.told("keys", "destroy")["keys"] == []
    desk.told("renewal", "abort")
    assert [key["named_by"] for key in desk.told("keys", "destroy")["keys"]] == [["tokyo-1"]] * 2
    assert _states(desk.told("keys", "check")) == ["destroyed", "destroyed", "opens"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["destroy 1", "write 1", "write 2"])
def test_an_interrupted_destruction_is_ended_by_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    """Killed around every change: what was begun is ended, and the record says so once."""
    desk.to_request()
    desk.told("renewal", "abort")
    _keys(desk, destroy_after="1h")
    _later(desk, 1)
    name, nth = step.split()
    homes = KeyFolder if desk.store.startswith("sqlite") else KeyTable
    with monkeypatch.context() as patch:
        _dies(patch, homes if name == "destroy" else keyring._Record, name, int(nth), after=after)
        with pytest.raises(_Killed):
            desk.run("keys", "destroy")
    desk.told("keys", "destroy")
    assert _states(desk.told("keys", "check")) == ["destroyed", "opens"]
    assert desk.kinds(KEY_STORE).count("key_destroyed") == 1
    assert desk.told("keys", "destroy")["keys"] == []


def _own(desk: Desk) -> tuple[Any, Any]:
    identity = load(desk.folder / "renewctl.yaml").keys.identity
    return identity, identity


def _work() -> Any:
    return workplace(Session())
