"""Whatever bytes come: an answer or a reason, soon. Never a traceback, never a hang."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from contextlib import suppress

import pytest
from cryptography import x509
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from renewctl.certificate import private_key, wrappings
from renewctl.certificate.intake import LIMIT_BYTES, parse
from renewctl.certificate.pushcert import PushCertificate
from renewctl.certificate.request import check_signed, make_csr, sign
from renewctl.certificate.vendor import check_vendor
from renewctl.errors import RenewctlError, Unusable
from tests.support.certs import NOW, apple_like

APPLE = apple_like()
PUSH = APPLE.push()
VENDOR = APPLE.vendor()
CSR = make_csr(PUSH.key_pem, common_name="example")
SIGNED = sign(CSR, VENDOR.pem, [APPLE.wwdr.pem, APPLE.root.pem], VENDOR.key_pem)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.pem", PUSH.pem)
    return buffer.getvalue()


GOOD = [
    PUSH.pem,
    PUSH.der,
    PUSH.pem + PUSH.key_pem,
    PUSH.key_pem,
    PUSH.pem.decode().encode("utf-16"),
    _zip(),
    CSR,
    SIGNED,
    base64.b64decode(SIGNED),
    b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(PUSH.pem),
]

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good file with some of it turned, cut out, doubled, or replaced."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "put", "double", "turn"]))
        if kind == "cut":
            del data[start:end]
        elif kind == "put":
            data[start:end] = draw(st.binary(max_size=40))
        elif kind == "double":
            data[start:start] = data[start:end]
        elif start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def answers(data: bytes) -> None:
    """Everything that can be asked of a file is an answer or a reason."""
    try:
        found = parse(data, "file")
    except RenewctlError:
        return
    for ask in (found.leaf, found.private_key):
        try:
            ask()
        except RenewctlError:
            continue


@QUICK
@given(st.binary(max_size=2000) | mutated())
@example(b"PK\x05\x06" + bytes(18))
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"-----BEGIN CERTIFICATE-----" * 100)
def test_a_file_is_taken_or_explained(data: bytes) -> None:
    """Arbitrary bytes, and good files a little damaged."""
    answers(data)


@QUICK
@given(st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_text_is_taken_or_explained(data: bytes) -> None:
    """Arbitrary text."""
    answers(data)


@QUICK
@given(mutated())
def test_a_vendors_answer_is_taken_or_explained(data: bytes) -> None:
    """And whatever is taken is signed over our CSR: nothing else passes."""
    try:
        taken = check_signed(data, CSR, NOW)
    except RenewctlError:
        return
    assert taken.content == SIGNED


PLIST = base64.b64decode(SIGNED)


@QUICK
@given(st.integers(0, len(PLIST) - 1), st.binary(min_size=1, max_size=8))
@example(PLIST.index(b"<dict>"), b"<array>")
@example(PLIST.index(b"<string>"), b"<date  >")
def test_a_damaged_plist_is_explained(at: int, put: bytes) -> None:
    """Damage below the base64, where the XML is."""
    damaged = PLIST[:at] + put + PLIST[at + len(put) :]
    try:
        check_signed(base64.b64encode(damaged), CSR, NOW)
    except RenewctlError:
        return


@QUICK
@given(mutated(), mutated())
def test_vendor_files_are_checked_or_explained(certificate: bytes, above: bytes) -> None:
    """Whatever the inventory names."""
    try:
        check_vendor(certificate, [above, APPLE.root.pem], VENDOR.key_pem, NOW)
    except RenewctlError:
        return


@QUICK
@given(st.binary(max_size=300) | mutated())
def test_the_values_raise_value_errors_alone(data: bytes) -> None:
    """What no certificate can be read from is a ValueError, what no key can be read from Unusable, as said."""
    for read in (PushCertificate.from_der, PushCertificate.from_pem):
        with suppress(ValueError):
            read(data)
    for take in (private_key.pkcs1, private_key.fingerprint):
        with suppress(Unusable):
            take(data, "file")


def test_a_text_full_of_beginnings_of_keys_costs_no_more_than_another() -> None:
    """A mebibyte of first lines without a last one: refused at once (each was once looked at to the end)."""
    begun = time.process_time()
    with pytest.raises(Unusable):
        private_key.pkcs1(b"-----BEGIN PRIVATE KEY-----\n" * 37_000, "file")
    assert time.process_time() - begun < 5


FULL = LIMIT_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"-" * FULL,
        b"- " * (FULL // 2),
        b"-----BEGIN CERTIFICATE-----\n" * (FULL // 28),
        b"-----BEGIN " + b" " * (FULL - 20),
        b"-----BEGIN CERTIFICATE-----" + b"A" * (FULL - 100) + b"-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----" + b"A-:" * (FULL // 4) + b"-----END CERTIFICATE-----",
        b"A" * FULL,
        b"0" * FULL,
        b"Content-Transfer-Encoding: base64\n\nAAAA\n" * (FULL // 41),
        base64.b64encode(base64.b64encode(base64.b64encode(base64.b64encode(b"A" * 300_000)))),
        b"<html><title>" + b"<title" * (FULL // 7),
        b"<plist>PushCertRequestCSR" + b"<dict>" * (FULL // 7),
        b"\x30\x83\x0f\xff\xf0" + b"\x30\x80" * (FULL // 2 - 10),
        PUSH.pem * (FULL // len(PUSH.pem)),
    ],
    ids=range(14),
)
def test_a_megabyte_made_to_hurt_is_answered_soon(data: bytes) -> None:
    """No pattern, parser or loop here takes more than its share of a file of the largest size."""
    begun = time.process_time()
    answers(data)
    with suppress(RenewctlError):
        check_signed(data, CSR, NOW)
    assert time.process_time() - begun < 5


def test_many_certificates_of_one_name_are_answered_soon() -> None:
    """Twenty authorities that might all have issued each other."""
    begun = time.process_time()
    answers(b"".join(apple_like(f"g{n}").root.pem for n in range(4)) * 5 + PUSH.pem)
    assert time.process_time() - begun < 3


@QUICK
@given(st.binary(max_size=300))
def test_blocks_written_anew_read_the_same(content: bytes) -> None:
    """A block survives being written and read."""
    blocks, around = wrappings.pem_blocks(wrappings.Block("CERTIFICATE", content or b"x").pem.decode())
    assert (blocks[0].content, around) == (content or b"x", False)


def test_the_mutations_begin_from_good_files() -> None:
    """Were they not, the tests above would show nothing."""
    assert parse(GOOD[0], "file").leaf().der == PUSH.der
    assert x509.load_pem_x509_csr(CSR).is_signature_valid
    assert check_signed(SIGNED, CSR, NOW).content == SIGNED
