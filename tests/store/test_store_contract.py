"""One suite for both kinds of store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewctl.database.sql import Database
from renewctl.errors import Attention, NodeFault, Refused
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc日\"'\\"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _independent_hash(event: Event) -> str:
    """The rule of the chain as events.py words it, written a second time."""
    fields = {name: getattr(event, name) for name in vars(event) if name != "hash"}
    fields["at"] = event.at.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_events_come_back_as_they_went_in(store_url: str, stamp: Stamp) -> None:
    """Every field of an event survives, in order, by renewal; instants are kept in UTC to the microsecond."""
    at = datetime(2027, 1, 21, 9, 30, 0, 123, tzinfo=timezone(timedelta(hours=9)))
    with Store(store_url, clock=lambda: at) as store:
        written = [
            store.append("acme-1", Kind.OPENED, {"topic": "更新"}, stamp=stamp, expected_seq=1),
            store.append("acme-1", Kind.KEY_MADE, {"n": [1, 2.5, None]}, stamp=stamp, expected_seq=2),
            store.append("beta-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1),
        ]
    with StoreReader(store_url) as reader:
        assert reader.renewals() == {"acme-1": written[:2], "beta-1": written[2:]}
    assert written[0].at == at
    assert written[0].at.utcoffset() in {timedelta(0), timedelta(hours=9)}
    assert (written[1].ticket, written[1].reason) == ("CHG-7", "yearly renewal")
    assert len({event.id for event in written}) == 3


def test_what_append_returns_is_what_is_stored(store_url: str, stamp: Stamp) -> None:
    """A tuple in a body is a list in the store, so it is a list in what the writer gets back."""
    with Store(store_url) as store:
        written = store.append(
            "acme-1", Kind.OPENED, {"waves": (("a",), ("b",))}, stamp=stamp, expected_seq=1
        )
        assert written.body["waves"] == [["a"], ["b"]]
        assert store.renewals()["acme-1"] == [written]


def test_a_body_that_is_no_json_is_not_written(store_url: str, stamp: Stamp) -> None:
    """Bytes or NaN in a body are a programmer's slip, found before anything is stored."""
    with Store(store_url) as store:
        for body in ({"key": b"secret"}, {"n": float("nan")}):
            with pytest.raises((TypeError, ValueError)):
                store.append("acme-1", Kind.OPENED, body, stamp=stamp, expected_seq=1)
        assert store.renewals() == {}


def test_events_are_chained_by_hash(store_url: str, stamp: Stamp) -> None:
    """Each event carries the hash of the one before in its renewal, and one over all its own fields."""
    with Store(store_url, clock=lambda: datetime(2027, 1, 1, tzinfo=UTC)) as store:
        for seq in range(1, 4):
            store.append("acme-1", Kind.OPENED, {"n": seq, "日": "é"}, stamp=stamp, expected_seq=seq)
        first, second, third = store.renewals()["acme-1"]
    assert [first.previous, second.previous, third.previous] == ["", first.hash, second.hash]
    for event in (first, second, third):
        assert event.hash == _independent_hash(event)
        assert event.hash != _independent_hash(dataclasses.replace(event, actor="somebody@else"))


def test_the_store_says_who_wrote_whatever_was_claimed(store_url: str, stamp: Stamp) -> None:
    """The account (SQLite) or the role (PostgreSQL) stands beside the claimed actor."""
    with Store(store_url) as store:
        event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    assert event.actor == "tanaka@ops1"
    role = store_url.split("://")[1].split(":", maxsplit=1)[0]
    account = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert event.authenticated == (account if store_url.startswith("sqlite") else role)


@pytest.mark.parametrize("expected_seq", [1, 2, 4, 9])
def test_an_event_of_another_number_than_expected_is_refused(
    store_url: str, stamp: Stamp, expected_seq: int
) -> None:
    """Who has not seen the last event (or thinks to have seen more) is told that somebody else moved."""
    with Store(store_url) as store:
        for seq in (1, 2):
            store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=seq)
        with pytest.raises(Attention) as caught:
            store.append("acme-1", Kind.CLOSED, {}, stamp=stamp, expected_seq=expected_seq)
        assert caught.value.reason is Reason.SOMEBODY_ELSE_MOVED
        assert caught.value.values["renewal"] == "acme-1"
        assert len(store.renewals()["acme-1"]) == 2


def test_creating_twice_changes_nothing(store_url: str, stamp: Stamp) -> None:
    """`create` on a store that is there keeps what is in it."""
    with Store(store_url) as store:
        store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    Store.create(store_url)
    with Store(store_url) as store:
        assert len(store.renewals()["acme-1"]) == 1


def test_documents_are_kept_by_their_hash(store_url: str) -> None:
    """The same bytes are kept once; what is not there is said so."""
    body = bytes(range(256)) * 9
    with Store(store_url) as store:
        assert store.put_document(body) == store.put_document(body) == hashlib.sha256(body).hexdigest()
        assert store.document(hashlib.sha256(body).hexdigest()) == body
        with pytest.raises(NodeFault) as caught:
            store.document("0" * 64)
        assert caught.value.reason is Reason.DOCUMENT_MISSING


def _change(store_url: str, statement: str, **values: object) -> None:
    database = Database(store_url, read_only=False)
    with database.transaction() as transaction:
        transaction.change(statement, **values)
    database.close()


def test_a_changed_document_is_found_out(store_url: str) -> None:
    """Bytes that do not hash to their name are never handed out."""
    with Store(store_url) as store:
        name = store.put_document(b"leaf")
        _change(store_url, "UPDATE documents SET body = :body", body=b"another")
        with pytest.raises(NodeFault) as caught:
            store.document(name)
    assert caught.value.reason is Reason.STORE_DAMAGED


@pytest.mark.parametrize(
    ("column", "value"), [("body", "[]"), ("body", "{"), ("kind", "invented"), ("at", "yesterday")]
)
def test_a_damaged_event_is_a_reason_not_a_traceback(
    store_url: str, stamp: Stamp, column: str, value: str
) -> None:
    """An event that is not as we write them says which one it is."""
    with Store(store_url) as store:
        store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        _change(store_url, f"UPDATE events SET {column} = :value", value=value)  # noqa: S608 - two names of ours
        with pytest.raises(NodeFault) as caught:
            store.renewals()
    assert caught.value.reason is Reason.STORE_DAMAGED
    assert "acme-1 1" in str(caught.value)


@pytest.mark.parametrize("open_it", [Store, lambda url: StoreReader(url).renewals(), Store.create])
def test_a_store_of_a_newer_version_is_refused(store_url: str, open_it: Callable[[str], Any]) -> None:
    """Reader, writer and `create` refuse a newer schema, naming both versions."""
    _change(store_url, "UPDATE meta SET value = '7' WHERE name = 'schema'")
    with pytest.raises(Refused) as caught:
        open_it(store_url)
    assert caught.value.reason is Reason.STORE_NEWER
    assert (caught.value.values["got"], caught.value.values["expected"]) == (7, 1)


def test_a_store_without_a_version_is_none_of_ours(store_url: str) -> None:
    """Tables of our names without a version are not taken for a store."""
    _change(store_url, "DELETE FROM meta")
    with pytest.raises(Exception) as caught:
        Store(store_url)
    assert caught.value.reason is Reason.STORE_NOT_A_STORE  # type: ignore[attr-defined]


_WRITER = """
import sys
from renewctl.errors import Attention
from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
url, actor, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
stamp, done, refused = Stamp(actor, "h", "0", "d"), 0, 0
with Store(url) as store:
    while done < wanted:
        seen = store.renewals().get("acme-1", [])
        try:
            store.append("acme-1", Kind.OPENED, {"by": actor}, stamp=stamp, expected_seq=len(seen) + 1)
            done += 1
        except Attention:
            refused += 1
print(done, refused)
"""


@pytest.mark.slow
def test_writers_in_several_processes_never_lose_or_double_an_event(store_url: str) -> None:
    """Three processes append as fast as they can: every accepted event is there once, in one chain."""
    command = [sys.executable, "-W", "error", "-c", _WRITER, store_url]
    writers = [
        subprocess.Popen([*command, f"w{n}", "15"], stdout=subprocess.PIPE, text=True) for n in range(3)
    ]
    answers = [writer.communicate(timeout=100)[0].split() for writer in writers]
    assert [int(done) for done, _ in answers] == [15, 15, 15]
    with StoreReader(store_url) as reader:
        events = reader.renewals()["acme-1"]
    assert [event.seq for event in events] == list(range(1, 46))
    assert [event.previous for event in events] == ["", *(event.hash for event in events[:-1])]
    assert sorted(event.actor for event in events) == sorted(["w0", "w1", "w2"] * 15)


@pytest.mark.slow
def test_two_processes_may_create_the_same_store(url: str) -> None:
    """`create` at the same moment from several processes leaves one good store."""
    code = "import sys; from renewctl.store.write import Store; Store.create(sys.argv[1])"
    makers = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, url]) for _ in range(3)]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0]
    with Store(url) as store:
        assert store.renewals() == {}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    bodies=st.lists(st.dictionaries(st.text("ab日", max_size=3), JSON, max_size=3), min_size=1, max_size=4)
)
def test_any_json_survives(stamp: Stamp, bodies: list[dict[str, Any]]) -> None:
    """Whatever JSON a body holds comes back equal, and hashes the same after reading."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/any.db"
        Store.create(url)
        with Store(url) as store:
            for seq, body in enumerate(bodies, start=1):
                store.append("acme-1", Kind.OPENED, body, stamp=stamp, expected_seq=seq)
            events = store.renewals()["acme-1"]
        kept = [{name: value for name, value in event.body.items() if name != "store"} for event in events]
        assert kept == bodies
        assert all(event.hash == _independent_hash(event) for event in events)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["look", "append"])), max_size=14))
def test_who_has_not_looked_cannot_append(stamp: Stamp, moves: list[tuple[int, str]]) -> None:
    """Two writers in any order: an append succeeds exactly when its writer has seen the last event."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/two.db"
        Store.create(url)
        seen, length = [0, 0], 0
        with Store(url) as one, Store(url) as two:
            for who, move in moves:
                store = (one, two)[who]
                if move == "look":
                    seen[who] = len(store.renewals().get("acme-1", []))
                    continue
                try:
                    store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=seen[who] + 1)
                except Attention:
                    assert seen[who] != length
                else:
                    assert seen[who] == length
                    length += 1
                    seen[who] = length
            assert len(one.renewals().get("acme-1", [])) == length
