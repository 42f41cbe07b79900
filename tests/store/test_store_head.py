"""The head of a store: every event stands on the one before it in the whole store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from renewctl.audit.checks import verify
from renewctl.errors import NodeFault
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.store import head as store_head
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store
from tests.support.chained import Chained
from tests.support.history import BODIES
from tests.support.postgres import Database


def opened(store: Store, name: str, stamp: Stamp) -> Event:
    """The first event of a renewal."""
    body = {**BODIES[Kind.OPENED], "previous": None}
    return store.append(name, Kind.OPENED, body, stamp=stamp, expected_seq=1)


def put_in(url: str, chained: Chained) -> None:
    """Rows as they are, past the writer."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        for row in chained.events:
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO events ({names}) VALUES ({marks})", row)  # noqa: S608 - ours
    connection.close()


def test_every_event_tells_its_place_and_the_head_before_it(store_url: str, stamp: Stamp) -> None:
    """Numbers go up over all renewals; `opened` records the head of before; the head is the newest hash."""
    with Store(store_url) as store:
        assert (store.head(), store.written) == ("", "")
        first = opened(store, "acme-1", stamp)
        second = opened(store, "beta-1", stamp)
        third = store.append("acme-1", Kind.ABORTED, {}, stamp=stamp, expected_seq=2)
        assert (store.head(), store.written) == (third.hash, third.hash)
        assert store_head.head_of(store.renewals()) == third.hash
    places = [event.body["store"] for event in (first, second, third)]
    assert places == [
        {"number": 1, "before": ""},
        {"number": 2, "before": first.hash},
        {"number": 3, "before": second.hash},
    ]
    with StoreReader(store_url) as reader:
        assert verify(reader.raw(), second.hash).since == 1
        assert verify(reader.raw(), second.hash).traces == ()


def test_what_the_store_writes_is_what_the_rule_says(tmp_path: Path, stamp: Stamp) -> None:
    """An event of the product, its rule written a second time: the same place and the same hash."""
    url = f"sqlite:///{tmp_path}/store/a.db"
    Store.create(url)
    by_hand = Chained()
    with Store(url) as store:
        for name in ("acme-1", "beta-1"):
            event = opened(store, name, stamp)
            row = {"id": event.id, "at": event.at.isoformat(timespec="microseconds")}
            said = {"authenticated": event.authenticated, "reason": stamp.reason, "ticket": stamp.ticket}
            by_hand.append(name, Kind.OPENED, body={"previous": None}, **row, **said)
            assert by_hand.events[-1]["hash"] == event.hash


def test_a_store_of_before_places_were_kept_stays_valid_and_goes_on(sqlite_path: Path, stamp: Stamp) -> None:
    """Its head is a digest of each renewal's newest event; the first new event stands on that, and it stays a head."""
    url = f"sqlite:///{sqlite_path}"
    old = Chained(places=False)
    old.append("acme-1", Kind.OPENED, body={"previous": None})
    old.append("acme-1", Kind.ABORTED)
    old.append("beta-1", Kind.OPENED, body={"previous": None})
    put_in(url, old)
    with Store(url) as store:
        assert verify(store.raw()).traces == ()
        assert store.head() == old.heads[-1]
        event = opened(store, "acme-2", stamp)
        assert event.body["store"] == {"number": 4, "before": old.heads[-1]}
        verdict = verify(store.raw(), old.heads[-1])
    assert (verdict.traces, verdict.since) == ((), 1)


_WRITER = """
import sys
from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
url, name = sys.argv[1:]
with Store(url) as store:
    for seq in range(1, 16):
        store.append(name, Kind.ADOPTED, {}, stamp=Stamp("a@h", "h", "0", "d"), expected_seq=seq)
"""


@pytest.mark.slow
def test_writers_of_several_renewals_stand_in_one_line(store_url: str) -> None:
    """Three processes write to three renewals at once, as fast as they can: one chain, no fork."""
    if store_url.startswith("postgresql"):
        # A server may have another default; ours must not depend on it.
        with psycopg.connect(store_url, autocommit=True) as connection:
            name = connection.execute("SELECT current_database()").fetchone()
            assert name is not None
            connection.execute(
                f"ALTER DATABASE \"{name[0]}\" SET default_transaction_isolation = 'repeatable read'"
            )
    command = [sys.executable, "-W", "error", "-c", _WRITER, store_url]
    writers = [subprocess.Popen([*command, f"{name}-0"]) for name in ("acme", "beta", "gamma")]
    assert [writer.wait(100) for writer in writers] == [0, 0, 0]
    with StoreReader(store_url) as reader:
        verdict = verify(reader.raw())
    assert (len(verdict.rows), verdict.traces) == (45, ())


@pytest.mark.slow
def test_a_role_without_more_grants_can_write(database: Database, stamp: Stamp) -> None:
    """SELECT and INSERT on events, SELECT on meta are enough, as the README grants them."""
    Store.create(database.url)
    url = database.role("SELECT, INSERT ON events", "SELECT ON documents, runs, meta")
    with Store(url) as store:
        assert opened(store, "acme-1", stamp).hash == store.head()


@contextmanager
def changed(path: Path, statement: str, *values: object) -> Iterator[StoreReader]:
    """A store after somebody was at it."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()
    with StoreReader(f"sqlite:///{path}") as reader:
        yield reader


@pytest.mark.parametrize(
    "body", ["'{'", "'[]'", "CAST(x'ff41' AS TEXT)", "'{\"store\":1}'", "x'00'", "3", "'{\"a\":NaN}'"]
)
def test_a_row_nobody_can_read_hides_no_other(sqlite_path: Path, stamp: Stamp, body: str) -> None:
    """Also bytes that are no UTF-8: it is named, the others are read; who writes is told that the store is damaged."""
    url = f"sqlite:///{sqlite_path}"
    with Store(url) as store:
        opened(store, "acme-1", stamp)
        opened(store, "beta-1", stamp)
    with changed(sqlite_path, f"UPDATE events SET body = {body} WHERE renewal = 'beta-1'") as reader:  # noqa: S608
        verdict = verify(reader.raw())
    found = {(trace.reason, trace.renewal, trace.seq) for trace in verdict.traces}
    assert (Reason.AUDIT_EVENT_UNREADABLE, "beta-1", 1) in found
    assert {name for _, name, _ in found} == {"beta-1"}
    assert list(verdict.events()) == ["acme-1"]


def test_nothing_is_written_on_top_of_an_event_that_cannot_be_read(sqlite_path: Path, stamp: Stamp) -> None:
    """`store_damaged`, naming it; for the head too."""
    url = f"sqlite:///{sqlite_path}"
    with Store(url) as store:
        opened(store, "acme-1", stamp)
    with changed(sqlite_path, "UPDATE events SET body = CAST(x'ff' AS TEXT)") as reader:
        for ask in (reader.head, reader.renewals):
            with pytest.raises(NodeFault, match="event acme-1 1"):
                ask()
    with Store(url) as store, pytest.raises(NodeFault) as caught:
        opened(store, "beta-1", stamp)
    assert caught.value.reason is Reason.STORE_DAMAGED
