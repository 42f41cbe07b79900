"""A push certificate as a value."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from renewctl.certificate.private_key import fingerprint, pkcs1
from renewctl.certificate.pushcert import PushCertificate, days_left, serial_hex
from renewctl.errors import Unusable
from tests.support.certs import NOW, TOPIC, apple_like, rsa_key

APPLE = apple_like()
PKCS8 = rsa_key("push").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_it_says_what_openssl_says(tmp_path: Path) -> None:
    """Serial and fingerprint are written as everywhere else, but for case and colons."""
    issued = APPLE.push(serial=0x0ABC)
    (tmp_path / "c.pem").write_bytes(issued.pem)
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "c.pem", "-noout", "-serial", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    certificate = PushCertificate.from_pem(issued.pem)
    assert shown.splitlines() == [
        f"serial={certificate.serial.upper()}",
        "sha256 Fingerprint=" + ":".join(f"{byte:02X}" for byte in bytes.fromhex(certificate.fingerprint)),
    ]
    assert certificate.topic == TOPIC
    assert (certificate.client_auth, certificate.push) == (True, True)
    assert certificate.not_after == issued.certificate.not_valid_after_utc
    assert PushCertificate.from_pem(certificate.pem) == certificate


def test_what_is_missing_is_said_to_be_missing() -> None:
    """No topic, no client authentication, no mark of Apple's."""
    certificate = PushCertificate.from_der(APPLE.push(None, client_auth=False, marked=False).der)
    assert (certificate.topic, certificate.client_auth, certificate.push) == (None, False, False)
    root = PushCertificate.from_der(APPLE.root.der)
    assert (root.client_auth, root.common_name) == (False, "Apple Root CA")


def test_the_three_halves_of_a_pair_bear_one_fingerprint() -> None:
    """Certificate and key, whichever form the key is in."""
    certificate = PushCertificate.from_der(APPLE.push().der)
    assert certificate.key_fingerprint == fingerprint(PKCS8, "k") == fingerprint(pkcs1(PKCS8, "k"), "k")


def test_every_rsa_key_becomes_pkcs1() -> None:
    """The one form every server takes."""
    assert pkcs1(PKCS8, "k").startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert pkcs1(pkcs1(PKCS8, "k"), "k") == pkcs1(PKCS8, "k")


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        rsa_key("push").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"locked")),
    ],
    ids=["empty", "damaged", "elliptic", "encrypted"],
)
def test_other_keys_are_unusable(key: bytes) -> None:
    """Never an exception of the library."""
    with pytest.raises(Unusable):
        pkcs1(key, "k")


def test_a_key_of_another_kind_can_be_looked_at() -> None:
    """A certificate over an elliptic or Edwards key is read like any other."""
    for key in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
        )
        der = builder.sign(rsa_key("push"), hashes.SHA256()).public_bytes(Encoding.DER)
        assert len(PushCertificate.from_der(der).key_fingerprint) == 64


def test_a_name_that_is_not_utf8_is_a_value_error() -> None:
    """The library reads names late; the value is complete or it is not made."""
    der = APPLE.push().der.replace(b"APSP:", b"\xff\xfeSP:")
    with pytest.raises(ValueError, match=r"."):
        PushCertificate.from_der(der)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x50"),  # version 81
        (b"\x13\x02US", b"\x03\x02US"),  # the country as a BIT STRING
        (b"\x06\x03\x55\x1d\x23", b"\x06\x03\x55\x1d\x0e"),  # the same extension twice
    ],
)
def test_oddities_the_library_has_other_exceptions_for(old: bytes, new: bytes) -> None:
    """Found by turning bits at random; all of them are a ValueError here."""
    der = APPLE.push().der
    assert old in der
    with pytest.raises(ValueError, match=r"."):
        PushCertificate.from_der(der.replace(old, new))


def test_an_unknown_kind_of_key_is_a_value_error() -> None:
    """The object identifier of RSA, turned into one nobody has."""
    rsa = bytes.fromhex("2a864886f70d010101")
    der = APPLE.push().der.replace(rsa, bytes.fromhex("2a864886f70d017f7f"))
    with pytest.raises(ValueError, match=r"."):
        PushCertificate.from_der(der)


@pytest.mark.parametrize(("left", "days"), [(86_400, 1), (86_399, 0), (0, 0), (-1, -1), (-86_401, -2)])
def test_days_left_are_rounded_down(left: int, days: int) -> None:
    """A day that has begun is not left; a second past the end is -1."""
    assert days_left(NOW + timedelta(seconds=left), NOW) == days


@pytest.mark.parametrize(("number", "text"), [(0, "00"), (0xA, "0a"), (0x1234, "1234"), (0x123, "0123")])
def test_serials_are_whole_bytes(number: int, text: str) -> None:
    """Lower case, no separators."""
    assert serial_hex(number) == text
