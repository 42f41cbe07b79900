"""Whatever somebody does to a store behind our back is found; what we write ourselves never is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewctl.audit.checks import Verdict, verify
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.renewal.rules import fold, may
from renewctl.store.read import RawStore, event_from
from tests.support.chained import Chained, Row, rechained, sealed, text_of
from tests.support.history import ACCEPTED

pytestmark = pytest.mark.slow

STEPS = [
    Kind.KEY_MADE,
    Kind.CSR_MADE,
    Kind.REQUESTED,
    Kind.ACCEPTED,
    Kind.ROLL_OUT_STARTED,
    Kind.WAVE_STARTED,
    Kind.NODE_FINISHED,
    Kind.NODE_VERIFIED,
    Kind.ROLL_OUT_FINISHED,
    Kind.CLOSED,
    Kind.ABORTED,
]


def write(store: Chained, topic: str, choice: int) -> None:
    """One more event of a topic, one that may follow: its renewal's next, or a new one."""
    names = sorted({r["renewal"] for r in store.events if r["renewal"].startswith(topic + "-")})
    if choice == 0:
        store.append(f"{topic}-0", Kind.ADOPTED)
        return
    latest = max((int(name.rpartition("-")[2]) for name in names), default=0)
    name = f"{topic}-{latest}"
    renewal = fold(event_from(row) for row in store.events if row["renewal"] == name) if latest else None
    following = [] if renewal is None else [kind for kind in STEPS if may(renewal, kind)]
    if not following:
        store.append(f"{topic}-{latest + 1}", Kind.OPENED, body={"topic_id": topic})
        return
    kind = following[choice % len(following)]
    run = len(store.runs) + (kind is Kind.ROLL_OUT_STARTED)
    if kind is Kind.ROLL_OUT_STARTED:
        store.runs.append(
            {"number": run, "token": "t", "renewal": name, "holder": "tanaka@ops1", "host": "ops1",
             "since": _SINCE, "beat": 0, "ended": None}
        )  # fmt: skip
    store.append(name, kind, body={**_ON_RECORD, "run": _run_of(store, name)} if kind in _WITH_RUN else {})


_SINCE = "2026-11-01T09:00:00.000000+00:00"
_ON_RECORD = {"since": _SINCE, "token_sha256": hashlib.sha256(b"t").hexdigest()}
_WITH_RUN = {Kind.ROLL_OUT_STARTED, Kind.WAVE_STARTED, Kind.NODE_FINISHED, Kind.ROLL_OUT_FINISHED}


def _run_of(store: Chained, name: str) -> int:
    return max(int(run["number"]) for run in store.runs if run["renewal"] == name)


@st.composite
def stores(draw: st.DrawFn, least: int = 1) -> Chained:
    """A store of up to three topics, some of it perhaps written before places were kept."""
    store = Chained()
    early = draw(st.integers(0, 4)) if draw(st.booleans()) else 0
    moves = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=least, max_size=18))
    for number, (topic, choice) in enumerate(moves):
        store.places = number >= early
        write(store, topic, choice)
    return store


def reasons(verdict: Verdict) -> set[Reason]:
    """What was found."""
    return {trace.reason for trace in verdict.traces}


@settings(deadline=None)
@given(store=stores(), grown=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=6))
def test_a_store_that_went_on_is_accepted_with_every_head_it_ever_had(
    store: Chained, grown: list[tuple[str, int]]
) -> None:
    """Growth is no tampering: nothing is found, and each head since places are kept tells how much came after."""
    told = list(store.heads)
    store.places = True
    for topic, choice in grown:
        write(store, topic, choice)
    assert verify(store.raw()).traces == ()
    newest = len(store.events)
    for number in range(len(told), newest + 1):
        verdict = verify(store.raw(), store.heads[number - 1])
        assert (verdict.traces, verdict.since) == ((), newest - number)


@settings(deadline=None)
@given(store=stores(2), data=st.data())
def test_any_changed_field_is_found_and_named(store: Chained, data: st.DataObject) -> None:
    """Whatever column of whatever event is altered: that event is named, also without any head."""
    row = data.draw(st.sampled_from(store.events))
    column = data.draw(st.sampled_from(sorted(set(row) - {"renewal", "seq"})))
    other: Any = st.none() | st.text(max_size=5) | st.binary(max_size=3) | st.integers()
    row[column] = data.draw(other.filter(lambda value: value != row[column]))
    verdict = verify(store.raw())
    named = {(trace.reason, trace.renewal, trace.seq) for trace in verdict.traces}
    assert (Reason.AUDIT_EVENT_CHANGED, row["renewal"], row["seq"]) in named


@settings(deadline=None)
@given(store=stores(2), data=st.data())
def test_any_changed_value_inside_a_body_is_found(store: Chained, data: st.DataObject) -> None:
    """Also where it stays good JSON: a value, a key more, the same value said twice, a space."""
    row = data.draw(st.sampled_from(store.events))
    body = json.loads(row["body"])
    key = data.draw(st.sampled_from([*sorted(body), "another"]))
    changed = data.draw(
        st.sampled_from(
            [
                text_of({**body, key: "changed"}),
                text_of({name: value for name, value in body.items() if name != key}),
                "{" + f"{json.dumps(key)}:0," + row["body"][1:],
                row["body"].replace(":", ": ", 1),
            ]
        ).filter(lambda text: text != row["body"])
    )
    row["body"] = changed
    assert Reason.AUDIT_EVENT_CHANGED in reasons(verify(store.raw()))


@settings(deadline=None)
@given(store=stores(), data=st.data())
def test_any_changed_column_of_a_run_is_found(store: Chained, data: st.DataObject) -> None:
    """But its beats and its end, which nobody knows when its events are written."""
    for kind in ACCEPTED:
        store.append("d-1", kind)
    write(store, "d", 2)  # a roll-out begins
    run = data.draw(st.sampled_from(store.runs))
    column = data.draw(st.sampled_from(sorted(set(run) - {"beat", "ended"})))
    other: Any = st.none() | st.text(max_size=5) | st.binary(max_size=3) | st.integers()
    run[column] = data.draw(other.filter(lambda value: value != run[column]))
    found = reasons(verify(store.raw()))
    assert found & {Reason.AUDIT_RUN_CHANGED, Reason.AUDIT_RUN_MISSING, Reason.AUDIT_RUN_UNREADABLE}


def _middle(data: st.DataObject, store: Chained) -> int:
    """Any event but the store's last."""
    return data.draw(st.integers(0, len(store.events) - 2))


def _remove(data: st.DataObject, store: Chained) -> list[Row]:
    index = _middle(data, store)
    return store.events[:index] + store.events[index + 1 :]


def _remove_renewal(data: st.DataObject, store: Chained) -> list[Row]:
    name = store.events[_middle(data, store)]["renewal"]
    return [row for row in store.events if row["renewal"] != name]


def _cut_a_renewals_tail(data: st.DataObject, store: Chained) -> list[Row]:
    cut = store.events[_middle(data, store)]
    return [r for r in store.events if r["renewal"] != cut["renewal"] or r["seq"] < cut["seq"]]


def _swap(data: st.DataObject, store: Chained) -> list[Row]:
    """Two events' contents change places."""
    one, two = data.draw(st.lists(st.integers(0, len(store.events) - 1), min_size=2, max_size=2, unique=True))
    rows = [dict(row) for row in store.events]
    for column in ("kind", "body", "at", "actor", "id"):
        rows[one][column], rows[two][column] = rows[two][column], rows[one][column]
    return rows


def _insert(data: st.DataObject, store: Chained) -> list[Row]:
    """An event more, in the middle of a renewal; those after it move on."""
    index = _middle(data, store)
    after = store.events[index]
    rows = [dict(row) for row in store.events]
    for row in rows[index + 1 :]:
        if row["renewal"] == after["renewal"]:
            row["seq"] += 1
    made = sealed({**after, "seq": after["seq"] + 1, "id": "f" * 32, "previous": after["hash"]})
    return [*rows[: index + 1], made, *rows[index + 1 :]]


def _change(data: st.DataObject, store: Chained) -> list[Row]:
    rows = [dict(row) for row in store.events]
    rows[_middle(data, store)]["actor"] = "somebody@else"
    return rows


TAMPERINGS = [_remove, _remove_renewal, _cut_a_renewals_tail, _swap, _insert, _change]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_tampering_is_found_by_the_store_alone(
    tamper: Callable[[st.DataObject, Chained], list[Row]], data: st.DataObject
) -> None:
    """Removed, cut, swapped, inserted, changed: found without a head, and where an event was there before the end."""
    store = data.draw(stores(3).filter(lambda one: one.places and "store" in one.events[-1]["body"]))
    rows = tamper(data, store)
    raw = store.raw()
    verdict = verify(RawStore(rows, raw.documents, raw.runs))
    if rows and rows[-1] == store.events[-1]:
        assert verdict.traces
    assert verify(RawStore(rows, raw.documents, raw.runs), store.heads[-1]).traces


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whoever_chains_everything_anew_loses_the_head(
    tamper: Callable[[st.DataObject, Chained], list[Row]], data: st.DataObject
) -> None:
    """Every hash and every place made to fit after tampering: the head told before is no longer in the store."""
    store = data.draw(stores(3))
    rows = rechained(tamper(data, store), whole_store=True)
    raw = store.raw()
    verdict = verify(RawStore(rows, raw.documents, raw.runs), store.heads[-1])
    assert Reason.AUDIT_HEAD_MISSING in reasons(verdict)
    assert verdict.since is None


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whoever_chains_renewals_anew_is_found_by_the_chain_of_the_store(
    tamper: Callable[[st.DataObject, Chained], list[Row]], data: st.DataObject
) -> None:
    """Each renewal fits by itself again; the store's links, or the head, do not."""
    store = data.draw(stores(3))
    rows = rechained(tamper(data, store), whole_store=False)
    raw = store.raw()
    assert verify(RawStore(rows, raw.documents, raw.runs), store.heads[-1]).traces


@settings(deadline=None)
@given(store=stores(2), data=st.data())
def test_a_cut_end_is_found_with_the_head_of_before(store: Chained, data: st.DataObject) -> None:
    """However many events are cut off; with a head from before the cut nothing is missing."""
    left = data.draw(st.integers(0, len(store.events) - 1))
    raw = store.raw()
    cut = RawStore(raw.events[:left], raw.documents, [])
    for number in range(left + 1, len(store.heads) + 1):
        assert Reason.AUDIT_HEAD_MISSING in reasons(verify(cut, store.heads[number - 1]))
    if left and store.places:
        assert Reason.AUDIT_HEAD_MISSING not in reasons(verify(cut, store.heads[left - 1]))
