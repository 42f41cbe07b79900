"""Every check on a downloaded certificate, one thing wrong at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewctl.certificate.findings import Finding, Level, disagree, insist, judge, served_topic_missing
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import Refused
from renewctl.observation import Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason
from tests.support.certs import (
    NOW,
    OTHER_TOPIC,
    TOPIC,
    Issued,
    apple_like,
    apple_name,
    issue,
    rsa_key,
    with_broken_signature,
)

APPLE = apple_like()
OLD = PushCertificate.from_der(
    APPLE.push(key="old", not_before=NOW - timedelta(days=300), not_after=NOW + timedelta(days=42)).der
)
NEW = PushCertificate.from_der(APPLE.push().der)
SERVED = ServedCertificate(topic=TOPIC, not_after=OLD.not_after, source=Source.API)
EXPECTED = NEW.key_fingerprint

Found = list[tuple[Reason, Level]]


def found(
    candidate: Issued | PushCertificate = NEW,
    *,
    current: PushCertificate | ServedCertificate | None = OLD,
    enrolled: Mapping[str, int] | None = None,
    issuers: tuple[bytes, ...] = (APPLE.aai2.der,),
    now: datetime = NOW,
    known: tuple[str, ...] = (),
    none_enrolled: bool = True,
) -> Found:
    """Judge with one thing out of the ordinary."""
    if isinstance(candidate, Issued):
        candidate = PushCertificate.from_der(candidate.der)
    findings = judge(
        candidate,
        expected_key_fingerprint=EXPECTED,
        topic=TOPIC,
        current=current,
        enrolled={} if enrolled is None and none_enrolled else enrolled,
        issuers=issuers,
        now=now,
        account="push@example.com",
        known_topics=known,
    )
    for one in findings:
        assert (one.values["topic"], one.values["account"]) == (TOPIC, "push@example.com")
        json.dumps(dict(one.values))
    return [(one.reason, one.level) for one in findings]


def refused(reason: Reason) -> Found:
    """The one refusal."""
    return [(reason, Level.REFUSE)]


def warned(reason: Reason) -> Found:
    """The one warning."""
    return [(reason, Level.WARN)]


def test_the_certificate_everybody_hopes_for() -> None:
    """Nothing is found, whatever is known of the current one."""
    for current in (OLD, SERVED, replace(SERVED, serial=OLD.serial), None):
        assert found(current=current, enrolled={TOPIC: 200}) == []


def test_create_instead_of_renew() -> None:
    """A valid certificate, this renewal's key, another topic: refused for the topic alone."""
    assert found(APPLE.push(OTHER_TOPIC), enrolled={TOPIC: 200}) == refused(Reason.TOPIC_DIFFERS)


def test_got_and_expected_name_the_topics() -> None:
    """A person can compare them with what the portal shows as UID."""
    (finding,) = judge(
        PushCertificate.from_der(APPLE.push(OTHER_TOPIC).der),
        expected_key_fingerprint=EXPECTED,
        topic=TOPIC,
        current=OLD,
        enrolled={},
        issuers=(),
        now=NOW,
    )
    assert (finding.values["got"], finding.values["expected"]) == (OTHER_TOPIC, TOPIC)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [(None, Reason.CERTIFICATE_WITHOUT_TOPIC), ("com.example.app", Reason.TOPIC_NOT_MDM)],
)
def test_certificates_of_another_kind(topic: str | None, reason: Reason) -> None:
    """No topic, or an app's."""
    assert found(APPLE.push(topic)) == refused(reason)


@pytest.mark.parametrize(
    "current",
    [
        OLD,
        replace(SERVED, fingerprint=OLD.fingerprint),
        replace(SERVED, serial=OLD.serial),
        SERVED,
    ],
    ids=["certificate", "fingerprint", "serial", "topic and date"],
)
def test_last_years_file_is_one_reason(current: PushCertificate | ServedCertificate) -> None:
    """Not also another key, not also too short: by whatever is known of the current one."""
    assert found(OLD, current=current) == refused(Reason.CERTIFICATE_IS_CURRENT)


def test_last_years_file_after_its_end_is_also_expired() -> None:
    """Both are worth saying; what to do first comes first."""
    assert [reason for reason, _ in found(OLD, now=NOW + timedelta(days=42))] == [
        Reason.CERTIFICATE_IS_CURRENT,
        Reason.CERTIFICATE_EXPIRED,
    ]


def test_last_years_request_is_told_from_somebody_elses() -> None:
    """The current certificate's key means that last year's request was uploaded."""
    assert found(APPLE.push(key="old")) == refused(Reason.KEY_OF_CURRENT_CERTIFICATE)
    assert found(APPLE.push(key="other")) == refused(Reason.KEY_OF_ANOTHER_REQUEST)
    assert found(APPLE.push(key="old"), current=SERVED) == refused(Reason.KEY_OF_ANOTHER_REQUEST)
    assert found(APPLE.push(key="old"), current=None) == refused(Reason.KEY_OF_ANOTHER_REQUEST)


def test_the_current_certificate_must_have_the_pinned_topic() -> None:
    """Else the inventory or the servers are wrong, and nobody should go on."""
    wrong = replace(SERVED, topic=OTHER_TOPIC)
    assert found(current=wrong) == refused(Reason.CURRENT_TOPIC_DIFFERS)
    assert found(current=replace(OLD, topic=None)) == refused(Reason.CURRENT_TOPIC_DIFFERS)


def test_what_enrolled_devices_use_decides() -> None:
    """Nobody could tell: warned. All elsewhere: refused. Some elsewhere: warned. None at all: fine."""
    assert found(enrolled=None, none_enrolled=False) == warned(Reason.ENROLLED_TOPIC_UNKNOWN)
    assert found(enrolled={OTHER_TOPIC: 5}) == refused(Reason.ENROLLED_TOPIC_DIFFERS)
    assert found(enrolled={OTHER_TOPIC: 5, TOPIC: 0}) == refused(Reason.ENROLLED_TOPIC_DIFFERS)
    assert found(enrolled={OTHER_TOPIC: 5, TOPIC: 195}) == warned(Reason.ENROLLED_ELSEWHERE)
    assert found(enrolled={OTHER_TOPIC: 0, TOPIC: 200}) == []
    assert found(enrolled={}) == []


def test_devices_of_another_topic_of_the_inventory_are_no_strays() -> None:
    """Several topics may live on one server."""
    assert found(enrolled={OTHER_TOPIC: 5, TOPIC: 195}, known=(OTHER_TOPIC,)) == []
    assert found(enrolled={OTHER_TOPIC: 5}, known=(OTHER_TOPIC,)) == []


def test_dates_to_the_second() -> None:
    """Expired at its last instant; valid from its first; later means later."""
    assert found(now=NEW.not_after, current=None) == refused(Reason.CERTIFICATE_EXPIRED)
    assert found(now=NEW.not_after - timedelta(seconds=1), current=None) == []
    assert found(now=NEW.not_before) == []
    assert found(now=NEW.not_before - timedelta(seconds=1)) == refused(Reason.CERTIFICATE_NOT_YET_VALID)
    assert found(APPLE.push(not_after=OLD.not_after + timedelta(seconds=1))) == []
    assert found(APPLE.push(not_after=OLD.not_after)) == refused(Reason.CERTIFICATE_NOT_LATER)


def test_marks_of_a_push_certificate() -> None:
    """Client authentication and Apple's extension."""
    assert found(APPLE.push(client_auth=False)) == refused(Reason.CERTIFICATE_WITHOUT_CLIENT_AUTH)
    assert found(APPLE.push(marked=False)) == refused(Reason.CERTIFICATE_WITHOUT_PUSH)


def test_an_issuer_is_known_or_warned_of() -> None:
    """Apple may change its issuer in the middle of the year; that must stop nobody."""
    newer = apple_like("second").push()
    stranger = issue(
        apple_name("New Apple Authority"),
        rsa_key("stranger"),
        issuer=None,
        not_before=NOW,
        not_after=datetime(2040, 1, 1, tzinfo=UTC),
    )
    odd = replace(APPLE, aai2=stranger).push()
    assert found(newer) == warned(Reason.ISSUER_UNKNOWN)
    assert found(newer, issuers=()) == []
    assert found(odd) == warned(Reason.ISSUER_UNKNOWN)
    assert found(odd, issuers=()) == warned(Reason.ISSUER_UNKNOWN)
    late = APPLE.push(not_after=datetime(2050, 1, 1, tzinfo=UTC))
    assert found(late, now=datetime(2045, 1, 1, tzinfo=UTC)) == warned(Reason.ISSUER_EXPIRED)


def test_a_false_signature_is_refused() -> None:
    """The authority is at hand and did not sign."""
    assert found(with_broken_signature(APPLE.push())) == refused(Reason.ISSUER_SIGNATURE_WRONG)


def test_everything_wrong_at_once_is_all_said() -> None:
    """One bad thing never hides the rest; the topic comes before what follows from it."""
    bad = APPLE.push(OTHER_TOPIC, key="other", not_after=NOW, client_auth=False, marked=False)
    reasons = [reason for reason, _ in found(bad, enrolled={OTHER_TOPIC: 1}, issuers=())]
    assert reasons == [
        Reason.TOPIC_DIFFERS,
        Reason.KEY_OF_ANOTHER_REQUEST,
        Reason.ENROLLED_TOPIC_DIFFERS,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_LATER,
        Reason.CERTIFICATE_WITHOUT_CLIENT_AUTH,
        Reason.CERTIFICATE_WITHOUT_PUSH,
    ]


def test_insisting_ends_at_the_first_refusal() -> None:
    """Warnings pass; the error carries the finding's values."""
    warning = Finding(Reason.ISSUER_UNKNOWN, Level.WARN)
    insist([warning])
    with pytest.raises(Refused) as caught:
        insist([warning, Finding(Reason.TOPIC_DIFFERS, Level.REFUSE, {"got": "x"})])
    assert (caught.value.reason, caught.value.values) == (Reason.TOPIC_DIFFERS, {"got": "x"})


@given(
    current=st.sampled_from([None, OLD, NEW, SERVED]),
    enrolled=st.none() | st.dictionaries(st.sampled_from([TOPIC, OTHER_TOPIC]), st.integers(0, 9)),
    seconds=st.integers(-(10**8), 10**8),
    expected=st.sampled_from([EXPECTED, OLD.key_fingerprint]),
    candidate=st.sampled_from([NEW, OLD]),
)
def test_silence_means_a_right_certificate(
    current: PushCertificate | ServedCertificate | None,
    enrolled: dict[str, int] | None,
    seconds: int,
    expected: str,
    candidate: PushCertificate,
) -> None:
    """Whenever nothing refuses, key, topic and dates are right."""
    now = NOW + timedelta(seconds=seconds)
    findings = judge(
        candidate,
        expected_key_fingerprint=expected,
        topic=TOPIC,
        current=current,
        enrolled=enrolled,
        issuers=(),
        now=now,
    )
    if all(one.level is Level.WARN for one in findings):
        assert candidate.key_fingerprint == expected
        assert candidate.not_before <= now < candidate.not_after
        assert current is None or candidate.not_after > current.not_after
        assert enrolled is None or not enrolled.get(OTHER_TOPIC) or enrolled.get(TOPIC)


def observed(node: str, *served: ServedCertificate, failed: bool = False) -> Observation:
    """What a node said."""
    failures = (Failure(Reason.FILE_UNREADABLE),) if failed else ()
    return Observation(node=node, at=NOW, certificates=served, failures=failures)


NEWER = ServedCertificate(topic=TOPIC, not_after=NEW.not_after, source=Source.API)


@pytest.mark.parametrize(
    "observations",
    [
        [],
        [observed("a", SERVED)],
        [observed("a", SERVED), observed("b", SERVED), observed("c")],
        [observed("a", SERVED), observed("b", replace(SERVED, serial="01"))],
        [observed("a", replace(SERVED, serial="01")), observed("b", replace(NEWER, serial="01"))],
        [observed("a", SERVED), observed("b", replace(NEWER, topic=OTHER_TOPIC))],
    ],
    ids=["none", "one", "a silent one", "one knows no serial", "one serial", "another topic"],
)
def test_nodes_agree(observations: list[Observation]) -> None:
    """As far as they can tell."""
    assert disagree(observations, TOPIC) is None


@pytest.mark.parametrize(
    "pair",
    [
        (SERVED, NEWER),
        (replace(SERVED, serial="01"), replace(SERVED, serial="02")),
        (replace(SERVED, serial="01"), NEWER),
    ],
)
def test_nodes_disagree(pair: tuple[ServedCertificate, ServedCertificate]) -> None:
    """By serial where both know it, by date otherwise; each node is named with what it serves."""
    finding = disagree([observed("b", pair[0]), observed("a", pair[1])], TOPIC)
    assert finding is not None
    assert (finding.reason, finding.level) == (Reason.NODES_DISAGREE, Level.WARN)
    assert finding.values["got"].startswith("a: ")
    assert ", b: " in finding.values["got"]


def test_a_node_without_the_topic_is_named_only_if_it_can_tell() -> None:
    """A node that told nothing is not accused."""
    other = replace(SERVED, topic=OTHER_TOPIC)
    assert served_topic_missing(observed("a"), TOPIC) is None
    assert served_topic_missing(observed("a", failed=True), TOPIC) is None
    assert served_topic_missing(observed("a", other, SERVED), TOPIC) is None
    finding = served_topic_missing(observed("a", other), TOPIC)
    assert finding is not None
    assert finding.values == {"node": "a", "topic": TOPIC, "got": OTHER_TOPIC, "expected": TOPIC}
