"""A renewal's history written into a store, as roll-outs write it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
from tests.support.exporter_values import UID

NEW_ENDS = datetime(2027, 12, 1, 9, tzinfo=UTC)
OLD_ENDS = NEW_ENDS - timedelta(days=365)

_STAMP = Stamp("sato@desk", "desk", "0.1.0", "d" * 64)


def pair(ends: datetime, serial: str) -> dict[str, Any]:
    """A pair as an event's body tells of it."""
    return {
        "document": "d" * 64, "fingerprint": "f" * 64, "serial": serial,
        "not_after": ends.isoformat(), "key_fingerprint": "c" * 64,
    }  # fmt: skip


NEW, OLD = pair(NEW_ENDS, "0b"), pair(OLD_ENDS, "0a")


def accepted(number: int = 1) -> list[tuple[Kind, dict[str, Any]]]:
    """A renewal up to its accepted certificate."""
    key = {"key_fingerprint": "c" * 64}
    return [
        (Kind.OPENED, {"topic_id": "tokyo", "topic": UID, "previous": OLD, "number": number}),
        (Kind.KEY_MADE, key),
        (Kind.CSR_MADE, {**key, "document": "e" * 64}),
        (Kind.ACCEPTED, {"pair": NEW, "topic": UID, "findings": []}),
    ]


def rolled_out(*nodes: str, outcome: str = "installed") -> list[tuple[Kind, dict[str, Any]]]:
    """A roll-out that reached these nodes and is not finished."""
    started = {"run": 1, "waves": [list(nodes)], "left_out": {}, "pair": NEW, "forward_only": False}
    wave = {"run": 1, "direction": "new", "nodes": list(nodes)}
    return [
        (Kind.ROLL_OUT_STARTED, started),
        (Kind.WAVE_STARTED, wave),
        *((Kind.NODE_FINISHED, told(node, "new", outcome)) for node in nodes),
    ]


def put_back(*nodes: str) -> list[tuple[Kind, dict[str, Any]]]:
    """A roll-back that was begun and put these nodes back."""
    return [
        (Kind.ROLL_BACK_STARTED, {"run": 2, "nodes": list(nodes), "pair": OLD}),
        (Kind.WAVE_STARTED, {"run": 2, "direction": "previous", "nodes": list(nodes)}),
        *((Kind.NODE_FINISHED, told(node, "previous", "installed")) for node in nodes),
        (Kind.ROLL_BACK_FINISHED, {"run": 2, "outcome": "done", "reason": None}),
    ]


def told(node: str, direction: str, outcome: str) -> dict[str, Any]:
    """What a run tells of one node."""
    return {
        "run": 1, "direction": direction, "node": node, "outcome": outcome,
        "proof": {"rungs": {"read_back": "yes"}}, "reason": None, "values": {}, "changed": True,
    }  # fmt: skip


def write(url: str, renewal: str, *steps: Sequence[tuple[Kind, dict[str, Any]]]) -> None:
    """Append these events to a renewal that has none yet; the store is made if needed."""
    Store.create(url)
    more(url, renewal, *steps)


def more(url: str, renewal: str, *steps: Sequence[tuple[Kind, dict[str, Any]]], after: int = 0) -> None:
    """Append these events to a renewal that has so many already."""
    with Store(url) as store:
        events = [event for step in steps for event in step]
        for seq, (kind, body) in enumerate(events, start=after + 1):
            store.append(renewal, kind, body, stamp=_STAMP, expected_seq=seq)
