"""Does a certificate chain to the expected issuer? Pure: trust anchors and the time are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

APPLE_ISSUERS = frozenset(
    {
        "Apple Application Integration 2 Certification Authority",
        "Apple Application Integration Certification Authority",
    }
)
"""Common names of the authorities known to issue push certificates: today's, read from a real one
(nanomdm test/e2e/testdata/push.pem), and its predecessor (apple.com/certificateauthority)."""

_APPLE = "Apple Inc."
_LONGEST = 5  # certificates from leaf to anchor; Apple's chains have three


class Link(StrEnum):
    """How a certificate hangs on the anchors it was measured against."""

    TRUSTED = "trusted"  # signed, link by link, up to an anchor
    EXPIRED = "expired"  # the same, but an authority on the way is not valid now
    APPLE_NAME = "apple_name"  # no anchor for it; the issuer bears a name of Apple's that we know
    UNKNOWN = "unknown"  # no anchor for it, and the issuer is nobody we know
    BROKEN = "broken"  # names an authority at hand (same name, same key) which did not sign it


def link(
    certificate: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    *,
    now: datetime,
    between: Sequence[x509.Certificate] = (),
) -> Link:
    """Say how `certificate` hangs on `anchors`.

    Its own validity is not looked at: that is a finding of its own.

    Args:
        certificate: the one to be judged.
        anchors: authorities that are trusted as they stand, roots or not.
        now: aware.
        between: further authorities that may lie on the way but are not trusted by themselves.
    """
    pool = [*anchors, *between]
    path = path_to(certificate, pool, stop=anchors)
    if path is not None:
        valid = all(is_valid(authority, now) for authority in path[1:])
        return Link.TRUSTED if valid else Link.EXPIRED
    if any(_same_authority(certificate, other) for other in pool if not issued(certificate, other)):
        return Link.BROKEN
    return Link.APPLE_NAME if _bears_apple_name(certificate.issuer) else Link.UNKNOWN


def path_to(
    certificate: x509.Certificate,
    pool: Iterable[x509.Certificate],
    *,
    stop: Sequence[x509.Certificate] = (),
) -> tuple[x509.Certificate, ...] | None:
    """The certificates from `certificate` up to one of `stop`, each signed by the next; or None.

    Without `stop` the way ends at a certificate that names itself as its issuer. Such a one's own
    signature is never verified: Apple's root signs itself with SHA-1 and is trusted by being named.
    """
    left = list(pool)
    ways: list[tuple[x509.Certificate, ...]] = [(certificate,)]
    while ways:
        way = ways.pop(0)
        top = way[-1]
        if (top in stop and len(way) > 1) or (not stop and names_itself(top)):
            return way
        if len(way) < _LONGEST:
            above = [other for other in left if other != top and issued(top, other)]
            left = [other for other in left if other not in above]  # each once: no flood of cross-signed ones
            ways += [(*way, other) for other in above]
    return None


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True where `issuer`'s name is the one the certificate gives and `issuer`'s key signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def names_itself(certificate: x509.Certificate) -> bool:
    """True for a root: subject and issuer are one name."""
    return certificate.subject == certificate.issuer


def is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    """True while `now` lies within the certificate's validity."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _same_authority(certificate: x509.Certificate, other: x509.Certificate) -> bool:
    """True where the certificate claims `other` by name and by key, or by name and says no key.

    Apple gives one name to several generations of an authority; the key identifier tells them apart.
    """
    if certificate.issuer != other.subject:
        return False
    claimed, own = _authority_key(certificate), _subject_key(other)
    return claimed is None or own is None or claimed == own


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found.value.key_identifier


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found.value.digest


def _bears_apple_name(name: x509.Name) -> bool:
    organizations = {str(a.value) for a in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    common_names = {str(a.value) for a in name.get_attributes_for_oid(NameOID.COMMON_NAME)}
    return _APPLE in organizations and bool(common_names & APPLE_ISSUERS)
