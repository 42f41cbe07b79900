"""NanoMDM's database, here as SQLite with the columns its schema has (PostgreSQL: the contract suite)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from renewctl.errors import NodeFault, RenewctlError
from renewctl.inventory.reading import Devices, Node, Product
from renewctl.observation import WINDOWS, Source
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.nanomdm_database import Database
from tests.support.certs import NOW, OTHER_TOPIC, TOPIC, apple_like

DAY = timedelta(days=1)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An MDM server's database, empty."""
    connection = sqlite3.connect(tmp_path / "mdm.db", isolation_level=None)
    connection.execute(
        "CREATE TABLE enrollments (id TEXT PRIMARY KEY, user_id TEXT, topic TEXT, push_magic TEXT, token_hex TEXT,"
        " enabled BOOLEAN, last_seen_at TEXT)"
    )
    connection.execute("CREATE TABLE push_certs (topic TEXT PRIMARY KEY, cert_pem TEXT, key_pem TEXT)")
    yield connection
    connection.close()


@pytest.fixture
def stored(tmp_path: Path, rows: sqlite3.Connection) -> Database:
    """The same database as the product reads it."""
    assert rows is not None
    return Database("n1", f"sqlite:///{tmp_path}/mdm.db")


def enroll(
    rows: sqlite3.Connection,
    name: str,
    *,
    ago: timedelta = timedelta(minutes=5),
    topic: str = TOPIC,
    user: str | None = None,
    enabled: bool = True,
) -> None:
    """A row as a device's check-in leaves it: UTC text."""
    seen = (datetime.now(UTC) - ago).strftime("%Y-%m-%d %H:%M:%S.%f")
    values = (name, user, topic, f"magic-{name}", name.encode().hex().upper(), enabled, seen)
    rows.execute("INSERT INTO enrollments VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def test_devices_are_counted_by_topic_in_cumulative_windows(
    rows: sqlite3.Connection, stored: Database
) -> None:
    """Enabled devices alone; each window holds all that were seen within it; user channels are no devices."""
    for name, ago in {"A": DAY / 2, "B": 3 * DAY, "C": 10 * DAY, "D": 45 * DAY, "E": 200 * DAY}.items():
        enroll(rows, name, ago=ago)
    enroll(rows, "F", topic=OTHER_TOPIC)
    enroll(rows, "GONE", enabled=False)
    enroll(rows, "A:501", user="A:501")
    counts, failures = stored.devices(NOW)
    assert failures == []
    assert [(count.topic, count.enabled) for count in counts] == [(TOPIC, 5), (OTHER_TOPIC, 1)]
    assert counts[0].seen_within == dict(zip(WINDOWS, (1, 2, 3, 3, 4, 4), strict=True))


def test_a_database_without_devices_counts_none_rather_than_nothing(stored: Database) -> None:
    """No rows: an empty answer, which is not an absent one."""
    assert stored.devices(NOW) == ((), [])


def test_check_ins_from_the_future_are_a_zone_fault(rows: sqlite3.Connection, stored: Database) -> None:
    """Nine hours ahead is a server in another zone: the devices are counted, their ages are not believed."""
    enroll(rows, "A", ago=-9 * timedelta(hours=1))
    counts, (failure,) = stored.devices(NOW)
    assert [(count.enabled, count.seen_within) for count in counts] == [(1, {})]
    assert (failure.reason, failure.values["node"]) == (Reason.DATABASE_ZONE, "n1")
    assert abs(float(failure.values["got"]) + 32_400) < 60


def test_a_date_nobody_can_read_costs_the_ages_alone(rows: sqlite3.Connection, stored: Database) -> None:
    """SQLite keeps any text as a date; the devices are there all the same."""
    enroll(rows, "A")
    rows.execute("UPDATE enrollments SET last_seen_at = 'yesterday'")
    counts, failures = stored.devices(NOW)
    assert [(count.enabled, dict(count.seen_within)) for count in counts] == [(1, {})]
    assert [failure.reason for failure in failures] == [Reason.DATABASE_ERROR]


def test_a_kind_of_database_nobody_here_speaks_is_said_so() -> None:
    """Its age arithmetic is not known either; what is told is the url, without its password."""
    strange = Database("n1", "oracle://user:hunter2@db/mdm")
    with pytest.raises(RenewctlError) as caught:
        strange.devices(NOW)
    assert caught.value.reason is Reason.STORE_URL_INVALID
    assert "hunter2" not in f"{caught.value!r}"


def test_a_check_in_of_this_moment_is_no_zone_fault(rows: sqlite3.Connection, stored: Database) -> None:
    """A row may be written between the database's "now" and our reading."""
    enroll(rows, "A", ago=timedelta(seconds=-20))
    assert stored.devices(NOW)[1] == []


def test_stored_certificates_are_read_whole(rows: sqlite3.Connection, stored: Database) -> None:
    """Serial and issuer come from here alone; one bad row does not hide the others."""
    issued = apple_like().push()
    rows.execute("INSERT INTO push_certs VALUES (?, ?, 'secret')", (TOPIC, issued.pem.decode()))
    rows.execute("INSERT INTO push_certs VALUES (?, 'rubbish', 'secret')", (OTHER_TOPIC,))
    (found,), (failure,) = stored.certificates()
    assert (found.topic, found.serial, found.source) == (TOPIC, issued.serial, Source.DATABASE)
    assert (failure.reason, failure.values["path"]) == (
        Reason.NODE_CERTIFICATE_UNREADABLE,
        f"push_certs {OTHER_TOPIC}",
    )


def test_canaries_are_enabled_devices_of_the_topic_latest_first(
    rows: sqlite3.Connection, stored: Database
) -> None:
    """Those seen last are awake most likely; who left, who belongs elsewhere, and users are none."""
    enroll(rows, "OLD", ago=9 * DAY)
    enroll(rows, "NEW")
    enroll(rows, "MID", ago=DAY)
    enroll(rows, "GONE", enabled=False)
    enroll(rows, "OTHER", topic=OTHER_TOPIC)
    enroll(rows, "NEW:501", user="NEW:501")
    assert stored.canaries(TOPIC, 2) == ("NEW", "MID")
    assert stored.canaries(TOPIC, 9) == ("NEW", "MID", "OLD")
    assert [stored.enrolled(name, TOPIC) for name in ("NEW", "GONE", "OTHER", "NOBODY")] == [True] + [
        False
    ] * 3


def test_single_devices_are_those_silent_for_longest(rows: sqlite3.Connection, tmp_path: Path) -> None:
    """As many as the inventory allows, whatever their topic, with the time of their last check-in; off by default."""
    for name, ago in {"A": 9 * DAY, "B": 3 * DAY, "C": DAY}.items():
        enroll(rows, name, ago=ago, topic=OTHER_TOPIC if name == "B" else TOPIC)
    enroll(rows, "GONE", ago=99 * DAY, enabled=False)
    url = f"sqlite:///{tmp_path}/mdm.db"
    node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(sql=url, series=2))
    now = datetime.now(UTC)
    silent = NanoMDM(node).observe(now).silent
    assert silent is not None
    assert [(one.enrollment, one.topic) for one in silent] == [("A", TOPIC), ("B", OTHER_TOPIC)]
    assert abs(silent[0].at - (now - 9 * DAY)) < timedelta(minutes=1)
    assert NanoMDM(replace(node, devices=Devices(sql=url))).observe(now).silent is None
    enroll(rows, "D", ago=-9 * timedelta(hours=1))
    assert NanoMDM(node).observe(now).silent is None, "ages in the wrong zone are not believed"


def test_named_canaries_come_first_unless_they_left(rows: sqlite3.Connection, tmp_path: Path) -> None:
    """A person's choice goes before the latest check-in, and is not pushed to after CheckOut."""
    enroll(rows, "NEW")
    enroll(rows, "CHOSEN", ago=9 * DAY)
    enroll(rows, "GONE", enabled=False)
    url = tmp_path / "url"
    url.write_text(f"sqlite:///{tmp_path}/mdm.db\n")
    node = Node(
        "n1",
        Product.NANOMDM,
        (),
        "n1",
        devices=Devices(sql=SecretRef(Kind.FILE, (str(url),))),
        canary_enrollments=("GONE", "CHOSEN"),
    )
    assert NanoMDM(node).canaries(TOPIC, 3) == ("CHOSEN", "NEW")
    assert NanoMDM(node).enrolled_topics() == {TOPIC: 2}


def test_a_check_in_is_a_change_of_value(rows: sqlite3.Connection, stored: Database) -> None:
    """Nothing is said of what the value means; an unknown device has none."""
    enroll(rows, "A", ago=DAY)
    before = stored.check_in("A")
    assert before == stored.check_in("A")
    rows.execute("UPDATE enrollments SET last_seen_at = '2026-11-23 00:00:00' WHERE id = 'A'")
    assert stored.check_in("A") not in {None, before}
    assert stored.check_in("NOBODY") is None


def test_a_push_target_is_token_and_magic(rows: sqlite3.Connection, stored: Database) -> None:
    """Lower-case hex, whatever the column holds; neither shows in a repr."""
    enroll(rows, "JKLM")
    target = stored.push_target("JKLM")
    assert target is not None
    assert (target.token, target.magic) == ("4a4b4c4d", "magic-JKLM")
    assert "4a4b" not in repr(target)
    assert "magic-JKLM" not in repr(target)
    assert stored.push_target("NOBODY") is None


def test_a_database_that_is_not_there_is_the_nodes_failure(tmp_path: Path) -> None:
    """Named as this node's database; the rest of the look goes on."""
    stored = Database("n1", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(NodeFault) as caught:
        stored.canaries(TOPIC, 1)
    assert caught.value.reason.value.startswith("database_")
    assert caught.value.values["node"] == "n1"
    node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(sql=f"sqlite:///{tmp_path}/none.db"))
    seen = NanoMDM(node).observe(NOW)
    assert (seen.certificates, seen.devices, seen.answered) == ((), None, ())
    assert {failure.reason.value.partition("_")[0] for failure in seen.failures} == {"database"}


def test_the_whole_look_joins_certificates_and_counts(rows: sqlite3.Connection, tmp_path: Path) -> None:
    """One observation: what is stored, who is enrolled, and that the database answered."""
    issued = apple_like().push()
    rows.execute("INSERT INTO push_certs VALUES (?, ?, 'secret')", (TOPIC, issued.pem.decode()))
    enroll(rows, "A")
    node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(sql=f"sqlite:///{tmp_path}/mdm.db"))
    seen = NanoMDM(node).observe(NOW)
    assert (seen.up, seen.failures, seen.answered) == (None, (), (Source.DATABASE,))
    assert [count.enabled for count in seen.devices or ()] == [1]
    served = seen.serving(TOPIC)
    assert served is not None
    assert served.fingerprint is not None
