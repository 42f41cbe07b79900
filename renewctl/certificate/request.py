"""Key, CSR, and the file a person uploads at Apple's portal: made here, or a vendor's answer, checked.

The portal's file is base64 of an XML plist of three strings (facts/mdm.md §4): the CSR (DER), signed by
an MDM vendor with RSA PKCS#1 v1.5 over SHA-256, and the vendor's certificate chain.
"""

from __future__ import annotations

import base64
import plistlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from xml.parsers.expat import ExpatError

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from renewctl import undumpable
from renewctl.certificate import intake, private_key
from renewctl.certificate.findings import Finding, Level, insist
from renewctl.certificate.intake import Intake
from renewctl.certificate.pushcert import spki_fingerprint
from renewctl.certificate.recognise import What
from renewctl.certificate.vendor import VendorCheck, check_chain, check_key, check_vendor, in_order
from renewctl.certificate.wrappings import text_of
from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason, Word
from renewctl.visible import visible

__all__ = [
    "SignedRequest",
    "VendorCheck",
    "check_signed",
    "check_vendor",
    "make_csr",
    "make_key",
    "sign",
]

KEY_BITS = 2048
"""Everybody's choice, and all that is known to be taken by the portal (facts/mdm.md §4)."""

_CSR = "PushCertRequestCSR"
_LOOKED_AT = 256  # bytes of an unknown file
_BEGINNING = 40  # characters of it that are shown
_CHAIN = "PushCertCertificateChain"
_SIGNATURE = "PushCertSignature"
_EXPONENT = 65_537
_LONGEST_NAME = 64  # octets of a common name, RFC 5280 ub-common-name

_BROKEN_PLIST = (
    ExpatError,
    plistlib.InvalidFileException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What `plistlib` lets through for a plist that is none."""


@dataclass(frozen=True)
class SignedRequest:
    """A request that was checked, fit for the portal.

    Attributes:
        content: the file to upload, written anew: base64 of the plist.
        last_day: the earliest end of validity in its chain; aware, UTC.
        vendor_serial: the vendor certificate's serial, lower-case hex.
        findings: warnings; refusals were raised.
    """

    content: bytes = field(repr=False)
    last_day: datetime
    vendor_serial: str
    findings: tuple[Finding, ...] = ()


def make_key() -> bytes:
    """A new RSA 2048 key, PKCS#1 PEM, unencrypted: seal it before anything else is done with it."""
    undumpable.keep_to_ourselves()
    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def make_csr(
    key_pem: bytes, *, common_name: str, email: str | None = None, country: str | None = None
) -> bytes:
    """A certificate request, PEM, signed with SHA-256. Apple replaces the subject; people read it.

    Args:
        key_pem: unencrypted RSA key.
        common_name: the topic's id in the inventory; what is over 64 octets is cut off.
        email: left out where it is not ASCII, the only thing the attribute can hold.
        country: two letters.

    Raises:
        Unusable: `private_key_…`: not an unencrypted RSA key.
        ValueError: an empty name.
    """
    parts = []
    if country is not None:
        parts.append(x509.NameAttribute(NameOID.COUNTRY_NAME, country))
    short = common_name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    parts.append(x509.NameAttribute(NameOID.COMMON_NAME, short))
    if email and email.isascii():
        parts.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, email))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    return builder.sign(private_key.load(key_pem, "key"), hashes.SHA256()).public_bytes(Encoding.PEM)


def sign(csr_pem: bytes, vendor_certificate: bytes, chain: Sequence[bytes], vendor_key: bytes) -> bytes:
    """The portal's file, signed with the vendor's key.

    Does not ask what time it is: `check_vendor` does, and comes first.

    Args:
        csr_pem: our certificate request.
        vendor_certificate: as its file is (PEM, DER, …).
        chain: files of the authorities above it, in any order; only those that issued it are used.
        vendor_key: unencrypted PEM.

    Raises:
        Refused: VENDOR_CHAIN_INCOMPLETE or VENDOR_KEY_DIFFERS.
        Unusable: a file that is no certificate, or no key.
    """
    ordered = in_order(vendor_certificate, chain)
    insist(check_key(ordered[0], vendor_key))
    der = _csr_der(csr_pem)
    signature = private_key.load(vendor_key, "vendor.key").sign(der, padding.PKCS1v15(), hashes.SHA256())
    return _portal_file(der, ordered, signature)


def check_signed(file: bytes, csr_pem: bytes, now: datetime, *, path: str = "") -> SignedRequest:
    """Take in what a vendor answered, checked as the portal would.

    It is written anew, its chain in the right order (the signature covers the CSR alone).

    Taken: the portal's file, with any line breaks; base64 of it; the plist itself.

    Args:
        file: as it came.
        csr_pem: the CSR that was sent to the vendor.
        now: aware.
        path: for messages.

    Raises:
        Unusable: it is something else (REQUEST_IS_CSR, REQUEST_IS_CERTIFICATE, REQUEST_STILL_ENCRYPTED,
            FILE_IS_…), or REQUEST_UNREADABLE.
        Refused: REQUEST_OF_ANOTHER_CSR, REQUEST_SIGNATURE_WRONG, VENDOR_….
    """
    der, given, signature = _parts(_plist(_look(file, path), path), path)
    own = _csr_der(csr_pem)
    if der != own:
        raise Refused(
            Reason.REQUEST_OF_ANOTHER_CSR, path=path, got=_csr_key(der, path), expected=_csr_key(own, path)
        )
    check = check_chain(given, now)
    findings = (*check.findings, *_signature(x509.load_der_x509_certificate(given[0]), signature, own))
    insist(findings)
    return SignedRequest(
        content=_portal_file(own, check.chain, signature),
        last_day=check.last_day,
        vendor_serial=check.serial,
        findings=findings,
    )


def _look(file: bytes, path: str) -> bytes:
    """The plist's XML, or why this is none."""
    try:
        found = intake.parse(file, path)
    except Unusable as error:
        if error.reason is Reason.FILE_NOT_RECOGNISED:
            raise _unrecognised(file, path) from None
        raise
    if found.request is None:
        raise Unusable(_not_a_request(found), path=path, title=found.title or "")
    return found.request


def _unrecognised(file: bytes, path: str) -> Unusable:
    """Of a file nothing is known of: how it begins, as far as that can be shown."""
    start = file[:_LOOKED_AT]
    text = " ".join(text_of(start)[0].split())
    if "\ufffd" in text or visible(text) != text:
        return _unreadable(path, "word.binary_data", _CSR)
    begins = text if len(text) <= _BEGINNING else f"{text[:_BEGINNING]}…"
    return Unusable(Reason.REQUEST_NOT_RECOGNISED, path=path, got=begins, expected=_CSR)


def _unreadable(path: str, got: str, expected: str) -> Unusable:
    """`got` is a key of the catalogues."""
    return Unusable(Reason.REQUEST_UNREADABLE, path=path, got=Word(got), expected=expected)


def _not_a_request(found: Intake) -> Reason:
    return {
        What.CERTIFICATE: Reason.REQUEST_IS_CERTIFICATE,
        What.CSR: Reason.REQUEST_IS_CSR,
        What.PRIVATE_KEY: Reason.FILE_IS_PRIVATE_KEY,
        What.ENCRYPTED_MESSAGE: Reason.REQUEST_STILL_ENCRYPTED,
        What.WEB_PAGE: Reason.FILE_IS_WEB_PAGE,
    }.get(found.what, Reason.REQUEST_UNREADABLE)


def _plist(xml: bytes, path: str) -> dict[str, str]:
    try:
        loaded = plistlib.loads(xml, fmt=plistlib.FMT_XML)
    except _BROKEN_PLIST:
        raise _unreadable(path, "word.damaged", "plist") from None
    for name in (_CSR, _CHAIN, _SIGNATURE):
        value = loaded.get(name) if isinstance(loaded, dict) else None
        if not isinstance(value, str):
            raise _unreadable(path, "word.plist_without_it" if value is None else "word.no_text", name)
    return loaded  # type: ignore[no-any-return] # the three that are read are strings


def _parts(plist: dict[str, str], path: str) -> tuple[bytes, list[bytes], bytes]:
    """CSR (DER), chain (DER, in the file's order), signature."""
    der, signature = _base64(plist, _CSR, path), _base64(plist, _SIGNATURE, path)
    try:
        given = [one.der for one in intake.parse(plist[_CHAIN].encode(), path).certificates]
    except (Unusable, UnicodeEncodeError):
        given = []
    if not given:
        raise _unreadable(path, "word.no_certificate", _CHAIN)
    return der, given, signature


def _base64(plist: dict[str, str], name: str, path: str) -> bytes:
    try:
        return base64.b64decode("".join(plist[name].split()), validate=True)
    except ValueError:
        raise _unreadable(path, "word.no_base64", name) from None


def _csr_der(csr_pem: bytes) -> bytes:
    return x509.load_pem_x509_csr(csr_pem).public_bytes(Encoding.DER)


def _csr_key(der: bytes, path: str) -> str:
    """What tells two CSRs apart: the fingerprint of the key each asks a certificate for."""
    try:
        public = x509.load_der_x509_csr(der).public_key()
        return spki_fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise _unreadable(path, "word.no_csr", _CSR) from None


def _signature(vendor: x509.Certificate, signature: bytes, der: bytes) -> tuple[Finding, ...]:
    subject = {"subject": vendor.subject.rfc4514_string()}
    if _verifies(vendor, signature, der, hashes.SHA256()):
        return ()
    if _verifies(vendor, signature, der, hashes.SHA1()):  # noqa: S303 - to explain it
        return (Finding(Reason.REQUEST_SIGNED_WITH_SHA1, Level.WARN, subject),)
    return (Finding(Reason.REQUEST_SIGNATURE_WRONG, Level.REFUSE, subject),)


def _verifies(vendor: x509.Certificate, signature: bytes, der: bytes, digest: hashes.HashAlgorithm) -> bool:
    key = vendor.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, der, padding.PKCS1v15(), digest)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _portal_file(csr_der: bytes, chain: Sequence[bytes], signature: bytes) -> bytes:
    plist = {
        _CSR: base64.b64encode(csr_der).decode(),
        _CHAIN: "".join(_pem(der) for der in chain),
        _SIGNATURE: base64.b64encode(signature).decode(),
    }
    return base64.b64encode(plistlib.dumps(plist, fmt=plistlib.FMT_XML))


def _pem(der: bytes) -> str:
    """PEM with lines of 64, as the portal wants them."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
