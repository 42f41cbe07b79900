"""The keys of all topics together: prove that they open, seal them anew, destroy what is superseded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from renewctl.certificate import private_key
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import Refused, RenewctlError, Unusable
from renewctl.keys import agefile, keystore, unseal
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.renewal.key_record import KeyFacts, Whose, whose
from renewctl.secrets import SecretRef, shown
from renewctl.workflow.workplace import Workplace


class SealedTo(StrEnum):
    """Whom a key is sealed to, as far as it can be known."""

    CURRENT = "current"  # the inventory's recipients
    OTHERS = "others"
    UNKNOWN = "unknown"  # as many `age1…` recipients as there should be; the file does not say which


class KeyState(StrEnum):
    """What became of the proof."""

    OPENS = "opens"
    FAILED = "failed"
    MISSING = "missing"
    NOT_NEEDED = "not_needed"  # kept, superseded; nothing was tried
    UNNAMED = "unnamed"  # kept, and no event names it
    DESTROYED = "destroyed"
    OTHERS = "others"  # of a topic the inventory does not know; nothing was tried
    UNCLEAR = "unclear"  # of a topic whose id and UID do not go with the record; nothing was tried


_NOT_AS_SEALED = frozenset({Reason.SEALED_KEY_DAMAGED, Reason.KEY_NAME_DIFFERS})
"""What is kept is not what was written down as sealed: whom that was sealed to does not matter."""


@dataclass(frozen=True)
class CheckedKey:
    """One key.

    Attributes:
        facts: None where no event names it, or none of a topic of the inventory.
        sealed_to: None where nothing was tried, it is not kept, or what is kept is damaged or another key.
        header: what the sealed file itself tells; None where it is not kept, or damaged.
        fault: why it is needed and cannot be used.
    """

    fingerprint: str
    facts: KeyFacts | None
    state: KeyState
    sealed_to: SealedTo | None
    header: agefile.Header | None
    fault: RenewctlError | None = None


def sorted_keys(work: Workplace) -> Whose:
    """Whose keys are whose, as the store has it now.

    Raises:
        Refused: `history_broken`.
    """
    topics = [(topic.id, topic.topic) for topic in work.inventory.topics]
    return whose(work.store.renewals(), topics, work.now())


def check(work: Workplace, keys: Whose, identity: SecretRef) -> tuple[CheckedKey, ...]:
    """Look at every key that is kept or named; open those still needed. Changes nothing.

    Raises:
        Unusable: the identity itself cannot be used.
    """
    unseal.require_identity(identity)
    kept = work.keys.names()
    names = sorted(keys.own.keys() | keys.unclear.keys() | set(kept))
    return tuple(
        _not_tried(keys, name) or _checked(work, name, keys.own.get(name), identity, kept=name in kept)
        for name in names
    )


def _not_tried(keys: Whose, name: str) -> CheckedKey | None:
    """What is told of a key that is not, or perhaps not, this inventory's; None: it is, or nobody's."""
    if name in keys.others:
        return CheckedKey(name, None, KeyState.OTHERS, None, None)
    if name in keys.unclear and name not in keys.own:
        return CheckedKey(name, keys.unclear[name], KeyState.UNCLEAR, None, None)
    return None


def _checked(
    work: Workplace, name: str, known: KeyFacts | None, identity: SecretRef, *, kept: bool
) -> CheckedKey:
    needed = known is not None and bool(known.uses)
    if not kept:
        gone = known is not None and known.destroyed and not needed
        fault = Refused(Reason.KEY_LOST, key=name, needed=_needed_by(known)) if needed else None
        state = KeyState.DESTROYED if gone else KeyState.MISSING
        return CheckedKey(name, known, state, None, None, fault)
    sealed = work.keys.sealed(name)
    found = _header(sealed)
    to = None if found is None else sealed_to(work, known, sealed)
    if not needed or known is None:
        state = KeyState.UNNAMED if known is None else KeyState.NOT_NEEDED
        return CheckedKey(name, known, state, to, found)
    try:
        _prove(work, known, sealed, identity)
    except RenewctlError as error:
        to = None if error.reason in _NOT_AS_SEALED else to
        return CheckedKey(name, known, KeyState.FAILED, to, found, error)
    return CheckedKey(name, known, KeyState.OPENS, to, found)


def _prove(work: Workplace, known: KeyFacts, sealed: bytes, identity: SecretRef) -> None:
    """Name, key and certificates bear one fingerprint."""
    open_named(known.fingerprint, sealed, identity)
    for use in known.uses:
        if use.pair is None:
            continue
        certificate = PushCertificate.from_pem(work.store.document(use.pair.document))
        if certificate.key_fingerprint != known.fingerprint:
            got = certificate.key_fingerprint
            raise Refused(
                Reason.KEY_OF_OTHER_CERTIFICATE, key=known.fingerprint, got=got, serial=use.pair.serial
            )


def open_named(name: str, sealed: bytes, identity: SecretRef) -> bytes:
    """Open a key, and make sure that it is the one its name says.

    Raises:
        Refused: `key_name_differs`, `identity_cannot_open`, `sealed_key_damaged`.
    """
    pem = unseal.open_key(sealed, identity)
    got = private_key.fingerprint(pem, name)
    if got != name:
        raise Refused(Reason.KEY_NAME_DIFFERS, key=name, got=got)
    return pem


def sealed_to(work: Workplace, known: KeyFacts | None, sealed: bytes) -> SealedTo:
    """Whom a sealed key is sealed to: by its own header first, then by what was written down."""
    current, found = work.keys.recipients, _header(sealed)
    if found is None or found != agefile.expected(current):
        return SealedTo.OTHERS
    if found.x25519 == 0:
        return SealedTo.CURRENT  # SSH recipients are told from one another
    if known is None or known.recipients is None:
        return SealedTo.UNKNOWN
    return SealedTo.CURRENT if set(known.recipients) == set(current) else SealedTo.OTHERS


def _header(sealed: bytes) -> agefile.Header | None:
    try:
        return agefile.header(sealed)
    except ValueError:
        return None


def _needed_by(known: KeyFacts | None) -> str:
    return ", ".join(f"{use.topic_id}: {use.role}" for use in known.uses) if known else "-"


@dataclass(frozen=True)
class Rekeyed:
    """One key that was, or would be, sealed anew.

    Attributes:
        fault: why it was not; it is as it was.
    """

    fingerprint: str
    fault: RenewctlError | None = None


def rekey(work: Workplace, keys: Whose, identity: SecretRef, proof: SecretRef) -> tuple[Rekeyed, ...]:
    """Seal the kept keys to the recipients of the inventory. Again: goes on where it ended.

    All but those of topics it does not know, or that are in doubt: whoever opens those would be shut out.

    Each new sealing is opened with `proof` before it takes the place of the old one. A key that cannot be
    opened stays as it is; the others go on.

    Args:
        identity: opens the keys as they are.
        proof: opens them as they are going to be; often the same.

    Raises:
        Refused: `rekey_not_proven`, before anything is changed.
        Attention: somebody else is at it.
        Unusable: an identity that cannot be used.
    """
    for reference in (identity, proof):
        unseal.require_identity(reference)
    left = keys.others | keys.unclear.keys()
    due = [name for name in work.keys.names() if name not in left and _is_due(work, keys.own.get(name), name)]
    if due:
        _prove_recipients(work, due, identity, proof)
    if not due or work.dry_run:
        return tuple(Rekeyed(name) for name in due)
    record = _Record(work)
    record.write(Kind.REKEY_STARTED, {"recipients": list(work.keys.recipients), "keys": due})
    return tuple(_resealed(work, record, name, identity, proof) for name in due)


def _is_due(work: Workplace, known: KeyFacts | None, name: str) -> bool:
    return sealed_to(work, known, work.keys.sealed(name)) is not SealedTo.CURRENT


def _prove_recipients(work: Workplace, names: Sequence[str], identity: SecretRef, proof: SecretRef) -> None:
    """That `proof` is one of the new recipients, tried on the first key that opens; nothing is written."""
    for name in names:
        try:
            pem = open_named(name, work.keys.sealed(name), identity)
        except Refused:
            continue  # told of when its turn comes
        _, new = keystore.sealed_to(work.keys.recipients, pem)
        try:
            unseal.open_key(new, proof)
        except Refused:
            raise Refused(Reason.REKEY_NOT_PROVEN, where=shown(proof)) from None
        return


def _resealed(work: Workplace, record: _Record, name: str, identity: SecretRef, proof: SecretRef) -> Rekeyed:
    try:
        old = work.keys.sealed(name)
        pem = open_named(name, old, identity)
        _, new = keystore.sealed_to(work.keys.recipients, pem)
        open_named(name, new, proof)
        work.keys.replace(name, old, new)
    except (Refused, Unusable) as error:
        record.require_unmoved()  # it may have been destroyed meanwhile
        return Rekeyed(name, error)
    body = {"key_fingerprint": name, "recipients": list(work.keys.recipients)}
    record.write(Kind.KEY_RESEALED, body)
    return Rekeyed(name)


def former_recipients(work: Workplace, keys: Whose) -> tuple[str, ...]:
    """Whom kept keys are sealed to, as written down, and the inventory does not name any more."""
    known, kept = keys.surely_own, work.keys.names()
    ever = {one for name in kept if name in known for one in known[name].may_open}
    return tuple(sorted(ever - set(work.keys.recipients)))


def superseded(work: Workplace, keys: Whose, after: timedelta) -> tuple[KeyFacts, ...]:
    """Keys nothing needs, which no open renewal names, for at least so long. Keys no event names stay."""
    kept = set(work.keys.names())
    return tuple(
        one
        for one in keys.surely_own.values()
        if not one.uses
        and not one.open
        and one.last + after <= work.now()
        and (one.fingerprint in kept or (one.destroying and not one.destroyed))
    )


def destroy(work: Workplace, keys: Whose, after: timedelta) -> tuple[KeyFacts, ...]:
    """Take superseded keys away, on record; none that may be another inventory's. Again: ends what was begun.

    Raises:
        Attention: somebody else is at it.
    """
    chosen = superseded(work, keys, after)
    if not chosen or work.dry_run:
        return chosen
    record = _Record(work)
    told = [
        {"key_fingerprint": one.fingerprint, "named_by": list(one.named_by), "since": one.last.isoformat()}
        for one in chosen
    ]
    record.write(Kind.DESTRUCTION_STARTED, {"keys": told, "after_seconds": after.total_seconds()})
    done = []
    for one in chosen:
        # Looked at again: somebody may have adopted that pair in this moment.
        now = superseded(work, sorted_keys(work), after)
        if one.fingerprint not in {still.fingerprint for still in now}:
            continue
        record.require_unmoved()  # who seals keys anew meanwhile counts on them
        work.keys.destroy(one.fingerprint)
        record.write(Kind.KEY_DESTROYED, {"key_fingerprint": one.fingerprint})
        done.append(one)
    return tuple(done)


class _Record:
    """The key store's own events, appended one after another: who else appends is in the way."""

    def __init__(self, work: Workplace) -> None:
        self._work = work
        self._seq = len(work.store.renewals().get(KEY_STORE, ()))

    def require_unmoved(self) -> None:
        """As `Store.require_unmoved`."""
        self._work.store.require_unmoved(KEY_STORE, self._seq)

    def write(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Append one.

        Raises:
            Attention: `somebody_else_moved`.
        """
        self._seq += 1
        self._work.write(KEY_STORE, kind, body, self._seq)
