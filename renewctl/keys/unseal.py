"""Open: a sealed key, with an identity given by reference; and keys that were never sealed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]

from renewctl import secrets, undumpable
from renewctl.certificate import private_key
from renewctl.errors import Refused, Unusable
from renewctl.keys import agefile
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef

LARGEST_KEY_FILE = 1024 * 1024
"""Bytes; an RSA key is a few thousand, even between a chain of certificates."""


def open_key(sealed: bytes, identity: SecretRef) -> bytes:
    """A key sealed by `keystore` (or by `age -r`), as PKCS#1 PEM.

    Args:
        sealed: an age file, binary or armored.
        identity: an age identity file's text (comments and several keys allowed), or an OpenSSH private key.

    Raises:
        Unusable: `secret_…` (the reference), `identity_invalid`, `identity_is_recipient`,
            `identity_locked` (an SSH key with a passphrase), `private_key_…` (what was sealed is no RSA key).
        Refused: `sealed_key_damaged`, `identity_cannot_open`.
    """
    where = secrets.shown(identity)
    identities = _parsed(secrets.read(identity), where)
    try:
        agefile.header(sealed)  # before the library, which takes any number of recipients
    except ValueError:
        raise Refused(Reason.SEALED_KEY_DAMAGED, where=where) from None
    try:
        plain = pyrage.decrypt(sealed, identities)
    except pyrage.DecryptError as error:
        # The only words pyrage has for "sealed to somebody else" (age's own message).
        if "No matching keys" in str(error):
            raise Refused(Reason.IDENTITY_CANNOT_OPEN, where=where) from None
        raise Refused(Reason.SEALED_KEY_DAMAGED, where=where) from None
    return private_key.pkcs1(plain, "sealed key", checked=False)


def require_identity(identity: SecretRef) -> None:
    """Read an identity and see that it is one, before much depends on it.

    Raises:
        Unusable: `secret_…`, `identity_…`.
    """
    _parsed(secrets.read(identity), secrets.shown(identity))


def new_identity() -> tuple[str, str]:
    """A fresh age identity: the text of its file, as `age-keygen` writes it, and its recipient."""
    undumpable.keep_to_ourselves()
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    return f"# public key: {recipient}\n{identity}\n", recipient


def load_plain_key(source: Path | bytes) -> bytes:
    """An unencrypted PEM private key (PKCS#1 or PKCS#8), as PKCS#1 PEM.

    Args:
        source: a file, or its content.

    Raises:
        Unusable: `file_not_found`, `file_unreadable`, `file_too_large`, `private_key_…`.
    """
    if isinstance(source, bytes):
        return private_key.pkcs1(source, "key")
    path = str(source)
    try:
        with source.open("rb") as file:
            content = file.read(LARGEST_KEY_FILE + 1)
    except FileNotFoundError:
        raise Unusable(Reason.FILE_NOT_FOUND, path=path) from None
    except OSError as error:
        detail = error.strerror or type(error).__name__
        raise Unusable(Reason.FILE_UNREADABLE, path=path, detail=detail, got=detail) from None
    if len(content) > LARGEST_KEY_FILE:
        expected = f"{LARGEST_KEY_FILE} bytes"
        raise Unusable(Reason.FILE_TOO_LARGE, path=path, got=f"> {expected}", expected=expected)
    return private_key.pkcs1(content, path)


_Identity = Any  # pyrage is untyped: x25519.Identity | ssh.Identity


def _parsed(text: str, where: str) -> list[_Identity]:
    """The identities in a text; errors name the reference and nothing of the text."""
    if "PRIVATE KEY-----" in text:
        return [_ssh(text, where)]
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if any(key.startswith(("age1", "ssh-")) for key in keys):
        raise Unusable(Reason.IDENTITY_IS_RECIPIENT, where=where)
    try:
        identities: list[_Identity] = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        raise Unusable(Reason.IDENTITY_INVALID, where=where) from None
    if not identities:
        raise Unusable(Reason.IDENTITY_INVALID, where=where)
    return identities


def _ssh(text: str, where: str) -> _Identity:
    try:
        # ssh-keygen's format ends in a line end; reading a secret takes one away.
        return pyrage.ssh.Identity.from_buffer(f"{text}\n".encode())
    except pyrage.IdentityError as error:
        locked = "decrypted first" in str(error)
        reason = Reason.IDENTITY_LOCKED if locked else Reason.IDENTITY_INVALID
        raise Unusable(reason, where=where) from None
