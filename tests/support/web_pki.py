"""Certificates for servers and clients of the tests: a small authority of its own, elliptic curves, quick."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A CA; `pem` is its certificate."""

    def __init__(self, name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def issue(
        self, common_name: str, sans: Sequence[x509.GeneralName] = (), passphrase: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """Certificate and key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name), self._name, key.public_key())
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = builder.add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        plain = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)
        return certificate.public_bytes(_PEM), plain

    def server(self, common_name: str = "server") -> tuple[bytes, bytes]:
        """For 127.0.0.1 and localhost."""
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return self.issue(common_name, [address, x509.DNSName("localhost")])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
    )


def write_pair(folder: Path, pair: tuple[bytes, bytes], name: str = "server") -> None:
    """`NAME.pem` and `NAME.key`, each replaced whole."""
    for suffix, content in zip(("pem", "key"), pair, strict=True):
        beside = folder / f"{name}.{suffix}.new"
        beside.write_bytes(content)
        beside.replace(folder / f"{name}.{suffix}")
