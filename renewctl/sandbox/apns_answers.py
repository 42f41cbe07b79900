"""What Apple's push service answers to one push. Pure: facts in, answer out."""

from __future__ import annotations

import string
from dataclasses import dataclass, field

_TOKEN_LENGTHS = range(32, 201)  # hex digits; Apple leaves the length open, 64 is usual


@dataclass
class PushFaults:
    """Switches that make the push service misbehave; set over `PUT /faults`.

    Attributes:
        drop_wrong_topic: a push with another topic's certificate is answered 200 and dropped (as some
            report of Apple) rather than refused with 400.
        answer: `"403 BadCertificate"`, `"503 ServiceUnavailable"`, …: every push gets this.
        hang: pushes are never answered.
        refuse_serials: certificates (lower-case hex) answered with 403 BadCertificate.
        lose: pushes are answered 200 and reach no device.
    """

    drop_wrong_topic: bool = False
    answer: str | None = None
    hang: bool = False
    refuse_serials: list[str] = field(default_factory=list)
    lose: bool = False


@dataclass(frozen=True)
class KnownDevice:
    """A device as the push service knows it.

    Attributes:
        topic: it listens for pushes of this topic.
        gone_since: Unix milliseconds from when on its token is no longer valid, or None.
    """

    topic: str
    gone_since: int | None = None


@dataclass(frozen=True)
class Answer:
    """Status and reason of an answer, and whether the device is woken."""

    status: int
    reason: str | None = None
    wake: bool = False
    timestamp: int | None = None

    def body(self) -> dict[str, object] | None:
        """The JSON body; None for a 200, which has none."""
        if self.reason is None:
            return None
        return {"reason": self.reason} | ({"timestamp": self.timestamp} if self.timestamp else {})


def answer(
    *,
    token: str,
    topic: str,
    serial: str,
    asked_topic: str | None,
    device: KnownDevice | None,
    faults: PushFaults,
) -> Answer:
    """Judge a push the way Apple's documentation says.

    Args:
        token: from the path.
        topic: UID of the client certificate.
        serial: of the client certificate, lower-case hex.
        asked_topic: the `apns-topic` header, which MDM servers may leave out.
        device: whoever has that token.
        faults: how to misbehave.
    """
    if faults.answer:
        status, _, reason = faults.answer.partition(" ")
        return Answer(int(status), reason)
    if serial in faults.refuse_serials:
        return Answer(403, "BadCertificate")
    if asked_topic not in (None, topic):
        return Answer(400, "BadTopic")
    if device is None or not _looks_like_token(token):
        return Answer(400, "BadDeviceToken")
    return _deliver(topic, device, faults)


def _deliver(topic: str, device: KnownDevice, faults: PushFaults) -> Answer:
    if device.topic != topic:
        return Answer(200) if faults.drop_wrong_topic else Answer(400, "DeviceTokenNotForTopic")
    if device.gone_since:
        return Answer(410, "Unregistered", timestamp=device.gone_since)
    return Answer(200, wake=not faults.lose)


def _looks_like_token(token: str) -> bool:
    return len(token) in _TOKEN_LENGTHS and set(token) <= set(string.hexdigits)
