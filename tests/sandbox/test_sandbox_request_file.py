"""The portal takes exactly the file Apple describes, and says Apple's words to any other."""

from __future__ import annotations

import base64
import dataclasses
import plistlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from renewctl.sandbox.authority import VENDOR_MARK, Apple, Issued
from renewctl.sandbox.request_file import UploadRefused, check
from tests.support import sandbox_parts as parts

VERIFICATION = "Certificate Signature Verification failed"
INVALID = "Invalid Certificate Signing Request"


@pytest.fixture(scope="module")
def apple() -> Apple:
    """One fake Apple for all claims."""
    return Apple.create(parts.now())


@pytest.fixture(scope="module")
def vendor(apple: Apple) -> Issued:
    """A vendor whose certificate is valid."""
    return apple.vendor("Example Corp", ends=parts.in_days(100))


@pytest.fixture(scope="module")
def good(apple: Apple, vendor: Issued) -> parts.Request:
    """A request the portal takes."""
    return parts.request(apple, vendor)


def refusal(content: bytes, apple: Apple) -> UploadRefused:
    """Upload, expecting a refusal."""
    with pytest.raises(UploadRefused) as caught:
        check(content, apple.root.certificate, parts.now())
    return caught.value


def test_a_good_request_is_taken(apple: Apple, good: parts.Request) -> None:
    """The public key is the CSR's and the vendor's name comes from its certificate."""
    upload = check(good.file(), apple.root.certificate, parts.now())
    assert upload.public_key == good.csr.public_key()
    assert upload.vendor_name == "Example Corp"


def test_line_breaks_in_the_base64_do_no_harm(apple: Apple, good: parts.Request) -> None:
    """A file wrapped at 76 characters with CRLF is the same file."""
    wrapped = base64.encodebytes(base64.b64decode(good.file())).replace(b"\n", b"\r\n")
    upload = check(wrapped, apple.root.certificate, parts.now())
    assert upload.vendor_name == "Example Corp"


def _encoded(values: object) -> bytes:
    return base64.b64encode(plistlib.dumps(values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _: b"", "not base64 of a plist"),
        (lambda _: b"<!doctype html>", "not base64 of a plist"),
        (lambda _: base64.b64encode(b"<plist><dict>"), "not base64 of a plist"),
        (lambda good: good.csr.public_bytes(Encoding.PEM), "not base64 of a plist"),
        (lambda _: _encoded(["a", "list"]), "not the three keys"),
        (lambda good: _encoded(good.plist() | {"More": "x"}), "not the three keys"),
        (lambda good: _encoded(good.plist() | {"PushCertSignature": b"x"}), "values must be strings"),
        (lambda good: _encoded(good.plist() | {"PushCertSignature": "%"}), "PushCertSignature is not base64"),
        (lambda good: _encoded(good.plist() | {"PushCertRequestCSR": "QUJD"}), "the CSR is not DER"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    spoil: Callable[[parts.Request], bytes], why: str, apple: Apple, good: parts.Request
) -> None:
    """The page says "Invalid Certificate Signing Request", whatever else it is."""
    refused = refusal(spoil(good), apple)
    assert (refused.text, refused.why) == (INVALID, why)


def test_the_csr_must_be_rsa_2048_and_signed_by_its_key(apple: Apple, vendor: Issued) -> None:
    """A larger key, an elliptic one, and a CSR changed after signing are refused."""
    large = parts.request(apple, vendor, rsa.generate_private_key(65537, 3072))
    assert refusal(large.file(), apple).why == "the key is not RSA 2048"
    curve = parts.request(apple, vendor, ec.generate_private_key(ec.SECP256R1()))
    assert refusal(curve.file(), apple).why == "the key is not RSA 2048"
    strong = parts.request(apple, vendor, csr_hash=SHA384())
    assert refusal(strong.file(), apple).why == "the CSR is not signed with SHA-256"
    values = parts.request(apple, vendor).plist()
    der = bytearray(base64.b64decode(str(values["PushCertRequestCSR"])))
    der[-1] ^= 1
    changed = _encoded(values | {"PushCertRequestCSR": base64.b64encode(der).decode()})
    assert refusal(changed, apple).why == "the CSR's own signature"


def test_the_chain_must_be_vendor_intermediate_root_in_order(apple: Apple, good: parts.Request) -> None:
    """Two certificates, a wrong order, another root and a chain that is no PEM are refused."""
    vendor, wwdr, root = good.chain
    short = dataclasses.replace(good, chain=(vendor, wwdr))
    assert "2 certificates" in refusal(short.file(), apple).why
    turned = dataclasses.replace(good, chain=(vendor, root, wwdr))
    assert "in order" in refusal(turned.file(), apple).why
    other = Apple.create(parts.now())
    assert refusal(good.file(), other).why == "not Apple's root"
    garbled = _encoded(good.plist() | {"PushCertCertificateChain": "nothing"})
    assert refusal(garbled, apple).text == VERIFICATION


def test_pem_lines_must_be_64_long(apple: Apple, good: parts.Request) -> None:
    """A chain wrapped at another width is refused, as Apple does."""
    text = str(good.plist()["PushCertCertificateChain"])
    joined = text.replace("-----BEGIN CERTIFICATE-----\nM", "-----BEGIN CERTIFICATE-----\nM\n", 1)
    refused = refusal(_encoded(good.plist() | {"PushCertCertificateChain": joined}), apple)
    assert refused.why == "PEM lines are not 64 characters"


def test_the_signer_must_be_an_mdm_vendor(apple: Apple, good: parts.Request) -> None:
    """A certificate of the right issuer without the vendor mark does not count."""
    key = rsa.generate_private_key(65537, 2048)
    plain = apple.wwdr.issue(
        apple.root.certificate.subject,
        key.public_key(),
        ends=parts.in_days(9),
        lasts=timedelta(days=365),
        extensions=[],
    )
    request = dataclasses.replace(good, chain=(plain, *good.chain[1:]), vendor_key=key)
    assert refusal(request.file(), apple).why == "not an MDM vendor certificate"


def test_the_vendors_key_must_be_rsa(apple: Apple, good: parts.Request) -> None:
    """A vendor certificate over an elliptic key cannot have made the signature Apple asks for."""
    key = ec.generate_private_key(ec.SECP256R1())
    mark = (x509.UnrecognizedExtension(VENDOR_MARK, b"\x05\x00"), False)
    subject = apple.root.certificate.subject
    elliptic = apple.wwdr.issue(
        subject, key.public_key(), ends=parts.in_days(9), lasts=timedelta(days=365), extensions=[mark]
    )
    request = dataclasses.replace(good, chain=(elliptic, *good.chain[1:]))
    assert refusal(request.file(), apple).why == "the vendor's key is not RSA"


def test_an_expired_vendor_gets_apples_words(apple: Apple) -> None:
    """It says "…because the signing certificate is expired"."""
    expired = apple.vendor("Late Corp", ends=parts.in_days(-1))
    refused = refusal(parts.request(apple, expired).file(), apple)
    assert refused.text == f"{VERIFICATION} because the signing certificate is expired"
    assert refused.code == -80_018


def test_the_signature_must_be_sha256_by_the_vendor(
    apple: Apple, vendor: Issued, good: parts.Request
) -> None:
    """SHA-1, and a signature by another key, are refused."""
    old = parts.request(apple, vendor, sha1=True)
    assert "signature is invalid" in refusal(old.file(), apple).text
    stranger = dataclasses.replace(good, vendor_key=rsa.generate_private_key(65537, 2048))
    assert "signature is invalid" in refusal(stranger.file(), apple).text
