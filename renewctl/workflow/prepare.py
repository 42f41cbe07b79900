"""Everything up to an accepted certificate: open, request, accept, abort. Touches no node, opens no key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from renewctl import findings, intake, request, secrets
from renewctl.errors import Refused, Unusable
from renewctl.events import Kind, PairRef
from renewctl.findings import Finding, Level
from renewctl.inventory import Topic, Vendor
from renewctl.pushcert import PushCertificate
from renewctl.reasons import Reason
from renewctl.renewal import Renewal, require
from renewctl.workflow.workplace import Workplace


@dataclass(frozen=True)
class RequestMade:
    """What a person takes on from here.

    Attributes:
        csr: PEM.
        signed: the portal's file, or None where a vendor still has to sign.
        last_day: the last day on which the chain in it is valid.
    """

    renewal: Renewal
    csr: bytes
    signed: bytes | None
    last_day: datetime | None


def open_renewal(work: Workplace, topic: Topic) -> Renewal:
    """Begin a topic's yearly run.

    Raises:
        Refused: `renewal_open_already`.
        Attention: somebody else opened it in this moment.
    """
    history = work.history(topic)
    if history.open is not None:
        raise Refused(
            Reason.RENEWAL_OPEN_ALREADY, renewal=history.open.name, got=history.open.phase.value
        )
    previous = history.current
    body = {
        "topic_id": topic.id,
        "topic": topic.topic,
        "previous": None if previous is None else previous.as_body(),
    }
    work.write(history.next_name, Kind.OPENED, body, 1)
    return work.open_renewal(topic)


def make_request(work: Workplace, topic: Topic, *, new_key: bool, csr_only: bool) -> RequestMade:
    """Make key, CSR and, where we hold the vendor's key, the portal's file. Again: the same ones.

    Args:
        new_key: throw the pending key away (it stays in the key store) and begin anew.
        csr_only: stop at the CSR; somebody else signs.

    Raises:
        Refused: vendor certificate or chain unusable; out of order.
        Unusable: no vendor certificate or no key of it configured.
    """
    renewal = work.open_renewal(topic)
    if renewal.csr is None or new_key:
        renewal = _make_csr(work, topic, renewal)
    csr = work.store.document(renewal.csr or "")
    if renewal.request is None and not csr_only:
        renewal = _sign(work, topic, renewal, csr)
    return _made(work, renewal)


def take_signed(work: Workplace, topic: Topic, file: Path) -> RequestMade:
    """Take in the file a vendor signed, checked against our CSR.

    Raises:
        Refused: not for this CSR, a bad signature, a chain out of order or expired.
        Unusable: not such a file.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.REQUESTED)
    csr = work.store.document(renewal.csr or "")
    signed = request.check_signed(intake.read_bytes(file), csr, work.now())
    return _made(work, _requested(work, renewal, signed, "external"))


def accept(
    work: Workplace,
    topic: Topic,
    file: Path,
    *,
    enrolled: Mapping[str, int] | None,
    issuers: Sequence[bytes],
    passphrase: intake.AskPassphrase | None = None,
) -> tuple[Renewal, tuple[Finding, ...]]:
    """Check what came back from the portal, before anything is touched.

    Args:
        enrolled: topics enrolled devices use (`workflow.enrolled`), None where no node can tell.
        issuers: PEM of the authorities push certificates are expected from.

    Raises:
        Refused: with the first finding's reason; every finding is in the event and in `.others`.
        Unusable: a file no certificate can be read from.
    """
    renewal = work.open_renewal(topic)
    found = intake.read(file, passphrase)
    if renewal.accepted is not None and _is(found, renewal.accepted):
        return renewal, ()
    require(renewal, Kind.ACCEPTED)
    judged = _judge(work, topic, renewal, found, enrolled, issuers)
    refused = [finding for finding in judged if finding.level is Level.REFUSE]
    if refused:
        _write_refusal(work, renewal, found, judged)
        raise _as_error(refused)
    pair = _keep(work, intake.only_certificate(found))
    body = {"pair": pair.as_body(), "topic": topic.topic, "findings": [f.as_json() for f in judged]}
    return work.append(renewal, Kind.ACCEPTED, body), judged


def abort(work: Workplace, topic: Topic) -> Renewal:
    """End a renewal that touched no node, or whose nodes were put back.

    Raises:
        Refused: `out_of_order`, `renewal_none_open`.
    """
    return work.append(work.open_renewal(topic), Kind.ABORTED, {})


def _make_csr(work: Workplace, topic: Topic, renewal: Renewal) -> Renewal:
    require(renewal, Kind.KEY_MADE)
    pem = request.make_key()
    fingerprint = work.keys.seal(pem)  # before the event that names it
    renewal = work.append(renewal, Kind.KEY_MADE, {"key_fingerprint": fingerprint})
    document = work.store.put_document(request.make_csr(pem, topic))
    return work.append(renewal, Kind.CSR_MADE, {"key_fingerprint": fingerprint, "document": document})


def _sign(work: Workplace, topic: Topic, renewal: Renewal, csr: bytes) -> Renewal:
    vendor = topic.vendor or work.inventory.vendor
    if vendor is None:
        raise Unusable(Reason.VENDOR_NOT_CONFIGURED, topic=topic.id, option="--csr-only")
    if vendor.key is None:
        raise Unusable(Reason.VENDOR_KEY_MISSING, topic=topic.id, option="--csr-only")
    certificate, chain = vendor_files(vendor)
    key = secrets.read(vendor.key).encode()
    refused = [
        f for f in request.check_vendor(certificate, chain, key, work.now()) if f.level is Level.REFUSE
    ]
    if refused:
        raise _as_error(refused)
    signed = request.check_signed(request.sign(csr, certificate, chain, key), csr, work.now())
    return _requested(work, renewal, signed, "vendor")


def vendor_files(vendor: Vendor) -> tuple[bytes, list[bytes]]:
    """The vendor certificate and the chain above it, PEM.

    Raises:
        Unusable: a file that cannot be read.
    """
    return intake.read_bytes(vendor.certificate), [intake.read_bytes(path) for path in vendor.chain]


def _requested(
    work: Workplace, renewal: Renewal, signed: request.SignedRequest, signer: str
) -> Renewal:
    body = {
        "document": work.store.put_document(signed.portal_file),
        "last_day": signed.last_day.isoformat(),
        "signer": signer,
        "serial": signed.vendor_serial,
    }
    return work.append(renewal, Kind.REQUESTED, body)


def _made(work: Workplace, renewal: Renewal) -> RequestMade:
    csr = work.store.document(renewal.csr or "")
    if renewal.request is None:
        return RequestMade(renewal, csr, None, None)
    return RequestMade(
        renewal, csr, work.store.document(renewal.request.document), renewal.request.last_day
    )


def _judge(
    work: Workplace,
    topic: Topic,
    renewal: Renewal,
    found: intake.Intake,
    enrolled: Mapping[str, int] | None,
    issuers: Sequence[bytes],
) -> tuple[Finding, ...]:
    previous = renewal.previous
    current = None
    if previous is not None:
        current = PushCertificate.from_pem(work.store.document(previous.document))
    return findings.judge(
        found,
        expected_key_fingerprint=renewal.key_fingerprint or "",
        pinned_topic=topic.topic,
        current=current,
        enrolled=enrolled,
        issuers=issuers,
        now=work.now(),
        account=topic.account.address or topic.account.alias,
    )


def _write_refusal(
    work: Workplace, renewal: Renewal, found: intake.Intake, judged: Sequence[Finding]
) -> None:
    first = next(f for f in judged if f.level is Level.REFUSE)
    body = {
        "reason": first.reason.value,
        "sha256": found.sha256,
        "findings": [f.as_json() for f in judged],
    }
    work.append(renewal, Kind.CERTIFICATE_REFUSED, body)


def _as_error(refused: Sequence[Finding]) -> Refused:
    first, *others = refused
    error = Refused(first.reason, **first.values)
    error.others = tuple(Refused(finding.reason, **finding.values) for finding in others)
    return error


def _keep(work: Workplace, certificate: PushCertificate) -> PairRef:
    return PairRef(
        document=work.store.put_document(certificate.pem),
        fingerprint=certificate.fingerprint,
        serial=certificate.serial,
        not_after=certificate.not_after,
        key_fingerprint=certificate.key_fingerprint,
    )


def _is(found: intake.Intake, pair: PairRef) -> bool:
    return [c.fingerprint for c in found.certificates] == [pair.fingerprint]


