"""Events as an auditor reads them: one flat line each, whatever its kind; as JSON lines and as CSV. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from renewctl.audit.rows import Row
from renewctl.renewal.events import Event, Kind
from renewctl.visible import visible

_FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes a cell for a formula by (owasp.org/www-community/attacks/CSV_Injection); of its
list, tabs and line ends never stay in a cell."""


@dataclass(frozen=True)
class Line:
    """One event, flat. What an event does not tell is None.

    Attributes:
        number: its place in the whole store.
        at: aware UTC, by the writer's clock.
        actor, host: as claimed.
        authenticated: who the store itself says wrote it.
        reason, ticket: as given on the command line.
        serial, not_after, fingerprint: of the certificate this event is about.
        keys: fingerprints of the keys it is about, comma and space between them, as for nodes.
        proof: `rung=state`, a space between them.
        node_reason: why a node did not do it, or why a certificate or a run was refused, or the
            doubt a roll-back was begun despite: a reason code.
        node_values: what belongs into that reason's sentence, as JSON.
    """

    number: int | None
    at: datetime
    renewal: str
    seq: int
    topic_id: str
    topic: str | None
    event: str
    actor: str
    authenticated: str
    host: str
    version: str
    inventory_digest: str
    reason: str | None
    ticket: str | None
    serial: str | None
    not_after: str | None
    fingerprint: str | None
    keys: str | None
    run: int | None
    direction: str | None
    nodes: str | None
    outcome: str | None
    proof: str | None
    node_reason: str | None
    node_values: str | None
    previous: str
    before: str | None
    hash: str

    def as_json(self) -> dict[str, Any]:
        """For programs: instants in UTC."""
        return {**asdict(self), "at": _instant(self.at)}


COLUMNS = tuple(field.name for field in fields(Line))


def lines(rows: Iterable[Row]) -> Iterator[Line]:
    """A line for each event that can be read.

    Args:
        rows: by renewal and seq.
    """
    known: dict[str, _Known] = {}
    for row in rows:
        if row.event is not None:
            yield _line(row, row.event, known.setdefault(row.renewal, _Known()))


class _Known:
    """What earlier events of a renewal said, for those that only name a direction."""

    topic: str | None = None
    new: Mapping[str, Any] | None = None
    previous: Mapping[str, Any] | None = None


def _line(row: Row, event: Event, known: _Known) -> Line:
    body = event.body
    pair = _pair(event, known)
    return Line(
        number=None if row.place is None else row.place.number,
        at=event.at,
        renewal=event.renewal,
        seq=event.seq,
        topic_id=event.renewal.rpartition("-")[0],
        topic=known.topic,
        event=event.kind.value,
        actor=event.actor,
        authenticated=event.authenticated,
        host=event.host,
        version=event.version,
        inventory_digest=event.inventory_digest,
        reason=event.reason,
        ticket=event.ticket,
        serial=_text(pair.get("serial")),
        not_after=_utc(pair.get("not_after")),
        fingerprint=_text(pair.get("fingerprint")),
        keys=_keys(body),
        run=body["run"] if type(body.get("run")) is int else None,
        direction=_text(body.get("direction")),
        nodes=_nodes(body),
        outcome=_text(body.get("outcome")),
        proof=_proof(body.get("proof")),
        node_reason=_text(body.get("reason") or body.get("despite")),
        node_values=_values(body),
        previous=event.previous,
        before=None if row.place is None else row.place.before,
        hash=event.hash,
    )


def _pair(event: Event, known: _Known) -> Mapping[str, Any]:
    """The certificate an event is about; what it teaches about the renewal is kept."""
    body = event.body
    known.topic = _text(body.get("topic")) or known.topic
    own = body.get("pair") if isinstance(body.get("pair"), Mapping) else None
    if event.kind is Kind.OPENED and isinstance(body.get("previous"), Mapping):
        own = known.previous = body["previous"]
    elif event.kind is Kind.ACCEPTED and own is not None:
        known.new = own
    elif own is None and event.kind is Kind.CERTIFICATE_REFUSED:
        own = {"fingerprint": body.get("fingerprint")}
    elif own is None and _is_of_a_node(event):
        own = known.previous if body.get("direction") == "previous" else known.new
    return own or {}


def _is_of_a_node(event: Event) -> bool:
    return event.kind in {Kind.WAVE_STARTED, Kind.NODE_FINISHED, Kind.NODE_VERIFIED}


def _keys(body: Mapping[str, Any]) -> str | None:
    """The keys an event names beside a pair's."""
    several = body.get("keys")
    found: list[object] = [body.get("key_fingerprint"), *(several if isinstance(several, list) else [])]
    names = [one.get("key_fingerprint") if isinstance(one, Mapping) else one for one in found]
    return ", ".join(name for name in names if isinstance(name, str)) or None


def _nodes(body: Mapping[str, Any]) -> str | None:
    """The nodes an event speaks of, each once."""
    found: list[object] = [body.get("node")]
    for several in (body.get("nodes"), body.get("let_go"), *_waves(body.get("waves"))):
        found += several if isinstance(several, list) else []
    names = [name for name in found if isinstance(name, str)]
    return ", ".join(dict.fromkeys(names)) or None


def _waves(waves: object) -> list[object]:
    return waves if isinstance(waves, list) else []


def _proof(proof: object) -> str | None:
    rungs = proof.get("rungs") if isinstance(proof, Mapping) else None
    if not isinstance(rungs, Mapping) or not rungs:
        return None
    return " ".join(f"{rung}={state}" for rung, state in rungs.items())


def _values(body: Mapping[str, Any]) -> str | None:
    """A node's, or those of the first finding a certificate was refused for."""
    found = body.get("values")
    findings = body.get("findings")
    if isinstance(findings, list) and findings and isinstance(findings[0], Mapping):
        found = findings[0].get("values")
    return json.dumps(found, sort_keys=True) if isinstance(found, Mapping) and found else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _utc(value: object) -> str | None:
    """An instant of a body in the form JSON has; what is none, as it is."""
    text = _text(value)
    try:
        return text and _instant(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return text


def _instant(at: datetime) -> str:
    whole = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    return whole.isoformat(timespec="seconds").replace("+00:00", "Z")


def json_lines(told: Iterable[Line]) -> Iterator[str]:
    """A JSON object a line (jsonlines.org)."""
    for line in told:
        yield json.dumps(line.as_json(), ensure_ascii=True)


def csv_lines(told: Iterable[Line]) -> Iterator[str]:
    """CSV (RFC 4180) with a header; every cell quoted, and none that a spreadsheet would compute."""
    yield _csv(COLUMNS)
    for line in told:
        yield _csv(["" if cell is None else str(cell) for cell in line.as_json().values()])


def _csv(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="").writerow(map(_harmless, cells))
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    """A cell that begins like a formula gets a quote in front; numbers and dates never begin so."""
    cell = visible(cell)
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) else cell
