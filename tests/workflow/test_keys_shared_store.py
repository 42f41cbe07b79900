"""Inventories with one store have recipients of their own: none touches, or judges, the other's keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from renewctl.cli.context import Session
from renewctl.inventory.reading import load
from renewctl.keys import keystore
from renewctl.renewal.events import KEY_STORE
from renewctl.renewal.key_record import Role, whose
from tests.support.certs import OTHER_TOPIC, TOPIC
from tests.support.desk import APPLE, OLD_ENDS, Desk
from tests.support.identities import Identity

pytestmark = pytest.mark.slow  # a whole desk for each


@pytest.fixture
def other(desk: Desk) -> Identity:
    """Whom the other inventory seals to."""
    (desk.folder / "other").mkdir()
    return Identity(desk.folder / "other", "age")


def _sealed(desk: Desk) -> dict[str, bytes]:
    home = keystore.home(load(desk.folder / "renewctl.yaml").keys, desk.store)
    return {name: home.sealed(name) for name in home.names()}


def _warned(desk: Desk) -> set[str]:
    shown = desk.run("status", "--offline", "--json").out
    return {key for key in ("warning.sealed_to_others", "warning.sealed_not_to_all") if key in shown}


def _as_other_inventory(desk: Desk, recipient: str) -> None:
    """From now on this one has another topic, and other people who may open its keys."""
    (topic,) = desk.inventory["topics"]
    keys = desk.inventory["keys"] | {"recipients": [recipient], "destroy_after": "1d"}
    desk.rewrite(topics=[topic | {"id": "osaka", "topic": OTHER_TOPIC}], keys=keys)


def test_another_inventorys_keys_are_left_alone(desk: Desk, other: Identity) -> None:
    """Not warned of, not tried, not sealed anew, not destroyed; named as what they are."""
    own = desk.inventory
    desk.to_accepted()
    desk.told("renewal", "abort")
    at = datetime.now(UTC) + timedelta(days=900)
    Session.__init__.__defaults__ = (None, None, False, lambda: at)
    before = _sealed(desk)
    _as_other_inventory(desk, other.recipient.strip())
    assert _warned(desk) == set()
    as_other = ("--identity", other.file)
    checked = desk.told("keys", "check", *as_other)
    assert {key["fingerprint"]: key["state"] for key in checked["keys"]} == dict.fromkeys(before, "others")
    assert desk.told("keys", "rekey", *as_other)["keys"] == []
    assert desk.told("keys", "destroy")["keys"] == []
    assert (_sealed(desk), desk.kinds(KEY_STORE)) == (before, [])
    for language, words in (
        ("en", "of a topic not in this inventory"),
        ("ja", "このインベントリーにないトピック"),
    ):
        assert words in desk.run("keys", "check", *as_other, "--lang", language).out
    desk.rewrite(**own)
    desk.told("keys", "check")


@pytest.mark.parametrize(
    ("added", "warning"), [(False, "warning.sealed_to_others"), (True, "warning.sealed_not_to_all")]
)
def test_a_rekey_that_did_nothing_silences_no_warning(
    desk: Desk, other: Identity, *, added: bool, warning: str
) -> None:
    """Begun, and no key opened: who was removed still opens them, who was added does not; `status` still says so."""
    desk.to_accepted()
    own = desk.inventory["keys"]["recipients"] if added else []
    desk.rewrite(keys=desk.inventory["keys"] | {"recipients": [*own, other.recipient.strip()]})
    assert _warned(desk) == {warning}
    done = desk.told("keys", "rekey", "--identity", other.file, "--proof-identity", other.file, code=1)
    assert {key["fault"]["reason"] for key in done["keys"]} == {"identity_cannot_open"}
    assert desk.kinds(KEY_STORE) == ["rekey_started"]
    assert _warned(desk) == {warning}
    desk.told("keys", "rekey", "--proof-identity", other.file)
    assert _warned(desk) == set()


MISTYPED = "com.apple.mgmt.External.mistyped"
OSAKA = APPLE.push(OTHER_TOPIC, key="osaka")
IN_DOUBT = {
    "id_of_other_topic": {"topic": MISTYPED},
    "topic_under_other_id": {"id": "osaka-hq"},
    "renewal_of_other_uid": {"topic": MISTYPED},
}


@pytest.fixture(params=IN_DOUBT)
def doubt(request: pytest.FixtureRequest) -> str:
    """Why the second topic's id and UID do not go with the record."""
    return str(request.param)


def _with_a_topic_in_doubt(desk: Desk, reason: str) -> tuple[set[str], set[str]]:
    """Tokyo in good order, and Osaka no longer; names of the keys of each, of which some are superseded."""
    later = datetime.now(UTC) + timedelta(days=900)
    desk.to_proven()
    desk.told("renewal", "close")
    desk.told("renewal", "open")
    desk.told("renewal", "request", "--csr-only", code=3)
    desk.told("renewal", "abort")
    tokyo = set(_sealed(desk))
    desk.second_topic()
    osaka = ("--topic", "osaka")
    desk.told("renewal", "open", *osaka)
    desk.told("renewal", "request", "--csr-only", *osaka, code=3)
    desk.told("renewal", "abort", *osaka)
    if reason == "renewal_of_other_uid":
        desk.told("renewal", "open", *osaka)
        desk.told("renewal", "request", "--csr-only", *osaka, code=3)
    else:
        pair = (
            "--certificate",
            desk.file("osaka.pem", OSAKA.pem),
            "--key",
            desk.file("osaka.key", OSAKA.key_pem),
        )
        desk.told("adopt", *osaka, *pair)
    own, other = desk.inventory["topics"]
    keys = desk.inventory["keys"] | {"destroy_after": "1d"}
    desk.rewrite(topics=[own, other | IN_DOUBT[reason]], keys=keys)
    Session.__init__.__defaults__ = (None, None, False, lambda: later)
    return tokyo, set(_sealed(desk)) - tokyo


def _reasons(document: dict[str, Any]) -> list[str]:
    return [fault["reason"] for fault in document["topic_faults"]]


def test_a_topic_in_doubt_hides_no_other_topics_keys(sqlite_desk: Desk, doubt: str) -> None:
    """`keys check` opens and shows those of every other topic, says what is wrong with the one, and ends with 1."""
    tokyo, osaka = _with_a_topic_in_doubt(sqlite_desk, doubt)
    checked = sqlite_desk.told("keys", "check", code=1)
    states = {key["fingerprint"]: key["state"] for key in checked["keys"]}
    assert {states[name] for name in tokyo} == {"opens", "not_needed"}
    assert ({states[name] for name in osaka}, len(osaka)) == ({"unclear"}, 2)
    assert _reasons(checked) == [doubt]
    assert [key["fault"] for key in checked["keys"]] == [None] * len(states)
    for language, state, hint in (
        ("en", "of a topic whose id and UID do not go with the record", "  hint: "),
        ("ja", "idとUIDが記録と合わないトピックのもの", "  ヒント: "),
    ):
        done = sqlite_desk.run("keys", "check", "--lang", language)
        assert (done.code, state in done.out, hint in done.err) == (1, True, True)


def test_keys_of_a_topic_in_doubt_are_sealed_to_nobody_else(desk: Desk, other: Identity, doubt: str) -> None:
    """`keys rekey` seals those of every other topic, leaves its keys byte for byte, and ends with 1; again: the same."""
    tokyo, osaka = _with_a_topic_in_doubt(desk, doubt)
    before = _sealed(desk)
    keys = desk.inventory["keys"]
    desk.rewrite(keys=keys | {"recipients": [*keys["recipients"], other.recipient.strip()]})
    for expected in (tokyo, set()):
        done = desk.told("keys", "rekey", code=1)
        assert ({key["fingerprint"] for key in done["keys"]}, _reasons(done)) == (expected, [doubt])
        assert desk.kinds(KEY_STORE) == ["rekey_started", *["key_resealed"] * len(tokyo)]
    after = _sealed(desk)
    assert {name for name in before if before[name] != after[name]} == tokyo
    for language, words in (("en", "keys of such a topic are left"), ("ja", "そのまま残して")):
        told = desk.run("keys", "rekey", "--lang", language)
        assert (told.code, words in told.err, "already" in told.err) == (1, True, False)
    assert {name for name in osaka if after[name] == before[name]} == osaka


def test_keys_of_a_topic_in_doubt_are_not_destroyed(sqlite_desk: Desk, doubt: str) -> None:
    """`keys destroy` takes away what is superseded of every other topic, and ends with 1; again: nothing more."""
    tokyo, osaka = _with_a_topic_in_doubt(sqlite_desk, doubt)
    gone = sqlite_desk.told("keys", "destroy", code=1)
    destroyed = {key["fingerprint"] for key in gone["keys"]}
    assert (set() < destroyed < tokyo, _reasons(gone)) == (True, [doubt])
    assert osaka <= set(_sealed(sqlite_desk))
    again = sqlite_desk.run("keys", "destroy")
    assert (again.code, again.out, "keys of such a topic are left" in again.err) == (1, "", True)
    own, other_topic = sqlite_desk.inventory["topics"]
    sqlite_desk.rewrite(topics=[own, other_topic | {"id": "osaka", "topic": OTHER_TOPIC}])
    assert {key["fingerprint"] for key in sqlite_desk.told("keys", "destroy")["keys"]} & osaka


def test_a_key_of_two_topics_is_tried_for_one_and_left_alone_for_the_other(sqlite_desk: Desk) -> None:
    """One key under two certificates, one topic of them in doubt: proven to open, neither sealed anew nor destroyed."""
    sqlite_desk.adopt()
    sqlite_desk.second_topic()
    same = APPLE.push(OTHER_TOPIC, key="old")
    pair = (
        "--certificate",
        sqlite_desk.file("osaka.pem", same.pem),
        "--key",
        sqlite_desk.file("osaka.key", same.key_pem),
    )
    sqlite_desk.told("adopt", "--topic", "osaka", *pair)
    own, other = sqlite_desk.inventory["topics"]
    sqlite_desk.rewrite(
        topics=[own, other | {"topic": MISTYPED}], keys=sqlite_desk.inventory["keys"] | {"escrow": []}
    )
    [key] = sqlite_desk.told("keys", "check", code=1)["keys"]
    assert (key["state"], {use["topic"] for use in key["needed_by"]}) == ("opens", {"tokyo", "osaka"})
    (sqlite_desk.folder / "new").mkdir()
    new = Identity(sqlite_desk.folder / "new", "age")
    sqlite_desk.rewrite(keys=sqlite_desk.inventory["keys"] | {"recipients": [new.recipient.strip()]})
    before = _sealed(sqlite_desk)
    assert sqlite_desk.told("keys", "rekey", "--proof-identity", new.file, code=1)["keys"] == []
    assert _sealed(sqlite_desk) == before
    with_events = {name: sqlite_desk.events(name) for name in ("tokyo-0", "osaka-0")}
    found = whose(with_events, [("tokyo", TOPIC), ("osaka", MISTYPED)], OLD_ENDS)
    assert (set(found.own), found.surely_own, set(found.unclear)) == (set(before), {}, set(before))
    assert {use.role for one in found.own.values() for use in one.uses} == {Role.CURRENT}
