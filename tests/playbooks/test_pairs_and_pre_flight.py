"""Pairs by reference, and what is shown to the push service before any node is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from ansible_collections.renewctl.mdm.plugins.plugin_utils import pre_flight
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference

from renewctl.apns import PairCheck
from renewctl.certificate.pushcert import Pair
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Apns
from renewctl.keys import keystore
from renewctl.reasons import Reason
from tests.support.certs import TOPIC, Issued, apple_like


@pytest.fixture
def pair(tmp_path: Path) -> Issued:
    """A pair as files, and its key sealed."""
    made = apple_like().push(TOPIC, key="new")
    (tmp_path / "new.pem").write_bytes(made.pem)
    (tmp_path / "new.key").write_bytes(made.key_pem)
    (tmp_path / "other.key").write_bytes(apple_like().push(TOPIC, key="other").key_pem)
    (tmp_path / "not.pem").write_text("no certificate")
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(str(identity))
    (tmp_path / "new.age").write_bytes(pyrage.encrypt(made.key_pem, [identity.to_public()]))
    (tmp_path / "not.age").write_bytes(pyrage.encrypt(b"no key", [identity.to_public()]))
    return made


IDENTITY = {"file": "identity"}


def test_a_key_in_a_file_or_sealed(tmp_path: Path, pair: Issued) -> None:
    """Both kinds of reference open the same key, with paths relative to the inventory."""
    for key in ({"file": "new.key"}, {"sealed": "new.age", "identity": IDENTITY}):
        reference = PairReference.from_mapping({"certificate": "new.pem", "key": key}, tmp_path)
        assert reference is not None
        assert reference.open().key == pair.key_pem
        assert "PRIVATE" not in repr(reference.open())


@pytest.mark.parametrize("table", ["postgresql://store/renewctl", {"file": "url"}])
def test_a_key_in_the_table(
    tmp_path: Path, pair: Issued, table: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of a PostgreSQL store is asked for the sealed key by its fingerprint."""
    (tmp_path / "url").write_text("postgresql://store/renewctl\n")
    asked = []

    class Table:
        """Stands for the table."""

        def __init__(self, url: str, recipients: object) -> None:
            asked.append((url, recipients))

        def sealed(self, fingerprint: str) -> bytes:
            """The one key."""
            assert fingerprint == "ab"
            return (tmp_path / "new.age").read_bytes()

    monkeypatch.setattr(keystore, "KeyTable", Table)
    key = {"table": table, "fingerprint": "ab", "identity": IDENTITY}
    reference = PairReference.from_mapping({"certificate": "new.pem", "key": key}, tmp_path)
    assert reference is not None
    assert reference.open().key == pair.key_pem
    assert asked == [("postgresql://store/renewctl", ())]


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"certificate": "no.pem"}, Reason.FILE_UNREADABLE),
        ({"certificate": "not.pem"}, Reason.CERTIFICATE_UNREADABLE),
        ({"certificate": "new.pem"}, Reason.PAIR_INCOMPLETE),
        ({"certificate": "new.pem", "key": {"sealed": "new.age"}}, Reason.PAIR_INCOMPLETE),
        (
            {"certificate": "new.pem", "key": {"sealed": "no.age", "identity": IDENTITY}},
            Reason.FILE_UNREADABLE,
        ),
        ({"certificate": "new.pem", "key": {"file": "other.key"}}, Reason.PAIR_MISMATCHED),
        (
            {"certificate": "new.pem", "key": {"sealed": "not.age", "identity": IDENTITY}},
            Reason.PRIVATE_KEY_ABSENT,
        ),
        ({"certificate": "new.pem", "key": "new.key"}, Reason.PAIR_INCOMPLETE),
    ],
)
def test_a_pair_that_cannot_be_used(
    tmp_path: Path, pair: Issued, mapping: dict[str, Any], reason: Reason
) -> None:
    """Refused before any node is asked, with the reason."""

    def use() -> None:
        reference = PairReference.from_mapping(mapping, tmp_path)
        assert reference is not None
        reference.open()

    assert reason_of(use) is reason


def reason_of(step: Callable[[], object]) -> Reason:
    """Why a step refuses."""
    with pytest.raises(RenewctlError) as caught:
        step()
    return caught.value.reason


YES, NO, SILENT = (
    PairCheck(accepted=True, detail="400 BadDeviceToken"),
    PairCheck(accepted=False, reason=Reason.PUSH_TLS_REFUSED, detail="expired certificate"),
    PairCheck(accepted=None, reason=Reason.PUSH_SERVICE_TIMEOUT),
)


@pytest.mark.parametrize(
    ("new", "old", "forward_only", "reason"),
    [
        (YES, YES, False, None),
        (NO, YES, False, "new_pair_refused"),
        (SILENT, YES, False, "push_service_unknown"),
        (YES, NO, False, "previous_pair_refused"),
        (YES, NO, True, None),
        (YES, SILENT, False, "push_service_unknown"),
        (YES, None, False, "previous_pair_missing"),
        (YES, None, True, None),
        (None, YES, False, "pair_incomplete"),
    ],
)
def test_what_stands_in_the_way(
    tmp_path: Path,
    pair: Issued,
    monkeypatch: pytest.MonkeyPatch,
    new: PairCheck | None,
    old: PairCheck | None,
    forward_only: bool,
    reason: str | None,
) -> None:
    """The new pair must be taken; so must the old one, unless a person goes forward only."""
    answers = [check for check in (new, old) if check is not None]

    class Service:
        """Answers in turn."""

        def __init__(self, url: str, ca_file: Path | None) -> None:
            assert (url, ca_file) == (Apns().url, None)

        def check(self, shown: Pair) -> PairCheck:
            """The next answer."""
            assert shown.key == pair.key_pem
            return answers.pop(0)

    monkeypatch.setattr(pre_flight, "PushService", Service)
    named = {"certificate": "new.pem", "key": {"file": "new.key"}}
    told = pre_flight.check(
        Apns(),
        named if new else {},
        named if old else None,
        tmp_path,
        topic=TOPIC,
        forward_only=forward_only,
    )
    assert told["failed"] is (reason is not None)
    assert told["renewctl_apns"]["reason"] == reason
    assert told["renewctl_apns"]["outcome"] == ("accepted" if reason is None else "refused")
    json.dumps(told)


def test_an_error_on_the_way_is_a_refusal() -> None:
    """A key that cannot be opened looks like any other refusal."""
    told = pre_flight.refusal(Reason.IDENTITY_CANNOT_OPEN, {"where": Path("/x")})
    assert told["failed"]
    assert told["renewctl_apns"]["values"] == {"where": "/x"}


def test_a_pair_of_another_topic_is_refused_before_anything_is_asked(tmp_path: Path, pair: Issued) -> None:
    """What Create at the portal gives is valid, and would silence every device: no push, no key opened."""
    named = {"certificate": "new.pem", "key": {"file": "no such key"}}
    with pytest.raises(RenewctlError) as caught:
        pre_flight.check(Apns(), named, None, tmp_path, topic="com.apple.mgmt.other", forward_only=True)
    assert caught.value.reason is Reason.TOPIC_DIFFERS
    assert caught.value.values["got"] == TOPIC
