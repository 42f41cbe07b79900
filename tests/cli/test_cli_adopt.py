"""`renewctl adopt` as typed: what is asked, what is said, what programs get."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.support.desk import OLD, Desk


def test_what_a_person_is_told(desk: Desk) -> None:
    """Serial and end in the topic's zone, then the next steps; stdout is data, stderr talk."""
    desk.file("old.pem", OLD.pem)
    desk.file("old.key", OLD.key_pem)
    words = ("adopt", "--certificate", "old.pem", "--key", "old.key")
    done = desk.run(*words, "--dry-run")
    told = f"push certificate {OLD.serial}, valid until 2027-01-04 (Mon) 21:00 JST\n"
    assert done.out == f"would adopt for tokyo: {told}"
    done = desk.run(*words)
    assert done.out.startswith(f"adopted for tokyo: push certificate {OLD.serial}")
    assert "renewctl renewal open --topic tokyo" in done.err
    assert desk.run(*words).out.startswith("adopted before for tokyo")


def test_without_its_key_a_person_is_warned(desk: Desk) -> None:
    """There will be no way back, and that is said now."""
    desk.file("old.pem", OLD.pem)
    done = desk.run("adopt", "--certificate", "old.pem", "--certificate-only")
    assert done.code == 0
    assert "can only go forward" in done.err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--key", "old.key"), "--certificate"),
        (("--certificate", "old.pem"), "--key / --certificate-only"),
        ((), "--certificate"),
    ],
)
def test_without_a_terminal_nothing_is_asked(desk: Desk, words: tuple[str, ...], option: str) -> None:
    """Exit 2 names the option that is missing."""
    desk.file("old.pem", OLD.pem)
    error = desk.told("adopt", *words, code=2)["error"]
    assert (error["reason"], error["values"]["option"]) == ("option_missing", option)
    done = desk.run("adopt", *words)
    assert (done.code, option in done.err) == (2, True)
    assert desk.kinds("tokyo-0") == []


def test_at_a_terminal_the_files_are_asked_for(desk: Desk) -> None:
    """Certificate, then key."""
    desk.file("old.pem", OLD.pem)
    desk.file("old.key", OLD.key_pem)
    with desk.terminal("old.pem", "old.key"):
        assert desk.run("adopt").code == 0
    assert desk.kinds("tokyo-0") == ["adopted"]


def test_key_and_no_key_at_once(desk: Desk) -> None:
    """Exit 2: it is not guessed which was meant."""
    error = desk.told("adopt", "--certificate", "a", "--key", "b", "--certificate-only", code=2)["error"]
    assert error["reason"] == "option_invalid"


def test_a_key_under_a_passphrase(desk: Desk) -> None:
    """Read with `--passphrase-file`; without it and without a terminal exit 2; sealed without it."""
    lock = BestAvailableEncryption(b"open sesame")
    desk.file("old.pem", OLD.pem)
    desk.file("old.key", OLD.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    desk.file("word", b"open sesame\n")
    words = ("adopt", "--certificate", "old.pem", "--key", "old.key")
    assert desk.refusal(*words, code=2) == "passphrase_needed"
    told = desk.told(*words, "--passphrase-file", "word")
    assert desk.keys() == {told["key_fingerprint"]}


def test_one_of_several_topics(desk: Desk) -> None:
    """Which one has to be said; an unknown one is refused with those there are."""
    desk.second_topic()
    error = desk.told("adopt", "--certificate", "x", "--certificate-only", code=2)["error"]
    assert (error["reason"], error["values"]["option"]) == ("several_topics", "--topic")
    error = desk.told("adopt", "--certificate", "x", "--topic", "nagoya", code=2)["error"]
    assert (error["reason"], error["values"]["expected"]) == ("topic_unknown", "tokyo, osaka")
    desk.file("old.pem", OLD.pem)
    words = ("adopt", "--certificate", "old.pem", "--certificate-only", "--topic")
    assert desk.told(*words, "tokyo")["topic"] == "tokyo"
    assert desk.refusal(*words, "osaka", code=1) == "topic_differs"
