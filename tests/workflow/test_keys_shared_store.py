"""Inventories with one store have recipients of their own: none touches, or judges, the other's keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from renewctl.cli.context import Session
from renewctl.inventory.reading import load
from renewctl.keys import keystore
from renewctl.renewal.events import KEY_STORE
from tests.support.certs import OTHER_TOPIC
from tests.support.desk import Desk
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
