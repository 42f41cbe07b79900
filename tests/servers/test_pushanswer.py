"""What an answer of the push service proves."""

from __future__ import annotations

import pytest

from renewctl import pushanswer
from renewctl.reasons import Reason


@pytest.mark.parametrize(
    ("status", "word", "reason"),
    [
        (200, None, None),
        (200, "Odd", Reason.PUSH_ANSWER_UNKNOWN),
        (400, "BadDeviceToken", Reason.PUSH_TOKEN_BAD),
        (400, "DeviceTokenNotForTopic", Reason.PUSH_TOPIC_REFUSED),
        (400, "TopicDisallowed", Reason.PUSH_TOPIC_REFUSED),
        (400, "BadTopic", Reason.PUSH_TOPIC_REFUSED),
        (400, "PayloadEmpty", Reason.PUSH_REQUEST_REFUSED),
        (403, "BadCertificate", Reason.PUSH_CERTIFICATE_REFUSED),
        (403, "BadCertificateEnvironment", Reason.PUSH_CERTIFICATE_REFUSED),
        (403, "MissingProviderToken", Reason.PUSH_REQUEST_REFUSED),
        (410, "Unregistered", Reason.PUSH_DEVICE_GONE),
        (410, "ExpiredToken", Reason.PUSH_DEVICE_GONE),
        (410, None, Reason.PUSH_DEVICE_GONE),
        (429, "TooManyRequests", Reason.PUSH_SERVICE_BUSY),
        (500, "InternalServerError", Reason.PUSH_SERVICE_BUSY),
        (503, "Shutdown", Reason.PUSH_SERVICE_BUSY),
        (503, None, Reason.PUSH_SERVICE_BUSY),
        (None, "BadCertificate", Reason.PUSH_CERTIFICATE_REFUSED),
        (404, "BadPath", Reason.PUSH_REQUEST_REFUSED),
    ],
)
def test_every_documented_answer_has_its_meaning(
    status: int | None, word: str | None, reason: Reason | None
) -> None:
    """Apple's table of statuses and reasons; what is not in it proves nothing."""
    assert pushanswer.reason_of(status, word) is reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", Reason.PUSH_TLS_REFUSED),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] ssl/tls alert bad certificate", Reason.PUSH_TLS_REFUSED),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_UNKNOWN]", Reason.PUSH_TLS_REFUSED),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED]", Reason.PUSH_TLS_REFUSED),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]", Reason.PUSH_TLS_REFUSED),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", Reason.PUSH_TLS_REFUSED),
        ("[SSL: TLSV1_ALERT_DECRYPT_ERROR]", Reason.PUSH_TLS_REFUSED),
        ("[SSL: TLSV1_ALERT_INTERNAL_ERROR]", Reason.PUSH_TLS_REFUSED),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION]", Reason.PUSH_ANSWER_UNKNOWN),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", Reason.PUSH_SERVICE_NOT_TRUSTED),
        ("internal error of ours", Reason.PUSH_ANSWER_UNKNOWN),
        ("bad certificate, said somebody else", Reason.PUSH_ANSWER_UNKNOWN),
        ("[Errno 104] Connection reset by peer", Reason.PUSH_CONNECTION_RESET),
        ("[Errno 111] Connection refused", Reason.PUSH_SERVICE_UNREACHABLE),
        ("http2: client conn could not be established", Reason.PUSH_CONNECTION_RESET),
        ("proxyconnect tcp: EOF", Reason.PUSH_SERVICE_UNREACHABLE),
        ("context deadline exceeded", Reason.PUSH_SERVICE_TIMEOUT),
        ("", Reason.PUSH_ANSWER_UNKNOWN),
    ],
)
def test_a_refused_certificate_is_told_from_a_bad_connection(text: str, reason: Reason) -> None:
    """Only an alert that the other side sent says anything of our certificate."""
    assert pushanswer.reason_of_failure(text) is reason


def test_words_of_a_server_are_shown_without_tokens_on_one_short_line() -> None:
    """Tokens in paths of any length, tokens alone, control characters, endless texts."""
    text = f'Post /3/device/AbC12": x\n\x1b[31m{"0A" * 32} {"word " * 200}'
    told = pushanswer.shown(text)
    assert "AbC12" not in told
    assert "0A0A" not in told
    assert "\n" not in told
    assert "\x1b" not in told
    assert len(told) == 300
    topic = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
    assert pushanswer.shown(topic) == topic


def test_answers_of_the_pair_and_of_one_device_are_apart() -> None:
    """Nothing is put back because of one device."""
    assert not pushanswer.WRONG_PAIR & pushanswer.ONE_DEVICE
    assert pushanswer.PushResult(accepted=False, reason=Reason.PUSH_TOPIC_REFUSED).says_wrong_pair
    assert not pushanswer.PushResult(accepted=True).says_wrong_pair


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", "TLS alert: unknown ca"),
        ("[SSL] ssl/tls alert bad certificate (_ssl.c:1006)", "TLS alert: bad certificate"),
        ("[X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4067)", "key values mismatch"),
        ("[Errno -2] Name or service not known", "host name not found"),
        ("Server disconnected without sending a response.", "connection closed without an answer"),
        (
            "<ConnectionTerminated error_code:0, last_stream_id:0, additional_data:None>",
            "connection ended by the other side (GOAWAY)",
        ),
        ("remote error: tls: expired certificate", "remote error: tls: expired certificate"),
    ],
)
def test_a_librarys_words_are_made_a_persons(text: str, said: str) -> None:
    """Places in C sources, numbers and class names go; what they mean stays."""
    assert pushanswer.spoken(text) == said


DOCUMENTED = [
    "BadCollapseId",
    "BadDeviceToken",
    "BadExpirationDate",
    "BadMessageId",
    "BadPriority",
    "BadTopic",
    "DeviceTokenNotForTopic",
    "DuplicateHeaders",
    "IdleTimeout",
    "InvalidPushType",
    "MissingDeviceToken",
    "MissingTopic",
    "PayloadEmpty",
    "TopicDisallowed",
    "BadCertificate",
    "BadCertificateEnvironment",
    "ExpiredProviderToken",
    "Forbidden",
    "InvalidProviderToken",
    "MissingProviderToken",
    "UnrelatedKeyIdInToken",
    "BadEnvironmentKeyIdInToken",
    "BadPath",
    "MethodNotAllowed",
    "ExpiredToken",
    "Unregistered",
    "PayloadTooLarge",
    "TooManyProviderTokenUpdates",
    "TooManyRequests",
    "InternalServerError",
    "ServiceUnavailable",
    "Shutdown",
]


@pytest.mark.parametrize("word", DOCUMENTED)
def test_every_answer_apple_documents_is_explained(word: str) -> None:
    """None of them is "unknown, report it": each has a reason with a sentence of its own."""
    assert pushanswer.reason_of(400, word) is not Reason.PUSH_ANSWER_UNKNOWN
