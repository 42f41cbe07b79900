"""NanoMDM's database on a real MariaDB: the same answers as from PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from renewctl.errors import NodeFault
from renewctl.observation import WINDOWS
from renewctl.reasons import Reason
from renewctl.servers import nanomdm_database
from renewctl.servers.nanomdm_database import Database
from tests.support.certs import OTHER_TOPIC, TOPIC, apple_like
from tests.support.mariadb import MariaDB, mariadb

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
GRANTS = {"push_certs": "topic, cert_pem", "enrollments": "id, user_id, topic, enabled, last_seen_at"}


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """One for this file."""
    with mariadb() as running:
        yield running


@pytest.fixture
def url(server: MariaDB) -> str:
    """The tables NanoMDM makes (storage/mysql/schema.sql), empty, and a role with the grants the README names."""
    with server.connect() as cursor:
        cursor.execute("DROP TABLE IF EXISTS enrollments, push_certs")
        cursor.execute(
            "CREATE TABLE push_certs (topic VARCHAR(255) PRIMARY KEY, cert_pem TEXT NOT NULL, key_pem TEXT NOT NULL)"
        )
        cursor.execute(
            "CREATE TABLE enrollments (id VARCHAR(255) PRIMARY KEY, user_id VARCHAR(255), topic VARCHAR(255) NOT NULL,"
            " enabled BOOLEAN NOT NULL DEFAULT 1, last_seen_at TIMESTAMP NOT NULL)"
        )
    return server.role(GRANTS)


def enroll(
    server: MariaDB, ages: dict[str, timedelta], topic: str = TOPIC, zone: str = "+00:00", **more: object
) -> None:
    """Devices as their check-ins leave them."""
    with server.connect(zone=zone) as cursor:
        for name, age in ages.items():
            cursor.execute(
                "INSERT INTO enrollments VALUES (%s, %s, %s, %s, CURRENT_TIMESTAMP - INTERVAL %s SECOND)",
                (name, more.get("user"), topic, more.get("enabled", 1), int(age.total_seconds())),
            )


def test_devices_are_counted_in_cumulative_windows(server: MariaDB, url: str) -> None:
    """Enabled devices alone, by topic; single ones on demand."""
    day = timedelta(days=1)
    enroll(server, {"A": day / 2, "B": 3 * day, "C": 10 * day, "D": 45 * day, "E": 200 * day})
    enroll(server, {"F": day / 2}, OTHER_TOPIC)
    enroll(server, {"GONE": day}, enabled=0)
    enroll(server, {"A:501": day}, user="A:501")
    counts, failures = Database("n1", url).devices(NOW)
    assert failures == []
    assert [(count.topic, count.enabled) for count in counts] == [(TOPIC, 5), (OTHER_TOPIC, 1)]
    assert counts[0].seen_within == dict(zip(WINDOWS, (1, 2, 3, 3, 4, 4), strict=True))
    (longest,) = Database("n1", url).longest_silent(1, NOW)
    assert (longest.enrollment, longest.topic) == ("E", TOPIC)
    assert abs(longest.at - (NOW - 200 * day)) < timedelta(minutes=5)


def test_a_session_in_another_zone_makes_no_difference(server: MariaDB, url: str) -> None:
    """TIMESTAMP is kept in UTC and shown in the session's zone: written in Tokyo, the ages are right."""
    enroll(server, {"A": timedelta(minutes=5)}, zone="+09:00")
    counts, failures = Database("n1", url).devices(NOW)
    assert (failures, counts[0].seen_within[WINDOWS[0]]) == ([], 1)


def test_check_ins_from_the_future_are_a_zone_fault(server: MariaDB, url: str) -> None:
    """Where the column was made a DATETIME, the zone trap is found and told."""
    with server.connect() as cursor:
        cursor.execute("ALTER TABLE enrollments MODIFY last_seen_at DATETIME NOT NULL")
    enroll(server, {"A": timedelta(minutes=5)}, zone="+09:00")
    counts, (failure,) = Database("n1", url).devices(NOW)
    assert [(count.enabled, count.seen_within) for count in counts] == [(1, {})]
    assert failure.reason is Reason.DATABASE_ZONE


def test_certificates_and_no_key(server: MariaDB, url: str) -> None:
    """The grant leaves the key out; a table that may not be read is denied."""
    issued = apple_like().push(TOPIC)
    with server.connect() as cursor:
        cursor.execute("INSERT INTO push_certs VALUES (%s, %s, 'key')", (TOPIC, issued.pem.decode()))
    (found,), failures = Database("n1", url).certificates()
    assert (found.serial, failures) == (issued.serial, [])
    with pytest.raises(NodeFault) as caught:
        Database("n1", server.role({"push_certs": "topic"})).certificates()
    assert caught.value.reason is Reason.DATABASE_DENIED


def test_the_server_gives_up_a_statement_that_takes_too_long(
    server: MariaDB, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll never leaves work behind on the database."""
    monkeypatch.setattr(nanomdm_database, "TIMEOUT_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(NodeFault) as caught:
        Database("n1", url)._select("SELECT SLEEP(30) AS slept")
    assert time.monotonic() - began < 25
    assert caught.value.reason.value.startswith("database_")
