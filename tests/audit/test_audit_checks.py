"""What `verify` says of each thing that can be wrong: the reason, the renewal, the event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from renewctl.audit.checks import Trace, verify
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.store.read import RawStore, StoreReader
from tests.support.chained import Chained, rechained, sealed, text_of
from tests.support.history import ACCEPTED
from tests.support.old_stores import kept_file

RUN = {
    "number": 1, "token": "t", "renewal": "tokyo-1", "holder": "tanaka@ops1", "host": "ops1",
    "since": "2026-11-01T09:00:00.000000+00:00", "beat": 0, "ended": None,
}  # fmt: skip
LATER = "2026-11-02T09:00:00.000000+00:00"
EMPTY = hashlib.sha256(b"").hexdigest()
ON_RECORD = {"since": RUN["since"], "token_sha256": hashlib.sha256(b"t").hexdigest()}


def year() -> Chained:
    """Two topics, two renewals of one of them, a run."""
    store = Chained()
    store.append("tokyo-0", Kind.ADOPTED)
    for kind in ACCEPTED:
        store.append("tokyo-1", kind)
    for kind in (Kind.ROLL_OUT_STARTED, Kind.WAVE_STARTED):
        store.append("tokyo-1", kind, body=ON_RECORD)
    store.append("tokyo-1", Kind.NODE_FINISHED)
    store.append("osaka-1", Kind.OPENED, body={"topic_id": "osaka"})
    for kind in (Kind.ROLL_OUT_FINISHED, Kind.NODE_VERIFIED):
        store.append("tokyo-1", kind)
    for number in (2, 3, 4):
        store.append(f"osaka-{number}", Kind.OPENED, body={"topic_id": "osaka"})
        store.append(f"osaka-{number}", Kind.ABORTED)
    store.runs.append(dict(RUN))
    return store


def traces(store: Chained, head: str | None = None) -> list[Trace]:
    """What is found in a store as it is."""
    return list(verify(store.raw(), head).traces)


def told(store: Chained, head: str | None = None) -> list[tuple[str, str | None, int | None, Any]]:
    """Reason, renewal, event, got."""
    return [(t.reason.value, t.renewal, t.seq, t.values.get("got")) for t in traces(store, head)]


def at(store: Chained, renewal: str, seq: int) -> int:
    """Where an event stands."""
    return next(i for i, row in enumerate(store.events) if (row["renewal"], row["seq"]) == (renewal, seq))


def test_an_empty_store_is_as_it_was_written() -> None:
    """Nothing in it, nothing wrong, no head; a head given is one it never had."""
    assert traces(Chained()) == []
    assert verify(Chained().raw()).head == ""
    assert told(Chained(), "a" * 64) == [("audit_head_missing", None, None, "a" * 64)]


def test_a_year_is_as_it_was_written() -> None:
    """And counted."""
    verdict = verify(year().raw())
    assert verdict.traces == ()
    assert (len(verdict.rows), verdict.renewals, verdict.runs) == (18, 6, 1)
    assert verdict.head == year().heads[-1]


def test_a_missing_event_is_named_with_its_number() -> None:
    """In the renewal, and in the store: one of each, and no noise of what follows."""
    store = year()
    del store.events[at(store, "tokyo-1", 3)]
    assert (
        told(store)
        == [
            ("audit_event_missing", "tokyo-1", 4, "3"),
            ("audit_place_missing", "tokyo-1", 4, "4"),
            ("audit_document_missing", "tokyo-1", 4, None),
        ][:2]
    )


def test_several_missing_events_are_one_finding() -> None:
    """From the first to the last of them."""
    store = year()
    del store.events[at(store, "tokyo-1", 2) : at(store, "tokyo-1", 5)]
    assert told(store)[0] == ("audit_event_missing", "tokyo-1", 5, "2–4")


def test_a_renewal_that_is_gone_is_named() -> None:
    """By the names that are left, by the store's numbers, by its run."""
    store = year()
    store.events = [row for row in store.events if row["renewal"] != "osaka-2"]
    found = told(store)
    assert ("audit_renewal_missing", "osaka-2", None, None) in found
    assert ("audit_place_missing", "osaka-3", 1, "13–14") in found
    store.events = [row for row in store.events if row["renewal"] != "tokyo-1"]
    assert ("audit_run_of_no_renewal", "tokyo-1", None, 1) in told(store)


def test_a_cut_end_of_any_renewal_but_the_newest_is_found_without_a_head() -> None:
    """What came after in the store stood on it."""
    store = year()
    del store.events[at(store, "tokyo-1", 10)]
    assert told(store) == [("audit_place_missing", "osaka-2", 1, "12")]


def test_an_event_at_the_very_beginning_that_is_gone() -> None:
    """The first that is left does not stand on the ground."""
    store = year()
    del store.events[0]
    assert told(store) == [("audit_place_missing", "tokyo-1", 1, "1")]


def test_an_event_of_an_impossible_order_is_found_though_every_hash_fits() -> None:
    """An insider put `closed` behind `opened` and chained it all anew; that is named, and nothing else."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED)
    store.append("tokyo-1", Kind.CLOSED)
    store.append("tokyo-1", Kind.ABORTED)
    assert told(store) == [("audit_order", "tokyo-1", 2, "2 closed")]


def test_a_body_that_makes_no_sense_is_found_though_every_hash_fits() -> None:
    """Not a traceback: the event at which the story breaks off."""
    store = year()
    row = store.events[at(store, "tokyo-1", 5)]
    body = json.loads(row["body"])
    del body["pair"]["serial"]
    row["body"] = text_of(body)
    store.events = rechained(store.events, whole_store=True)
    assert ("audit_order", "tokyo-1", 5, "KeyError") in told(store)


def _unreadable(column: str, value: object) -> Chained:
    store = year()
    store.events[at(store, "tokyo-1", 3)][column] = value
    return store


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("kind", "invented", "kind 'invented'"),
        ("body", "{", "body '{'"),
        ("body", b"\xff", "body b'\\xff'"),
        ("body", "[" * 5000, "body '[["),
        ("at", "yesterday", "at 'yesterday'"),
        ("at", "2026-11-01T09:00:00+00:00", "at '2026"),
        ("at", "9999-12-31T23:59:59.000000+00:00", "at '9999"),
        ("actor", None, "actor None"),
        ("ticket", 7, "ticket 7"),
        ("hash", 7, "hash 7"),
    ],
)
def test_an_event_that_cannot_be_read_says_which_field(column: str, value: object, shown: str) -> None:
    """And that it was changed; every other event is still there to be read."""
    verdict = verify(_unreadable(column, value).raw())
    [first, second] = [t for t in verdict.traces if (t.renewal, t.seq) == ("tokyo-1", 3)]
    assert (first.reason, second.reason) == (Reason.AUDIT_EVENT_UNREADABLE, Reason.AUDIT_EVENT_CHANGED)
    assert str(first.values["got"]).startswith(shown)
    assert sum(row.event is not None for row in verdict.rows) == 17


def test_an_unknown_kind_of_a_newer_version_is_unreadable_and_nothing_else() -> None:
    """Its hash fits: nobody changed it, but this version cannot tell of it."""
    store = year()
    index = at(store, "tokyo-1", 3)
    store.events[index]["kind"] = "invented"
    store.events = rechained(store.events, whole_store=True)
    assert [reason for reason, *_ in told(store)] == ["audit_event_unreadable"]


def test_odd_names_and_numbers() -> None:
    """A renewal without a number, an event without one: unreadable, never a traceback."""
    store = year()
    store.events[0] = sealed({**store.events[0], "renewal": "tokyo"})
    store.events[1]["seq"] = "first"
    found = {(reason, renewal) for reason, renewal, *_ in told(store)}
    assert {("audit_event_unreadable", "tokyo"), ("audit_event_unreadable", "tokyo-1")} <= found


def test_documents() -> None:
    """One that does not fit its name, one that is text, one an event names and that is gone."""
    store = year()
    csr = json.loads(store.events[at(store, "tokyo-1", 3)]["body"])["document"]
    store.documents[csr] += b"."
    assert told(store) == [("audit_document_changed", None, None, csr)]
    raw = store.raw()
    texts = [{**kept, "body": "text"} for kept in raw.documents if kept["sha256"] == csr]
    rest = [kept for kept in year().raw().documents if kept["sha256"] != csr]
    found = [t.reason.value for t in verify(RawStore(raw.events, [*rest, *texts], raw.runs)).traces]
    assert found == ["audit_document_changed"]
    del store.documents[csr]
    assert told(store) == [("audit_document_missing", "tokyo-1", 3, csr)]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda runs: runs.clear(), ("audit_run_missing", "tokyo-1", 6, 1)),
        (lambda runs: runs[0].update(renewal="osaka-1"), ("audit_run_missing", "tokyo-1", 6, 1)),
        (lambda runs: runs[0].update(since="noon"), ("audit_run_unreadable", None, None, "1")),
        (lambda runs: runs[0].update(holder="x@y"), ("audit_run_changed", "tokyo-1", 6, "holder=x@y")),
        (lambda runs: runs[0].update(host="z"), ("audit_run_changed", "tokyo-1", 6, "host=z")),
        (lambda runs: runs[0].update(since=LATER), ("audit_run_changed", "tokyo-1", 6, f"since={LATER}")),
        (lambda runs: runs[0].update(token=""), ("audit_run_changed", "tokyo-1", 6, f"token_sha256={EMPTY}")),
    ],
)
def test_runs(change: Callable[[list[dict[str, Any]]], object], found: tuple[Any, ...]) -> None:
    """A run that is gone, of another renewal, unreadable, or not as its events tell of it; said once."""
    store = year()
    change(store.runs)
    assert found in told(store)
    assert len([one for one in told(store) if one[0] == found[0]]) == 1


def test_events_of_before_runs_were_on_record_tell_their_holder_all_the_same() -> None:
    """Who wrote them held the run; since when, they do not say."""
    store = Chained()
    for kind in (*ACCEPTED, Kind.ROLL_OUT_STARTED, Kind.WAVE_STARTED, Kind.NODE_FINISHED):
        store.append("tokyo-1", kind)
    store.runs.append({**RUN, "since": LATER, "token": "another"})
    assert traces(store) == []
    store.runs[0]["holder"] = "x@y"
    assert told(store) == [("audit_run_changed", "tokyo-1", 6, "holder=x@y")]


def test_a_kept_store_of_an_earlier_version_is_as_it_was_written(tmp_path: Path) -> None:
    """Its runs are compared with what its events tell, and with no more."""
    with StoreReader(kept_file(tmp_path / "store.db")) as reader:
        raw = reader.raw()
    assert verify(raw).traces == ()
    changed = [{**run, "host": "elsewhere"} for run in raw.runs]
    [trace] = verify(RawStore(raw.events, raw.documents, changed)).traces
    assert (trace.reason, trace.values["got"]) == (Reason.AUDIT_RUN_CHANGED, "host=elsewhere")


def test_events_of_before_places_were_kept_are_ground() -> None:
    """Changed and chained anew, or put in later: the first event with a place does not stand on them."""
    store = Chained(places=False)
    store.append("tokyo-1", Kind.OPENED)
    store.append("tokyo-1", Kind.ABORTED)
    store.places = True
    store.append("tokyo-2", Kind.OPENED)
    assert traces(store) == []
    assert traces(store, store.heads[1]) == []
    old = rechained([{**store.events[0], "actor": "x@y"}, store.events[1]], whole_store=False)
    tampered = Chained(events=[*old, store.events[2]], documents=store.documents)
    assert told(tampered) == [("audit_ground_changed", "tokyo-2", 1, None)]
    assert "audit_head_missing" in [t.reason.value for t in traces(tampered, store.heads[1])]


def test_an_event_without_a_place_after_one_with_a_place() -> None:
    """Something else than renewctl wrote it."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED)
    store.places = False
    store.append("tokyo-1", Kind.ABORTED)
    assert ("audit_place_absent", "tokyo-1", 2, None) in told(store)


def test_two_events_of_one_number() -> None:
    """A fork: both cannot be."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED)
    fork = Chained(events=store.events[:1], heads=store.heads[:1], documents=store.documents)
    store.append("osaka-1", Kind.OPENED)
    fork.append("kyoto-1", Kind.OPENED)
    store.events.append(fork.events[-1])
    assert [reason for reason, *_ in told(store)] == ["audit_place_twice"]


def test_the_key_stores_own_record_is_no_renewal() -> None:
    """Its events follow each other in any order; they are chained like all others."""
    store = year()
    for kind in (Kind.KEY_DESTROYED, Kind.REKEY_STARTED, Kind.KEY_RESEALED, Kind.REKEY_STARTED):
        store.append(KEY_STORE, kind)
    assert traces(store) == []
    del store.events[-2]
    assert [reason for reason, *_ in told(store)] == ["audit_event_missing", "audit_place_missing"]


def test_a_restored_store_is_as_it_was_written() -> None:
    """Its run is for no renewal, and on record like any other."""
    store = year()
    store.append("tokyo-1", Kind.RESTORED, body={**ON_RECORD, "run": 42})
    store.runs.append({**RUN, "number": 42, "renewal": "restored"})
    assert traces(store) == []
    store.runs[-1]["holder"] = "x@y"
    assert told(store) == [("audit_run_changed", "tokyo-1", 11, "holder=x@y")]
    del store.runs[-1]
    assert told(store) == [("audit_run_missing", "tokyo-1", 11, 42)]
