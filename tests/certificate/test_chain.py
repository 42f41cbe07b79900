"""How a certificate hangs on the authorities it is measured against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from renewctl.certificate.chain import Link, issued, link, path_to
from tests.support.certs import NOW, Issued, apple_like, apple_name, issue, rsa_key, with_broken_signature

APPLE = apple_like()
AFTER_ALL = datetime(2041, 1, 1, tzinfo=UTC)


def test_signed_by_an_anchor_is_trusted() -> None:
    """The issuer itself may be the anchor."""
    assert link(APPLE.push().certificate, [APPLE.aai2.certificate], now=NOW) is Link.TRUSTED


def test_the_way_may_lead_over_authorities_that_are_not_anchors() -> None:
    """With the root as the only anchor, the intermediate in between is found."""
    certificate = APPLE.push().certificate
    anchors = [APPLE.root.certificate]
    assert link(certificate, anchors, now=NOW, between=[APPLE.aai2.certificate]) is Link.TRUSTED
    assert link(certificate, anchors, now=NOW) is Link.APPLE_NAME


def test_an_authority_out_of_its_time_is_said() -> None:
    """Signed but expired is neither trusted nor unknown."""
    assert link(APPLE.push().certificate, [APPLE.aai2.certificate], now=AFTER_ALL) is Link.EXPIRED


def test_apples_name_alone_counts_where_no_anchor_is_at_hand() -> None:
    """Without anchors a known issuer's name is all there is to go by."""
    assert link(APPLE.push().certificate, [], now=NOW) is Link.APPLE_NAME


def test_another_generation_of_the_same_authority_is_no_forgery() -> None:
    """Apple gives one name to several keys; the key identifier tells them apart."""
    newer = apple_like("second")
    assert link(newer.push().certificate, [APPLE.aai2.certificate], now=NOW) is Link.APPLE_NAME


def test_a_signature_that_does_not_verify_is_broken() -> None:
    """The named authority is at hand and did not sign."""
    forged = with_broken_signature(APPLE.push())
    assert link(forged.certificate, [APPLE.aai2.certificate], now=NOW) is Link.BROKEN


def test_an_issuer_nobody_knows_is_unknown() -> None:
    """Neither an anchor nor a name of Apple's."""
    stranger = issue(
        apple_name("Somebody"), rsa_key("stranger"), issuer=None, not_before=NOW, not_after=AFTER_ALL
    )
    assert link(stranger.certificate, [APPLE.aai2.certificate], now=NOW) is Link.UNKNOWN


def test_a_claim_without_a_key_identifier_is_taken_by_name() -> None:
    """Certificates without AKI or SKI name their authority by name alone."""
    bare = _bare(APPLE.push())
    assert link(bare, [APPLE.root.certificate, _bare(APPLE.aai2)], now=NOW) is Link.BROKEN


def test_the_roots_own_signature_is_never_verified() -> None:
    """Apple's root signs itself with SHA-1; it is trusted by being named."""
    root = with_broken_signature(APPLE.root)
    path = path_to(APPLE.vendor().certificate, [APPLE.wwdr.certificate, root.certificate])
    assert path is not None
    assert path[-1] == root.certificate


def test_authorities_that_sign_each_other_do_not_lead_round_in_circles() -> None:
    """A flood of cross-signed authorities ends, and finds nothing."""
    name = apple_name("Circle")
    ring = [issue(name, rsa_key("ring"), issuer=None, not_before=NOW, not_after=AFTER_ALL) for _ in range(12)]
    circle = replace(ring[0])
    others = [one.certificate for one in ring]
    assert path_to(circle.certificate, others, stop=[APPLE.root.certificate]) is None


@pytest.mark.parametrize("other", [APPLE.root, APPLE.wwdr])
def test_issued_needs_name_and_signature(other: Issued) -> None:
    """Another authority's certificate issued nothing here."""
    assert issued(APPLE.push().certificate, APPLE.aai2.certificate)
    assert not issued(APPLE.push().certificate, other.certificate)


def _bare(issued_one: Issued) -> x509.Certificate:
    """The same names and key, no extensions, signed by a stranger."""
    certificate = issued_one.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(issued_one.key.public_key())
        .serial_number(1)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    return builder.sign(rsa_key("stranger"), hashes.SHA256())
