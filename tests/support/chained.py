"""Rows of a store, chained by hand: the rule as `renewal.events` and `store.head` word it, written a second time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renewctl.renewal.events import Kind
from renewctl.store.read import RawStore
from tests.support.history import BODIES

Row = dict[str, Any]


def text_of(value: object) -> str:
    """Canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(row: Row) -> Row:
    """A row with the hash its other fields have."""
    fields = {name: value for name, value in row.items() if name != "hash"}
    fields["body"] = json.loads(row["body"])
    return {**row, "hash": hashlib.sha256(text_of(fields).encode()).hexdigest()}


@dataclass
class Chained:
    """A store in the making.

    Attributes:
        events: in the order they were written.
        heads: the store's head after each of them.
        places: False: as written before places were kept.
    """

    events: list[Row] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    runs: list[Row] = field(default_factory=list)
    places: bool = True

    def append(self, renewal: str, kind: Kind, **changes: Any) -> Row:
        """One more event, in both chains."""
        own = [row for row in self.events if row["renewal"] == renewal]
        body = self._body(kind, changes.pop("body", {}))
        if self.places:
            before = self.heads[-1] if self.heads else ""
            body["store"] = {"number": len(self.events) + 1, "before": before}
        number = len(self.events) + 1
        row: Row = {
            "renewal": renewal, "seq": len(own) + 1, "id": f"{number:032x}",
            "at": f"2026-11-{1 + number % 28:02d}T09:00:00.000000+00:00", "kind": kind.value,
            "body": text_of(body), "actor": "tanaka@ops1", "authenticated": "tanaka", "host": "ops1",
            "version": "0.1.0", "inventory_digest": "d" * 64, "reason": None, "ticket": None,
            "previous": own[-1]["hash"] if own else "",
        }  # fmt: skip
        self.events.append(sealed({**row, **changes}))
        self.heads.append(self.events[-1]["hash"] if self.places else self._ground())
        return self.events[-1]

    def raw(self) -> RawStore:
        """As it is read."""
        documents = [{"sha256": name, "body": body} for name, body in self.documents.items()]
        return RawStore([dict(row) for row in self.events], documents, [dict(row) for row in self.runs])

    def _ground(self) -> str:
        newest = {row["renewal"]: f"{row['renewal']} {row['seq']} {row['hash']}\n" for row in self.events}
        return hashlib.sha256("".join(sorted(newest.values())).encode()).hexdigest()

    def _body(self, kind: Kind, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The usual body, its documents really kept."""
        body: dict[str, Any] = json.loads(text_of({**BODIES[kind], **changes}))
        for holder in (body, body.get("pair"), body.get("previous")):
            if isinstance(holder, dict) and "document" in holder:
                content = text_of([kind.value, holder["document"]]).encode()
                holder["document"] = hashlib.sha256(content).hexdigest()
                self.documents[holder["document"]] = content
        return body


def rechained(rows: Sequence[Row], *, whole_store: bool) -> list[Row]:
    """What somebody would do who knows the rule: every hash made to fit again.

    Args:
        rows: in the order of the store.
        whole_store: places and links of the store too; else each renewal's own chain alone.
    """
    last: dict[str, Row] = {}
    made: list[Row] = []
    for row in rows:
        before = last.get(row["renewal"])
        body = json.loads(row["body"])
        if whole_store:
            body["store"] = {"number": len(made) + 1, "before": made[-1]["hash"] if made else ""}
        changed = {
            **row,
            "seq": 1 if before is None else before["seq"] + 1,
            "previous": "" if before is None else before["hash"],
            "body": text_of(body),
        }
        made.append(sealed(changed))
        last[row["renewal"]] = made[-1]
    return made
