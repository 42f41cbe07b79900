"""A push certificate as a value: PEM or DER in; topic, serial, fingerprints, validity out. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Topic = NewType("Topic", str)
"""The value of the subject's UID attribute, e.g. `com.apple.mgmt.External.<uuid>`; the portal's "UID"."""

TOPIC_PREFIX = "com.apple.mgmt"
"""Every MDM topic begins so; NanoMDM refuses others (http/api/pushcert.go)."""

PUSH_EXTENSION = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
"""Apple's "APNs production" marker, in every push certificate the portal issues."""

_BEGUN = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
"""RFC 7468, 5.1 and 5.3."""

_SECONDS_A_DAY = 86_400

_UNREADABLE = (
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    TypeError,  # a name's attribute of an odd ASN.1 type
)
"""What the library raises beside ValueError for certificates that are not what they say."""


@dataclass(frozen=True)
class PushCertificate:
    """What a push certificate says, and its bytes.

    Attributes:
        der: the certificate, DER.
        topic: subject UID, or None where the certificate has none.
        common_name: subject CN (`APSP:<uuid>` from Apple), or None.
        issuer: issuer as an RFC 4514 string.
        serial: lower-case hex, no separators, no leading zeros beyond a full byte.
        fingerprint: SHA-256 of `der`, lower-case hex.
        key_fingerprint: SHA-256 of the SubjectPublicKeyInfo, lower-case hex.
        not_before, not_after: aware, UTC.
        client_auth: extended key usage names clientAuth.
        push: carries `PUSH_EXTENSION`.
    """

    der: bytes = field(repr=False)
    topic: Topic | None
    common_name: str | None
    issuer: str
    serial: str
    fingerprint: str
    key_fingerprint: str
    not_before: datetime
    not_after: datetime
    client_auth: bool
    push: bool

    @classmethod
    def from_der(cls, der: bytes) -> PushCertificate:
        """Parse one DER certificate.

        Raises:
            ValueError: not a certificate that can be read.
        """
        with _unreadable_is_value_error():
            return cls._from_x509(x509.load_der_x509_certificate(der))

    @classmethod
    def from_pem(cls, pem: bytes) -> PushCertificate:
        """Parse the first CERTIFICATE block of a PEM text.

        Raises:
            ValueError: no certificate in it, or one that cannot be read.
        """
        with _unreadable_is_value_error():
            return cls._from_x509(x509.load_pem_x509_certificate(pem))

    @classmethod
    def _from_x509(cls, certificate: x509.Certificate) -> PushCertificate:
        der = certificate.public_bytes(Encoding.DER)
        topic = _first(certificate.subject, NameOID.USER_ID)
        return cls(
            der=der,
            topic=None if topic is None else Topic(topic),
            common_name=_first(certificate.subject, NameOID.COMMON_NAME),
            issuer=certificate.issuer.rfc4514_string(),
            serial=serial_hex(certificate.serial_number),
            fingerprint=hashlib.sha256(der).hexdigest(),
            key_fingerprint=spki_fingerprint(
                certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            ),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            client_auth=_has_client_auth(certificate),
            push=_has_extension(certificate, PUSH_EXTENSION),
        )

    @property
    def pem(self) -> bytes:
        """The certificate alone, PEM."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Pair:
    """A push certificate and its private key (PKCS#1 PEM, the one form every server takes).

    The key is left out of `repr`; a Pair is never logged, serialised or put into an event.
    """

    certificate: PushCertificate
    key: bytes = field(repr=False)


def end_of_validity(content: bytes) -> datetime:
    """When a certificate ends (the first of a PEM text, or one in DER), whatever its names are like.

    Names that are no UTF-8 make a certificate unreadable as a whole; its date must be known all the same.

    Raises:
        ValueError: no certificate in it.
    """
    load = x509.load_pem_x509_certificate if b"-----BEGIN" in content else x509.load_der_x509_certificate
    with _unreadable_is_value_error():
        return load(content).not_valid_after_utc


def ends_of_validity(content: bytes) -> list[datetime]:
    """When each of some certificates ends: PEM (any number), DER, or PKCS#7 as a SCEP server answers.

    Raises:
        ValueError: no certificate in it, or one of them is broken.
    """
    with _unreadable_is_value_error():
        if begun := len(_BEGUN.findall(content)):
            found = x509.load_pem_x509_certificates(content)
            if len(found) < begun:  # the library passes over a block that does not end
                raise ValueError("a block is cut off")
        else:
            try:
                found = [x509.load_der_x509_certificate(content)]
            except ValueError:
                found = pkcs7.load_der_pkcs7_certificates(content)
        return [certificate.not_valid_after_utc for certificate in found]


def serial_hex(number: int) -> str:
    """A serial number the way we write it everywhere: lower-case hex, whole bytes."""
    text = f"{number:x}"
    return text.zfill(len(text) + len(text) % 2)


def spki_fingerprint(spki_der: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo: the name of a key pair, the same for key, CSR, certificate."""
    return hashlib.sha256(spki_der).hexdigest()


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until `not_after`, rounded down; negative once it has passed."""
    return int((not_after - now).total_seconds() // _SECONDS_A_DAY)


@contextmanager
def _unreadable_is_value_error() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise ValueError("a part of the certificate cannot be read") from error


def _first(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else None


def _has_extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bool:
    return any(extension.oid == oid for extension in certificate.extensions)


def _has_client_auth(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage
