"""What an answer of the push service proves, whoever asked: we ourselves or an MDM server. Pure.

Apple's words: developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
TLS alerts by the names of RFC 8446 §6.2; Go's and OpenSSL's spellings of them are both understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from renewctl.reasons import Reason

#: Answers that prove the pair itself wrong: only they make us put the previous pair back.
WRONG_PAIR: frozenset[Reason] = frozenset(
    {
        Reason.PUSH_TLS_REFUSED,
        Reason.PUSH_CERTIFICATE_REFUSED,
        Reason.PUSH_TOPIC_REFUSED,
        Reason.PUSH_PAIR_UNUSABLE,
    }
)

#: Answers about one device, which say nothing of the pair.
ONE_DEVICE: frozenset[Reason] = frozenset(
    {Reason.PUSH_DEVICE_GONE, Reason.PUSH_TOKEN_BAD, Reason.PUSH_ENROLLMENT_UNKNOWN}
)

_BY_WORD = {
    "BadCertificate": Reason.PUSH_CERTIFICATE_REFUSED,
    "BadCertificateEnvironment": Reason.PUSH_CERTIFICATE_REFUSED,
    "DeviceTokenNotForTopic": Reason.PUSH_TOPIC_REFUSED,
    "TopicDisallowed": Reason.PUSH_TOPIC_REFUSED,
    "BadTopic": Reason.PUSH_TOPIC_REFUSED,
    "BadDeviceToken": Reason.PUSH_TOKEN_BAD,
    "Unregistered": Reason.PUSH_DEVICE_GONE,
    "ExpiredToken": Reason.PUSH_DEVICE_GONE,
    "TooManyRequests": Reason.PUSH_SERVICE_BUSY,
    "InternalServerError": Reason.PUSH_SERVICE_BUSY,
    "ServiceUnavailable": Reason.PUSH_SERVICE_BUSY,
    "Shutdown": Reason.PUSH_SERVICE_BUSY,
    "IdleTimeout": Reason.PUSH_SERVICE_BUSY,
    "TooManyProviderTokenUpdates": Reason.PUSH_SERVICE_BUSY,
    # The request itself, not the pair: whoever sent it made it wrong.
    **dict.fromkeys(
        (
            "BadCollapseId",
            "BadEnvironmentKeyIdInToken",
            "BadExpirationDate",
            "BadMessageId",
            "BadPath",
            "BadPriority",
            "DuplicateHeaders",
            "ExpiredProviderToken",
            "Forbidden",
            "InvalidProviderToken",
            "InvalidPushType",
            "MethodNotAllowed",
            "MissingDeviceToken",
            "MissingProviderToken",
            "MissingTopic",
            "PayloadEmpty",
            "PayloadTooLarge",
            "UnrelatedKeyIdInToken",
        ),
        Reason.PUSH_REQUEST_REFUSED,
    ),
}
_BY_STATUS = {
    410: Reason.PUSH_DEVICE_GONE,
    429: Reason.PUSH_SERVICE_BUSY,
    500: Reason.PUSH_SERVICE_BUSY,
    503: Reason.PUSH_SERVICE_BUSY,
}

# `internal error` is what Apple's service was seen to send for expired certificates (facts/mdm.md §4);
# `decrypt error` answers a key that is not the certificate's.
_CERTIFICATE_ALERT = re.compile(
    r"(bad|unsupported|revoked|expired|unknown)[ _]certificate"
    r"|certificate[ _](unknown|revoked|expired|required)"
    r"|unknown[ _]ca\b|error decrypting message|decrypt[ _]error|access[ _]denied|internal[ _]error",
    re.IGNORECASE,
)
_ALERT_FROM_PEER = re.compile(r"remote error: tls:|tlsv1[0-9]?_alert|sslv3_alert", re.IGNORECASE)
_NOT_TRUSTED = re.compile(r"failed to verify certificate|certificate[ _]verify[ _]failed", re.IGNORECASE)
# What is left of a refusal whose alert was overtaken by the end of the connection; the last is Go's HTTP/2.
_RESET = re.compile(
    r"connection reset by peer|broken pipe|http2: client conn could not be established", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"\bdial (tcp|udp)|no such host|connection refused|network is unreachable|no route to host|proxyconnect",
    re.IGNORECASE,
)
_TIMEOUT = re.compile(r"timeout|timed out|deadline exceeded", re.IGNORECASE)

# What libraries say, and what a person can do something with. Python's own locations go first, so that the
# words behind them match.
_CLOSED = "connection closed without an answer"
_NO_NAME = "host name not found"
_SPOKEN = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        (r"\[Errno -?\d+\] ?|\[(?:SSL|[A-Z0-9]+: [A-Z0-9_]+)\] ?| ?\(_ssl\.c:\d+\)", ""),
        (r"\b(?:ssl/tls|sslv3|tlsv1\d?) alert (?=\w)", "TLS alert: "),
        (r"\bwrong version number\b|\brecord layer failure\b", "no TLS at this port"),
        (r"EOF occurred in violation of protocol|unexpected eof while reading", _CLOSED),
        (r"TLS/SSL connection has been closed \(EOF\)", _CLOSED),  # Python before 3.11.4
        (r"Remote end closed connection without response", _CLOSED),
        (r"Server disconnected(?: without sending a response)?\.?", _CLOSED),
        (r"Name or service not known|No address associated with hostname", _NO_NAME),
        (r"Temporary failure in name resolution", "host name cannot be looked up: the name server is silent"),
        (r"<ConnectionTerminated .*>", "connection ended by the other side (GOAWAY)"),
    )
)

# Tokens have no fixed length (Apple says so); they stand in URLs, and are hex.
_TOKEN_IN_PATH = re.compile(r"(/3/device/)[^\s\"']+")
_LONG_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_DETAIL_CHARACTERS = 300
_READ_CHARACTERS = 10_000
"""Of a server's words; the rest is not looked at."""


@dataclass(frozen=True)
class PushResult:
    """What the push service answered to one push.

    Attributes:
        accepted: True: taken (not: delivered); False: refused, `reason` says why; None: unknown.
        reason: None when accepted.
        status: HTTP status, where there was one.
        detail: the service's words, fit to be shown.
    """

    accepted: bool | None
    reason: Reason | None = None
    status: int | None = None
    detail: str = ""

    @property
    def says_wrong_pair(self) -> bool:
        """The answer proves the pair itself wrong."""
        return self.reason in WRONG_PAIR


def reason_of(status: int | None, word: str | None) -> Reason | None:
    """The reason behind a documented refusal; None for 200 without a word.

    Args:
        status: HTTP status (HTTP/2 error code 0 where a GOAWAY carried the word).
        word: `reason` of the answer's JSON, e.g. `BadDeviceToken`.
    """
    if word in _BY_WORD:
        return _BY_WORD[word]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return None if status == 200 and not word else Reason.PUSH_ANSWER_UNKNOWN  # noqa: PLR2004 - HTTP


def reason_of_failure(text: str) -> Reason:
    """The reason behind a connection that failed, from the library's own words (Go or OpenSSL)."""
    text = text[:_READ_CHARACTERS]
    for pattern, reason in (
        (_NOT_TRUSTED, Reason.PUSH_SERVICE_NOT_TRUSTED),
        (_RESET, Reason.PUSH_CONNECTION_RESET),
        (_UNREACHABLE, Reason.PUSH_SERVICE_UNREACHABLE),
    ):
        if pattern.search(text):
            return reason
    if _ALERT_FROM_PEER.search(text) and _CERTIFICATE_ALERT.search(text):
        return Reason.PUSH_TLS_REFUSED
    return Reason.PUSH_SERVICE_TIMEOUT if _TIMEOUT.search(text) else Reason.PUSH_ANSWER_UNKNOWN


def spoken(text: str) -> str:
    """A library's words (OpenSSL's, the resolver's, httpx's) as a person would say them."""
    text = text[:_READ_CHARACTERS]
    for pattern, words in _SPOKEN:
        text = pattern.sub(words, text)
    return text.strip()


def shown(text: str) -> str:
    """A server's words as they may be shown: one line, short, device tokens taken out."""
    text = text[:_READ_CHARACTERS]
    text = _LONG_HEX.sub("<device token>", _TOKEN_IN_PATH.sub(r"\1<device token>", text))
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _DETAIL_CHARACTERS else line[: _DETAIL_CHARACTERS - 1] + "…"
