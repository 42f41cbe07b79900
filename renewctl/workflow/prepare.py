"""Everything up to an accepted certificate: open, request, accept, abort. Touches no node, opens no key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renewctl.errors import Refused, Unusable
from renewctl.events import Kind, PairRef
from renewctl.findings import Finding, Level
from renewctl.inventory import Inventory, Topic
from renewctl.pushcert import PushCertificate
from renewctl.reasons import Reason
from renewctl.recognise import Passphrase
from renewctl.renewal import Renewal, require

from renewctl import findings, intake, request, secrets, vendor
from renewctl.workflow.workplace import Workplace


@dataclass(frozen=True)
class RequestMade:
    """What a person takes on from here.

    Attributes:
        csr: PEM.
        signed: the portal's file, or None where a vendor still has to sign.
        findings: warnings about the vendor's signature or chain.
    """

    renewal: Renewal
    csr: bytes
    signed: bytes | None
    findings: tuple[Finding, ...] = ()


def open_renewal(work: Workplace, topic: Topic) -> Renewal:
    """Begin a topic's yearly run.

    Raises:
        Refused: `renewal_open_already`.
        Attention: somebody else opened it in this moment.
    """
    name = next_renewal(work, topic)
    previous = work.history(topic).current
    body = {
        "topic_id": topic.id,
        "topic": topic.topic,
        "previous": None if previous is None else previous.as_body(),
    }
    work.write(name, Kind.OPENED, body, 1)
    return work.open_renewal(topic)


def next_renewal(work: Workplace, topic: Topic) -> str:
    """The name of the renewal that would begin now.

    Raises:
        Refused: `renewal_open_already`.
    """
    history = work.history(topic)
    if history.open is not None:
        raise Refused(Reason.RENEWAL_OPEN_ALREADY, renewal=history.open.name, got=history.open.phase.value)
    return history.next_name


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
        return _sign(work, topic, renewal, csr)
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
    signed = request.check_signed(intake.read_bytes(file), csr, work.now(), path=str(file))
    return _made(work, _requested(work, renewal, signed, "external"), signed.findings)


@dataclass(frozen=True)
class Downloaded:
    """What came back from the portal, and what is known about the devices it is for.

    Attributes:
        passphrase: asked where the file is a locked `.p12`.
        enrolled: topics enrolled devices use (`workflow.enrolled`), None where no node can tell.
    """

    file: Path
    passphrase: Passphrase | None
    enrolled: Mapping[str, int] | None


def judge(work: Workplace, topic: Topic, downloaded: Downloaded) -> tuple[Finding, ...]:
    """The warnings `accept` would give; writes nothing.

    Raises:
        Refused, Unusable: as `accept`.
    """
    renewal = work.open_renewal(topic)
    leaf = intake.read(downloaded.file, downloaded.passphrase).leaf()
    if _is_accepted(renewal, leaf):
        return ()
    found = _judge(work, topic, renewal, leaf, downloaded.enrolled)
    if refused := _refusals(found):
        raise _as_error(refused)
    return found


def accept(work: Workplace, topic: Topic, downloaded: Downloaded) -> tuple[Renewal, tuple[Finding, ...]]:
    """Check what came back from the portal, before anything is touched.

    Raises:
        Refused: with the first finding's reason; every refusal is in the event and in `.others`.
        Unusable: a file no certificate can be read from.
    """
    renewal = work.open_renewal(topic)
    leaf = intake.read(downloaded.file, downloaded.passphrase).leaf()
    if _is_accepted(renewal, leaf):
        return renewal, ()
    findings = _judge(work, topic, renewal, leaf, downloaded.enrolled)
    body: dict[str, Any] = {"findings": [_told(finding) for finding in findings]}
    if refused := _refusals(findings):
        told_of = {"reason": refused[0].reason.value, "fingerprint": leaf.fingerprint, **body}
        work.append(renewal, Kind.CERTIFICATE_REFUSED, told_of)
        raise _as_error(refused)
    pair = PairRef(
        document=work.store.put_document(leaf.pem),
        fingerprint=leaf.fingerprint,
        serial=leaf.serial,
        not_after=leaf.not_after,
        key_fingerprint=leaf.key_fingerprint,
    )
    body |= {"pair": pair.as_body(), "topic": topic.topic}
    return work.append(renewal, Kind.ACCEPTED, body), findings


def abort(work: Workplace, topic: Topic) -> Renewal:
    """End a renewal that touched no node, or whose nodes were put back.

    Raises:
        Refused: `out_of_order`, `renewal_none_open`.
    """
    return work.append(can_abort(work, topic), Kind.ABORTED, {})


def can_abort(work: Workplace, topic: Topic) -> Renewal:
    """The renewal `abort` would end.

    Raises:
        Refused: as `abort`.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ABORTED)
    return renewal


def _make_csr(work: Workplace, topic: Topic, renewal: Renewal) -> Renewal:
    require(renewal, Kind.KEY_MADE)
    pem = request.make_key()
    fingerprint = work.keys.seal(pem)  # before the event that names it
    renewal = work.append(renewal, Kind.KEY_MADE, {"key_fingerprint": fingerprint})
    document = work.store.put_document(
        request.make_csr(pem, common_name=topic.id, email=topic.account.address)
    )
    return work.append(renewal, Kind.CSR_MADE, {"key_fingerprint": fingerprint, "document": document})


def _sign(work: Workplace, topic: Topic, renewal: Renewal, csr: bytes) -> RequestMade:
    owner = topic.vendor or work.inventory.vendor
    if owner is None:
        raise Unusable(Reason.VENDOR_NOT_CONFIGURED, topic=topic.id, option="--csr-only")
    if owner.key is None:
        raise Unusable(Reason.VENDOR_KEY_MISSING, topic=topic.id, option="--csr-only")
    certificate = intake.read_bytes(owner.certificate)
    above = [intake.read_bytes(path) for path in owner.chain]
    key = secrets.read(owner.key).encode()
    checked = vendor.check_vendor(certificate, above, key, work.now(), path=str(owner.certificate))
    findings.insist(checked.findings)
    file = request.sign(csr, certificate, above, key)
    signed = request.check_signed(file, csr, work.now(), path=str(owner.certificate))
    warnings = [*checked.findings, *(f for f in signed.findings if f not in checked.findings)]
    return _made(work, _requested(work, renewal, signed, "vendor"), tuple(warnings))


def _requested(work: Workplace, renewal: Renewal, signed: request.SignedRequest, signer: str) -> Renewal:
    body = {
        "document": work.store.put_document(signed.content),
        "last_day": signed.last_day.isoformat(),
        "signer": signer,
        "serial": signed.vendor_serial,
    }
    return work.append(renewal, Kind.REQUESTED, body)


def _made(work: Workplace, renewal: Renewal, warnings: tuple[Finding, ...] = ()) -> RequestMade:
    signed = None if renewal.request is None else work.store.document(renewal.request.document)
    return RequestMade(renewal, work.store.document(renewal.csr or ""), signed, warnings)


def _judge(
    work: Workplace,
    topic: Topic,
    renewal: Renewal,
    leaf: PushCertificate,
    enrolled: Mapping[str, int] | None,
) -> tuple[Finding, ...]:
    require(renewal, Kind.ACCEPTED)
    previous = renewal.previous
    current = None
    if previous is not None:
        current = PushCertificate.from_pem(work.store.document(previous.document))
    return findings.judge(
        leaf,
        expected_key_fingerprint=renewal.key_fingerprint or "",
        topic=topic.topic,
        current=current,
        enrolled=enrolled,
        issuers=trusted(work.inventory),
        now=work.now(),
        account=topic.account.address or topic.account.alias,
        known_topics=[other.topic for other in work.inventory.topics],
    )


def trusted(inventory: Inventory) -> list[bytes]:
    """DER of the authorities the inventory expects push certificates from.

    Raises:
        Unusable: a file no certificate can be read from.
    """
    return [one.der for path in inventory.trust for one in intake.read(path).certificates]


def _is_accepted(renewal: Renewal, leaf: PushCertificate) -> bool:
    return renewal.accepted is not None and renewal.accepted.fingerprint == leaf.fingerprint


def _refusals(found: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level is Level.REFUSE]


def _told(finding: Finding) -> dict[str, Any]:
    return {"reason": finding.reason.value, "level": finding.level.value, "values": dict(finding.values)}


def _as_error(refused: Sequence[Finding]) -> Refused:
    first, *others = refused
    error = Refused(first.reason, **first.values)
    error.others = tuple(Refused(finding.reason, **finding.values) for finding in others)
    return error
