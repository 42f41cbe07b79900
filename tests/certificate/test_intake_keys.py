"""Keys in files, locked or not; and files that cannot be read at all."""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from renewctl.certificate.intake import LIMIT_BYTES, parse, read
from renewctl.certificate.recognise import What
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.support.certfiles import LOCKED, OLD_LOCKED, PUSH, p12, zipped
from tests.support.certs import pkcs1, rsa_key


def refuse_to_answer() -> str:
    """A passphrase nobody should ask for."""
    raise AssertionError


KEYS: dict[str, tuple[bytes, Callable[[], str]]] = {
    "plain": (PUSH.key_pem, refuse_to_answer),
    "beside the certificate": (PUSH.pem + PUSH.key_pem, refuse_to_answer),
    "beside another key": (pkcs1(rsa_key("other")) + PUSH.pem + PUSH.key_pem, refuse_to_answer),
    "locked": (LOCKED, lambda: "open"),
    "locked the old way": (OLD_LOCKED, lambda: "open"),
    "in a PKCS#12": (p12(b"open"), lambda: "open"),
    "in a PKCS#12 in a ZIP": (zipped(("a.p12", p12(b"open"))), lambda: "open"),
}


@pytest.mark.parametrize("case", KEYS)
def test_the_private_key_comes_out_as_pkcs1(case: str) -> None:
    """Whatever it was in; the passphrase is asked for only where one is needed."""
    data, passphrase = KEYS[case]
    assert parse(data, "file", passphrase).private_key() == PUSH.key_pem


NO_KEY: dict[str, tuple[bytes, Reason]] = {
    "none there": (PUSH.pem, Reason.KEY_UNREADABLE),
    "none in a PKCS#12": (p12(None, key=False), Reason.KEY_UNREADABLE),
    "damaged": (PUSH.key_pem.replace(b"MII", b"MI", 1), Reason.KEY_UNREADABLE),
    "far too long": (
        b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(bytes(9000)) + b"\n-----END PRIVATE KEY-----",
        Reason.KEY_UNREADABLE,
    ),
    "locked": (LOCKED, Reason.PASSPHRASE_NEEDED),
}


@pytest.mark.parametrize("case", NO_KEY)
def test_no_private_key_is_explained(case: str) -> None:
    """Damaged, missing, or under a passphrase nobody gave."""
    data, reason = NO_KEY[case]
    with pytest.raises(Unusable) as caught:
        parse(data, "file").private_key()
    assert caught.value.reason is reason


@pytest.mark.parametrize("data", [LOCKED, p12(b"open")])
def test_a_wrong_passphrase_is_said(data: bytes) -> None:
    """And never shown."""
    with pytest.raises(Unusable) as caught:
        parse(data, "file", lambda: "hunter2")
    assert caught.value.reason is Reason.PASSPHRASE_WRONG
    assert "hunter2" not in str(caught.value)


def test_a_p12_that_kills_its_child_is_not_asked_a_passphrase_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second try would end the same way."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unusable) as caught:
        parse(p12(b"open"), "file", refuse_to_answer)
    assert caught.value.reason is Reason.LOCKED_TOO_COSTLY


def test_a_file_cannot_have_child_after_child_started() -> None:
    """Ten locked keys, and no ten processes: four, then it is refused."""
    with pytest.raises(Unusable) as caught:
        parse(LOCKED * 10, "file", lambda: "open")
    assert caught.value.reason is Reason.LOCKED_TOO_COSTLY


def test_keys_are_not_in_what_is_printed() -> None:
    """The value's text holds no key."""
    assert "PRIVATE" not in repr(parse(PUSH.pem + PUSH.key_pem, "file"))


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A folder, a pipe nobody writes to, a socket, a device: refused at once."""
    pipe, unix = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(unix))
        for path in (tmp_path, pipe, unix, Path("/dev/zero")):
            with pytest.raises(Unusable) as caught:
                read(path)
            assert caught.value.reason is Reason.FILE_NOT_REGULAR


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.pem", Reason.FILE_NOT_FOUND),
        ("file/below", Reason.FILE_NOT_FOUND),
        ("x" * 300, Reason.FILE_UNREADABLE),
        ("a\x00b", Reason.FILE_UNREADABLE),
        ("empty", Reason.FILE_EMPTY),
        ("large", Reason.FILE_TOO_LARGE),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, reason: Reason) -> None:
    """Each with its reason; nothing of a large file is read."""
    (tmp_path / "file").write_bytes(PUSH.pem)
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(LIMIT_BYTES + 1)
    with pytest.raises(Unusable) as caught:
        read(tmp_path / name)
    assert caught.value.reason is reason


def test_a_disk_that_fails_is_a_reason() -> None:
    """Reading this process's memory at address zero fails with an I/O error."""
    with pytest.raises(Unusable) as caught:
        read("/proc/self/mem")
    assert caught.value.reason is Reason.FILE_UNREADABLE


def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    """Files of /proc have no size; they are read all the same."""
    with pytest.raises(Unusable) as caught:
        read("/proc/self/status")
    assert caught.value.reason is Reason.FILE_NOT_RECOGNISED


@pytest.mark.parametrize(
    ("data", "what"), [(LOCKED, What.PRIVATE_KEY), (PUSH.pem + LOCKED, What.CERTIFICATE)]
)
def test_nobody_is_asked_for_a_key_that_is_not_wanted(data: bytes, what: What) -> None:
    """Where a certificate is wanted, a locked key is told as what it is and stays closed."""
    found = parse(data, "file", refuse_to_answer, certificate_only=True)
    assert (found.what, found.key) == (what, None)
