"""Everything up to an accepted certificate: open, request, accept, abort. Touches no node, opens no key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renewctl import secrets
from renewctl.certificate import findings, intake, request, vendor
from renewctl.certificate.findings import Finding, Level
from renewctl.certificate.pushcert import PushCertificate
from renewctl.certificate.recognise import Passphrase
from renewctl.errors import Attention, Refused, Unusable
from renewctl.inventory.reading import Inventory, Topic
from renewctl.observation import Observation
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind, PairRef
from renewctl.renewal.rules import Renewal, gone, out_of_order, owed_previous, require
from renewctl.renewal.served import serving
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


def open_renewal(work: Workplace, topic: Topic) -> tuple[str, tuple[Finding, ...]]:
    """Begin a topic's yearly run; its name, and a warning where its window has not begun.

    Early is no fault: a lost key cannot wait for the window.

    Raises:
        Refused: `renewal_open_already`; as `Workplace.history`.
        Attention: somebody else opened it in this moment.
    """
    history = work.history(topic)
    history.require_none_open()
    previous = history.current
    body = {
        "topic_id": topic.id,
        "topic": topic.topic,
        "previous": None if previous is None else previous.as_body(),
    }
    beside = {history.adopted_name: history.adopted_seq}  # the pair in use must still be that one
    work.write(history.next_name, Kind.OPENED, body, 1, beside)
    end = None if previous is None else previous.not_after
    return history.next_name, findings.early(end, topic.window, work.now())


def handed_out(work: Workplace, renewal: Renewal) -> frozenset[str]:
    """SHA-256 (hex) of every CSR and request a renewal has made: what it may have left in files."""
    made = [one for one in work.store.renewals()[renewal.name] if one.kind in {Kind.CSR_MADE, Kind.REQUESTED}]
    return frozenset(event.body["document"] for event in made)


def make_csr(work: Workplace, topic: Topic, *, new_key: bool) -> RequestMade:
    """Make key and CSR. Again: the same ones.

    Args:
        new_key: leave the pending key (it stays in the key store) and begin anew.

    Raises:
        Refused: out of order.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.CSR_MADE)
    if renewal.csr is None or new_key:
        renewal = _make_csr(work, topic, renewal, new_key=new_key)
    return _made(work, renewal)


def sign(work: Workplace, topic: Topic, file: Path) -> RequestMade:
    """Sign the CSR with the vendor's key. Again: the same file, unless its chain has ended meanwhile.

    Args:
        file: where the portal's file is going to be, for the record.

    Raises:
        Refused: vendor certificate or chain unusable; out of order.
        Unusable: no vendor certificate or no key of it configured.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.REQUESTED)
    if renewal.request is not None and renewal.request.last_day > work.now():
        return _made(work, renewal)
    owner = topic.vendor or work.inventory.vendor
    if owner is None:
        raise Unusable(Reason.VENDOR_NOT_CONFIGURED, topic=topic.id, option="--csr-only")
    if owner.key is None:
        raise Unusable(Reason.VENDOR_KEY_MISSING, topic=topic.id, option="--csr-only")
    csr = work.store.document(renewal.csr or "")
    certificate = intake.read_bytes(owner.certificate)
    above = [intake.read_bytes(path) for path in owner.chain]
    key = secrets.read(owner.key).encode()
    checked = vendor.check_vendor(certificate, above, key, work.now(), path=str(owner.certificate))
    findings.insist(checked.findings)
    content = request.sign(csr, certificate, above, key)
    signed = request.check_signed(content, csr, work.now(), path=str(owner.certificate))
    warnings = [*checked.findings, *(f for f in signed.findings if f not in checked.findings)]
    return _made(work, _requested(work, renewal, signed, "vendor", file), tuple(warnings))


def take_signed(work: Workplace, topic: Topic, answer: Path, file: Path) -> RequestMade:
    """Take in the file a vendor signed, checked against our CSR.

    Raises:
        Refused: not for this CSR, a bad signature, a chain out of order or expired.
        Unusable: not such a file.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.REQUESTED)
    csr = work.store.document(renewal.csr or "")
    signed = request.check_signed(intake.read_bytes(answer), csr, work.now(), path=str(answer))
    return _made(work, _requested(work, renewal, signed, "external", file), signed.findings)


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


def accept(work: Workplace, topic: Topic, downloaded: Downloaded) -> tuple[Renewal, tuple[Finding, ...]]:
    """Check what came back from the portal, before anything is touched.

    Raises:
        Refused: with the first finding's reason; every refusal is in the event and in `.others`.
        Unusable: a file no certificate can be read from.
    """
    # Opened for another UID, mistyped perhaps: the certificate proves which is right.
    renewal = work.open_renewal(topic, past=(Reason.RENEWAL_OF_OTHER_UID,))
    leaf = intake.read(downloaded.file, downloaded.passphrase, certificate_only=True).leaf()
    if _is_accepted(renewal, leaf):
        return renewal, ()
    if renewal.csr is None:
        raise out_of_order(renewal, Kind.ACCEPTED)
    require(renewal, Kind.ACCEPTED)
    found = _judge(work, topic, renewal, leaf, downloaded.enrolled)
    return take_in(work, topic, renewal, leaf, found), found


def take_in(
    work: Workplace, topic: Topic, renewal: Renewal, leaf: PushCertificate, findings: Sequence[Finding]
) -> Renewal:
    """Write down what came of the checks: the certificate is accepted, or refused.

    Raises:
        Refused: with the first refusal's reason; every refusal is in the event and in `.others`.
    """
    body: dict[str, Any] = {"findings": [_told(finding) for finding in findings]}
    if refused := _refusals(findings):
        told_of = {"reason": refused[0].reason.value, "fingerprint": leaf.fingerprint, **body}
        work.append(renewal, Kind.CERTIFICATE_REFUSED, told_of)
        raise as_error(refused)
    pair = PairRef(
        document=work.keep(leaf.pem),
        fingerprint=leaf.fingerprint,
        serial=leaf.serial,
        not_after=leaf.not_after,
        key_fingerprint=leaf.key_fingerprint,
    )
    body |= {"pair": pair.as_body(), "topic": topic.topic}
    return work.append(renewal, Kind.ACCEPTED, body)


def abort(work: Workplace, topic: Topic, seen: Mapping[str, Observation]) -> Renewal:
    """End a renewal that touched no node, or whose nodes were put back.

    Nodes that left the inventory are let go, on record: whether they were put back nobody knows.

    Args:
        seen: after a roll-back, a look at each node: an order that came late may have changed one again.

    Raises:
        Refused: `out_of_order`, `renewal_none_open`.
        Attention: `run_held`: somebody is at work on it; `roll_back_owed`: a node was not put back yet,
                or has the new pair again.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ABORTED)
    names = [node.name for node in work.nodes(topic)]
    again = () if renewal.accepted is None else serving(seen, topic.topic, renewal.accepted)
    if left := [name for name in names if name in {*owed_previous(renewal, names), *again}]:
        raise Attention(Reason.ROLL_BACK_OWED, renewal=renewal.name, nodes=", ".join(left))
    work.store.require_unheld(renewal.name)
    return work.append(renewal, Kind.ABORTED, {"let_go": list(gone(renewal, names))})


def _make_csr(work: Workplace, topic: Topic, renewal: Renewal, *, new_key: bool) -> Renewal:
    """A key and its CSR; where a command that was cut off has left both, those."""
    require(renewal, Kind.KEY_MADE)
    if new_key or renewal.kept_csr is None or not work.keys.has(renewal.key_fingerprint or ""):
        renewal = _make_key(work, topic, renewal)
    body = {"key_fingerprint": renewal.key_fingerprint, "document": renewal.kept_csr}
    return work.append(renewal, Kind.CSR_MADE, body)


def _make_key(work: Workplace, topic: Topic, renewal: Renewal) -> Renewal:
    """Key and CSR are kept before the event that names both: to make the CSR later would need an identity."""
    pem = request.make_key()
    fingerprint = work.keys.seal(pem)
    csr = request.make_csr(pem, common_name=topic.id, email=topic.account.address)
    body = {
        "key_fingerprint": fingerprint,
        "document": work.store.put_document(csr),
        "recipients": list(work.keys.recipients),
        "replaces": renewal.key_fingerprint,
    }
    return work.append(renewal, Kind.KEY_MADE, body)


def _requested(
    work: Workplace, renewal: Renewal, signed: request.SignedRequest, signer: str, file: Path
) -> Renewal:
    body = {
        "document": work.keep(signed.content),
        "last_day": signed.last_day.isoformat(),
        "signer": signer,
        "serial": signed.vendor_serial,
        "file": str(file.absolute()),
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


def as_error(refused: Sequence[Finding]) -> Refused:
    """The first refusal as an error, the others with it."""
    first, *others = refused
    error = Refused(first.reason, **first.values)
    error.others = tuple(Refused(finding.reason, **finding.values) for finding in others)
    return error
