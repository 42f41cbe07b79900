"""Opening: identities in every form people have, and keys that were never sealed."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from renewctl.errors import Refused, RenewctlError, Unusable
from renewctl.keys import unseal
from renewctl.keys.keystore import KeyFolder
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from tests.support.identities import Identity, new_key, pem


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """One operator's."""
    return Identity(tmp_path, "age")


def _ref(tmp_path: Path, content: str | bytes) -> SecretRef:
    path = tmp_path / f"identity-{os.urandom(4).hex()}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return SecretRef(Kind.FILE, (str(path),))


def test_an_identity_file_may_hold_several_keys_and_comments(tmp_path: Path, identity: Identity) -> None:
    """As age reads it: comments and blank lines are passed over, any of the keys will do."""
    other = tmp_path / "other"
    other.mkdir()
    both = Identity(other, "age").file.read_text() + "\r\n\n" + identity.file.read_text()
    home = KeyFolder(tmp_path / "keys", [identity.recipient])
    key = new_key()
    assert unseal.open_key(home.sealed(home.seal(pem(key))), _ref(tmp_path, both)) == pem(key)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("# nothing but a comment\n", Reason.IDENTITY_INVALID),
        ("hunter2\n", Reason.IDENTITY_INVALID),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
            Reason.IDENTITY_INVALID,
        ),
        ("age1qqqqqqqqqq\n", Reason.IDENTITY_IS_RECIPIENT),
        ("ssh-ed25519 AAAAC3 me\n", Reason.IDENTITY_IS_RECIPIENT),
        (" \n", Reason.SECRET_EMPTY),
        (b"\xff\xfe\x00", Reason.SECRET_NOT_TEXT),
    ],
)
def test_what_is_no_identity_is_told_without_repeating_it(
    tmp_path: Path, content: str | bytes, reason: Reason
) -> None:
    """A password, a public half, a broken file: named by its reference alone."""
    ref = _ref(tmp_path, content)
    with pytest.raises(Unusable) as caught:
        unseal.open_key(b"age-encryption.org/v1\n", ref)
    assert caught.value.reason is reason
    assert caught.value.values == {"where": f"file:{ref.where[0]}"}


def test_an_ssh_key_with_a_passphrase_is_told_as_locked(tmp_path: Path) -> None:
    """A roll-out has nobody who could type it."""
    with pytest.raises(Unusable) as caught:
        unseal.open_key(b"age-encryption.org/v1\n", Identity(tmp_path, "ed25519", "hunter2").ref)
    assert caught.value.reason is Reason.IDENTITY_LOCKED


def test_a_damaged_sealed_key_is_told_as_damaged(tmp_path: Path, identity: Identity) -> None:
    """Cut, changed or replaced by something else; an armored one is as good as a binary one."""
    home, key = KeyFolder(tmp_path / "keys", [identity.recipient]), new_key()
    sealed = home.sealed(home.seal(pem(key)))
    for damaged in (b"", b"junk", sealed[:-5], sealed[:40], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(Refused) as caught:
            unseal.open_key(damaged, identity.ref)
        assert caught.value.reason is Reason.SEALED_KEY_DAMAGED
    armored = subprocess.run(
        ["age", "-a", "-r", identity.recipient], input=pem(key, "PKCS8"), capture_output=True, check=True
    ).stdout
    assert unseal.open_key(armored, identity.ref) == pem(key)


def test_something_else_sealed_by_hand_is_told(identity: Identity) -> None:
    """`age -r` over the wrong file: what was sealed is no key."""
    done = subprocess.run(
        ["age", "-r", identity.recipient], input=b"shopping list", capture_output=True, check=True
    )
    with pytest.raises(Unusable) as caught:
        unseal.open_key(done.stdout, identity.ref)
    assert caught.value.reason is Reason.PRIVATE_KEY_ABSENT


# Keys that were never sealed


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_plain_key_is_taken_as_people_have_it(tmp_path: Path) -> None:
    """PKCS#1 or PKCS#8, CRLF, a certificate before it: out comes PKCS#1."""
    key = new_key()
    for content in (
        pem(key), pem(key, "PKCS8"), _certificate(key) + pem(key), pem(key).replace(b"\n", b"\r\n"),
    ):  # fmt: skip
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        assert unseal.load_plain_key(path) == unseal.load_plain_key(content) == pem(key)


def test_a_plain_key_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Encrypted, of another kind, cut, absent, no file, a folder, too large."""
    key = new_key()
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )  # fmt: skip
    old = pem(key).replace(b"KEY-----\n", b"KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1)
    cut = b"\n".join(pem(key).splitlines()[:5] + pem(key).splitlines()[-1:])
    cases: list[tuple[Path | bytes, Reason]] = [
        (locked, Reason.PRIVATE_KEY_ENCRYPTED),
        (old, Reason.PRIVATE_KEY_ENCRYPTED),
        (pem(ec.generate_private_key(ec.SECP256R1())), Reason.PRIVATE_KEY_NOT_RSA),
        (cut, Reason.PRIVATE_KEY_UNREADABLE),
        (_certificate(key), Reason.PRIVATE_KEY_ABSENT),
        (b"", Reason.PRIVATE_KEY_ABSENT),
        (tmp_path / "none", Reason.FILE_NOT_FOUND),
        (tmp_path, Reason.FILE_UNREADABLE),
        (tmp_path / "large", Reason.FILE_TOO_LARGE),
    ]
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    for source, reason in cases:
        with pytest.raises(RenewctlError) as caught:
            unseal.load_plain_key(source)
        assert caught.value.reason is reason
        assert caught.value.exit_code == 2


def test_a_new_identity_is_one_that_age_takes(tmp_path: Path) -> None:
    """The text `init` writes is an age identity file, and its recipient belongs to it."""
    content, recipient = unseal.new_identity()
    ref, key = _ref(tmp_path, content), new_key()
    home = KeyFolder(tmp_path / "keys", [recipient])
    sealed = home.sealed(home.seal(pem(key)))
    assert unseal.open_key(sealed, ref) == pem(key)
    done = subprocess.run(["age", "-d", "-i", ref.where[0]], input=sealed, capture_output=True, check=True)
    assert done.stdout == pem(key)
