"""Every check as a pure function: values in, findings out. Nothing here reads a file, a node or a clock.

A finding carries `got` and `expected`, and the topic and account its hint sends a person back to the
portal with: the right account, the row with the right UID, Renew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from renewctl.certificate import chain
from renewctl.certificate.pushcert import TOPIC_PREFIX, PushCertificate, days_left
from renewctl.errors import Refused
from renewctl.observation import Observation, ServedCertificate
from renewctl.reasons import Reason


class Level(StrEnum):
    """What a finding means for the work."""

    REFUSE = "refuse"  # nothing may be touched
    WARN = "warn"  # go on, and say it


@dataclass(frozen=True)
class Finding:
    """One thing a check found; values as in errors: shown to people, stored in events, never a secret."""

    reason: Reason
    level: Level
    values: Mapping[str, str] = field(default_factory=dict)


def insist(findings: Iterable[Finding]) -> None:
    """End here if anything was found that refuses.

    Raises:
        Refused: with the first refusal's reason and values.
    """
    for finding in findings:
        if finding.level is Level.REFUSE:
            raise Refused(finding.reason, **finding.values)


def early(not_after: datetime | None, window: timedelta, now: datetime) -> tuple[Finding, ...]:
    """A warning where a renewal begins before its window.

    Args:
        not_after: end of the certificate in use; None: not known, then there is nothing to say.
        window: how long before that the topic is due.
        now: aware.
    """
    if not_after is None or not_after - now <= window:
        return ()
    begins = _day(not_after - window)
    return (_warn(Reason.RENEWAL_EARLY, count=days_left(not_after, now), window_begins=begins),)


def judge(
    candidate: PushCertificate,
    *,
    expected_key_fingerprint: str,
    topic: str,
    current: PushCertificate | ServedCertificate | None,
    enrolled: Mapping[str, int] | None,
    issuers: Sequence[bytes],
    now: datetime,
    account: str = "",
    known_topics: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Judge a downloaded push certificate before anything is touched.

    Args:
        candidate: the one certificate of the file (`intake.read(path).leaf()`).
        expected_key_fingerprint: SPKI fingerprint of this renewal's key.
        topic: the pinned topic.
        current: what is in use now, as far as it is known.
        enrolled: topic -> enrolled devices; None where no node could tell.
        issuers: DER of the authorities expected to issue push certificates; empty: Apple's names alone.
        now: aware.
        account: the Apple Account's address or alias, for the hints.
        known_topics: other topics of the inventory; their devices on the same servers are no strays.

    Returns:
        Refusals in the order a person should hear them, warnings among them; empty when all is well.
    """
    found = [
        *_same_as_current(candidate, current),
        *_topic(candidate, topic),
        *_key(candidate, expected_key_fingerprint, current),
        *_current_topic(current, topic),
        *_enrolled(enrolled, topic, known_topics),
        *_dates(candidate, current, now),
        *_marks(candidate),
        *_issuer(candidate, issuers, now),
    ]
    return _sent_back(found, topic, account)


def _sent_back(found: Iterable[Finding], topic: str, account: str) -> tuple[Finding, ...]:
    """With what every hint needs that sends a person back to the portal."""
    where = {"topic": topic, "account": account}
    return tuple(Finding(one.reason, one.level, {**where, **one.values}) for one in found)


def enrolled_elsewhere(
    enrolled: Mapping[str, int] | None, topic: str, account: str, known_topics: Collection[str]
) -> tuple[Finding, ...]:
    """Whether enrolled devices use the topic; asked before accepting and again before the roll-out.

    Args:
        enrolled: topic -> enrolled devices; None where no node could tell.
        topic: the pinned topic.
        account: the Apple Account's address or alias, for the hints.
        known_topics: other topics of the inventory; their devices are no strays.
    """
    return _sent_back(_enrolled(enrolled, topic, known_topics), topic, account)


def _enrolled(
    enrolled: Mapping[str, int] | None, topic: str, known_topics: Collection[str]
) -> Iterator[Finding]:
    if enrolled is None:
        yield _warn(Reason.ENROLLED_TOPIC_UNKNOWN, expected=topic)
        return
    strays = {name: count for name, count in enrolled.items() if count and name not in {topic, *known_topics}}
    if not strays:
        return
    got = ", ".join(f"{name} ({count})" for name, count in sorted(strays.items()))
    values = {"got": got, "expected": topic, "devices": sum(strays.values())}
    if enrolled.get(topic, 0):
        yield _warn(Reason.ENROLLED_ELSEWHERE, **values)
    else:
        yield _refuse(Reason.ENROLLED_TOPIC_DIFFERS, **values)


def topic(candidate: PushCertificate, expected: str, account: str) -> tuple[Finding, ...]:
    """Whether a certificate has the pinned topic; the one check of a pair that is adopted."""
    return _sent_back(_topic(candidate, expected), expected, account)


def disagree(observations: Iterable[Observation], topic: str) -> Finding | None:
    """Nodes that serve different certificates for one topic; None while those that can tell agree.

    Serials decide between two nodes that both know them, the expiry date otherwise.
    """
    serving = [(one.node, found) for one in observations if (found := one.serving(topic)) is not None]
    if all(_same(first, second) for _, first in serving for _, second in serving):
        return None
    got = ", ".join(f"{node}: {_shown(found)}" for node, found in sorted(serving, key=lambda pair: pair[0]))
    return Finding(Reason.NODES_DISAGREE, Level.WARN, {"topic": topic, "got": got})


def served_topic_missing(observation: Observation, topic: str) -> Finding | None:
    """A node that tells what it serves, and the topic is not among it.

    A node that could tell nothing (none read, or a look that failed) is not accused.
    """
    served = sorted({one.topic for one in observation.certificates})
    if not served or topic in served:
        return None
    values = {"node": observation.node, "topic": topic, "got": ", ".join(served), "expected": topic}
    return Finding(Reason.SERVED_TOPIC_MISSING, Level.WARN, values)


def _refuse(reason: Reason, **values: object) -> Finding:
    return Finding(reason, Level.REFUSE, {name: str(value) for name, value in values.items()})


def _warn(reason: Reason, **values: object) -> Finding:
    return Finding(reason, Level.WARN, {name: str(value) for name, value in values.items()})


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_current(candidate: PushCertificate, current: PushCertificate | ServedCertificate | None) -> bool:
    """The same certificate, by the best mark the current one's source knows."""
    if current is None:
        return False
    if current.fingerprint is not None:
        return candidate.fingerprint == current.fingerprint
    if current.serial is not None:
        return candidate.serial == current.serial
    return (candidate.topic, candidate.not_after) == (current.topic, current.not_after)


def _same_as_current(
    candidate: PushCertificate, current: PushCertificate | ServedCertificate | None
) -> Iterator[Finding]:
    if _is_current(candidate, current):
        end = _day(candidate.not_after)  # a new one ends later
        yield _refuse(Reason.CERTIFICATE_IS_CURRENT, got=candidate.serial, expected=end, not_after=end)


def _topic(candidate: PushCertificate, topic: str) -> Iterator[Finding]:
    got = candidate.topic
    if got is None:
        yield _refuse(Reason.CERTIFICATE_WITHOUT_TOPIC, got=candidate.common_name or "-", expected=topic)
    elif not got.startswith(TOPIC_PREFIX):
        yield _refuse(Reason.TOPIC_NOT_MDM, got=got, expected=topic)
    elif got != topic:
        yield _refuse(Reason.TOPIC_DIFFERS, got=got, expected=topic)


def _key(
    candidate: PushCertificate, expected: str, current: PushCertificate | ServedCertificate | None
) -> Iterator[Finding]:
    """Last year's file has last year's key: that one reason is enough for both."""
    if candidate.key_fingerprint == expected or _is_current(candidate, current):
        return
    known = None if current is None else current.key_fingerprint
    reason = (
        Reason.KEY_OF_CURRENT_CERTIFICATE
        if candidate.key_fingerprint == known
        else Reason.KEY_OF_ANOTHER_REQUEST
    )
    yield _refuse(reason, got=candidate.key_fingerprint, expected=expected)


def _current_topic(current: PushCertificate | ServedCertificate | None, topic: str) -> Iterator[Finding]:
    if current is not None and current.topic != topic:
        yield _refuse(Reason.CURRENT_TOPIC_DIFFERS, got=current.topic or "-", expected=topic)


def _dates(
    candidate: PushCertificate, current: PushCertificate | ServedCertificate | None, now: datetime
) -> Iterator[Finding]:
    if candidate.not_after <= now:
        yield _refuse(Reason.CERTIFICATE_EXPIRED, got=_day(candidate.not_after), expected=_day(now))
    if candidate.not_before > now:
        yield _refuse(Reason.CERTIFICATE_NOT_YET_VALID, got=_day(candidate.not_before), expected=_day(now))
    if current is None or _is_current(candidate, current):
        return
    if candidate.not_after <= current.not_after:
        yield _refuse(
            Reason.CERTIFICATE_NOT_LATER, got=_day(candidate.not_after), expected=_day(current.not_after)
        )


def _marks(candidate: PushCertificate) -> Iterator[Finding]:
    if not candidate.client_auth:
        yield _refuse(Reason.CERTIFICATE_WITHOUT_CLIENT_AUTH, got=candidate.common_name or "-")
    if not candidate.push:
        yield _refuse(Reason.CERTIFICATE_WITHOUT_PUSH, got=candidate.common_name or "-")


def _issuer(candidate: PushCertificate, issuers: Sequence[bytes], now: datetime) -> Iterator[Finding]:
    """Apple may issue from an authority nobody has met yet: unknown warns, a false signature refuses."""
    anchors = [x509.load_der_x509_certificate(der) for der in issuers]
    link = chain.link(x509.load_der_x509_certificate(candidate.der), anchors, now=now)
    if link is chain.Link.BROKEN:
        yield _refuse(Reason.ISSUER_SIGNATURE_WRONG, got=candidate.issuer)
    elif link is chain.Link.EXPIRED:
        yield _warn(Reason.ISSUER_EXPIRED, got=candidate.issuer)
    elif link is chain.Link.UNKNOWN or (link is chain.Link.APPLE_NAME and anchors):
        yield _warn(Reason.ISSUER_UNKNOWN, got=candidate.issuer)


def _same(first: ServedCertificate, second: ServedCertificate) -> bool:
    if first.serial is not None and second.serial is not None:
        return first.serial == second.serial
    return first.not_after == second.not_after


def _shown(served: ServedCertificate) -> str:
    return f"{served.serial or '-'} ({_day(served.not_after)})"
