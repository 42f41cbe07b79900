"""Certificates, requests, vendors' answers, PKCS#12, keys: files a person was sent."""

from __future__ import annotations

import base64
import io
import resource
import subprocess
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    pkcs7,
    pkcs12,
)

from renewctl.certificate import chain, findings, intake, private_key, request, unlock, vendor, wrappings
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import RenewctlError, Unusable
from renewctl.reasons import Reason
from tests.hostile.der import with_number
from tests.hostile.parser import Made, Parser
from tests.support.certs import NOW, TOPIC, apple_like

_PASSPHRASE = b"x"
_ROUNDS = 1234
_GIVEN_UP = Reason.LOCKED_TOO_COSTLY.value


def _der() -> Made:
    push = apple_like().push()
    return Made(PushCertificate.from_der, [push.der, apple_like().root.der])


def _pem() -> Made:
    push = apple_like().push()
    return Made(PushCertificate.from_pem, [push.pem, push.key_pem + push.pem])


def _zip(*files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.pem", data)
    return buffer.getvalue()


def _p12() -> bytes:
    push = apple_like().push()
    return pkcs12.serialize_key_and_certificates(
        b"push",
        push.key,
        push.certificate,
        [apple_like().aai2.certificate],
        BestAvailableEncryption(_PASSPHRASE),
    )


def _locked_key() -> bytes:
    key = apple_like().push().key
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(_PASSPHRASE))


def _everything_asked(data: bytes) -> None:
    """All that is ever asked of a file, and each answer that is a reason."""
    found = intake.parse(data, "file")
    for ask in (found.leaf, found.private_key):
        with suppress(RenewctlError):
            ask()
    with suppress(RenewctlError):
        findings.judge(
            found.leaf(),
            expected_key_fingerprint="k",
            topic=TOPIC,
            current=PushCertificate.from_der(apple_like().push().der),
            enrolled=None,
            issuers=[apple_like().aai2.der],
            now=NOW,
        )


def _intake() -> Made:
    apple, push = apple_like(), apple_like().push()
    csr = request.make_csr(push.key_pem, common_name="example")
    good = [
        push.pem,
        push.der,
        push.pem + push.key_pem + apple.aai2.pem,
        push.key_pem,
        push.pem.decode().encode("utf-16"),
        _zip(push.pem, b"nothing"),
        csr,
        pkcs7.serialize_certificates([push.certificate, apple.aai2.certificate], Encoding.DER),
        pkcs7.serialize_certificates([push.certificate], Encoding.PEM),
        base64.b64encode(push.der),
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(push.pem),
        b"<!doctype html><title>Sign in</title>",
        _locked_key(),
    ]
    return Made(_everything_asked, good)


def _chain() -> Made:
    apple = apple_like()

    def take(data: bytes) -> None:
        found = [x509.load_der_x509_certificate(one.der) for one in intake.parse(data, "file").certificates]
        for one in found:
            chain.link(one, [apple.root.certificate, *found[:1]], now=NOW, between=found)
            chain.path_to(one, found)

    push = apple.push()
    return Made(take, [push.pem + apple.aai2.pem + apple.root.pem, push.pem])


def _private_key() -> Made:
    push = apple_like().push()

    def take(data: bytes) -> None:
        private_key.pkcs1(data, "file")
        private_key.fingerprint(data, "file")

    return Made(take, [push.key_pem, push.pem + push.key_pem])


def _costly_p12(tmp: Path) -> list[bytes]:
    """Two thousand million rounds for the passphrase's proof, or, where there is none, for what is inside."""
    push = apple_like().push()
    (tmp / "both.pem").write_bytes(push.key_pem + push.pem)
    command = ["openssl", "pkcs12", "-export", "-in", str(tmp / "both.pem"), "-passout", "pass:x"]
    found = []
    for how in (["-macalg", "sha256"], ["-nomac"]):
        done = subprocess.run([*command, *how, "-iter", str(_ROUNDS)], check=True, capture_output=True)
        found.append(with_number(done.stdout, _ROUNDS, 2**31 - 1))
    return found


def _costly_keys(tmp: Path) -> list[bytes]:
    """PBKDF2 that never ends, scrypt that takes all memory."""
    (tmp / "key.pem").write_bytes(apple_like().push().key_pem)
    found = []
    for how, rounds, more in (
        (["-v2prf", "hmacWithSHA256", "-iter", str(_ROUNDS)], _ROUNDS, [2**31 - 1]),
        (["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "8", "-scrypt_p", "1"], 1024, [2**20, 2**40]),
    ):
        command = ["openssl", "pkcs8", "-topk8", "-in", str(tmp / "key.pem"), *how, "-passout", "pass:x"]
        done = subprocess.run([*command, "-outform", "DER"], check=True, capture_output=True)
        found += [_pem_of(with_number(done.stdout, rounds, number)) for number in more]
    return found


def _pem_of(der: bytes) -> bytes:
    return wrappings.Block("ENCRYPTED PRIVATE KEY", der).pem


def _unlock_p12() -> Made:
    with TemporaryDirectory() as folder:
        return Made(partial(_unlocked, unlock.Locked.P12), [_p12()], _costly_p12(Path(folder)), _GIVEN_UP)


def _unlock_key() -> Made:
    with TemporaryDirectory() as folder:
        return Made(
            partial(_unlocked, unlock.Locked.KEY), [_locked_key()], _costly_keys(Path(folder)), _GIVEN_UP
        )


def _unlocked(what: unlock.Locked, data: bytes) -> None:
    """One child of the product's, which keeps to its processor time, not only to the minutes on the wall."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        unlock.unlock(what, data, "x", path="file")
    finally:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert took < unlock.CPU_SECONDS + 0.5, f"{took:.1f} s of processor time"


def _locked() -> Made:
    """Through the front door, a passphrase at hand; a bomb a ZIP, as the first that goes off ends the reading."""
    with TemporaryDirectory() as folder:
        costly = [*_costly_p12(Path(folder)), *_costly_keys(Path(folder))]

    def take(data: bytes) -> None:
        intake.parse(data, "file", lambda: "x")

    return Made(take, [_p12(), _locked_key()], [_zip(one) for one in costly], _GIVEN_UP)


def _request() -> Made:
    apple = apple_like()
    seller, csr = apple.vendor(), request.make_csr(apple.push().key_pem, common_name="example")
    signed = request.sign(csr, seller.pem, [apple.wwdr.pem, apple.root.pem], seller.key_pem)
    return Made(lambda data: request.check_signed(data, csr, NOW), [signed, base64.b64decode(signed)])


def _vendor() -> Made:
    apple = apple_like()
    seller = apple.vendor()

    def take(data: bytes) -> None:
        with suppress(RenewctlError):
            vendor.check_vendor(seller.pem, [data], seller.key_pem, NOW)
        with suppress(RenewctlError):
            vendor.in_order(data, [apple.wwdr.pem, apple.root.pem])
        vendor.check_vendor(data, [apple.wwdr.pem, apple.root.pem], seller.key_pem, NOW)

    return Made(take, [seller.pem, seller.der, seller.pem + apple.wwdr.pem + apple.root.pem])


def _wrappings() -> Made:
    def take(data: bytes) -> None:
        if wrappings.is_archive(data):
            wrappings.members(data)
        text, _ = wrappings.text_of(data)
        for block in wrappings.pem_blocks(text)[0]:
            assert block.pem
        list(wrappings.mail_parts(text))
        list(wrappings.bare_encodings(text))
        wrappings.page_title(text)

    push = apple_like().push()
    return Made(take, [_zip(push.pem), push.pem, b"<html><title>x</title>", push.pem.hex().encode()])


_CHILDREN = {"examples": 0.15, "seconds": unlock._WALL_SECONDS + 5}
"""Each opens a child of its own, whose limits are the product's."""

PARSERS = [
    Parser("certificate.der", _der, ["renewctl.certificate.pushcert"], (ValueError,)),
    Parser("certificate.pem", _pem, ["renewctl.certificate.pushcert"], (ValueError,)),
    Parser(
        "certificate.intake",
        _intake,
        ["renewctl.certificate.intake", "renewctl.certificate.recognise", "renewctl.certificate.findings"],
        (Unusable,),
    ),
    Parser("certificate.chain", _chain, ["renewctl.certificate.chain"], (Unusable,)),
    Parser("certificate.private_key", _private_key, ["renewctl.certificate.private_key"], (Unusable,)),
    Parser(
        "certificate.unlock_key",
        _unlock_key,
        ["renewctl.certificate.unlock"],
        (Unusable,),
        **_CHILDREN,  # type: ignore[arg-type]
    ),
    Parser(
        "certificate.unlock_p12",
        _unlock_p12,
        ["renewctl.certificate.unlock"],
        (Unusable,),
        **_CHILDREN,  # type: ignore[arg-type]
    ),
    Parser(
        "certificate.intake_locked",
        _locked,
        ["renewctl.certificate.recognise"],
        (Unusable,),
        **_CHILDREN,  # type: ignore[arg-type]
    ),
    Parser("certificate.request", _request, ["renewctl.certificate.request"], (RenewctlError,)),
    Parser("certificate.vendor", _vendor, ["renewctl.certificate.vendor"], (RenewctlError,)),
    Parser(
        "certificate.wrappings", _wrappings, ["renewctl.certificate.wrappings"], (ValueError, OverflowError)
    ),
]
