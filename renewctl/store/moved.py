"""Whether a record is as its writer has seen it: whoever went on with it meanwhile is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from renewctl.errors import Attention
from renewctl.reasons import Reason

_NOTHING: Mapping[str, Any] = {"seq": 0, "hash": "", "actor": "-", "host": "-", "at": None}


def last_seen(rows: Sequence[Mapping[str, Any]], renewal: str, seq: int) -> Mapping[str, Any]:
    """The last event of a renewal, if it is the one that was seen.

    Args:
        rows: of its events, in order, from `seq` on; none: it has none.
        seq: number of the last one seen; 0: there was none.

    Raises:
        Attention: `somebody_else_moved` (`renewal`, `holder`, `host`, `since`, `got`, `expected`).
    """
    last = rows[-1] if rows else _NOTHING
    if last["seq"] == seq:
        return last
    raise Attention(
        Reason.SOMEBODY_ELSE_MOVED,
        renewal=renewal,
        holder=last["actor"],
        host=last["host"],
        since=None if last["at"] is None else datetime.fromisoformat(last["at"]),
        got=last["seq"],
        expected=seq,
    )
