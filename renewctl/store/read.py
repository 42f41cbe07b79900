"""The store, opened so that nothing can be changed: what the exporter may have.

Each question is one statement on a connection of its own: a reader that stayed would block a writer, and
two statements could tell of two states. The version of the schema comes with every answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

from renewctl.database import sql_url, sql_version, sqlite_read
from renewctl.database.sql_version import Row
from renewctl.errors import NodeFault
from renewctl.reasons import Reason
from renewctl.renewal.events import NAME, Event, Kind
from renewctl.store import head as store_head
from renewctl.store.head import Tip
from renewctl.store.moved import last_seen

_EVENTS = """
SELECT meta.value AS schema_version, events.* FROM meta LEFT JOIN events ON 1 = 1
WHERE meta.name = 'schema' ORDER BY events.renewal, events.seq"""

TIPS = """
SELECT meta.value AS schema_version, tip.* FROM meta LEFT JOIN (
    SELECT events.renewal, events.seq, events.hash, events.body, newest.written FROM events
    JOIN (SELECT renewal, MAX(seq) AS seq, COUNT(*) AS written FROM events GROUP BY renewal) AS newest
    ON events.renewal = newest.renewal AND events.seq = newest.seq
) AS tip ON 1 = 1 WHERE meta.name = 'schema'"""
"""The newest event of each renewal, and how many it has."""

_DOCUMENTS = """
SELECT meta.value AS schema_version, documents.sha256, documents.body
FROM meta LEFT JOIN documents ON 1 = 1 WHERE meta.name = 'schema' ORDER BY documents.sha256"""

_RUNS = """
SELECT meta.value AS schema_version, runs.* FROM meta LEFT JOIN runs ON 1 = 1
WHERE meta.name = 'schema' ORDER BY runs.number"""

_DOCUMENT = """
SELECT meta.value AS schema_version, documents.body
FROM meta LEFT JOIN documents ON documents.sha256 = :sha256 WHERE meta.name = 'schema'"""

_NEWEST_RUN = """
SELECT meta.value AS schema_version, runs.* FROM meta LEFT JOIN runs
ON runs.number = (SELECT max(number) FROM runs) WHERE meta.name = 'schema'"""

MAY_BE_ABSENT = frozenset({"reason", "ticket"})
"""Fields of an event that may be null."""

OF_A_RESTORE = "restored"
"""What the run that a restore leaves behind is for: it belongs to no renewal."""

YEARS = range(1970, 9999)
"""Years an event can be of: with those beyond, not every zone can be told."""


@dataclass(frozen=True)
class Run:
    """One run: the right to change nodes, lent to one holder at a time.

    Attributes:
        number: higher than every run before it, in the whole store; nodes refuse lower ones.
        token: random hex, so that two runs of one number (a restored store) differ.
        holder: who began it, as claimed.
        since: when, by the holder's clock; decides nothing.
        beat: raised by the holder every few seconds.
    """

    number: int
    token: str
    renewal: str
    holder: str
    host: str
    since: datetime
    beat: int
    ended: datetime | None = None

    def on_record(self) -> dict[str, Any]:
        """What an event's body tells of the run it was written under; `actor` and `host` are its holder's.

        The token by its digest: `audit` can compare it, and nobody can use it.
        """
        token = hashlib.sha256(self.token.encode(errors="replace")).hexdigest()
        return {"run": self.number, "since": instant_text(self.since), "token_sha256": token}


@dataclass(frozen=True)
class RawStore:
    """Rows as they lie there, believed in nothing: what `audit` looks through.

    Attributes:
        events, documents, runs: each table's rows; cells may be of any type.
    """

    events: Sequence[Row]
    documents: Sequence[Row]
    runs: Sequence[Row]


class Readable(Protocol):
    """A database that answers one statement at a time: a store's file, or `sql.Database`.

    Attributes:
        shown: its URL without a password, or its path.
    """

    shown: str

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """The rows of one statement."""

    def close(self) -> None:
        """Let go of everything held."""


class StoreReader:
    """A store that is read and never changed.

    Args:
        url: absolute (`sql_url.resolve`).
        recover: where a killed writer left a journal, roll it back, as far as this account may (the command
            line of the store's owner). Never for the exporter.

    Every method raises:
        Unusable: `store_missing`, `store_not_a_store`, `store_on_network`, `store_url_invalid`.
        Refused: `store_newer`.
        NodeFault: `store_unreachable`, `store_denied`, `store_needs_recovery`, `store_damaged`, ….
    """

    def __init__(self, url: str, *, recover: bool = False) -> None:
        self.url, self._recover = url, recover
        self._database = self._opened(url)
        self.shown = self._database.shown

    def _opened(self, url: str) -> Readable:
        path = sql_url.file_of(url)
        if path is not None:
            return sqlite_read.ReadOnlyFile(path)
        from renewctl.database import sql  # noqa: PLC0415 - SQLAlchemy: a third of a second

        return sql.Database(url, read_only=True)

    def renewals(self) -> dict[str, list[Event]]:
        """Every renewal's events in order, by renewal, in one statement."""
        rows = self._rows(_EVENTS)
        found: dict[str, list[Event]] = {}
        for row in rows:
            if row["renewal"] is not None:
                found.setdefault(row["renewal"], []).append(self._event(row))
        return found

    def require_unmoved(self, renewal: str, seq: int) -> None:
        """Check that nobody has gone on with a renewal, before something that could not be taken back.

        Args:
            seq: number of its last event seen; 0: there was none.

        Raises:
            Attention: `somebody_else_moved`.
        """
        last_seen([row for row in self._rows(_EVENTS) if row["renewal"] == renewal], renewal, seq)

    def head(self) -> str:
        """The head of the store (`store_head`); "" while it is empty."""
        return store_head.head(tips_of(self._rows(TIPS), self.shown))

    def raw(self) -> RawStore:
        """Everything but keys, unread: one bad row hides no other.

        Events first: what they name was written before them.
        """
        events = self._rows(_EVENTS)
        documents, runs = self._rows(_DOCUMENTS), self._rows(_RUNS)
        return RawStore(
            [row for row in events if row["renewal"] is not None],
            [row for row in documents if row["sha256"] is not None],
            [row for row in runs if row["number"] is not None],
        )

    def document(self, sha256: str) -> bytes:
        """A public artefact by its SHA-256 (hex), checked against it.

        Raises:
            NodeFault: `document_missing`, `store_damaged`.
        """
        rows = self._rows(_DOCUMENT, sha256=sha256)
        if rows[0]["body"] is None:
            raise NodeFault(Reason.DOCUMENT_MISSING, store=self.shown, got=sha256)
        kept = rows[0]["body"]
        body = bytes(kept) if isinstance(kept, bytes | memoryview) else b""
        if hashlib.sha256(body).hexdigest() != sha256:
            raise NodeFault(Reason.STORE_DAMAGED, store=self.shown, detail=f"document {sha256}")
        return body

    def open_run(self) -> Run | None:
        """The newest run if it has not ended: whoever holds the lease, or held it when they died."""
        run = self.newest_run()
        return run if run is not None and run.ended is None else None

    def newest_run(self) -> Run | None:
        """The newest run, ended or not."""
        rows = self._rows(_NEWEST_RUN)
        if rows[0]["number"] is None:
            return None
        try:
            return run_from(rows[0])
        except (ValueError, TypeError):
            detail = f"run {rows[0]['number']}"
            raise NodeFault(Reason.STORE_DAMAGED, store=self.shown, detail=detail) from None

    def close(self) -> None:
        """Let go of everything held."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, statement: str, **parameters: object) -> list[Row]:
        try:
            rows = self._database.rows(statement, **parameters)
        except NodeFault as error:
            if not self._recover or error.reason is not Reason.STORE_NEEDS_RECOVERY:
                raise
            from renewctl.database import sql  # noqa: PLC0415 - SQLAlchemy: a third of a second

            sql.require_schema(self.url)  # opened for writing, SQLite rolls the journal back
            rows = self._database.rows(statement, **parameters)
        sql_version.known(rows, self.shown)
        return rows

    def _event(self, row: Mapping[str, Any]) -> Event:
        try:
            event = event_from(row)
            store_head.place_of(event.body)
        except (ValueError, TypeError):
            raise _damaged(self.shown, row) from None
        return event


def tips_of(rows: Sequence[Mapping[str, Any]], store: str) -> list[Tip]:
    """The newest event of each renewal, out of the rows of `TIPS`.

    Raises:
        NodeFault: `store_damaged`: one of them is not as we write them.
    """
    found = []
    for row in rows:
        if row["renewal"] is None:
            continue
        try:
            place = store_head.place_of(body_of(row))
            _require(type(row["seq"]) is int and isinstance(row["hash"], str), "tip")
        except (ValueError, TypeError):
            raise _damaged(store, row) from None
        found.append(Tip(row["renewal"], row["seq"], row["hash"], place))
    return found


def _damaged(store: str, row: Mapping[str, Any]) -> NodeFault:
    return NodeFault(Reason.STORE_DAMAGED, store=store, detail=f"event {row['renewal']} {row['seq']}")


def instant_text(at: datetime) -> str:
    """An instant as the store keeps it: ISO 8601, UTC, microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same value is the same text everywhere.

    Raises:
        ValueError, TypeError: not a JSON value (NaN among them).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def event_hash(fields: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of an event's fields, `hash` left out.

    Args:
        fields: as the store keeps them, `at` a text, `body` a mapping.
    """
    chained = {name: value for name, value in fields.items() if name != "hash"}
    return hashlib.sha256(canonical(chained).encode()).hexdigest()


def fields_of(event: Event) -> dict[str, Any]:
    """An event as JSON: what `event_hash` takes, `hash` with it."""
    return {**vars(event), "at": instant_text(event.at), "kind": event.kind.value, "body": dict(event.body)}


def event_from(row: Mapping[str, Any]) -> Event:
    """An event out of a row of `events`; its body is any object (`renewal.history` asks for more).

    Raises:
        KeyError, ValueError, TypeError: the row is not as we write them.
    """
    values = {name: row[name] for name in Event.__dataclass_fields__}
    for name, value in values.items():
        if name == "seq":
            _require(type(value) is int and value > 0, name)
        else:
            _require(isinstance(value, str) or (value is None and name in MAY_BE_ABSENT), name)
    _require(NAME.fullmatch(values["renewal"]), "renewal")
    read = {"at": instant_from(row["at"]), "kind": Kind(row["kind"]), "body": body_of(row)}
    return Event(**{**values, **read})


def instant_from(text: object) -> datetime:
    """An instant as the store keeps it.

    Raises:
        ValueError, TypeError: none, or one that not every zone can tell.
    """
    at = datetime.fromisoformat(text)  # type: ignore[arg-type] # a TypeError is foreseen
    _require(at.tzinfo is not None and at.year in YEARS, "at")
    return at


def _require(fits: object, name: str) -> None:
    if not fits:
        raise ValueError(name)


def body_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event's body out of its row.

    Raises:
        ValueError, TypeError: no JSON object.
    """
    try:
        body = json.loads(row["body"])
    except RecursionError:
        raise ValueError("body") from None
    if not isinstance(body, dict):
        raise TypeError(type(body).__name__)
    return body


def run_from(row: Mapping[str, Any]) -> Run:
    """A run out of a row of `runs`.

    Raises:
        ValueError, TypeError: the row is not as we write them.
    """
    values = {name: row[name] for name in Run.__dataclass_fields__}
    for name in ("number", "beat"):
        _require(type(values[name]) is int, name)
    for name in ("token", "renewal", "holder", "host"):
        _require(isinstance(values[name], str), name)
    ended = None if row["ended"] is None else instant_from(row["ended"])
    return Run(**{**values, "since": instant_from(row["since"]), "ended": ended})
