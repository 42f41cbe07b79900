"""Events of a renewal, written down by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from renewctl.renewal.events import Event, Kind

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"


def pair(serial: str = "0b", *, key: str | None = "k" * 64, days: int = 365) -> dict[str, Any]:
    """A pair as bodies tell of it."""
    return {
        "document": serial * 32,
        "fingerprint": serial * 32,
        "serial": serial,
        "not_after": (START + timedelta(days=days)).isoformat(),
        "key_fingerprint": key,
    }


OLD, NEW = pair("0a", days=42), pair("0b", days=365)

BODIES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.OPENED: {"topic_id": "tokyo", "topic": TOPIC, "previous": OLD},
    Kind.KEY_MADE: {"key_fingerprint": "k" * 64},
    Kind.CSR_MADE: {"key_fingerprint": "k" * 64, "document": "c" * 64},
    Kind.REQUESTED: {
        "document": "r" * 64,
        "last_day": START.isoformat(),
        "signer": "vendor",
        "serial": "01",
    },
    Kind.CERTIFICATE_REFUSED: {"reason": "topic_differs", "fingerprint": "f", "findings": []},
    Kind.ACCEPTED: {"pair": NEW, "topic": TOPIC, "findings": []},
    Kind.ROLL_OUT_STARTED: {
        "run": 1,
        "waves": [["n1"], ["n2"]],
        "left_out": {},
        "pair": NEW,
        "forward_only": False,
    },
    Kind.WAVE_STARTED: {"run": 1, "direction": "new", "nodes": ["n1"]},
    Kind.NODE_FINISHED: {"run": 1, "direction": "new", "node": "n1", "outcome": "proven", "changed": True},
    Kind.NODE_VERIFIED: {"direction": "new", "node": "n1", "outcome": "proven"},
    Kind.ROLL_OUT_FINISHED: {"run": 1, "outcome": "done", "reason": None},
    Kind.ROLL_BACK_STARTED: {"run": 2, "nodes": ["n1"], "pair": OLD},
    Kind.ROLL_BACK_FINISHED: {"run": 2, "outcome": "done", "reason": None},
    Kind.CLOSED: {},
    Kind.ABORTED: {},
    Kind.ADOPTED: {"pair": OLD, "topic_id": "tokyo", "topic": TOPIC},
    Kind.REKEY_STARTED: {"recipients": ["age1new"], "keys": ["k" * 64]},
    Kind.KEY_RESEALED: {"key_fingerprint": "k" * 64, "recipients": ["age1new"]},
    Kind.DESTRUCTION_STARTED: {"keys": [{"key_fingerprint": "k" * 64}], "after_seconds": 3600.0},
    Kind.KEY_DESTROYED: {"key_fingerprint": "k" * 64},
    Kind.RESTORED: {
        "backup": "b" * 64,
        "made_at": START.isoformat(),
        "run": 7,
        "nodes": ["n1", "n2"],
        "silent": [],
    },
}


def event(seq: int, kind: Kind, name: str = "tokyo-1", **body: Any) -> Event:
    """One event; `body` changes the usual one."""
    return Event(
        renewal=name,
        seq=seq,
        id=f"{seq:032x}",
        at=START + timedelta(minutes=seq),
        kind=kind,
        body={**BODIES[kind], **body},
        actor="tanaka@ops1",
        host="ops1",
        version="0.1.0",
        inventory_digest="d" * 64,
        reason=None,
        ticket=None,
        previous="",
        hash=f"{seq:064x}",
    )


def events(*kinds: Kind | tuple[Kind, Mapping[str, Any]], name: str = "tokyo-1") -> list[Event]:
    """Events in order, numbered; a kind alone, or with changes to its body."""
    made = []
    for seq, one in enumerate(kinds, start=1):
        kind, body = (one, {}) if isinstance(one, Kind) else one
        made.append(event(seq, kind, name, **body))
    return made


ACCEPTED = (Kind.OPENED, Kind.KEY_MADE, Kind.CSR_MADE, Kind.REQUESTED, Kind.ACCEPTED)
"""The way to an accepted certificate."""


def told(node: str, outcome: str, direction: str = "new") -> tuple[Kind, Mapping[str, Any]]:
    """What became of a node."""
    proof = {"rungs": {"read_back": "yes" if outcome in {"proven", "installed"} else "unknown"}}
    return Kind.NODE_FINISHED, {"node": node, "outcome": outcome, "direction": direction, "proof": proof}


def wave(*nodes: str, direction: str = "new") -> tuple[Kind, Mapping[str, Any]]:
    """A wave that begins."""
    return Kind.WAVE_STARTED, {"nodes": list(nodes), "direction": direction}
