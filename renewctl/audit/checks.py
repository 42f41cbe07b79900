"""Whether a store is as it was written: hashes, both chains, documents, runs, a head told earlier. Pure.

What each check finds is in `store.head` and `renewal.events`; the hashes are no signatures. Who can write
to the database can also write everything anew; then every head told before is gone: `asked` finds that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from renewctl.audit.rows import Row, read
from renewctl.errors import RenewctlError
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Event, Kind
from renewctl.renewal.rules import fold
from renewctl.store.head import Tip, ground, head
from renewctl.store.read import OF_A_RESTORE, RawStore, Run, run_from


@dataclass(frozen=True)
class Trace:
    """One thing that is not as it was written.

    Attributes:
        renewal, seq: the event it was found at; None where it belongs to none.
        values: for the sentence; `renewal` and `seq` are among them.
    """

    reason: Reason
    renewal: str | None
    seq: int | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Attributes:
        rows: every event, as far as it can be read, by renewal and seq.
        renewals, documents, runs: how many there are.
        head: of the store now; "" while it is empty.
        since: events written since the head asked for; None: none was, or the store never had it.
        traces: what is wrong; none: the store is as it was written.
    """

    rows: tuple[Row, ...]
    renewals: int
    documents: int
    runs: int
    head: str
    since: int | None
    traces: tuple[Trace, ...]

    def events(self) -> dict[str, list[Event]]:
        """The events that can be read, by renewal."""
        found: dict[str, list[Event]] = {}
        for row in self.rows:
            if row.event is not None:
                found.setdefault(row.renewal, []).append(row.event)
        return found


def verify(raw: RawStore, asked: str | None = None) -> Verdict:
    """Look through a whole store.

    Args:
        raw: its rows (`StoreReader.raw`).
        asked: a head told earlier; None: only what the store says of itself is checked.
    """
    rows = sorted((read(row) for row in raw.events), key=lambda row: (row.renewal, row.seq))
    renewals: dict[str, list[Row]] = {}
    for row in rows:
        renewals.setdefault(row.renewal, []).append(row)
    traces = [trace for told in renewals.values() for trace in _renewal(told)]
    traces += [*_missing_renewals(renewals), *_store_chain(rows)]
    traces += [*_documents(raw, rows), *_runs(raw, rows)]
    now, since = _head(renewals), None
    if asked is not None:
        since = _since(rows, now, asked)
        if since is None:
            traces.append(Trace(Reason.AUDIT_HEAD_MISSING, None, None, {"got": asked, "head": now}))
    return Verdict(tuple(rows), len(renewals), len(raw.documents), len(raw.runs), now, since, tuple(traces))


def _at(reason: Reason, row: Row, **values: object) -> Trace:
    return Trace(reason, row.renewal, row.seq, {"renewal": row.renewal, "seq": row.seq, **values})


def _renewal(rows: Sequence[Row]) -> Iterator[Trace]:
    """One renewal: each event by itself, its chain, the rules of order."""
    expected, whole = 1, True
    last: object = ""
    for row in rows:
        if row.event is None:
            yield _at(Reason.AUDIT_EVENT_UNREADABLE, row, got=row.fault)
        if not row.untouched:
            yield _at(Reason.AUDIT_EVENT_CHANGED, row)
        if row.seq > expected:
            yield _at(Reason.AUDIT_EVENT_MISSING, row, got=_span(expected, row.seq - 1))
        elif row.previous != last:
            yield _at(Reason.AUDIT_CHAIN_BROKEN, row)
        whole = whole and row.event is not None and row.seq == expected
        expected, last = row.seq + 1, row.hash
    if whole and rows[0].renewal != KEY_STORE:  # whose events follow each other in any order
        yield from _order([row.event for row in rows if row.event is not None])


def _order(events: Sequence[Event]) -> Iterator[Trace]:
    """The first event that cannot follow those before it, found by halving: folding stops at it."""
    if (fault := _folds(events)) is None:
        return
    good, bad = 0, len(events)
    while bad - good > 1:
        middle = (good + bad) // 2
        later = _folds(events[:middle])
        good, bad, fault = (middle, bad, fault) if later is None else (good, middle, later)
    event = events[bad - 1]
    values = {"renewal": event.renewal, "seq": event.seq, "got": fault}
    yield Trace(Reason.AUDIT_ORDER, event.renewal, event.seq, values)


def _folds(events: Sequence[Event]) -> str | None:
    """Why events do not follow each other; None where they do."""
    try:
        fold(events)
    except RenewctlError as error:
        return str(error.values["got"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        return type(error).__name__
    return None


def _missing_renewals(renewals: Mapping[str, Sequence[Row]]) -> Iterator[Trace]:
    """Renewals of a topic are counted up: one that is not there was taken out."""
    numbers: dict[str, set[int]] = {}
    for name in renewals:
        topic, _, counted = name.rpartition("-")
        if counted.isascii() and counted.isdigit():
            numbers.setdefault(topic, set()).add(int(counted[:9]))
    for topic, known in numbers.items():
        for number in sorted(known - {0}):
            if number > 1 and number - 1 not in known:
                name = f"{topic}-{number - 1}"
                yield Trace(Reason.AUDIT_RENEWAL_MISSING, name, None, {"renewal": name, "seq": None})


def _store_chain(rows: Sequence[Row]) -> Iterator[Trace]:
    """The chain over all renewals, from the ground up."""
    placed = _placed(rows)
    unplaced = _unplaced(rows)
    first_placed = {row.renewal: row.seq for row in reversed(rows) if row.place is not None}
    for row in unplaced:
        if row.seq > first_placed.get(row.renewal, row.seq):
            yield _at(Reason.AUDIT_PLACE_ABSENT, row)
    if placed:
        number, first = placed[0]
        stands_on = ground(_tips(unplaced))
        if number > len(unplaced) + 1:
            yield _at(Reason.AUDIT_PLACE_MISSING, first, got=_span(len(unplaced) + 1, number - 1))
        elif number <= len(unplaced) or _before(first) != stands_on:
            yield _at(Reason.AUDIT_GROUND_CHANGED, first)
    for (number, row), (later, above) in pairwise(placed):
        if later > number + 1:
            yield _at(Reason.AUDIT_PLACE_MISSING, above, got=_span(number + 1, later - 1))
        elif later == number:
            yield _at(Reason.AUDIT_PLACE_TWICE, above, got=number)
        elif _before(above) != row.hash:
            yield _at(Reason.AUDIT_STORE_CHAIN_BROKEN, above, got=number)


def _placed(rows: Sequence[Row]) -> list[tuple[int, Row]]:
    found = [(row.place.number, row) for row in rows if row.place is not None]
    return sorted(found, key=lambda one: one[0])


def _unplaced(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.place is None and row.place_known]


def _before(row: Row) -> str | None:
    return None if row.place is None else row.place.before


def _tips(rows: Sequence[Row]) -> list[Tip]:
    """The newest of each renewal."""
    newest = {row.renewal: row for row in rows}
    return [Tip(row.renewal, row.seq, str(row.hash), row.place) for row in newest.values()]


def _head(renewals: Mapping[str, Sequence[Row]]) -> str:
    return head(_tips([told[-1] for told in renewals.values()]))


def _since(rows: Sequence[Row], now: str, asked: str) -> int | None:
    """How many events were written since a head; None where the store never had it."""
    if asked == now:
        return 0
    placed = _placed(rows)
    for number, row in placed:
        if row.hash == asked and row.untouched:
            return placed[-1][0] - number
    return len(placed) if asked == ground(_tips(_unplaced(rows))) else None


def _documents(raw: RawStore, rows: Sequence[Row]) -> Iterator[Trace]:
    """Each document against its name, and each one that an event names."""
    there = set()
    for kept in raw.documents:
        name, body = kept["sha256"], kept["body"]
        there.add(name)
        if not isinstance(body, bytes | memoryview) or hashlib.sha256(body).hexdigest() != name:
            yield Trace(Reason.AUDIT_DOCUMENT_CHANGED, None, None, {"got": str(name)})
    for row in rows:
        for name in sorted(_named(None if row.event is None else row.event.body) - there):
            yield _at(Reason.AUDIT_DOCUMENT_MISSING, row, got=name)


def _named(value: object) -> set[str]:
    """Every `document` a body names, however deep."""
    if not isinstance(value, Mapping):
        return set()
    found = {each for name, each in value.items() if name == "document" and isinstance(each, str)}
    return found.union(*(_named(each) for each in value.values()))


def _runs(raw: RawStore, rows: Sequence[Row]) -> Iterator[Trace]:
    """Each run can be read, belongs to a renewal that is there, and is as events tell of it, if any does."""
    names = {row.renewal for row in rows} | {OF_A_RESTORE}
    known: dict[object, Run] = {}
    for kept in raw.runs:
        try:
            run = run_from(kept)
        except (ValueError, TypeError):
            yield Trace(Reason.AUDIT_RUN_UNREADABLE, None, None, {"got": str(kept["number"])})
            continue
        known[run.number] = run
        if run.renewal not in names:
            values = {"renewal": run.renewal, "seq": None, "got": run.number}
            yield Trace(Reason.AUDIT_RUN_OF_NO_RENEWAL, run.renewal, None, values)
    found = set()
    for row in rows:
        trace = None if row.event is None else _run_of(row, row.event, known)
        if trace is not None and (about := (row.renewal, trace.reason, trace.values["run"])) not in found:
            found.add(about)
            yield trace


def _run_of(row: Row, event: Event, known: Mapping[object, Run]) -> Trace | None:
    """What is wrong with the run an event speaks of: gone, another renewal's, or not as told there."""
    number = event.body.get("run")
    if type(number) is not int:
        return None
    run = known.get(number)
    if run is None or run.renewal != (OF_A_RESTORE if event.kind is Kind.RESTORED else row.renewal):
        return _at(Reason.AUDIT_RUN_MISSING, row, got=number, run=number)
    is_now = {"holder": run.holder, "host": run.host, **run.on_record()}
    was = {**event.body, "holder": event.actor, "host": event.host}
    differ = [name for name in is_now if name in was and was[name] != is_now[name]]
    if not differ:
        return None
    got, expected = (", ".join(f"{name}={one[name]}" for name in differ) for one in (is_now, was))
    return _at(Reason.AUDIT_RUN_CHANGED, row, run=number, got=got, expected=expected)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"
