"""The fake Apple's certificates have the shapes of the real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from renewctl.sandbox.authority import (
    Apple,
    Issued,
    device_root,
    new_topic,
    serial_of,
    topic_of,
    web_root,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def apple() -> Apple:
    """One fake Apple for all claims."""
    return Apple.create(NOW)


def oids(certificate: x509.Certificate) -> set[str]:
    """The extensions of a certificate."""
    return {extension.oid.dotted_string for extension in certificate.extensions}


def test_a_push_certificate_looks_like_apples(apple: Apple) -> None:
    """UID, CN and C; RSA 2048, SHA-256; digitalSignature; clientAuth only; Apple's marker; 365 days."""
    topic = new_topic()
    pair = apple.push_pair(topic, ends=NOW + timedelta(days=42))
    leaf = pair.certificate
    assert [(a.oid, a.value) for a in leaf.subject] == [
        (NameOID.USER_ID, topic),
        (NameOID.COMMON_NAME, "APSP:" + topic.removeprefix("com.apple.mgmt.External.")),
        (NameOID.COUNTRY_NAME, "US"),
    ]
    assert isinstance(leaf.signature_hash_algorithm, SHA256)
    assert isinstance(pair.key, rsa.RSAPrivateKey)
    assert pair.key.key_size == 2048
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any((usage.key_encipherment, usage.key_cert_sign, usage.key_agreement))
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert {"1.2.840.113635.100.6.3.2"} <= oids(leaf)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=365)
    leaf.verify_directly_issued_by(apple.push_issuer.certificate)
    assert "Apple Application Integration 2 Certification Authority" in leaf.issuer.rfc4514_string()


def test_dates_are_the_callers(apple: Apple) -> None:
    """A certificate that ends in 42 days was issued 323 days ago; one can have ended yesterday."""
    soon = apple.push_pair(new_topic(), ends=NOW + timedelta(days=42)).certificate
    gone = apple.push_pair(new_topic(), ends=NOW - timedelta(days=1)).certificate
    assert soon.not_valid_before_utc == NOW - timedelta(days=323)
    assert gone.not_valid_after_utc < NOW


def test_a_vendor_chains_to_apples_root(apple: Apple) -> None:
    """Vendor, WWDR and root carry their marks and sign each other in that order."""
    vendor = apple.vendor("Example Corp", ends=NOW + timedelta(days=200)).certificate
    assert "1.2.840.113635.100.4.12" in oids(vendor)
    assert "1.2.840.113635.100.6.2.1" in oids(apple.wwdr.certificate)
    vendor.verify_directly_issued_by(apple.wwdr.certificate)
    apple.wwdr.certificate.verify_directly_issued_by(apple.root.certificate)
    apple.root.certificate.verify_directly_issued_by(apple.root.certificate)


def test_what_is_saved_can_be_loaded(apple: Apple, tmp_path: Path) -> None:
    """Apple survives a trip over the disk; keys are PKCS#1 and 0600."""
    apple.save(tmp_path)
    assert Apple.load(tmp_path).push_issuer.certificate == apple.push_issuer.certificate
    assert (tmp_path / "apple-aai2.key").read_bytes().startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert (tmp_path / "apple-aai2.key").stat().st_mode & 0o777 == 0o600


def test_only_rsa_and_ec_keys_are_read(tmp_path: Path) -> None:
    """A key of another kind beside a certificate is refused, not used by mistake."""
    web_root(NOW).write(tmp_path, "odd")
    odd = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "odd.key").write_bytes(odd)
    with pytest.raises(TypeError):
        Issued.read(tmp_path, "odd")


def test_the_push_service_can_be_named_by_host_and_address() -> None:
    """A server certificate names hosts and IP addresses, and is for servers only."""
    leaf = web_root(NOW).server("api.push.apple.com", "localhost", "127.0.0.1", now=NOW).certificate
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.push.apple.com", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_each_device_has_a_certificate_of_its_own() -> None:
    """Devices share a key but not a certificate, as servers tie an enrollment to a certificate."""
    root, key = device_root(NOW), ec.generate_private_key(ec.SECP256R1())
    one, two = (root.device_identity(name, key, now=NOW) for name in ("one", "two"))
    assert one != two
    assert one.public_key() == two.public_key()
    one.verify_directly_issued_by(root.certificate)


def test_serials_and_topics_read_as_everywhere(apple: Apple) -> None:
    """A serial is lower-case hex in whole bytes; a certificate without UID has no topic."""
    pair = apple.push_pair(new_topic(), ends=NOW)
    assert int(serial_of(pair.certificate), 16) == pair.certificate.serial_number
    assert len(serial_of(pair.certificate)) % 2 == 0
    assert topic_of(apple.root.certificate) is None
    read = load_pem_private_key(pair.key_pem, None)
    assert read.public_key() == pair.certificate.public_key()
