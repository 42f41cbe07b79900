"""Taking over the pair in use, accepting the one before it again, ending a renewal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from renewctl.certificate import findings, intake, private_key
from renewctl.certificate.findings import Finding
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import Attention, Refused
from renewctl.inventory.reading import Topic
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind, Outcome, PairRef
from renewctl.renewal.rules import Phase, Renewal, gone, owed, require
from renewctl.workflow import prepare
from renewctl.workflow.pairs import prove_key_opens
from renewctl.workflow.workplace import Workplace


@dataclass(frozen=True)
class Adopted:
    """What was taken over.

    Attributes:
        changed: False where the very same pair was adopted last, and no other came into use since.
    """

    pair: PairRef
    changed: bool


def adopt(work: Workplace, topic: Topic, certificate: intake.Intake, key: bytes | None) -> Adopted:
    """Take over the pair in use: the way back of the next renewal.

    Args:
        certificate: the file of the certificate in use.
        key: its private key, PKCS#1 PEM; None pins topic and date only, and the next roll-out will have
            no way back, unless the key store holds that key already.

    Raises:
        Attention: somebody else opened a renewal, or destroyed or rekeyed keys, in this moment.
        Refused: another topic, a key of another certificate, or a renewal is open; as `Workplace.history`.
        Unusable: no certificate in the file.
    """
    history, keys_seen = work.history(topic), len(work.store.renewals().get(KEY_STORE, ()))
    history.require_none_open()
    found = certificate.leaf()
    account = topic.account.address or topic.account.alias
    findings.insist(findings.topic(found, topic.topic, account))
    if key is not None and (got := private_key.fingerprint(key, "--key")) != found.key_fingerprint:
        raise Refused(Reason.KEY_DIFFERS, got=got, expected=found.key_fingerprint)
    held = key is not None or work.keys.has(found.key_fingerprint)
    pair = PairRef(
        document=work.keep(found.pem),
        fingerprint=found.fingerprint,
        serial=found.serial,
        not_after=found.not_after,
        key_fingerprint=found.key_fingerprint if held else None,
    )
    sealed_now = key is not None and not work.keys.has(found.key_fingerprint)
    if key is not None and not work.dry_run:
        work.keys.seal(key)  # before the event that names it
        prove_key_opens(work, found.key_fingerprint)
    if history.adopted == history.current == pair:
        return Adopted(pair, changed=False)
    body = {
        "pair": pair.as_body(),
        "topic_id": topic.id,
        "topic": topic.topic,
        "after": None if history.latest is None else history.latest.name,
        "recipients": list(work.keys.recipients) if sealed_now else None,
    }
    # A renewal opened in this moment would begin from another pair; the key may be destroyed as superseded.
    beside = {history.next_name: 0, KEY_STORE: keys_seen}
    work.write(history.adopted_name, Kind.ADOPTED, body, history.adopted_seq + 1, beside)
    return Adopted(pair, changed=True)


def accept_before(
    work: Workplace, topic: Topic, enrolled: Mapping[str, int] | None
) -> tuple[Renewal, tuple[Finding, ...]]:
    """Accept the pair that was in use before the one in use now: the way back once a renewal was closed.

    A closed renewal is not opened again; this one rolls the older pair out like any other, each node proven,
    and the pair in use now is its way back.

    Args:
        enrolled: topics enrolled devices use, None where no node can tell.

    Raises:
        Refused: `no_pair_before`; `key_not_in_store`, `identity_cannot_open`: it is there without its key; as
            `prepare.accept`.
        Unusable: no identity is configured.
    """
    renewal, before = work.open_renewal(topic), work.history(topic).before
    if before is not None and renewal.accepted == before:
        return renewal, ()
    require(renewal, Kind.ACCEPTED)
    if before is None:
        raise Refused(Reason.NO_PAIR_BEFORE, renewal=renewal.name, topic=topic.id)
    prove_key_opens(work, before.key_fingerprint, serial=before.serial)
    leaf = PushCertificate.from_pem(work.store.document(before.document))
    found = findings.judge(
        leaf,
        expected_key_fingerprint=leaf.key_fingerprint,
        topic=topic.topic,
        current=None,  # which ends later
        enrolled=enrolled,
        issuers=prepare.trusted(work.inventory),
        now=work.now(),
        account=topic.account.address or topic.account.alias,
        known_topics=[other.topic for other in work.inventory.topics],
    )
    return prepare.take_in(work, topic, renewal, leaf, found), found


def close(work: Workplace, topic: Topic, *, without_proof: bool) -> Renewal:
    """End a renewal whose nodes all have the new pair; those that left the inventory are let go, on record.

    Args:
        without_proof: end it although a node's device was never seen checking in.

    Raises:
        Attention: `nodes_owed`, `nodes_not_proven`; `run_held`: somebody is at work on it.
        Refused: `out_of_order`, `renewal_none_open`.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.CLOSED)
    names = [node.name for node in work.nodes(topic)]
    left = owed(renewal, names)
    if left:
        raise Attention(Reason.NODES_OWED, renewal=renewal.name, nodes=", ".join(left))
    unproven = [name for name in names if renewal.nodes[name].outcome is not Outcome.PROVEN]
    if renewal.phase is not Phase.PROVEN and unproven and not without_proof:
        raise Attention(Reason.NODES_NOT_PROVEN, renewal=renewal.name, nodes=", ".join(unproven))
    work.store.require_unheld(renewal.name)
    return work.append(renewal, Kind.CLOSED, {"let_go": list(gone(renewal, names))})
