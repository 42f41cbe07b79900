"""The last snapshot on disk: JSON, written beside and renamed, readable by owner and group, no secrets.

Read at start, so that a restart forgets no date. A file that cannot be used is no reason not to start.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from exporter.snapshot import ExpiryFacts, Known, NodeFacts, RenewalFacts, Snapshot
from renewctl import localfile
from renewctl.observation import DeviceCounts, SeenFile, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, PairRef

VERSION = 3
"""Of the file's format; another one is not read."""

LIMIT = 64 << 20
"""Bytes that are read: ten thousand certificates are three million."""


class UnusableSnapshot(Exception):
    """The file is there and cannot be used; the text says why, without its content."""


def load(path: Path) -> Snapshot | None:
    """The snapshot kept in a file; None where there is no file.

    Raises:
        UnusableSnapshot: unreadable, not ours, or damaged.
    """
    try:
        stored = json.loads(localfile.read(path, LIMIT))
        if stored["version"] != VERSION:
            raise UnusableSnapshot(f"version {stored['version']!r}, expected {VERSION}")
        return Snapshot(
            nodes={name: _node_in(facts) for name, facts in stored["nodes"].items()},
            renewals=tuple(_renewal_in(facts) for facts in stored["renewals"]),
            adopted={topic: _known_in(known) for topic, known in stored["adopted"].items()},
            expiries={_key_in(key): _expiry_in(facts) for key, facts in stored["expiries"]},
            store_head=str(stored["store_head"]),
            store_read=_at_in(stored["store_read"]),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableSnapshot(error.strerror or "cannot be read") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UnusableSnapshot(f"damaged ({type(error).__name__})") from None


def save(path: Path, snapshot: Snapshot) -> None:
    """Replace the file, whole or not at all.

    Raises:
        OSError: the folder cannot be written, the disk is full.
    """
    stored = {
        "version": VERSION,
        "nodes": {name: _node_out(facts) for name, facts in snapshot.nodes.items()},
        "renewals": [_renewal_out(facts) for facts in snapshot.renewals],
        "adopted": {topic: _known_out(known) for topic, known in snapshot.adopted.items()},
        "expiries": [[key, _expiry_out(facts)] for key, facts in snapshot.expiries.items()],
        "store_head": snapshot.store_head,
        "store_read": _at_out(snapshot.store_read),
    }
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(stored, separators=(",", ":")))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _node_out(facts: NodeFacts) -> dict[str, Any]:
    return {
        "looked_at": _at_out(facts.looked_at),
        "up": facts.up,
        "failures": list(facts.failures),
        "last_success": _at_out(facts.last_success),
        "told": [_served_out(served) for served in facts.told],
        "told_at": _at_out(facts.told_at),
        "kept": [_known_out(known) for known in facts.kept],
        "devices": None if facts.devices is None else [_devices_out(counts) for counts in facts.devices],
        "devices_at": _at_out(facts.devices_at),
        "files": [_file_out(file) for file in facts.files],
        "gone": {path: _at_out(since) for path, since in facts.gone.items()},
    }


def _node_in(stored: dict[str, Any]) -> NodeFacts:
    devices = stored["devices"]
    return NodeFacts(
        looked_at=_at_in(stored["looked_at"]),
        up=None if stored["up"] is None else bool(stored["up"]),
        failures=tuple(Reason(reason) for reason in stored["failures"]),
        last_success=_at_in(stored["last_success"]),
        told=tuple(_served_in(served) for served in stored["told"]),
        told_at=_at_in(stored["told_at"]),
        kept=tuple(_known_in(known) for known in stored["kept"]),
        devices=None if devices is None else tuple(_devices_in(counts) for counts in devices),
        devices_at=_at_in(stored["devices_at"]),
        files=tuple(_file_in(file) for file in stored["files"]),
        gone={path: _instant_in(since) for path, since in stored["gone"].items()},
    )


def _expiry_out(facts: ExpiryFacts) -> dict[str, str | None]:
    return {
        "not_after": _at_out(facts.not_after),
        "reason": facts.reason,
        "last_success": _at_out(facts.last_success),
    }


def _expiry_in(stored: dict[str, Any]) -> ExpiryFacts:
    return ExpiryFacts(
        _at_in(stored["not_after"]), _reason_in(stored["reason"]), _at_in(stored["last_success"])
    )


def _key_in(stored: list[str]) -> tuple[str, str, str]:
    kind, name, node = stored
    return str(kind), str(name), str(node)


def _renewal_out(facts: RenewalFacts) -> dict[str, Any]:
    return {
        "topic": facts.topic,
        "renewal": facts.renewal,
        "phase": facts.phase,
        "accepted_at": _at_out(facts.accepted_at),
        "owed": list(facts.owed),
        "recorded": {node: _known_out(known) for node, known in facts.recorded.items()},
        "bound_for": facts.bound_for,
        "left": None if facts.left is None else facts.left.as_body(),
        "ahead": {node: _at_out(at) for node, at in facts.ahead.items()},
    }


def _pair_in(stored: dict[str, Any] | None) -> PairRef | None:
    if stored is None:
        return None
    return replace(PairRef.from_body(stored), not_after=_instant_in(stored["not_after"]))


def _renewal_in(stored: dict[str, Any]) -> RenewalFacts:
    return RenewalFacts(
        topic=str(stored["topic"]),
        renewal=str(stored["renewal"]),
        phase=str(stored["phase"]),
        accepted_at=_at_in(stored["accepted_at"]),
        owed=tuple(map(str, stored["owed"])),
        recorded={node: _known_in(known) for node, known in stored["recorded"].items()},
        bound_for=Direction(stored["bound_for"]),
        left=_pair_in(stored["left"]),
        ahead={node: _instant_in(at) for node, at in stored["ahead"].items()},
    )


def _known_out(known: Known) -> dict[str, str | None]:
    return {"at": known.at.isoformat(), **_served_out(known.served)}


def _known_in(stored: dict[str, Any]) -> Known:
    return Known(_served_in(stored), _instant_in(stored["at"]))


def _served_out(served: ServedCertificate) -> dict[str, str | None]:
    return {
        "topic": served.topic,
        "not_after": served.not_after.isoformat(),
        "source": served.source,
        "serial": served.serial,
        "fingerprint": served.fingerprint,
        "key_fingerprint": served.key_fingerprint,
        "issuer": served.issuer,
    }


def _served_in(stored: dict[str, Any]) -> ServedCertificate:
    return ServedCertificate(
        topic=str(stored["topic"]),
        not_after=_instant_in(stored["not_after"]),
        source=Source(stored["source"]),
        serial=_text_in(stored["serial"]),
        fingerprint=_text_in(stored["fingerprint"]),
        key_fingerprint=_text_in(stored["key_fingerprint"]),
        issuer=_text_in(stored["issuer"]),
    )


def _file_out(file: SeenFile) -> dict[str, str | None]:
    return {
        "path": file.path,
        "topic": file.topic,
        "not_after": _at_out(file.not_after),
        "reason": file.reason,
    }


def _file_in(stored: dict[str, Any]) -> SeenFile:
    return SeenFile(
        path=str(stored["path"]),
        topic=str(stored["topic"]),
        not_after=_at_in(stored["not_after"]),
        reason=_reason_in(stored["reason"]),
    )


def _devices_out(counts: DeviceCounts) -> dict[str, Any]:
    seen = {str(window): count for window, count in counts.seen_within.items()}
    return {"topic": counts.topic, "enabled": counts.enabled, "seen_within": seen}


def _devices_in(stored: dict[str, Any]) -> DeviceCounts:
    seen = {int(window): int(count) for window, count in stored["seen_within"].items()}
    return DeviceCounts(str(stored["topic"]), int(stored["enabled"]), seen)


def _text_in(value: object) -> str | None:
    return None if value is None else str(value)


def _reason_in(value: str | None) -> Reason | None:
    return None if value is None else Reason(value)


def _at_out(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _at_in(text: str | None) -> datetime | None:
    return None if text is None else _instant_in(text)


def _instant_in(text: str) -> datetime:
    """An instant with its zone: one without cannot be compared with the others."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant without a zone")
    return at
