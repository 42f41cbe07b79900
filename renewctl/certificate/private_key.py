"""A private key in the one form every MDM server takes: unencrypted RSA, PKCS#1 PEM."""

from __future__ import annotations

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from renewctl import undumpable
from renewctl.certificate.pushcert import spki_fingerprint
from renewctl.errors import Unusable
from renewctl.reasons import Reason

_BEGIN = re.compile(rb"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----")


def pkcs1(pem: bytes, where: str, *, checked: bool = True) -> bytes:
    """The first private key of a PEM text, as PKCS#1 PEM.

    Args:
        pem: PKCS#1 or PKCS#8, perhaps with certificates around it.
        where: named in errors.
        checked: whether its primes are primes, which takes 30 ms; not for a key that was checked before it
            was sealed, and that age has proven unchanged.

    Raises:
        Unusable: `private_key_absent`, `private_key_encrypted`, `private_key_not_rsa`,
            `private_key_unreadable`.
    """
    key = _parsed(_block(pem, where), where, checked=checked)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def fingerprint(pem: bytes, where: str) -> str:
    """SHA-256 (hex) of the key's public half (SubjectPublicKeyInfo): the name of the pair.

    Raises:
        Unusable: as `pkcs1`.
    """
    # That its primes are primes says nothing of the public half.
    public = _parsed(_block(pem, where), where, checked=False).public_key()
    return spki_fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def load(pem: bytes, where: str) -> RSAPrivateKey:
    """The first private key of a PEM text, to sign with.

    Raises:
        Unusable: as `pkcs1`.
    """
    return _parsed(_block(pem, where), where, checked=True)


def _block(pem: bytes, where: str) -> bytes:
    undumpable.keep_to_ourselves()
    begin = _BEGIN.search(pem)
    if begin is None:
        raise Unusable(Reason.PRIVATE_KEY_ABSENT, where=where)
    # Looked for once, from the first beginning on: a text full of beginnings costs no more than another.
    ending = b"-----END " + begin[1] + b"PRIVATE KEY-----"
    end = pem.find(ending, begin.end())
    block = pem[begin.start() : end + len(ending) if end >= 0 else None]
    if begin[1].startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block:
        raise Unusable(Reason.PRIVATE_KEY_ENCRYPTED, where=where)
    return block


def _parsed(block: bytes, where: str, *, checked: bool) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(block, password=None, unsafe_skip_rsa_key_validation=not checked)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unusable(Reason.PRIVATE_KEY_UNREADABLE, where=where) from None
    if not isinstance(key, RSAPrivateKey):
        got = type(key).__name__.removesuffix("PrivateKey").removeprefix("_")
        raise Unusable(Reason.PRIVATE_KEY_NOT_RSA, where=where, got=got, expected="RSA")
    return key
