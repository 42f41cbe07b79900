"""What NanoMDM v0.9.0 takes as a push certificate and key, and how it refuses. Pure.

It takes much: expired, foreign and wrong-topic pairs, whatever the method, as long as there is a body.
Every text is one observed on the running server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from renewctl.sandbox.authority import topic_of

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_KEYS = {b"RSA PRIVATE KEY", b"PRIVATE KEY"}
_NO_CERTIFICATE = "tls: failed to find any PEM data in certificate input"
_NO_KEY = "tls: failed to find any PEM data in key input"
_MISMATCH = "tls: private key does not match public key"


class BadPair(Exception):
    """The server's words for a body it does not take (400)."""


@dataclass(frozen=True)
class StoredPair:
    """A pair as the server keeps it."""

    topic: str
    certificate_pem: bytes
    key_pem: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_pem_x509_certificate(self.certificate_pem)


def parse(body: bytes) -> StoredPair:
    """Read a pair from a body of PEM blocks; of several certificates the last one counts.

    Raises:
        BadPair: with the server's own text.
    """
    certificate_pem = key_pem = b""
    for match in _BLOCK.finditer(body.replace(b"\r\n", b"\n")):
        block, kind = match.group(0) + b"\n", match.group(1)
        if kind == b"CERTIFICATE":
            certificate_pem = block
        elif kind in _KEYS:
            key_pem = _clear_key(block)
        elif kind == b"ENCRYPTED PRIVATE KEY":
            raise BadPair("tls: failed to parse private key")
        else:
            raise BadPair(f'unrecognized PEM type: "{kind.decode()}"')
    if not certificate_pem:
        raise BadPair(_NO_CERTIFICATE)
    if not key_pem:
        raise BadPair(_NO_KEY)
    return _matched(certificate_pem, key_pem)


def _clear_key(block: bytes) -> bytes:
    if b"ENCRYPTED" in block:
        raise BadPair("private key PEM appears to be encrypted")
    return block


def _matched(certificate_pem: bytes, key_pem: bytes) -> StoredPair:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = load_pem_private_key(key_pem, None)
    except (ValueError, TypeError) as error:
        raise BadPair("tls: failed to parse private key") from error
    halves = [
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (certificate.public_key(), key.public_key())
    ]
    if halves[0] != halves[1]:
        raise BadPair(_MISMATCH)
    topic = topic_of(certificate) or ""
    if not topic.startswith("com.apple.mgmt"):
        raise BadPair(f'invalid APNs Topic: "{topic}"')
    return StoredPair(topic, certificate_pem, key_pem)
