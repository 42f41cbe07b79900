"""Every reason of these rooms has its words in both languages, and the words fit the values."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

import renewctl
from renewctl.certificate.intake import NOT_A_CERTIFICATE
from renewctl.certificate.recognise import What
from renewctl.certificate.wrappings import Note
from renewctl.reasons import Reason

LOCALE = Path(renewctl.__file__).parent / "locale"
OF_A_FILE = frozenset({"path"})
OF_A_CERTIFICATE = frozenset({"topic", "account", "got", "expected"})
OF_A_VENDOR = frozenset({"subject", "got", "expected"})

#: What is given with each reason, where it is more or less than its kind's.
VALUES: dict[Reason, frozenset[str]] = {
    **dict.fromkeys(NOT_A_CERTIFICATE.values(), OF_A_FILE | {"title"}),
    Reason.REQUEST_IS_CSR: OF_A_FILE | {"title"},
    Reason.SEVERAL_CERTIFICATES: OF_A_FILE | {"got", "expected", "serials"},
    Reason.ARCHIVE_WITHOUT_CERTIFICATE: OF_A_FILE | {"got"},
    Reason.ARCHIVE_WITH_SEVERAL: OF_A_FILE | {"got", "expected"},
    Reason.CERTIFICATE_NAME_UNREADABLE: frozenset({"path", "not_after"}),
    Reason.CERTIFICATE_IS_CURRENT: OF_A_CERTIFICATE | {"not_after"},
    Reason.ENROLLED_TOPIC_DIFFERS: OF_A_CERTIFICATE | {"devices"},
    Reason.ENROLLED_ELSEWHERE: OF_A_CERTIFICATE | {"devices"},
    Reason.ENROLLED_TOPIC_UNKNOWN: OF_A_CERTIFICATE - {"got"},
    Reason.NODES_DISAGREE: frozenset({"topic", "got"}),
    Reason.SERVED_TOPIC_MISSING: frozenset({"node", "topic", "got", "expected"}),
    Reason.VENDOR_MARK_MISSING: OF_A_VENDOR - {"got"},
    Reason.VENDOR_EXPIRING: OF_A_VENDOR - {"expected"},
    Reason.VENDOR_KEY_DIFFERS: frozenset({"got", "expected"}),
    Reason.VENDOR_KEY_UNREADABLE: OF_A_FILE,
    Reason.REQUEST_UNREADABLE: OF_A_FILE | {"got", "expected"},
    Reason.REQUEST_NOT_RECOGNISED: OF_A_FILE | {"got", "expected"},
    Reason.REQUEST_OF_ANOTHER_CSR: OF_A_FILE | {"got", "expected"},
    Reason.REQUEST_SIGNATURE_WRONG: frozenset({"subject"}),
    Reason.REQUEST_SIGNED_WITH_SHA1: frozenset({"subject"}),
}


def given_with(reason: Reason) -> frozenset[str]:
    """The values a sentence may show."""
    if reason in VALUES:
        return VALUES[reason]
    if reason.startswith("vendor_"):
        return OF_A_VENDOR
    if reason.startswith(("file_", "archive_", "locked_", "passphrase_", "request_")):
        return OF_A_FILE
    return OF_A_FILE if reason in {"certificate_unreadable", "key_unreadable"} else OF_A_CERTIFICATE


def catalogue(language: str) -> dict[str, str]:
    """Key -> sentence."""
    with (LOCALE / language / "certificate.po").open("rb") as file:
        return dict(_entry(one) for one in read_po(file) if one.id)


def _entry(message: Message) -> tuple[str, str]:
    """One that counts something has several forms."""
    if isinstance(message.id, tuple):
        return message.id[0], " ".join(message.string)
    return str(message.id), str(message.string)


def placeholders(sentence: str) -> set[str]:
    """Names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def own_reasons() -> list[Reason]:
    """Every reason between the first and the last of these rooms."""
    members = list(Reason)
    first, last = Reason.FILE_NOT_RECOGNISED, Reason.REQUEST_STILL_ENCRYPTED
    return members[members.index(first) : members.index(last) + 1]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_reason_has_sentence_and_hint(language: str) -> None:
    """And nothing is left over."""
    expected = {key for reason in own_reasons() for key in (reason.value, f"{reason.value}.hint")}
    expected |= {f"intake.what.{one}" for one in What} | {f"intake.note.{one}" for one in Note}
    told = catalogue(language)
    assert set(told) == expected
    assert all(told.values())


@pytest.mark.parametrize("language", ["en", "ja"])
def test_sentences_show_only_values_that_are_given(language: str) -> None:
    """A placeholder nobody fills would show a person a dash."""
    told = catalogue(language)
    for reason in own_reasons():
        for key in (reason.value, f"{reason.value}.hint"):
            assert placeholders(told[key]) <= given_with(reason), key


def test_both_languages_show_the_same_values() -> None:
    """Nobody learns less for reading the other language."""
    english, japanese = catalogue("en"), catalogue("ja")
    for key, sentence in english.items():
        assert placeholders(sentence) == placeholders(japanese[key]), key


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_person_is_sent_to_renew_and_never_to_create_or_revoke(language: str) -> None:
    """Every hint that sends somebody to a row names account, UID and button, and the two to leave alone."""
    told = catalogue(language)
    sent = [told[key] for key in told if key.endswith(".hint") and "{topic}" in told[key]]
    assert len(sent) >= 10
    for hint in sent:
        assert {"account", "topic"} <= placeholders(hint)
        assert all(button in hint for button in ("Renew", "Create", "Revoke"))


def test_japanese_words_are_the_houses() -> None:
    """DESIGN.md's glossary: other renderings of these words are refused."""
    text = "".join(catalogue("ja").values())
    for word in (
        "プッシュ証明書",
        "サーバ ",
        "ユーザ ",
        "端末で",
        "失効",
        "Apple ID",
        "リクエスト",
        "ベンダ証明書",
    ):
        assert word not in text
