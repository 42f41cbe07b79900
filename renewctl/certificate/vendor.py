"""The MDM vendor certificate that signs requests, and the chain above it. Pure: bytes and `now` in.

The portal wants vendor certificate, Apple's WWDR intermediate and Apple's root, in that order
(facts/mdm.md §4). There are several generations of the intermediate; the one that issued the vendor
certificate is found by name and signature, never by a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from renewctl.certificate import chain, intake, private_key
from renewctl.certificate.findings import Finding, Level, insist
from renewctl.certificate.pushcert import PushCertificate, serial_hex
from renewctl.errors import Unusable
from renewctl.reasons import Reason

VENDOR_MARK = x509.ObjectIdentifier("1.2.840.113635.100.4.12")
"""Apple's marker of an MDM vendor's CSR signing certificate (go-apple-dm pki/lifecycle/certificates.go)."""

WARN_BEFORE = timedelta(days=30)
"""A new vendor certificate takes days to get; mdmcert.download's lapsed for four months (facts/mdm.md §0)."""


@dataclass(frozen=True)
class VendorCheck:
    """What was found on a vendor certificate.

    Attributes:
        findings: refusals and warnings.
        last_day: the earliest end of validity in the chain: the last instant a request signed with it
            should reach the portal. Aware, UTC.
        serial: the vendor certificate's, lower-case hex.
        chain: DER, vendor certificate first, root last; empty where the chain has a gap.
    """

    findings: tuple[Finding, ...]
    last_day: datetime
    serial: str
    chain: tuple[bytes, ...]


def check_vendor(
    certificate: bytes, above: Sequence[bytes], key: bytes | None, now: datetime, *, path: str = ""
) -> VendorCheck:
    """Check a vendor certificate, the authorities above it, and its key.

    Args:
        certificate: the vendor certificate, as its file is (PEM, DER, …).
        above: the authorities' files; each may hold several.
        key: unencrypted PEM; None where somebody else signs.
        now: aware.
        path: the certificate's file, for messages.

    Raises:
        Unusable: a file that holds no certificate, or VENDOR_KEY_UNREADABLE.
    """
    given = _given(certificate, above, path)
    check = check_chain(given, now)
    findings = () if key is None else check_key(given[0], key, path=path)
    return replace(check, findings=(*check.findings, *findings))


def check_key(certificate: bytes, key: bytes, *, path: str = "") -> tuple[Finding, ...]:
    """Does the key belong to the certificate (DER)? VENDOR_KEY_DIFFERS, or nothing.

    Raises:
        Unusable: VENDOR_KEY_UNREADABLE.
    """
    try:
        got = private_key.fingerprint(key, path)
    except Unusable:
        raise Unusable(Reason.VENDOR_KEY_UNREADABLE, path=path) from None
    expected = PushCertificate.from_der(certificate).key_fingerprint
    if got == expected:
        return ()
    return (Finding(Reason.VENDOR_KEY_DIFFERS, Level.REFUSE, {"got": got, "expected": expected}),)


def in_order(certificate: bytes, above: Sequence[bytes]) -> tuple[bytes, ...]:
    """The chain as the portal wants it, DER: vendor certificate, the intermediate that issued it, root.

    Args:
        certificate: as in `check_vendor`.
        above: as in `check_vendor`.

    Raises:
        Unusable: a file that holds no certificate.
        Refused: VENDOR_CHAIN_INCOMPLETE.
    """
    leaf, *pool = [x509.load_der_x509_certificate(der) for der in _given(certificate, above, "")]
    path = _path(leaf, pool)
    insist(_gap(leaf, pool, path))
    return tuple(one.public_bytes(Encoding.DER) for one in path or ())


def check_chain(given: Sequence[bytes], now: datetime) -> VendorCheck:
    """Check the certificates of a request: the vendor's first, then what is above it.

    Args:
        given: DER, at least one; each one readable.
        now: aware.
    """
    leaf, *above = [x509.load_der_x509_certificate(der) for der in given]
    path = _path(leaf, above)
    ordered = path or (leaf, *above)
    last_day = min(one.not_valid_after_utc for one in ordered)
    findings = [
        *_mark(leaf),
        *_validity(leaf, now),
        *_gap(leaf, above, path),
        *_above(leaf, above, path, now),
    ]
    if last_day - now < WARN_BEFORE and all(finding.level is Level.WARN for finding in findings):
        findings.append(_finding(Reason.VENDOR_EXPIRING, Level.WARN, leaf, got=_day(last_day)))
    return VendorCheck(
        findings=tuple(findings),
        last_day=last_day,
        serial=serial_hex(leaf.serial_number),
        chain=tuple(one.public_bytes(Encoding.DER) for one in path or ()),
    )


def _mark(leaf: x509.Certificate) -> Iterator[Finding]:
    if not any(extension.oid == VENDOR_MARK for extension in leaf.extensions):
        expected = VENDOR_MARK.dotted_string
        yield _finding(Reason.VENDOR_MARK_MISSING, Level.REFUSE, leaf, expected=expected)


def _validity(leaf: x509.Certificate, now: datetime) -> Iterator[Finding]:
    if leaf.not_valid_after_utc <= now:
        got = _day(leaf.not_valid_after_utc)
        yield _finding(Reason.VENDOR_EXPIRED, Level.REFUSE, leaf, got=got, expected=_day(now))
    if leaf.not_valid_before_utc > now:
        got = _day(leaf.not_valid_before_utc)
        yield _finding(Reason.VENDOR_NOT_YET_VALID, Level.REFUSE, leaf, got=got, expected=_day(now))


def _given(certificate: bytes, above: Sequence[bytes], path: str) -> list[bytes]:
    """DER of the vendor certificate, then of every certificate in the files above it."""
    own = intake.parse(certificate, path or "vendor.certificate")
    leaf = own.leaf()
    given = [leaf, *(one for one in own.certificates if one != leaf)]
    for number, data in enumerate(above):
        found = intake.parse(data, f"vendor.chain[{number}]")
        given += found.certificates or (found.leaf(),)  # the latter explains a file that holds none
    return [one.der for one in given]


def _path(leaf: x509.Certificate, above: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...] | None:
    """From the vendor certificate to the root; one that signed itself is no vendor's."""
    return None if chain.names_itself(leaf) else chain.path_to(leaf, above)


def _gap(
    leaf: x509.Certificate,
    above: Sequence[x509.Certificate],
    path: tuple[x509.Certificate, ...] | None,
) -> Iterator[Finding]:
    if path is None:
        top = _highest(leaf, above)
        got = "; ".join(one.subject.rfc4514_string() for one in above) or "-"
        expected = top.issuer.rfc4514_string()
        yield _finding(Reason.VENDOR_CHAIN_INCOMPLETE, Level.REFUSE, top, got=got, expected=expected)


def _above(
    leaf: x509.Certificate,
    above: Sequence[x509.Certificate],
    path: tuple[x509.Certificate, ...] | None,
    now: datetime,
) -> Iterator[Finding]:
    if path is None:
        return
    for one in path[1:]:
        if not chain.is_valid(one, now):
            got = _day(one.not_valid_after_utc)
            yield _finding(Reason.VENDOR_CHAIN_EXPIRED, Level.REFUSE, one, got=got, expected=_day(now))
    if list(path[1:]) != list(above):
        got, expected = _names((leaf, *above)), _names(path)
        yield _finding(Reason.VENDOR_CHAIN_ORDER, Level.WARN, leaf, got=got, expected=expected)


def _highest(leaf: x509.Certificate, above: Sequence[x509.Certificate]) -> x509.Certificate:
    """Where the chain breaks off: the last certificate that is reached from the leaf."""
    reached = [leaf]
    for one in reached:  # grows while it is walked
        reached += [other for other in above if other not in reached and chain.issued(one, other)]
    return reached[-1]


def _finding(reason: Reason, level: Level, about: x509.Certificate, **values: str) -> Finding:
    return Finding(reason, level, {"subject": about.subject.rfc4514_string(), **values})


def _names(certificates: Sequence[x509.Certificate]) -> str:
    return " > ".join(one.subject.rfc4514_string() for one in certificates)


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
