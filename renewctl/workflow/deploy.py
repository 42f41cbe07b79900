"""Taking over the pair in use, and ending a renewal: adopt, close."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from renewctl.errors import Attention, Refused
from renewctl.events import Kind, PairRef
from renewctl.inventory import Topic
from renewctl.pushcert import PushCertificate, key_fingerprint
from renewctl.reasons import Reason
from renewctl.renewal import Outcome, Phase, Renewal, owed, require

from renewctl import intake
from renewctl.workflow.workplace import Workplace


@dataclass(frozen=True)
class Adopted:
    """What was taken over.

    Attributes:
        changed: False where the very same pair had been adopted before.
    """

    pair: PairRef
    changed: bool


def adopt(
    work: Workplace, topic: Topic, certificate: Path, key: Path | None, *, dry_run: bool = False
) -> Adopted:
    """Take over the pair in use: the way back of the next renewal.

    Args:
        certificate: the certificate in use, in any form `intake` reads.
        key: its private key; None pins topic and date only, and the next roll-out will have no way back.

    Raises:
        Refused: another topic, a key of another certificate, or a renewal is open.
        Unusable: a file that cannot be read.
    """
    history = work.history(topic)
    if history.open is not None:
        raise Refused(Reason.RENEWAL_OPEN_ALREADY, renewal=history.open.name, got=history.open.phase.value)
    found = intake.read(certificate).leaf()
    if found.topic != topic.topic:
        raise Refused(Reason.TOPIC_DIFFERS, got=found.topic, expected=topic.topic)
    pem = None if key is None else _key_of(found, key)
    pair = PairRef(
        document=hashlib.sha256(found.pem).hexdigest(),
        fingerprint=found.fingerprint,
        serial=found.serial,
        not_after=found.not_after,
        key_fingerprint=None if pem is None else found.key_fingerprint,
    )
    if dry_run or history.adopted == pair:
        return Adopted(pair, changed=history.adopted != pair)
    if pem is not None:
        work.keys.seal(pem)  # before the event that names it
    work.store.put_document(found.pem)
    body = {"pair": pair.as_body(), "topic_id": topic.id, "topic": topic.topic}
    work.write(history.adopted_name, Kind.ADOPTED, body, history.adopted_seq + 1)
    return Adopted(pair, changed=True)


def _key_of(certificate: PushCertificate, file: Path) -> bytes:
    pem = intake.read(file).private_key()
    got = key_fingerprint(pem)
    if got != certificate.key_fingerprint:
        raise Refused(Reason.KEY_DIFFERS, got=got, expected=certificate.key_fingerprint)
    return pem


def close(work: Workplace, topic: Topic, *, leave_owed: bool, without_proof: bool) -> Renewal:
    """End a renewal whose nodes all have the new pair.

    Args:
        leave_owed: end it although nodes are still owed; they stay owed, and are shown so.
        without_proof: end it although a node's device was never seen checking in.

    Raises:
        Attention: `nodes_owed`, `nodes_not_proven`.
        Refused: `out_of_order`, `renewal_none_open`.
    """
    renewal, left = can_close(work, topic, leave_owed=leave_owed, without_proof=without_proof)
    return work.append(renewal, Kind.CLOSED, {"left_owed": list(left)})


def can_close(
    work: Workplace, topic: Topic, *, leave_owed: bool, without_proof: bool
) -> tuple[Renewal, tuple[str, ...]]:
    """The renewal `close` would end, and the nodes it would leave owed.

    Raises:
        Attention, Refused: as `close`.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.CLOSED)
    left = owed(renewal, [node.name for node in work.nodes(topic)])
    if left and not leave_owed:
        raise Attention(Reason.NODES_OWED, renewal=renewal.name, nodes=", ".join(left))
    unproven = [name for name, state in renewal.nodes.items() if state.outcome is not Outcome.PROVEN]
    if renewal.phase is not Phase.PROVEN and unproven and not without_proof:
        raise Attention(Reason.NODES_NOT_PROVEN, renewal=renewal.name, nodes=", ".join(unproven))
    return renewal, left
