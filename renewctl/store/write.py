"""The store, for those who write: append events, keep documents, hold runs.

An append says "I have seen everything up to here". What is already there means somebody else moved, unless it
is our own event whose answer was lost: the writer compares ids before it says anything.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from renewctl.database import sql, sqlite_file
from renewctl.errors import Attention, NodeFault, RenewctlError
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.store import head as store_head
from renewctl.store.lease import Lease, Timing, held, lost
from renewctl.store.moved import last_seen
from renewctl.store.read import (
    TIPS,
    Run,
    StoreReader,
    canonical,
    event_from,
    event_hash,
    fields_of,
    instant_text,
    run_from,
    tips_of,
)

_PAUSES = (0.0, 0.2, 1.0)
"""Seconds before each try while the store cannot be reached or somebody is just ahead of us."""

_SINCE = "SELECT * FROM events WHERE renewal = :renewal AND seq >= :seq - 1 ORDER BY seq"

_INSERT_EVENT = """
INSERT INTO events (renewal, seq, id, at, kind, body, actor, authenticated, host, version, inventory_digest,
                    reason, ticket, previous, hash)
VALUES (:renewal, :seq, :id, :at, :kind, :body, :actor, :authenticated, :host, :version, :inventory_digest,
        :reason, :ticket, :previous, :hash)"""

_INSERT_DOCUMENT = """
INSERT INTO documents (sha256, body, at) SELECT CAST(:sha256 AS TEXT), :body, CAST(:at AS TEXT)
WHERE NOT EXISTS (SELECT 1 FROM documents WHERE sha256 = :sha256)"""

_BY_ID = "SELECT * FROM events WHERE id = :id"

_NEWEST = "SELECT * FROM runs ORDER BY number DESC LIMIT 1"

_INSERT_RUN = """
INSERT INTO runs (number, token, renewal, holder, host, since, beat, ended)
VALUES (:number, :token, :renewal, :holder, :host, :since, 0, NULL)"""

_TAKE_OVER = "UPDATE runs SET ended = :at WHERE number = :number AND beat = :beat AND ended IS NULL"

_BEAT = """
UPDATE runs SET beat = beat + 1 WHERE number = :number AND token = :token AND ended IS NULL
AND NOT EXISTS (SELECT 1 FROM runs AS newer WHERE newer.number > :number)"""

_END = "UPDATE runs SET ended = :at WHERE number = :number AND token = :token AND ended IS NULL"

_Result = TypeVar("_Result")
_Beside = Mapping[str, int] | None


@dataclass(frozen=True)
class Stamp:
    """Who writes, from where, with what, and why; every event carries it.

    Attributes:
        actor: as claimed, `user@host`.
        version: of renewctl.
        inventory_digest: SHA-256 of the inventory acted upon, hex.
        reason, ticket: as given on the command line.
    """

    actor: str
    host: str
    version: str
    inventory_digest: str
    reason: str | None = None
    ticket: str | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class Store(StoreReader):
    """A store that may be written. Reading through it rolls back what a killed writer left.

    Args:
        url: absolute (`sql_url.resolve`).
        clock: what time it is, for the record alone.
        timing: of runs.
        monotonic, sleep: the clock that decides on runs, and how to wait.

    Attributes:
        written: the store's head after the last event written here; "" before the first.

    Raises:
        Unusable, Refused, NodeFault: as `StoreReader`, at once.
    """

    _database: sql.Database

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime] = _now,
        timing: Timing | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(url)
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        self._account: str | None = None
        self.timing, self.written = timing or Timing(), ""
        sql.require_schema(url)

    def _opened(self, url: str) -> sql.Database:
        return sql.Database(url, read_only=False)

    @classmethod
    def create(cls, url: str) -> None:
        """Make the store where there is none; one that is there stays as it is.

        Raises:
            Unusable, Refused, NodeFault: it cannot be made, or what is there is not a store we know.
        """
        sql.create(url)

    def append(
        self,
        renewal: str,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        stamp: Stamp,
        expected_seq: int,
        beside: _Beside = None,
    ) -> Event:
        """Write one event down, durably.

        Args:
            renewal: which renewal's history it continues.
            kind: what it tells of.
            body: a JSON object (`events`); its place in the store is added.
            stamp: who writes.
            expected_seq: the number the event is to have: one more than the last seen, 1 for the first.
            beside: other renewals that must not have moved either -> the number of their last event seen.

        Raises:
            Attention: `somebody_else_moved` (`moved.last_seen`): read again;
                `store_answer_lost`: it may or may not be written down.
            NodeFault: it is not written down, and why.
        """
        draft = self.draft(renewal, kind, body, stamp=stamp, seq=expected_seq)
        sent = False

        def once() -> Event:
            nonlocal sent
            with self._database.transaction() as transaction:
                event, sent = self.write(draft, transaction, beside)
            return event

        try:
            event = self._persistently(once)
        except NodeFault as fault:
            if not sent:
                raise
            event = self._after_lost_answer(draft, fault)
        self.written = event.hash
        return event

    def draft(self, renewal: str, kind: Kind, body: Mapping[str, Any], *, stamp: Stamp, seq: int) -> Event:
        """An event that has no place in the chain yet."""
        return Event(
            renewal=renewal, seq=seq, id=uuid.uuid4().hex, at=self._clock(), kind=kind,
            body=json.loads(canonical(body)),
            previous="", hash="", **vars(stamp),
        )  # fmt: skip

    def write(self, draft: Event, transaction: sql.Transaction, beside: _Beside = None) -> tuple[Event, bool]:
        """Write a draft down in somebody's transaction; the event, and whether it was not there before.

        Raises:
            Attention: `somebody_else_moved`.
        """
        event, there = self._place(draft, transaction, beside)
        if not there:
            row = fields_of(event)
            transaction.change(_INSERT_EVENT, **{**row, "body": canonical(row["body"])})
        return event, not there

    def _place(self, draft: Event, transaction: sql.Transaction, beside: _Beside) -> tuple[Event, bool]:
        """The event with its place in both chains, and whether it is there already."""
        transaction.alone()  # two renewals at once must not follow the same event of the store
        rows = transaction.rows(_SINCE, renewal=draft.renewal, seq=draft.seq)
        for row in rows:
            if row["id"] == draft.id:
                return event_from(row), True
        last = last_seen(rows, draft.renewal, draft.seq - 1)
        for name, seq in (beside or {}).items():
            last_seen(transaction.rows(_SINCE, renewal=name, seq=seq + 1), name, seq)
        newest = transaction.rows(TIPS)
        tips = tips_of(newest, self.shown)
        place = store_head.next_place(tips, sum(row["written"] or 0 for row in newest))
        placed = replace(
            draft,
            body={**draft.body, store_head.FIELD: place.as_body()},
            previous=last["hash"],
            authenticated=self._authenticated(transaction),
        )
        return replace(placed, hash=event_hash(fields_of(placed))), False

    def _after_lost_answer(self, draft: Event, fault: NodeFault) -> Event:
        """The commit failed, or its answer was lost: look whether it is there before saying anything."""
        lost = Attention(
            Reason.STORE_ANSWER_LOST, renewal=draft.renewal, store=self.shown, got=draft.kind.value
        )
        try:
            rows = self._database.rows(_BY_ID, id=draft.id)
        except RenewctlError:
            raise lost from None
        if rows:
            return event_from(rows[0])
        # A server out of reach may still be committing; a file that we have just read is not.
        raise lost if fault.reason is Reason.STORE_UNREACHABLE else fault

    def _authenticated(self, transaction: sql.Transaction) -> str:
        if self._account is None and self._database.path is not None:
            self._account = sqlite_file.account()
        elif self._account is None:
            self._account = str(transaction.rows("SELECT session_user AS name")[0]["name"])
        return self._account

    def put_document(self, body: bytes) -> str:
        """Keep a public artefact; the same bytes are kept once.

        Returns:
            Its SHA-256, hex.
        """
        sha256 = hashlib.sha256(body).hexdigest()
        at = instant_text(self._clock())

        def once() -> str:
            with self._database.transaction() as transaction:
                transaction.change(_INSERT_DOCUMENT, sha256=sha256, body=body, at=at)
            return sha256

        return self._persistently(once)

    def begin_run(
        self,
        renewal: str,
        stamp: Stamp,
        *,
        above: int = 0,
        watching: Callable[[Run, float], None] | None = None,
    ) -> Run:
        """Begin a run; take over from a holder only after watching it show no sign of life.

        A holder that lives is found out within two of its beats; one that does not costs the whole patience.

        Args:
            renewal: whose nodes are to be changed.
            stamp: who begins it.
            above: the highest run number nodes carry; the new one is higher.
            watching: told, while we wait, of the silent run and the seconds left.

        Raises:
            Attention: `run_held` (`holder`, `host`, `since`, `run`, `renewal`).
        """
        before = self.newest_run()
        if before is not None and before.ended is None:
            before = self._watched(before, watching, self.timing.patience)
        token, since = secrets.token_hex(16), instant_text(self._clock())

        def once() -> Run:
            with self._database.transaction() as transaction:
                newest = transaction.rows(_NEWEST)
                if newest and newest[0]["token"] == token:
                    return run_from(newest[0])
                if newest and (before is None or newest[0]["number"] != before.number):
                    raise held(run_from(newest[0]))
                number = max(above, before.number if before else 0) + 1
                if before is not None and before.ended is None:
                    taken = transaction.change(_TAKE_OVER, at=since, number=before.number, beat=before.beat)
                    if not taken:
                        raise held(before)
                row = {"number": number, "token": token, "renewal": renewal, "since": since}
                transaction.change(_INSERT_RUN, holder=stamp.actor, host=stamp.host, **row)
                return run_from({**row, "holder": stamp.actor, "host": stamp.host, "beat": 0, "ended": None})

        return self._persistently(once)

    def raise_run(self, run: Run, above: int) -> Run:
        """Exchange a run of ours for one of a higher number, because a node carries that of another store's.

        Args:
            above: the highest number nodes carry.

        Raises:
            Attention: `run_lost`: it is not ours any more.
        """
        token, since = secrets.token_hex(16), instant_text(self._clock())

        def once() -> Run:
            with self._database.transaction() as transaction:
                newest = transaction.rows(_NEWEST)[0]
                if newest["token"] == token:
                    return run_from(newest)
                if not transaction.change(_END, at=since, number=run.number, token=run.token):
                    raise lost(run)
                row = {**vars(run), "number": max(above, run.number) + 1, "token": token, "since": since}
                inserted = {name: value for name, value in row.items() if name not in {"beat", "ended"}}
                transaction.change(_INSERT_RUN, **inserted)
                return run_from({**row, "beat": 0, "ended": None})

        return self._persistently(once)

    def require_unheld(self, renewal: str) -> None:
        """Watch for two beats whether the holder of a renewal's run lives; nothing where nobody holds it.

        Raises:
            Attention: `run_held`, as `begin_run`: it was seen alive.
        """
        run = self.open_run()
        if run is not None and run.renewal == renewal:
            self._watched(run, None, 2 * self.timing.beat + self.timing.look)

    def beat(self, run: Run) -> None:
        """Say that the holder lives.

        Raises:
            Attention: `run_lost`: ended, or somebody began a higher one.
        """
        with self._database.transaction() as transaction:
            if not transaction.change(_BEAT, number=run.number, token=run.token):
                raise lost(run)

    def end_run(self, run: Run) -> None:
        """Give the run back; nothing where it has ended or was taken over."""

        def once() -> None:
            with self._database.transaction() as transaction:
                at = instant_text(self._clock())
                transaction.change(_END, at=at, number=run.number, token=run.token)

        self._persistently(once)

    def lease(
        self,
        renewal: str,
        stamp: Stamp,
        *,
        above: int = 0,
        watching: Callable[[Run, float], None] | None = None,
    ) -> Lease:
        """A run that beats by itself while the block lasts (`begin_run`)."""
        return Lease(self, self.begin_run(renewal, stamp, above=above, watching=watching))

    def _watched(self, run: Run, watching: Callable[[Run, float], None] | None, patience: float) -> Run:
        """The same run after it showed no beat for so many seconds, or ended meanwhile."""
        began = self._monotonic()
        while (left := patience - (self._monotonic() - began)) > 0:
            if watching is not None:
                watching(run, left)
            self._sleep(self.timing.look)
            seen = self.newest_run()
            if seen is None or seen.ended is not None:
                return seen or run
            if (seen.number, seen.beat) != (run.number, run.beat):
                raise held(seen)
        return run

    def _persistently(self, once: Callable[[], _Result]) -> _Result:
        """Try again where the answer is lost or a key is taken; `once` finds out what it did before."""
        fault = NodeFault(Reason.STORE_BUSY, store=self.shown)
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                return once()
            except sql.Collision:
                continue
            except NodeFault as error:
                if error.reason is not Reason.STORE_UNREACHABLE:
                    raise
                fault = error
        raise fault
