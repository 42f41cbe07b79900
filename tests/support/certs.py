"""Look-alikes of Apple's certificates with chosen dates, made with `cryptography` alone.

Shares no code with the product or its sandbox: what the tests believe a push certificate looks like is
written here a second time, from facts/mdm.md §4 (a real certificate was read for it).

::

    apple = apple_like()
    old = apple.push(TOPIC, not_after=NOW + timedelta(days=42))
    new = apple.push(TOPIC, key="new")
    vendor = apple.vendor()
    old.pem, old.der, old.key_pem, old.certificate
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""The tests' today; certificates are valid around it unless told otherwise."""

TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
OTHER_TOPIC = "com.apple.mgmt.External.99999999-8888-4777-8666-555555555555"

VENDOR_OID = x509.ObjectIdentifier("1.2.840.113635.100.4.12")
WWDR_OID = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
PUSH_OID = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
_ASN1_NULL = b"\x05\x00"


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of that name; made once a process, since making one takes a tenth of a second."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pkcs1(key: rsa.RSAPrivateKey) -> bytes:
    """A key the way every server takes it: `RSA PRIVATE KEY`, PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate alone, PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate alone, DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The key alone, PKCS#1 PEM, unencrypted."""
        return pkcs1(self.key)

    @property
    def serial(self) -> str:
        """Serial number, lower-case hex in whole bytes."""
        return self.certificate.serial_number.to_bytes(
            (self.certificate.serial_number.bit_length() + 7) // 8, "big"
        ).hex()


def _name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def apple_name(common_name: str, unit: str = "Apple Certification Authority") -> x509.Name:
    """A name the way Apple's authorities bear it."""
    return _name(
        (NameOID.COMMON_NAME, common_name),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.ORGANIZATION_NAME, "Apple Inc."),
        (NameOID.COUNTRY_NAME, "US"),
    )


def issue(
    subject: x509.Name,
    key: rsa.RSAPrivateKey,
    *,
    issuer: Issued | None,
    not_before: datetime,
    not_after: datetime,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    serial: int | None = None,
) -> Issued:
    """Any certificate at all; `issuer` None signs itself."""
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _authority(
    subject: x509.Name, key: str, issuer: Issued | None, marker: x509.ObjectIdentifier | None = None
) -> Issued:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=None), True)
    ]
    if marker is not None:
        extensions.append((x509.UnrecognizedExtension(marker, _ASN1_NULL), False))
    return issue(
        subject,
        rsa_key(key),
        issuer=issuer,
        not_before=datetime(2020, 2, 19, tzinfo=UTC),
        not_after=datetime(2040, 2, 20, tzinfo=UTC),
        extensions=extensions,
    )


@dataclass(frozen=True)
class AppleLike:
    """Apple's authorities: root, the developers' intermediate (WWDR), the push certificates' issuer (AAI2)."""

    root: Issued
    wwdr: Issued
    aai2: Issued

    def vendor(
        self,
        *,
        key: str = "vendor",
        not_before: datetime = NOW - timedelta(days=100),
        not_after: datetime = NOW + timedelta(days=265),
        marked: bool = True,
    ) -> Issued:
        """An MDM vendor's CSR signing certificate; `marked` False leaves Apple's marker out."""
        extensions: list[tuple[x509.ExtensionType, bool]] = []
        if marked:
            extensions.append((x509.UnrecognizedExtension(VENDOR_OID, _ASN1_NULL), False))
        subject = _name(
            (NameOID.COMMON_NAME, "MDM Vendor: Example K.K."),
            (NameOID.ORGANIZATION_NAME, "Example K.K."),
            (NameOID.COUNTRY_NAME, "JP"),
        )
        return issue(
            subject,
            rsa_key(key),
            issuer=self.wwdr,
            not_before=not_before,
            not_after=not_after,
            extensions=extensions,
        )

    def push(
        self,
        topic: str | None = TOPIC,
        *,
        key: str | rsa.RSAPrivateKey = "push",
        not_before: datetime = NOW - timedelta(days=1),
        not_after: datetime = NOW + timedelta(days=364),
        client_auth: bool = True,
        marked: bool = True,
        serial: int | None = None,
    ) -> Issued:
        """A push certificate as the portal issues it; the flags leave one of its marks out."""
        parts = [] if topic is None else [(NameOID.USER_ID, topic)]
        tail = "" if topic is None else topic.rsplit(".", 1)[-1]
        subject = _name(*parts, (NameOID.COMMON_NAME, f"APSP:{tail}"), (NameOID.COUNTRY_NAME, "US"))
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client_auth else ExtendedKeyUsageOID.SERVER_AUTH
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.ExtendedKeyUsage([usage]), False)]
        if marked:
            extensions.append((x509.UnrecognizedExtension(PUSH_OID, _ASN1_NULL), False))
        return issue(
            subject,
            rsa_key(key) if isinstance(key, str) else key,
            issuer=self.aai2,
            not_before=not_before,
            not_after=not_after,
            extensions=extensions,
            serial=serial,
        )


@cache
def apple_like(generation: str = "first") -> AppleLike:
    """A set of authorities; another `generation` bears the same names with other keys."""
    root = _authority(apple_name("Apple Root CA"), f"root {generation}", None)
    wwdr = apple_name("Apple Worldwide Developer Relations Certification Authority", "G3")
    aai2 = apple_name("Apple Application Integration 2 Certification Authority")
    return AppleLike(
        root=root,
        wwdr=_authority(wwdr, f"wwdr {generation}", root, WWDR_OID),
        aai2=_authority(aai2, f"aai2 {generation}", root),
    )


def with_broken_signature(issued: Issued) -> Issued:
    """The same certificate, its signature's last bit turned."""
    der = bytearray(issued.der)
    der[-1] ^= 1
    return replace(issued, certificate=x509.load_der_x509_certificate(bytes(der)))
