"""Files under a passphrase: read from a file, asked for at a terminal, or the option named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from renewctl.cli import main as shell
from tests.support.certfiles import LOCKED, PUSH, p12
from tests.support.desk import OLD, Desk


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of the test's own, in English, with a locked file."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.delenv("RENEWCTL_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "push.p12").write_bytes(p12(b"open"))


def test_without_a_terminal_the_file_and_the_option_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2; nobody is asked."""
    assert shell.main(["inspect", "push.p12"]) == 2
    told = capsys.readouterr().err
    assert "push.p12 is protected by a passphrase" in told
    assert "--passphrase-file FILE" in told


def test_a_file_gives_the_passphrase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line end after it is no part of it."""
    (tmp_path / "word").write_text("open\n")
    assert shell.main(["inspect", "--json", "--passphrase-file", "word", "push.p12"]) == 0
    (certificate,) = [each for each in json.loads(capsys.readouterr().out)["certificates"] if each["push"]]
    assert certificate["serial"] == PUSH.serial


@pytest.mark.parametrize(
    ("content", "told"),
    [("wrong", "does not open"), (None, "/word: No such file"), ("", "the secret is empty")],
)
def test_a_passphrase_file_that_does_not_help(
    content: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong, missing, empty: exit 2; the word is not shown."""
    if content is not None:
        (tmp_path / "word").write_text(content)
    assert shell.main(["inspect", "--passphrase-file", "word", "push.p12"]) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "wrong" not in shown


def test_the_passphrase_file_is_read_late(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that needs none does not care whether it is there."""
    (tmp_path / "push.pem").write_bytes(PUSH.pem)
    assert shell.main(["inspect", "--passphrase-file", "nowhere", "push.pem"]) == 0
    assert "nowhere" not in capsys.readouterr().err


def test_a_locked_key_given_to_accept_is_told_as_a_key(desk: Desk) -> None:
    """At a terminal nobody is asked for its passphrase: a certificate was wanted."""
    desk.to_request()
    key = desk.file("key.pem", LOCKED)
    with desk.terminal():
        assert desk.refusal("renewal", "accept", key, code=2) == "file_is_private_key"


def test_accept_and_adopt_take_a_passphrase_from_a_file(desk: Desk) -> None:
    """A `.p12` under a passphrase without a terminal: named option, then taken."""
    locked = pkcs12.serialize_key_and_certificates(
        b"x", OLD.key, OLD.certificate, None, BestAvailableEncryption(b"open")
    )
    file, word = desk.file("old.p12", locked), desk.file("word", b"open\n")
    given = ("adopt", "--certificate", file, "--key", file)
    assert desk.refusal(*given, code=2) == "passphrase_needed"
    assert desk.told(*given, "--passphrase-file", word)["serial"] == OLD.serial
