"""The portal's check of an uploaded request: a vendor-signed CSR in a plist. Pure.

The file is base64 of an XML plist with three strings: `PushCertRequestCSR` (base64 of the DER CSR),
`PushCertCertificateChain` (PEM: vendor, WWDR intermediate, Apple root) and `PushCertSignature` (base64 of
the vendor's RSA SHA-256 signature over the DER CSR).
"""

from __future__ import annotations

import base64
import binascii
import plistlib
import re
from dataclasses import dataclass
from datetime import datetime
from xml.parsers.expat import ExpatError

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from renewctl.sandbox.authority import VENDOR_MARK

_KEYS = {"PushCertRequestCSR", "PushCertCertificateChain", "PushCertSignature"}
_CHAIN_LENGTH = 3
_KEY_BITS = 2048
_LINE = 64  # characters of a PEM line

_INVALID = (-80_013, "Invalid Certificate Signing Request")
_UNVERIFIED = -80_018  # the one code seen in public (micromdm issue 723); the others are ours
_FAILED = "Certificate Signature Verification failed"


class UploadRefused(Exception):
    """The portal does not take a file.

    Attributes:
        code: Apple's ErrorCode.
        text: what the page shows.
        why: what was wrong, for whoever debugs the sandbox; Apple does not tell.
    """

    def __init__(self, code: int, text: str, why: str) -> None:
        self.code = code
        self.text = text
        self.why = why
        super().__init__(f"{text} ({why})")


@dataclass(frozen=True)
class Upload:
    """What the portal needs of a request it takes."""

    public_key: rsa.RSAPublicKey
    vendor_name: str


def check(content: bytes, root: x509.Certificate, now: datetime) -> Upload:
    """Check an uploaded file the way the portal does.

    Args:
        content: the bytes uploaded.
        root: Apple's root.
        now: the portal's clock.

    Raises:
        UploadRefused: with Apple's words.
    """
    strings = _strings(content)
    csr_der = _decoded(strings["PushCertRequestCSR"], "PushCertRequestCSR")
    csr = _csr(csr_der)
    chain = _chain(strings["PushCertCertificateChain"])
    _check_chain(chain, root, now)
    _check_signature(chain[0], _decoded(strings["PushCertSignature"], "PushCertSignature"), csr_der)
    organization = chain[0].subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return Upload(csr, str(organization[0].value) if organization else "Unknown")


def _strings(content: bytes) -> dict[str, str]:
    try:
        plist = plistlib.loads(base64.b64decode(b"".join(content.split()), validate=True))
    except (binascii.Error, plistlib.InvalidFileException, ExpatError, ValueError) as error:
        raise UploadRefused(*_INVALID, "not base64 of a plist") from error
    if not isinstance(plist, dict) or set(plist) != _KEYS:
        raise UploadRefused(*_INVALID, "not the three keys")
    if not all(isinstance(value, str) for value in plist.values()):
        raise UploadRefused(*_INVALID, "values must be strings")
    return plist


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise UploadRefused(*_INVALID, f"{name} is not base64") from error


def _csr(der: bytes) -> rsa.RSAPublicKey:
    try:
        csr = x509.load_der_x509_csr(der)
    except ValueError as error:
        raise UploadRefused(*_INVALID, "the CSR is not DER") from error
    key = csr.public_key()
    if not csr.is_signature_valid:
        raise UploadRefused(*_INVALID, "the CSR's own signature")
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != _KEY_BITS:
        raise UploadRefused(*_INVALID, "the key is not RSA 2048")
    if not isinstance(csr.signature_hash_algorithm, SHA256):
        raise UploadRefused(*_INVALID, "the CSR is not signed with SHA-256")
    return key


def _chain(text: str) -> list[x509.Certificate]:
    bodies = re.findall(r"-----BEGIN CERTIFICATE-----\n(.*?)-----END CERTIFICATE-----", text, re.DOTALL)
    for body in bodies:
        lines = body.splitlines()
        if any(len(line) != _LINE for line in lines[:-1]) or len(lines[-1]) > _LINE:
            raise UploadRefused(_UNVERIFIED, _FAILED, "PEM lines are not 64 characters")
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise UploadRefused(_UNVERIFIED, _FAILED, "the chain is not PEM") from error
    if len(chain) != _CHAIN_LENGTH:
        raise UploadRefused(_UNVERIFIED, _FAILED, f"{len(chain)} certificates in the chain, not 3")
    return chain


def _check_chain(chain: list[x509.Certificate], root: x509.Certificate, now: datetime) -> None:
    vendor, intermediate, top = chain
    try:
        vendor.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(top)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise UploadRefused(_UNVERIFIED, _FAILED, "not vendor, intermediate, root in order") from error
    if top != root:
        raise UploadRefused(_UNVERIFIED, _FAILED, "not Apple's root")
    if all(extension.oid != VENDOR_MARK for extension in vendor.extensions):
        raise UploadRefused(_UNVERIFIED, _FAILED, "not an MDM vendor certificate")
    if not vendor.not_valid_before_utc <= now <= vendor.not_valid_after_utc:
        raise UploadRefused(
            _UNVERIFIED, f"{_FAILED} because the signing certificate is expired", "vendor validity"
        )


def _check_signature(vendor: x509.Certificate, signature: bytes, signed: bytes) -> None:
    key = vendor.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise UploadRefused(_UNVERIFIED, _FAILED, "the vendor's key is not RSA")
    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise UploadRefused(
            _UNVERIFIED, f"{_FAILED} because the signature is invalid", "SHA-256 over the DER CSR"
        ) from error
