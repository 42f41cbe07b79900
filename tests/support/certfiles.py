"""Files a person might hand in: one push certificate in many wrappings, made with other tools than ours."""

from __future__ import annotations

import base64
import io
import zipfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from tests.support.certs import apple_like, rsa_key

APPLE = apple_like()
PUSH = APPLE.push()
TEXT = PUSH.pem.decode()
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(PUSH.certificate.subject)
    .sign(rsa_key("push"), hashes.SHA256())
)
LOCKED = rsa_key("push").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open"))
OLD_LOCKED = rsa_key("push").private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"open")
)
PAGE = "<!DOCTYPE html>\n<html><head><title>\n Sign In &amp; Wait\u202e </title></head><body></body></html>"


def zipped(*members: tuple[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP of these."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def p12(passphrase: bytes | None, *, key: bool = True) -> bytes:
    """A `.p12` of the push certificate, its issuers and perhaps its key."""
    lock = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    issuers = [APPLE.aai2.certificate, APPLE.root.certificate]
    return pkcs12.serialize_key_and_certificates(
        b"push", PUSH.key if key else None, PUSH.certificate, issuers, lock
    )


def quoted(text: str) -> bytes:
    """As a reply quotes it."""
    return "\n".join(f"> {line}" for line in text.splitlines()).encode()


def mail(content: bytes) -> bytes:
    """A mail with the file attached."""
    body = base64.encodebytes(content).decode()
    return (
        "From: a@example.com\r\nSubject: =?iso-2022-jp?B?GyRCPlpMQD1xGyhC?=\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/plain\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8h\r\n--x\r\nContent-Type: application/x-pem\r\n"
        'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="c.pem"\r\n\r\n'
        f"{body}--x--\r\n"
    ).encode()
