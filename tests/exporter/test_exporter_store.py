"""Renewals as the exporter reads them, from SQLite and from PostgreSQL with a role that can only read."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter import snapshot_file
from exporter.collectors.certificates import shown
from exporter.metrics import METRICS
from exporter.snapshot import NodeFacts, RenewalFacts, Snapshot
from exporter.store_look import StoreLook
from renewctl.inventory.reading import Inventory
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.secrets import Kind as SecretKind
from renewctl.secrets import SecretRef
from tests.support import exporter_history as history
from tests.support.exporter_store import only, read, read_at
from tests.support.exporter_values import UID, inventory, node, seen, served, value
from tests.support.postgres import Database


def test_a_roll_out_half_way_is_read(sqlite_inventory: Inventory) -> None:
    """Phase, accepted time, who is owed, what was installed and read back."""
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted(), history.rolled_out("a"))
    snapshot = read(sqlite_inventory)
    [facts] = snapshot.renewals
    assert snapshot.store_up is True
    assert snapshot.store_read is not None
    assert snapshot.histories is not None
    assert set(snapshot.histories) == {"tokyo"}
    assert (facts.renewal, facts.phase, facts.owed) == ("tokyo-1", "rolling_out", ("b",))
    recorded = facts.recorded["a"].served
    assert (recorded.not_after, recorded.serial, recorded.source) == (history.NEW_ENDS, "0b", Source.RECORDED)
    assert set(facts.recorded) == {"a"}
    assert value(sqlite_inventory, snapshot, "mdm_push_certificate_info", source="recorded", serial="0b") == 1


def test_a_node_left_out_is_owed_beside_a_proven_phase(sqlite_inventory: Inventory) -> None:
    """The phase tells of the nodes of the roll-out; the count beside it, which the alert asks, of all."""
    steps = history.rolled_out("a", outcome="proven")
    done = [(Kind.ROLL_OUT_FINISHED, {"run": 1, "outcome": "done", "reason": None})]
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted(), steps, done)
    snapshot = read(sqlite_inventory)
    assert value(sqlite_inventory, snapshot, "mdm_renewal_phase", phase="proven") == 1
    assert value(sqlite_inventory, snapshot, "mdm_renewal_nodes_owed") == 1
    assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="b") == 1
    [phase] = [metric for metric in METRICS if metric.name == "mdm_renewal_phase"]
    assert "mdm_renewal_nodes_owed" in phase.help


@pytest.mark.parametrize("outcome", ["unknown", "failed", "wrong"])
def test_only_what_was_read_back_is_recorded(outcome: str, sqlite_inventory: Inventory) -> None:
    """Never merely begun, accepted or refused; the node stays owed."""
    steps = history.rolled_out("a", outcome=outcome)
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted(), steps)
    assert (only(sqlite_inventory).recorded, only(sqlite_inventory).owed) == ({}, ("a", "b"))


@pytest.mark.parametrize(
    "ended", [[], [(Kind.ROLL_BACK_FINISHED, {"run": 2, "outcome": "owed", "reason": None})]]
)
def test_a_changed_id_hides_nothing(
    sqlite_inventory: Inventory, ended: list[tuple[Kind, dict[str, object]]]
) -> None:
    """The topic is the same by its UID: phase, owed nodes and what was recorded stay published, ended or not."""
    steps = [history.accepted(), history.rolled_out("a"), history.put_back("a")[:-2], ended]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    before = only(sqlite_inventory)
    (own,) = sqlite_inventory.topics
    nodes = tuple(replace(one, topics=("hq",)) for one in sqlite_inventory.nodes)
    after = only(replace(sqlite_inventory, topics=(replace(own, id="hq"),), nodes=nodes))
    assert (before.owed, after) == (("a",), before)


def test_a_new_renewal_owes_nothing_and_forgets_nothing(sqlite_inventory: Inventory) -> None:
    """Renewal 10 is newer than 9; its phase is shown, and what 9 gave the nodes."""
    url = str(sqlite_inventory.store)
    finished = [(Kind.ROLL_OUT_FINISHED, {"run": 1, "outcome": "installed", "reason": None})]
    reached = history.rolled_out("a", "b")
    history.write(url, "tokyo-9", history.accepted(9), reached, finished, [(Kind.CLOSED, {})])
    history.write(url, "tokyo-10", history.accepted(10)[:1])
    facts = only(sqlite_inventory)
    assert (facts.renewal, facts.phase, facts.owed) == ("tokyo-10", "open", ())
    assert facts.accepted_at is not None
    assert set(facts.recorded) == {"a", "b"}


def test_what_a_fence_took_back_to_another_year_is_not_recorded_any_more(sqlite_inventory: Inventory) -> None:
    """Last year's record stood on a step that was cut off: its date would hide that the node's own is past."""
    url = str(sqlite_inventory.store)
    history.write(url, "tokyo-9", history.accepted(9), history.rolled_out("a", "b"))
    undone = {**history.told("a", "new", "unknown"), "proof": None, "reason": "node_step_undone"}
    started = history.rolled_out("a")[:1]
    history.write(url, "tokyo-10", history.accepted(10), started, [(Kind.NODE_FINISHED, undone)])
    assert set(only(sqlite_inventory).recorded) == {"b"}


def test_renewals_of_a_topic_that_left_the_inventory_are_not_shown(sqlite_inventory: Inventory) -> None:
    """Nor is anything else of them."""
    url = str(sqlite_inventory.store)
    history.write(url, "kyoto-1", [(Kind.OPENED, {"topic_id": "kyoto", "topic": "k", "previous": None})])
    snapshot = read(sqlite_inventory)
    assert (snapshot.renewals, snapshot.adopted, snapshot.store_up) == ((), {}, True)


def test_the_head_of_the_store_is_published(sqlite_inventory: Inventory, tmp_path: Path) -> None:
    """One series, the hash of the newest event of whichever renewal; none while the store is empty; kept in the file."""
    url = str(sqlite_inventory.store)
    history.write(url, "tokyo-1", [])
    name = "mdm_store_head_info"
    assert value(sqlite_inventory, read(sqlite_inventory), name) is None
    history.write(url, "tokyo-1", history.accepted())
    history.write(url, "kyoto-1", [(Kind.OPENED, {"topic_id": "kyoto", "topic": "k", "previous": None})])
    with sqlite3.connect(tmp_path / "store.db") as connection:
        newest = connection.execute("SELECT hash FROM events ORDER BY rowid DESC LIMIT 1").fetchone()[0]
    connection.close()
    snapshot = read(sqlite_inventory)
    assert value(sqlite_inventory, snapshot, name, head=newest) == 1
    snapshot_file.save(tmp_path / "snapshot.json", snapshot)
    kept_snapshot = snapshot_file.load(tmp_path / "snapshot.json")
    assert kept_snapshot is not None
    assert kept_snapshot.store_head == newest


def test_an_adopted_pair_dates_a_topic_until_a_node_or_a_roll_out_says_more(
    sqlite_inventory: Inventory,
) -> None:
    """A server that tells nothing has a date from the first day on; what was read back replaces it."""
    url = str(sqlite_inventory.store)
    adopted = {"pair": history.OLD, "topic_id": "tokyo", "topic": sqlite_inventory.topics[0].topic}
    history.write(url, "tokyo-0", [(Kind.ADOPTED, adopted)])
    expiry = "mdm_push_certificate_expiry_timestamp_seconds"
    first = read(sqlite_inventory)
    assert first.renewals == ()
    ends = history.OLD_ENDS.timestamp()
    assert value(sqlite_inventory, first, expiry, source="adopted", node="a") == ends
    assert value(sqlite_inventory, first, "mdm_topic_expiry_known") == 1
    history.write(url, "tokyo-1", history.accepted(), history.rolled_out("a"))
    later = read(sqlite_inventory)
    assert value(sqlite_inventory, later, expiry, source="adopted", node="a") is None
    assert value(sqlite_inventory, later, expiry, source="adopted", node="b") == ends


def test_a_changed_id_hides_no_adopted_pair(sqlite_inventory: Inventory) -> None:
    """Adopted under the id the topic had: it is the same topic by its UID, and keeps its only date."""
    (own,) = sqlite_inventory.topics
    adopted = {"pair": history.OLD, "topic_id": "tokyo", "topic": own.topic}
    history.write(str(sqlite_inventory.store), "tokyo-0", [(Kind.ADOPTED, adopted)])
    nodes = tuple(replace(one, topics=("hq",)) for one in sqlite_inventory.nodes)
    renamed = replace(sqlite_inventory, topics=(replace(own, id="hq"),), nodes=nodes)
    expiry = "mdm_push_certificate_expiry_timestamp_seconds"
    for snapshot in (read(renamed), read(sqlite_inventory)):  # read again, or changed while the store is down
        assert value(renamed, snapshot, expiry, source="adopted", node="a") == history.OLD_ENDS.timestamp()


def kept(asked: Inventory, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """A look that fails: the last values stay, and the log says why, once."""
    facts = (RenewalFacts(UID, "tokyo-1", "installed"),)
    caplog.set_level(logging.INFO)
    look = StoreLook(asked)
    snapshot = look.look()(Snapshot(renewals=facts, store_up=True))
    assert look.look()(snapshot) == snapshot == Snapshot(renewals=facts, store_up=False)
    assert look.silent(snapshot)
    assert [record.message for record in caplog.records if record.name == "exporter"] == [f"store: {words}"]


def test_a_store_that_is_not_there_is_down(
    sqlite_inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    """Before `renewctl init`, or after a disk was not mounted."""
    kept(sqlite_inventory, "store_missing", caplog)


def test_a_broken_history_is_not_half_believed(
    sqlite_inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that cannot follow: the store counts as down."""
    history.write(str(sqlite_inventory.store), "tokyo-1", history.rolled_out("a"))
    kept(sqlite_inventory, "history_broken", caplog)


def test_a_hot_journal_keeps_the_last_values(
    sqlite_inventory: Inventory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer died in the middle: only the owner can roll back; the exporter says so and waits."""
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted())
    crashed = tmp_path / "crashed.db"
    connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    for statement in (
        "PRAGMA cache_size = 1",
        "BEGIN IMMEDIATE",
        "UPDATE events SET body = hex(zeroblob(100000))",
    ):
        connection.execute(statement)
    shutil.copy(tmp_path / "store.db", crashed)
    shutil.copy(tmp_path / "store.db-journal", f"{crashed}-journal")
    connection.execute("ROLLBACK")
    connection.close()
    kept(replace(sqlite_inventory, store=f"sqlite:///{crashed}"), "store_needs_recovery", caplog)


def test_the_url_of_a_store_is_never_fetched_by_a_command(
    sqlite_inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    """Merging to the inventory must not mean running programs."""
    command = SecretRef(SecretKind.COMMAND, ("/bin/echo", "sqlite:////x"))
    kept(replace(sqlite_inventory, store=command), "secret_command_not_allowed", caplog)


def test_an_unexpected_fault_is_a_store_that_is_down(
    sqlite_inventory: Inventory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller goes on, whatever the store holds."""

    def broken(_self: object) -> Callable[[], None]:
        raise KeyError("secret")

    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted())
    monkeypatch.setattr("renewctl.store.read.StoreReader.renewals", broken)
    kept(sqlite_inventory, "KeyError", caplog)


def test_a_store_that_was_read_ahead_of_time_is_as_old_as_it_can_be(sqlite_inventory: Inventory) -> None:
    """Read while the clock ran ahead: from the first failure on its age counts."""
    ahead = datetime.now(UTC) + timedelta(days=3650)
    down = StoreLook(sqlite_inventory).overdue()(Snapshot(store_up=True, store_read=ahead))
    assert down.store_read is not None
    assert down.store_read <= datetime.now(UTC)


def test_a_roll_out_of_a_clock_that_runs_ahead_hides_no_node(
    sqlite_inventory: Inventory, tmp_path: Path
) -> None:
    """Recorded in two days from now: it counts as of our first reading, so the node's own later word stands.

    Also when our clock has caught up, and after a restart; what is recorded anew counts by its own time.
    """
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted(), history.rolled_out("a"))
    recorded = only(sqlite_inventory).recorded["a"]
    began = recorded.at - timedelta(days=2)
    first = read_at(began, sqlite_inventory, Snapshot())
    old = served(days=10)
    facts = NodeFacts().after(replace(seen(old), at=began + timedelta(seconds=10)))
    second = read_at(began + timedelta(seconds=30), sqlite_inventory, first.with_node("a", facts))
    assert [one.recorded["a"].at for one in (*first.renewals, *second.renewals)] == [began, began]
    assert [known.served for node, known in shown(sqlite_inventory, second) if node == "a"] == [old]
    silent = second.with_node("a", facts.failing(began + timedelta(minutes=5), Reason.NODE_TIMEOUT))
    snapshot_file.save(tmp_path / "snapshot.json", silent)
    restarted = snapshot_file.load(tmp_path / "snapshot.json")
    assert restarted is not None
    for before in (silent, restarted):
        third = read_at(recorded.at + timedelta(seconds=1), sqlite_inventory, before)
        fourth = read_at(recorded.at + timedelta(days=1), sqlite_inventory, third)
        assert [one.recorded["a"].at for one in (*third.renewals, *fourth.renewals)] == [began, began]
        assert [known.served for node, known in shown(sqlite_inventory, fourth) if node == "a"] == [old]
    again = [(Kind.NODE_FINISHED, history.told("a", "new", "proven"))]
    history.more(str(sqlite_inventory.store), "tokyo-1", again, after=7)
    anew = only(sqlite_inventory).recorded["a"]
    fifth = read_at(anew.at + timedelta(days=1), sqlite_inventory, fourth)
    assert anew.at > recorded.at
    assert fifth.renewals[0].recorded["a"] == anew


def test_a_clock_that_runs_behind_makes_no_record_older(sqlite_inventory: Inventory, tmp_path: Path) -> None:
    """A boot without a clock of its own: what was read when it was right keeps its time."""
    history.write(str(sqlite_inventory.store), "tokyo-1", history.accepted(), history.rolled_out("a"))
    before = read(sqlite_inventory)
    recorded = before.renewals[0].recorded["a"]
    snapshot_file.save(tmp_path / "snapshot.json", before)
    restarted = snapshot_file.load(tmp_path / "snapshot.json")
    assert restarted is not None
    behind = read_at(recorded.at - timedelta(days=700), sqlite_inventory, restarted)
    assert behind.renewals[0].recorded["a"] == recorded


def test_an_overdue_store_is_down(sqlite_inventory: Inventory) -> None:
    """A network that swallows packets."""
    assert StoreLook(sqlite_inventory).overdue()(Snapshot(store_up=True)).store_up is False


@pytest.mark.slow
def test_a_role_that_may_only_select_is_enough_on_postgresql(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The URL comes by reference; the table of keys is not granted; an unreachable server keeps the last values."""
    history.write(database.url, "tokyo-1", history.accepted(), history.rolled_out("a", "b"))
    secret = tmp_path / "store-url"
    secret.write_text(database.select_only("events", "documents", "runs", "meta"))
    made = replace(inventory(node("a"), node("b")), path=tmp_path / "inventory.yaml")
    asked = replace(made, store=SecretRef(SecretKind.FILE, (str(secret),)))
    facts = only(asked)
    assert (facts.phase, facts.owed, set(facts.recorded)) == ("rolling_out", (), {"a", "b"})
    refused = database.url_as("nobody", "wrong").replace(database.name, "gone")
    kept(replace(made, store=refused), "store_denied", caplog)
