"""A pair as the playbooks are told of it: a certificate file and a reference to its key, never the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, Refused, Unusable
from renewctl.inventory.reading import Inventory
from renewctl.keys import unseal
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind, PairRef
from renewctl.renewal.rules import Renewal, out_of_order
from renewctl.secrets import SecretRef
from renewctl.workflow.hosts import reference
from renewctl.workflow.workplace import Workplace


def open_pair(work: Workplace, ref: PairRef) -> Pair:
    """Open a pair out of store and key store; proves that this host can.

    Raises:
        Refused: `key_not_in_store`, `identity_cannot_open`.
        Unusable: no identity is configured.
    """
    if ref.key_fingerprint is None or not work.keys.has(ref.key_fingerprint):
        raise Refused(Reason.KEY_NOT_IN_STORE, got=ref.serial, key=ref.key_fingerprint or "-")
    key = unseal.open_key(work.keys.sealed(ref.key_fingerprint), identity(work.inventory))
    certificate = PushCertificate.from_pem(work.store.document(ref.document))
    return Pair(certificate, key)


def open_previous(work: Workplace, ref: PairRef) -> Pair:
    """Open the pair that is the way back; that its key is gone has a way out of its own.

    Raises:
        Refused: `previous_key_lost`, with what happened in `.others`.
        Unusable: no identity is configured, or what was sealed is no key.
    """
    try:
        return open_pair(work, ref)
    except NodeFault:
        raise
    except Refused as error:
        lost = Refused(Reason.PREVIOUS_KEY_LOST, got=ref.serial, option="--forward-only")
        lost.others = (error,)
        raise lost from None


def prove_key_opens(work: Workplace, fingerprint: str | None, *, serial: str = "-") -> None:
    """Open a key and forget it: before anybody is sent to the portal, or promised a way back.

    Raises:
        Refused: `key_not_in_store`, `identity_cannot_open`.
        Unusable: no identity is configured.
    """
    if fingerprint is None or not work.keys.has(fingerprint):
        raise Refused(Reason.KEY_NOT_IN_STORE, got=serial, key=fingerprint or "-")
    unseal.open_key(work.keys.sealed(fingerprint), identity(work.inventory))


def identity(inventory: Inventory) -> SecretRef:
    """The reference to the identity that opens keys.

    Raises:
        Unusable: `inventory_missing_key`.
    """
    found = inventory.keys.identity
    if found is None:
        where = str(inventory.path)
        raise Unusable(Reason.INVENTORY_MISSING_KEY, where=where, path="keys.identity", expected="{file: …}")
    return found


def accepted(renewal: Renewal) -> PairRef:
    """The accepted pair.

    Raises:
        Refused: `out_of_order`: nothing was accepted yet.
    """
    if renewal.accepted is None:
        raise out_of_order(renewal, Kind.ROLL_OUT_STARTED)
    return renewal.accepted


def previous_pair(renewal: Renewal, *, forward_only: bool) -> PairRef | None:
    """The way back; None where a person chose to go without.

    Raises:
        Refused: `previous_pair_missing`: not adopted, or adopted without its key.
    """
    return None if forward_only else way_back(renewal)


def way_back(renewal: Renewal) -> PairRef:
    """The previous pair, key and all.

    Raises:
        Refused: `previous_pair_missing`: not adopted, or adopted without its key.
    """
    previous = renewal.previous
    if previous is not None and previous.key_fingerprint is not None:
        return previous
    raise Refused(
        Reason.PREVIOUS_PAIR_MISSING,
        renewal=renewal.name,
        got="-" if previous is None else previous.serial,
        option="--forward-only",
    )


@contextmanager
def told(work: Workplace, new: PairRef, previous: PairRef | None) -> Iterator[dict[str, Any]]:
    """Variables `renewctl_pair` and `renewctl_previous`; the certificate files last as long as the block."""
    with TemporaryDirectory(prefix="renewctl-") as folder:
        yield {
            "renewctl_pair": _told(work, new, Path(folder)),
            "renewctl_previous": None if previous is None else _told(work, previous, Path(folder)),
        }


def _told(work: Workplace, ref: PairRef, folder: Path) -> Mapping[str, Any]:
    certificate = folder / f"{ref.fingerprint}.pem"
    certificate.write_bytes(work.store.document(ref.document))
    return {"certificate": str(certificate), "key": _key(work, ref)}


def _key(work: Workplace, ref: PairRef) -> Mapping[str, Any]:
    opened_by = reference(identity(work.inventory))
    keys = work.inventory.keys
    if keys.folder is not None:
        return {"sealed": str(keys.folder / f"{ref.key_fingerprint}.age"), "identity": opened_by}
    store = work.inventory.store
    table = reference(store) if isinstance(store, SecretRef) else store
    return {"table": table, "fingerprint": ref.key_fingerprint, "identity": opened_by}
