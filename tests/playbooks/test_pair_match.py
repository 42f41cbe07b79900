"""Whether a key belongs to its certificate, found out with Python's own TLS: known, or said not to be known."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import pair_match
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_match import belongs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.certs import NOW, TOPIC, Issued, apple_like


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """Two pairs."""
    apple = apple_like()
    return apple.push(TOPIC), apple.push(TOPIC, key="new")


def self_signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """A certificate that ended ten years ago, and its key as PKCS#8."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "push")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(NOW - timedelta(days=4000))
        .not_valid_after(NOW - timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), plain


def test_a_key_and_its_certificate(pairs: tuple[Issued, Issued]) -> None:
    """Its own key, whatever stands around both; neither another's, nor half of it, nor nothing."""
    old, new = pairs
    assert belongs(old.pem, old.key_pem) is True
    assert belongs(b"a note\n" + old.pem + new.pem, b"Bag\r\n" + old.key_pem.replace(b"\n", b"\r\n")) is True
    middle = len(old.key_pem) // 2
    cut, thinned = old.key_pem[:60], old.key_pem[:middle] + old.key_pem[middle + 4 :]
    for key in (new.key_pem, cut, thinned, b"x", b""):
        assert belongs(old.pem, key) is False
    for certificate in (new.pem, old.pem[:60], old.pem[:200] + old.pem[204:], b"x", b""):
        assert belongs(certificate, old.key_pem) is False


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - that is the point
        ec.generate_private_key(ec.SECP256R1()),
    ],
    ids=["short", "elliptic"],
)
def test_how_good_a_pair_is_does_not_matter(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Expired, too short for today's OpenSSL, of another kind: it is a pair all the same."""
    assert belongs(*self_signed(key)) is True


def test_a_key_under_a_password_is_not_known(pairs: tuple[Issued, Issued]) -> None:
    """Its consumer may know that one; nobody is asked for it."""
    old, _ = pairs
    for how in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        locked = old.key.private_bytes(Encoding.PEM, how, BestAvailableEncryption(b"its own"))
        assert belongs(old.pem, locked) is None


@pytest.mark.parametrize("lacks", ["ssl", "memory files", "/proc"])
def test_a_node_that_cannot_look_does_not_know(
    pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """A Python without `ssl`, another system than Linux, a jail: not known; what needs no look is known there too."""
    old, new = pairs
    if lacks == "ssl":
        monkeypatch.setitem(sys.modules, "ssl", None)
    elif lacks == "memory files":
        monkeypatch.delattr(os, "memfd_create")
    else:
        monkeypatch.setattr(pair_match, "OPEN", "/no/%d")
    assert belongs(old.pem, old.key_pem) is None
    assert belongs(old.pem, new.key_pem) is None
    assert belongs(old.pem, old.key_pem[:60]) is False


def test_no_descriptor_stays_open(pairs: tuple[Issued, Issued]) -> None:
    """A key in memory is gone once it was looked at."""
    before = sorted(Path("/proc/self/fd").iterdir())
    belongs(pairs[0].pem, pairs[1].key_pem)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
