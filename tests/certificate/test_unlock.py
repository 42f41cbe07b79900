"""The child process that opens what is locked."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from renewctl.certificate import unlock as room
from renewctl.certificate.unlock import Locked, unlock
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.support.certs import apple_like, rsa_key

PUSH = apple_like().push()
AES_256_CBC = bytes.fromhex("060960864801650304012a")
UNHEARD_OF = bytes.fromhex("060960864801650304017f")


def openssl(folder: Path, *arguments: str) -> bytes:
    """Make a file with OpenSSL's own tool."""
    (folder / "c.pem").write_bytes(PUSH.pem)
    (folder / "k.pem").write_bytes(PUSH.key_pem)
    subprocess.run(["openssl", *arguments, "-out", "made"], cwd=folder, check=True, capture_output=True)
    return (folder / "made").read_bytes()


@pytest.mark.parametrize("more", [[], ["-legacy"]], ids=["today", "Keychain's RC2 and 3DES"])
def test_a_p12_made_elsewhere(tmp_path: Path, more: list[str]) -> None:
    """Both what OpenSSL 3 writes and what older programs write."""
    arguments = ["pkcs12", "-export", "-inkey", "k.pem", "-in", "c.pem", "-passout", "pass:あいう", *more]
    opened = unlock(Locked.P12, openssl(tmp_path, *arguments), "あいう", path="x")
    assert opened.certificates == (PUSH.der,)
    assert opened.key is not None
    assert "PRIVATE" not in repr(opened)


def test_what_costs_too_much_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key stretched 2^31 times does not hold us up: the child runs out of CPU time."""
    arguments = [
        "pkcs8",
        "-topk8",
        "-in",
        "k.pem",
        "-v2",
        "aes-256-cbc",
        "-iter",
        "1000",
        "-passout",
        "pass:x",
    ]
    data = openssl(tmp_path, *arguments, "-outform", "DER")
    rounds = b"\x02\x02\x03\xe8"  # INTEGER 1000; the structure around it grows by two bytes
    costly = _grown(data, rounds, b"\x02\x04\x7f\xff\xff\xff")
    monkeypatch.setattr(room, "_WALL_SECONDS", 1.0)
    with pytest.raises(Unusable) as caught:
        unlock(Locked.KEY, _pem(costly), "x", path="x")
    assert caught.value.reason is Reason.LOCKED_TOO_COSTLY


def _grown(der: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a value deep in nested SEQUENCEs, lengths put right."""
    at = der.index(old)
    out = bytearray(der[:at] + new + der[at + len(old) :])
    more = len(new) - len(old)
    where = 0
    while where < at:
        tag, first = out[where], out[where + 1]
        octets = first & 0x7F if first & 0x80 else 0
        length = int.from_bytes(out[where + 2 : where + 2 + octets], "big") if octets else first
        start = where + 2 + octets
        if start <= at < start + length and tag == 0x30:
            if octets:
                out[where + 2 : start] = (length + more).to_bytes(octets, "big")
            else:
                out[where + 1] = length + more
            where = start
        else:
            where = start + length
    return bytes(out)


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def _pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"


def test_a_child_that_dies_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended it, memory or a signal, the parent says one thing."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unusable) as caught:
        unlock(Locked.P12, b"", "", path="x")
    assert caught.value.reason is Reason.LOCKED_TOO_COSTLY


def test_an_algorithm_nobody_speaks_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child's code for it reaches the person as its own sentence."""
    program = tmp_path / "child"
    program.write_text("#!/bin/sh\nexit 4\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(Unusable) as caught:
        unlock(Locked.P12, b"", "", path="x")
    assert caught.value.reason is Reason.LOCKED_UNSUPPORTED


def test_neither_passphrase_nor_key_is_in_an_argument_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child put in our child's place notes how it was called."""
    program, noted = tmp_path / "child", tmp_path / "noted"
    program.write_text(
        f"#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ > {noted}\ncat > {noted}.in\nexit 3\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(Unusable):
        unlock(Locked.KEY, b"the key", "the passphrase", path="x")
    assert b"the passphrase" in (tmp_path / "noted.in").read_bytes()
    assert b"the passphrase" not in noted.read_bytes()
    assert b"the key" not in noted.read_bytes()


def locked(passphrase: bytes) -> bytes:
    """An encrypted key."""
    return rsa_key("push").private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)
    )


@pytest.mark.parametrize(
    ("what", "data", "code"),
    [
        (Locked.KEY, locked(b"x"), 0),
        (Locked.KEY, locked(b"y"), 3),
        (Locked.KEY, PUSH.key_pem, 3),
        (Locked.P12, b"junk", 3),
        (Locked.KEY, locked(b"x").replace(b"MII", b"MI"), 3),
        (Locked.KEY, _pem(_der(locked(b"x")).replace(AES_256_CBC, UNHEARD_OF)), 4),
    ],
)
def test_the_childs_half(what: Locked, data: bytes, code: int) -> None:
    """Its exit codes, without a process."""
    assert room.child(what, io.BytesIO(b"\x00\x00\x00\x01x" + data))[0] == code


def test_the_child_limits_itself_before_it_reads() -> None:
    """A child of ours has its limits set: no core file, little CPU time, bounded memory."""
    script = (
        "import resource, sys; sys.argv[1:] = ['p12']; from renewctl.certificate import unlock; unlock.main();"
        "print([resource.getrlimit(n)[0] for n in"
        " (resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_AS)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"", capture_output=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.decode().strip() == f"[0, {room.CPU_SECONDS}, {room.MEMORY_BYTES}]"
