"""A fake Apple: certificates shaped like the real ones, without a network and without configuration.

::

    apple = Apple.create(now)
    vendor = apple.vendor("Example Corp", ends=now + timedelta(days=200))
    old = apple.push_pair(new_topic(), ends=now + timedelta(days=42))
    tls = web_root(now).server("localhost", "127.0.0.1")

Shapes are those of facts read in real certificates (Apple's issuers, a push certificate of 2021).
"""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WWDR_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
"""In Apple's Worldwide Developer Relations intermediates (Apple's WWDR certification practice statement)."""

VENDOR_MARK = x509.ObjectIdentifier("1.2.840.113635.100.4.12")
"""In an "MDM Vendor CSR Signing Certificate"."""

PUSH_MARK = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
"""In every push certificate for production."""

APPLE_POLICY = x509.ObjectIdentifier("1.2.840.113635.100.5.1")
"""The certificate policy named in push certificates."""

PUSH_ISSUER = "Apple Application Integration 2 Certification Authority"
"""Common name of the issuer of push certificates."""

YEAR = timedelta(days=365)
"""A push certificate, and a vendor certificate, last exactly so long."""

_CA_LIFE = timedelta(days=3650)
_DER_NULL = b"\x05\x00"  # the value of Apple's marker extensions

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate alone, PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key unencrypted, PKCS#1 (RSA) or SEC1 (EC) PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `name.pem` and `name.key` (0600); returns both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key

    @classmethod
    def read(cls, folder: Path, name: str) -> Issued:
        """Read back what `write` wrote."""
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
        if not isinstance(key, PrivateKey):
            raise TypeError(type(key))
        return cls(x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()), key)

    def issue(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        *,
        ends: datetime,
        lasts: timedelta,
        extensions: list[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        """Sign a certificate with this one; `extensions` are (value, critical)."""
        return _signed(
            subject, self.certificate.subject, public_key, self.key, (ends - lasts, ends), extensions
        )

    def server(self, *names: str, now: datetime | None = None) -> Issued:
        """A TLS server certificate for host names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [_alternative(name) for name in names]
        certificate = self.issue(
            _name(common=names[0]),
            key.public_key(),
            ends=(now or datetime.now(UTC)) + timedelta(days=30),
            lasts=timedelta(days=31),
            extensions=[
                (x509.SubjectAlternativeName(alternatives), False),
                *_leaf_extensions(ExtendedKeyUsageOID.SERVER_AUTH),
            ],
        )
        return Issued(certificate, key)

    def device_identity(self, name: str, key: PrivateKey, *, now: datetime) -> x509.Certificate:
        """The identity certificate of one device; devices of the sandbox share one key."""
        return self.issue(
            _name(common=name),
            key.public_key(),
            ends=now + YEAR,
            lasts=YEAR + timedelta(days=1),
            extensions=_leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH),
        )


@dataclass(frozen=True)
class Apple:
    """Apple's root, the intermediate above vendors, and the issuer of push certificates."""

    root: Issued
    wwdr: Issued
    push_issuer: Issued

    @classmethod
    def create(cls, now: datetime) -> Apple:
        """Make all three, valid from a year before `now`."""
        root = _authority(_apple_name("Apple Root CA", "Apple Certification Authority"), now, None, [])
        wwdr = _authority(
            _apple_name("Apple Worldwide Developer Relations Certification Authority", "G3"),
            now,
            root,
            [(x509.UnrecognizedExtension(WWDR_MARK, _DER_NULL), False)],
        )
        issuer = _authority(_apple_name(PUSH_ISSUER, "Apple Certification Authority"), now, root, [])
        return cls(root, wwdr, issuer)

    def vendor(self, name: str, *, ends: datetime) -> Issued:
        """An MDM vendor certificate that signs requests; one year, up to `ends`."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = self.wwdr.issue(
            _name(common=f"MDM Vendor: {name}", organization=name, country="JP"),
            key.public_key(),
            ends=ends,
            lasts=YEAR,
            extensions=[
                *_leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH),
                (x509.UnrecognizedExtension(VENDOR_MARK, _DER_NULL), False),
            ],
        )
        return Issued(certificate, key)

    def push_certificate(
        self, public_key: rsa.RSAPublicKey, topic: str, *, ends: datetime
    ) -> x509.Certificate:
        """A push certificate as the portal issues it, for a key somebody else holds."""
        return self.push_issuer.issue(
            _push_name(topic),
            public_key,
            ends=ends,
            lasts=YEAR,
            extensions=[
                *_leaf_extensions(ExtendedKeyUsageOID.CLIENT_AUTH),
                (x509.CertificatePolicies([x509.PolicyInformation(APPLE_POLICY, None)]), False),
                (_crl("http://crl.apple.com/aai2ca.crl"), False),
                (x509.UnrecognizedExtension(PUSH_MARK, _DER_NULL), False),
            ],
        )

    def push_pair(self, topic: str, *, ends: datetime) -> Issued:
        """A push certificate together with a fresh RSA 2048 key."""
        key = rsa.generate_private_key(65537, 2048)
        return Issued(self.push_certificate(key.public_key(), topic, ends=ends), key)

    def save(self, folder: Path) -> None:
        """Write `apple-root`, `apple-wwdr`, `apple-aai2`, each .pem and .key."""
        self.root.write(folder, "apple-root")
        self.wwdr.write(folder, "apple-wwdr")
        self.push_issuer.write(folder, "apple-aai2")

    @classmethod
    def load(cls, folder: Path) -> Apple:
        """Read what `save` wrote."""
        return cls(*(Issued.read(folder, f"apple-{name}") for name in ("root", "wwdr", "aai2")))


def web_root(now: datetime) -> Issued:
    """The root above the push service's TLS certificate."""
    return _authority(_name(common="Sandbox Web Root", organization="Sandbox"), now, None, [], small=True)


def device_root(now: datetime) -> Issued:
    """The authority that issues device identities."""
    return _authority(_name(common="Sandbox Device CA", organization="Sandbox"), now, None, [], small=True)


def new_topic() -> str:
    """A topic nobody has yet."""
    return f"com.apple.mgmt.External.{uuid.uuid4()}"


def topic_of(certificate: x509.Certificate) -> str | None:
    """The subject's UID, or None."""
    found = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(found[0].value) if found else None


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number in lower-case hex, whole bytes."""
    number = certificate.serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex()


def _name(*, common: str, organization: str | None = None, country: str | None = None) -> x509.Name:
    parts = [
        (NameOID.COMMON_NAME, common),
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.COUNTRY_NAME, country),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _apple_name(common: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Apple Inc."),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _push_name(topic: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, topic),
            x509.NameAttribute(NameOID.COMMON_NAME, f"APSP:{topic.rsplit('.', 1)[-1]}"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _authority(
    name: x509.Name,
    now: datetime,
    parent: Issued | None,
    marks: list[tuple[x509.ExtensionType, bool]],
    *,
    small: bool = False,
) -> Issued:
    """A CA certificate, self-signed without a parent; `small`: an EC key, quicker to make."""
    key: PrivateKey = (
        ec.generate_private_key(ec.SECP256R1()) if small else rsa.generate_private_key(65537, 2048)
    )
    start = now - YEAR - timedelta(days=30)  # before everything it will have issued in the past
    certificate = _signed(
        name,
        parent.certificate.subject if parent else name,
        key.public_key(),
        parent.key if parent else key,
        (start, start + _CA_LIFE),
        [(x509.BasicConstraints(ca=True, path_length=None), True), (_key_usage(ca=True), True), *marks],
    )
    return Issued(certificate, key)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: PublicKey,
    issuer_key: PrivateKey,
    validity: tuple[datetime, datetime],
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=validity[0],
        not_valid_after=validity[1],
        extensions=[],
    )
    # Both key identifiers: path building chooses issuers by them, and a foreign issuer of the same
    # name must look unknown, as it does to Apple, rather than like a broken signature.
    identifiers: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    ]
    for value, critical in [*extensions, *identifiers]:
        builder = builder.add_extension(value, critical)
    return builder.sign(issuer_key, SHA256())


def _leaf_extensions(usage: x509.ObjectIdentifier) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(ca=False), True),
        (x509.ExtendedKeyUsage([usage]), False),
    ]


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _crl(url: str) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)]
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
