"""The portal's file: made exactly so, and taken in from a vendor only if it is so."""

from __future__ import annotations

import base64
import plistlib
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7
from cryptography.x509.oid import NameOID

from renewctl import messages
from renewctl.certificate import request
from renewctl.certificate.findings import Level
from renewctl.certificate.private_key import fingerprint
from renewctl.errors import Refused, RenewctlError, Unusable
from renewctl.reasons import Reason
from tests.support.certs import NOW, Issued, apple_like, pkcs1, rsa_key

APPLE = apple_like()
VENDOR = APPLE.vendor()
ABOVE = [APPLE.wwdr.pem, APPLE.root.pem]
KEY = pkcs1(rsa_key("push"))
CSR = request.make_csr(KEY, common_name="example", email="apple@example.com", country="JP")
DER = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)


def file(
    *,
    der: bytes = DER,
    vendor: Issued = VENDOR,
    chain: bytes | None = None,
    digest: hashes.HashAlgorithm | None = None,
    signature: bytes | None = None,
) -> bytes:
    """A request as a vendor makes it, with one thing wrong at will; XML."""
    made = vendor.key.sign(der, padding.PKCS1v15(), digest or hashes.SHA256())
    return plistlib.dumps(
        {
            "PushCertRequestCSR": base64.b64encode(der).decode(),
            "PushCertCertificateChain": (chain or vendor.pem + b"".join(ABOVE)).decode(),
            "PushCertSignature": base64.b64encode(signature or made).decode(),
        }
    )


def test_the_file_is_what_the_portal_takes(tmp_path: Path) -> None:
    """Taken apart by hand and judged by OpenSSL alone: three keys, chain in order, lines of 64, signature."""
    signed = request.sign(CSR, VENDOR.pem, ABOVE, VENDOR.key_pem)
    xml = base64.b64decode(signed, validate=True)
    assert xml.startswith(b"<?xml version=")
    plist = plistlib.loads(xml)
    assert set(plist) == {"PushCertRequestCSR", "PushCertCertificateChain", "PushCertSignature"}
    assert plist["PushCertCertificateChain"].encode() == VENDOR.pem + APPLE.wwdr.pem + APPLE.root.pem
    assert max(map(len, plist["PushCertCertificateChain"].splitlines())) == 64

    (tmp_path / "csr.der").write_bytes(base64.b64decode(plist["PushCertRequestCSR"], validate=True))
    (tmp_path / "signature").write_bytes(base64.b64decode(plist["PushCertSignature"], validate=True))
    (tmp_path / "vendor.pem").write_bytes(VENDOR.pem)
    (tmp_path / "wwdr.pem").write_bytes(APPLE.wwdr.pem)
    (tmp_path / "root.pem").write_bytes(APPLE.root.pem)

    def openssl(*arguments: str) -> str:
        done = subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    openssl("x509", "-in", "vendor.pem", "-pubkey", "-noout", "-out", "vendor.pub")
    verified = openssl("dgst", "-sha256", "-verify", "vendor.pub", "-signature", "signature", "csr.der")
    assert verified == "Verified OK\n"
    at = ["-attime", str(int(NOW.timestamp()))]
    assert "OK" in openssl("verify", *at, "-CAfile", "root.pem", "-untrusted", "wwdr.pem", "vendor.pem")
    shown = openssl("req", "-inform", "DER", "-in", "csr.der", "-noout", "-verify", "-subject", "-text")
    assert "verify OK" in shown
    assert "subject=C = JP, CN = example, emailAddress = apple@example.com" in shown
    assert "sha256WithRSAEncryption" in shown
    assert "Public-Key: (2048 bit)" in shown


def test_a_new_key_is_rsa_2048_in_pkcs1() -> None:
    """And another one each time."""
    first, second = request.make_key(), request.make_key()
    assert first.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    key = load_pem_private_key(first, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)
    assert fingerprint(first, "k") != fingerprint(second, "k")


@pytest.mark.parametrize(
    ("name", "email", "shown", "mail"),
    [
        ("example", None, "example", []),
        ("x" * 70, "", "x" * 64, []),
        ("本社" * 20, "アップル@example.com", "本社" * 10 + "本", []),
        ("a", "a@example.com", "a", ["a@example.com"]),
    ],
)
def test_names_that_do_not_fit_are_cut(name: str, email: str | None, shown: str, mail: list[str]) -> None:
    """A common name holds 64 octets, a mail address ASCII."""
    subject = x509.load_pem_x509_csr(request.make_csr(KEY, common_name=name, email=email)).subject
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [shown]
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)] == mail


def test_signing_picks_the_authority_that_issued() -> None:
    """Out of several generations of the intermediate, in any order and form."""
    other = apple_like("second")
    pool = [other.wwdr.der, APPLE.root.der, other.root.pem + APPLE.wwdr.pem]
    expected = plistlib.loads(base64.b64decode(request.sign(CSR, VENDOR.pem, ABOVE, VENDOR.key_pem)))
    assert plistlib.loads(base64.b64decode(request.sign(CSR, VENDOR.der, pool, VENDOR.key_pem))) == expected


@pytest.mark.parametrize(
    ("vendor", "above", "key", "reason"),
    [
        (VENDOR.pem, [APPLE.root.pem], VENDOR.key_pem, Reason.VENDOR_CHAIN_INCOMPLETE),
        (VENDOR.pem, ABOVE, KEY, Reason.VENDOR_KEY_DIFFERS),
        (VENDOR.pem, ABOVE, b"junk", Reason.VENDOR_KEY_UNREADABLE),
        (CSR, ABOVE, VENDOR.key_pem, Reason.FILE_IS_CSR),
    ],
)
def test_signing_refuses_what_the_portal_would(
    vendor: bytes, above: list[bytes], key: bytes, reason: Reason
) -> None:
    """A gap in the chain, another key, another file."""
    with pytest.raises(RenewctlError) as caught:
        request.sign(CSR, vendor, above, key)
    assert caught.value.reason is reason


def _forms() -> dict[str, bytes]:
    xml = file()
    once = base64.encodebytes(xml)
    return {
        "the portal's file": base64.b64encode(xml),
        "with line breaks": once,
        "with CRLF and a byte order mark": b"\xef\xbb\xbf" + once.replace(b"\n", b"\r\n"),
        "base64 of it": base64.encodebytes(once),
        "the plist itself": xml,
        "in UTF-16": once.decode().encode("utf-16"),
        "chain in the wrong order": base64.b64encode(
            file(chain=VENDOR.pem + APPLE.root.pem + APPLE.wwdr.pem)
        ),
        "chain with lines of 76": base64.b64encode(
            file(
                chain=b"".join(
                    b"-----BEGIN CERTIFICATE-----\n"
                    + base64.encodebytes(one.der)
                    + b"-----END CERTIFICATE-----\n"
                    for one in (VENDOR, APPLE.wwdr, APPLE.root)
                )
            )
        ),
    }


@pytest.mark.parametrize("form", _forms())
def test_a_vendors_answer_is_taken_in_any_form(form: str) -> None:
    """And becomes the very file we would have made ourselves."""
    taken = request.check_signed(_forms()[form], CSR, NOW)
    assert taken.content == request.sign(CSR, VENDOR.pem, ABOVE, VENDOR.key_pem)
    assert taken.last_day == VENDOR.certificate.not_valid_after_utc
    assert taken.vendor_serial == VENDOR.serial
    expected = [Reason.VENDOR_CHAIN_ORDER] if "order" in form and "byte" not in form else []
    assert [one.reason for one in taken.findings] == expected


def test_a_sha1_signature_is_taken_with_a_warning() -> None:
    """Old vendors' scripts still make them; nobody here knows whether the portal refuses them."""
    taken = request.check_signed(file(digest=hashes.SHA1()), CSR, NOW)  # noqa: S303 - the case
    assert [(one.reason, one.level) for one in taken.findings] == [
        (Reason.REQUEST_SIGNED_WITH_SHA1, Level.WARN)
    ]


EARLIER = APPLE.vendor(not_after=NOW - timedelta(days=1))
UNMARKED = APPLE.vendor(marked=False)
ANOTHER = x509.load_pem_x509_csr(
    request.make_csr(pkcs1(rsa_key("other")), common_name="another")
).public_bytes(Encoding.DER)

REFUSED: dict[str, tuple[bytes, Reason]] = {
    "someone else's CSR": (file(der=ANOTHER), Reason.REQUEST_OF_ANOTHER_CSR),
    "signed by another key": (
        file(signature=rsa_key("other").sign(DER, padding.PKCS1v15(), hashes.SHA256())),
        Reason.REQUEST_SIGNATURE_WRONG,
    ),
    "signature over the PEM": (
        file(signature=VENDOR.key.sign(CSR, padding.PKCS1v15(), hashes.SHA256())),
        Reason.REQUEST_SIGNATURE_WRONG,
    ),
    "vendor expired": (file(vendor=EARLIER), Reason.VENDOR_EXPIRED),
    "no vendor at all": (file(vendor=UNMARKED), Reason.VENDOR_MARK_MISSING),
    "chain without its root": (
        file(chain=VENDOR.pem + APPLE.wwdr.pem),
        Reason.VENDOR_CHAIN_INCOMPLETE,
    ),
    "the wrong generation in between": (
        file(chain=VENDOR.pem + apple_like("second").wwdr.pem + APPLE.root.pem),
        Reason.VENDOR_CHAIN_INCOMPLETE,
    ),
    "chain upside down": (
        file(chain=APPLE.root.pem + APPLE.wwdr.pem + VENDOR.pem),
        Reason.VENDOR_MARK_MISSING,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_the_portal_would_not_take_is_refused(case: str) -> None:
    """Before a person is sent there."""
    data, reason = REFUSED[case]
    with pytest.raises(Refused) as caught:
        request.check_signed(base64.b64encode(data), CSR, NOW)
    assert caught.value.reason is reason


def test_a_vendor_with_an_elliptic_key_did_not_sign_with_rsa() -> None:
    """Such a certificate is no vendor's, but it is not a crash either."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(VENDOR.certificate.subject)
        .issuer_name(APPLE.wwdr.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
    )
    for extension in VENDOR.certificate.extensions:
        if extension.oid.dotted_string == "1.2.840.113635.100.4.12":
            builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(APPLE.wwdr.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(Refused) as caught:
        request.check_signed(file(chain=pem + b"".join(ABOVE)), CSR, NOW)
    assert caught.value.reason is Reason.REQUEST_SIGNATURE_WRONG


def _plist(**changed: object) -> bytes:
    plist = plistlib.loads(file()) | changed
    return plistlib.dumps({name: value for name, value in plist.items() if value is not None})


ENVELOPE = (
    pkcs7.PKCS7EnvelopeBuilder()
    .set_data(file())
    .add_recipient(APPLE.push().certificate)
    .encrypt(Encoding.DER, [])
)

EXPLAINED: dict[str, tuple[bytes, Reason]] = {
    "the CSR itself": (CSR, Reason.REQUEST_IS_CSR),
    "a certificate": (APPLE.push().pem, Reason.REQUEST_IS_CERTIFICATE),
    "a private key": (KEY, Reason.FILE_IS_PRIVATE_KEY),
    "a page": (b"<html><title>Vendor</title>", Reason.FILE_IS_WEB_PAGE),
    "mdmcert.download's mail": (ENVELOPE.hex().encode(), Reason.REQUEST_STILL_ENCRYPTED),
    "nothing": (b"", Reason.FILE_EMPTY),
    "junk": (b"hello", Reason.REQUEST_NOT_RECOGNISED),
    "no text": (b"\x00\x01\x02\xff\xfe", Reason.REQUEST_UNREADABLE),
    "no XML": (b"<plist>PushCertRequestCSR", Reason.REQUEST_UNREADABLE),
    "a list": (
        b"<plist><array><string>PushCertRequestCSR</string></array></plist>",
        Reason.REQUEST_UNREADABLE,
    ),
    "no signature": (_plist(PushCertSignature=None), Reason.REQUEST_UNREADABLE),
    "data where a string belongs": (_plist(PushCertSignature=b"x"), Reason.REQUEST_UNREADABLE),
    "a signature that is no base64": (_plist(PushCertSignature="!"), Reason.REQUEST_UNREADABLE),
    "a CSR that is none": (_plist(PushCertRequestCSR="AAAA"), Reason.REQUEST_UNREADABLE),
    "a chain that is none": (_plist(PushCertCertificateChain="x"), Reason.REQUEST_UNREADABLE),
    "a chain of CSRs": (_plist(PushCertCertificateChain=CSR.decode()), Reason.REQUEST_UNREADABLE),
    "entities that would multiply": (
        b'<!DOCTYPE plist [<!ENTITY a "aaaa">]><plist><string>PushCertRequestCSR&a;</string></plist>',
        Reason.REQUEST_UNREADABLE,
    ),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_another_file_is_named_for_what_it_is(case: str) -> None:
    """Whatever a person hands in instead."""
    data, reason = EXPLAINED[case]
    with pytest.raises(Unusable) as caught:
        request.check_signed(data, CSR, NOW, path="answer")
    assert (caught.value.reason, caught.value.values["path"]) == (reason, "answer")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("case", EXPLAINED)
def test_what_was_got_is_said_in_words(case: str, language: str) -> None:
    """Never a dash, a key of the catalogues, or the name of a type."""
    with pytest.raises(Unusable) as caught:
        request.check_signed(EXPLAINED[case][0], CSR, NOW, path="answer")
    told, hint = messages.sentence(caught.value.reason, language, caught.value.values)
    assert not re.search(r"–|got -|word\.|NoneType|bytes", told + hint)


def test_how_a_file_begins_is_shown_short_and_harmless() -> None:
    """A line of it; what moves a cursor is called data."""
    with pytest.raises(Unusable) as caught:
        request.check_signed(b"Dear customer,\r\n\tyour request " + b"x" * 9999, CSR, NOW, path="answer")
    assert caught.value.values["got"] == "Dear customer, your request xxxxxxxxxxxx…"
    for harmful in (b"Dear \x1b[31m customer", "Dear \u202e customer".encode()):
        with pytest.raises(Unusable) as caught:
            request.check_signed(harmful, CSR, NOW, path="answer")
        assert caught.value.values["got"] == "word.binary_data"


def test_someone_elses_csr_is_told_by_its_key() -> None:
    """Got and expected are fingerprints a person can compare with the key store."""
    with pytest.raises(Refused) as caught:
        request.check_signed(file(der=ANOTHER), CSR, NOW)
    assert caught.value.values["expected"] == fingerprint(KEY, "k")
    assert caught.value.values["got"] == fingerprint(pkcs1(rsa_key("other")), "k")
