"""What came back from the portal: every refusal changes nothing but the record, a good one is accepted once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.support.certs import NOW, OTHER_TOPIC, Issued, apple_like, with_broken_signature
from tests.support.desk import APPLE, OLD, Desk

DAY = timedelta(days=1)
OTHER = "com.apple.mgmt.External.77777777-0000-4000-8000-000000000000"


@pytest.fixture
def requested(sqlite_desk: Desk) -> Desk:
    """The person is at the portal."""
    sqlite_desk.to_request()
    return sqlite_desk


def test_a_good_certificate_is_accepted(desk: Desk) -> None:
    """Serial and end are told; no node was asked to change anything."""
    desk.to_request()
    issued = desk.issued()
    told = desk.told("renewal", "accept", desk.file("MDM_ Example_Certificate.pem", issued.pem))
    assert (told["renewal"]["phase"], told["renewal"]["serial"]) == ("accepted", issued.serial)
    assert told["renewal"]["owed"] == ["n1", "n2", "n3"]
    assert desk.kinds()[-1] == "accepted"
    assert desk.playbooks.played == []


def test_the_same_file_again_is_no_news(desk: Desk) -> None:
    """Exit 0, no further event, no findings."""
    desk.to_accepted()
    kinds = desk.kinds()
    again = desk.told("renewal", "accept", "MDM_ Example_Certificate.pem")
    assert (again["renewal"]["phase"], again["findings"]) == ("accepted", [])
    assert desk.told("renewal", "accept", "MDM_ Example_Certificate.pem", "--dry-run")["dry_run"] is True
    assert desk.kinds() == kinds


def test_another_file_after_one_was_accepted(requested: Desk) -> None:
    """Out of order: what was accepted is what will be rolled out; the dry run says so too."""
    requested.told("renewal", "accept", requested.downloaded())
    other, kinds = requested.downloaded("second.pem"), requested.kinds()
    for words in ((), ("--dry-run",)):
        assert requested.refusal("renewal", "accept", other, *words, code=1) == "out_of_order"
    assert requested.kinds() == kinds


def _spoilt(desk: Desk, fault: str) -> Issued:
    choices: dict[str, dict[str, Any]] = {
        "another account's row": {"topic": OTHER_TOPIC},
        "without a topic": {"topic": None},
        "no MDM topic": {"topic": "com.example.app"},
        "another request's key": {"key": "another"},
        "last year's key": {"key": "old", "not_after": NOW + 300 * DAY},
        "expired": {"not_before": NOW - 400 * DAY, "not_after": NOW - DAY},
        "not yet valid": {"not_before": NOW + DAY},
        "ends before the old one": {"not_after": NOW + 10 * DAY},
        "without client authentication": {"client_auth": False},
        "without the push mark": {"marked": False},
    }
    if fault == "last year's file":
        return OLD
    if fault == "a broken signature":
        return with_broken_signature(desk.issued())
    return desk.issued(**choices[fault])


REFUSALS = {
    "another account's row": "topic_differs",
    "without a topic": "certificate_without_topic",
    "no MDM topic": "topic_not_mdm",
    "another request's key": "key_of_another_request",
    "last year's key": "key_of_current_certificate",
    "last year's file": "certificate_is_current",
    "expired": "certificate_expired",
    "not yet valid": "certificate_not_yet_valid",
    "ends before the old one": "certificate_not_later",
    "without client authentication": "certificate_without_client_auth",
    "without the push mark": "certificate_without_push",
    "a broken signature": "issuer_signature_wrong",
}


WITHOUT_EXPECTED = {"without client authentication", "without the push mark", "a broken signature"}
"""A mark that has to be there: the sentence says which."""


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_certificate_that_is_refused(requested: Desk, fault: str) -> None:
    """Named with got, expected and hint; recorded; the phase stays, and the right file is taken afterwards."""
    requested.rewrite(trust=["aai2.pem"])
    requested.file("aai2.pem", APPLE.aai2.pem)
    file = requested.file("download.pem", _spoilt(requested, fault).pem)
    kinds = requested.kinds()
    assert requested.refusal("renewal", "accept", file, "--dry-run", code=1) == REFUSALS[fault]
    assert requested.kinds() == kinds
    error = requested.told("renewal", "accept", file, code=1)["error"]
    assert error["reason"] == REFUSALS[fault]
    assert error["values"]["got"]
    assert "expected" in error["values"] or fault in WITHOUT_EXPECTED
    assert requested.kinds() == [*kinds, "certificate_refused"]
    recorded = requested.events()[-1].body
    assert recorded["reason"] == REFUSALS[fault]
    assert [one["reason"] for one in recorded["findings"] if one["level"] == "refuse"] == [
        REFUSALS[fault],
        *[other["reason"] for other in error.get("others", [])],
    ]
    shown = requested.renewal()
    assert (shown["phase"], shown["refusals"], shown["serial"]) == ("requested", 1, None)
    assert requested.told("renewal", "accept", requested.downloaded())["renewal"]["phase"] == "accepted"


def test_everything_wrong_is_told_at_once(requested: Desk) -> None:
    """Another topic and expired: the first refusal leads, the others follow, in words as well."""
    file = requested.downloaded(topic=OTHER_TOPIC, not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    error = requested.told("renewal", "accept", file, code=1)["error"]
    assert error["reason"] == "topic_differs"
    assert {"certificate_expired", "certificate_not_later"} <= {one["reason"] for one in error["others"]}
    done = requested.run("renewal", "accept", file)
    assert done.err.count("error: ") == 1 + len(error["others"])
    assert "never press Create" in done.err or "Renew" in done.err


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"<!DOCTYPE html><title>Sign in</title>", None])
def test_files_that_hold_no_certificate(requested: Desk, content: bytes | None) -> None:
    """Empty, binary, a saved page, missing: exit 2, the file named, no event."""
    file = requested.folder / "download.pem"
    if content is not None:
        file.write_bytes(content)
    kinds = requested.kinds()
    for words in ((), ("--dry-run",)):
        error = requested.told("renewal", "accept", file, *words, code=2)["error"]
        assert error["values"]["path"] == str(file)
    assert requested.kinds() == kinds


def test_the_request_itself_and_before_any_key(sqlite_desk: Desk) -> None:
    """Our own request handed in: explained; a certificate before any key was made: out of order."""
    sqlite_desk.told("renewal", "open")
    file = sqlite_desk.downloaded_from_nowhere()
    assert sqlite_desk.refusal("renewal", "accept", file, code=1) == "out_of_order"
    sqlite_desk.told("renewal", "request", code=3)
    for name in ("tokyo-1.plist", "tokyo-1.csr"):
        assert sqlite_desk.told("renewal", "accept", name, code=2)["error"]["values"]["path"] == name


def test_enrolled_devices_of_another_topic(requested: Desk) -> None:
    """Every device uses another topic: refused, with topic and count; none of them would answer any more."""
    requested.enroll(OTHER, devices=3)
    error = requested.told("renewal", "accept", requested.downloaded(), code=1)["error"]
    assert error["reason"] == "enrolled_topic_differs"
    assert f"{OTHER} (3)" in error["values"]["got"]


def test_enrolled_devices_of_this_topic(requested: Desk) -> None:
    """The nodes can tell and agree: not a word of warning."""
    requested.enroll_of_topic(2)
    assert requested.told("renewal", "accept", requested.downloaded())["findings"] == []


def test_a_warning_does_not_stop_and_is_recorded(requested: Desk) -> None:
    """No node can tell what devices use: a warning on stderr, in JSON and in the event."""
    done = requested.run("renewal", "accept", requested.downloaded(), "--dry-run")
    assert done.code == 0
    assert done.err.startswith("warning: ")
    told = requested.told("renewal", "accept", requested.downloaded())
    assert [(one["reason"], one["level"]) for one in told["findings"]] == [("enrolled_topic_unknown", "warn")]
    recorded = requested.events()[-1].body["findings"]
    assert [one["reason"] for one in recorded] == ["enrolled_topic_unknown"]


def test_an_unknown_issuer_is_a_warning(requested: Desk) -> None:
    """Apple may issue from an authority nobody has met: it is taken, and said."""
    requested.enroll_of_topic(2)
    requested.file("other.pem", apple_like("second").aai2.pem)
    requested.rewrite(trust=["other.pem"])
    told = requested.told("renewal", "accept", requested.downloaded())
    assert [one["reason"] for one in told["findings"]] == ["issuer_unknown"]


def test_a_trust_file_that_is_missing(requested: Desk) -> None:
    """The inventory's own fault: exit 2, the file named, no event."""
    requested.rewrite(trust=["nowhere.pem"])
    kinds = requested.kinds()
    error = requested.told("renewal", "accept", requested.downloaded(), code=2)["error"]
    assert "nowhere.pem" in str(error["values"])
    assert requested.kinds() == kinds


def locked(issued: Issued, key: Any, folder: Path) -> Path:
    """The certificate as a keychain exports it."""
    lock = BestAvailableEncryption(b"open sesame")
    path = folder / "push.p12"
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"push", key, issued.certificate, None, lock))
    return path


def test_a_p12_under_a_passphrase(requested: Desk) -> None:
    """Without a terminal exit 2 and the file named; at one the passphrase is asked for; a wrong one is told."""
    file = locked(requested.issued(), None, requested.folder)
    error = requested.told("renewal", "accept", file, code=2)["error"]
    assert (error["reason"], error["values"]["path"]) == ("passphrase_needed", str(file))
    with requested.terminal("wrong"):
        assert "does not open" in requested.run("renewal", "accept", file).err
    assert requested.kinds()[-1] == "requested"
    with requested.terminal("open sesame"):
        assert requested.run("renewal", "accept", file).code == 0
    assert requested.kinds()[-1] == "accepted"


def test_nothing_adopted_before(sqlite_desk: Desk) -> None:
    """No previous pair to compare with: the pinned topic and the key decide."""
    sqlite_desk.told("renewal", "open")
    sqlite_desk.told("renewal", "request", code=3)
    assert sqlite_desk.told("renewal", "accept", sqlite_desk.downloaded())["renewal"]["phase"] == "accepted"
