"""Whether what nodes serve now is on record: else a roll-back would give them something else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from renewctl.errors import Refused, RenewctlError
from renewctl.inventory.reading import Node
from renewctl.observation import ServedCertificate
from renewctl.reasons import Reason
from renewctl.renewal.events import PairRef
from renewctl.renewal.served import renewed_elsewhere
from renewctl.servers.at_once import of_each
from renewctl.servers.registry import connect


def require_on_record(nodes: Sequence[Node], uid: str, pairs: Collection[PairRef], previous: PairRef) -> None:
    """Check the nodes that can be asked from here, as `status` does; a silent one is the fence's to refuse.

    Args:
        pairs: every pair on record for the topic of this UID.
        previous: what a roll-back would put back: of a node with an older pair that is no loss.

    Raises:
        Refused: `pair_not_on_record`, the other such nodes in `.others`.
    """
    if refused := not_on_record(of_each(nodes, partial(_served, uid)), pairs, previous):
        raise refused


def not_on_record(
    served: Mapping[str, ServedCertificate | None], pairs: Collection[PairRef], previous: PairRef
) -> Refused | None:
    """`pair_not_on_record` of what nodes (by name) were seen serving, if it is to be told.

    Args:
        pairs, previous: as above.
    """
    refused = [
        Refused(
            Reason.PAIR_NOT_ON_RECORD,
            node=name,
            got=one.serial or one.not_after,
            expected=previous.serial,
            option="--forward-only",
        )
        for name, one in served.items()
        if one is not None and renewed_elsewhere(one, pairs, previous)
    ]
    if not refused:
        return None
    refused[0].others = tuple(refused[1:])
    return refused[0]


def _served(uid: str, node: Node) -> ServedCertificate | None:
    try:
        return connect(node, [uid]).observe(datetime.now(UTC), certificates_alone=True).serving(uid)
    except RenewctlError:
        return None
