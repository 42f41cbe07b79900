"""A million enrollments in PostgreSQL: what a poll costs beyond the bare statement in psql, and in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from renewctl.servers.nanomdm_database import Database
from tests.bench.table import Measured
from tests.bench.turns import by_turns
from tests.support.postgres import BINARIES, running_cluster
from tests.support.postgres import Database as Postgres

MANY, _FEW = 1_000_000, 10_000
_ROUNDS = 9
_DAYS = (1, 7, 14, 30, 60, 90)

_WINDOWS = ", ".join(
    f"count(*) FILTER (WHERE last_seen_at >= localtimestamp - interval '{days} days')" for days in _DAYS
)
_BARE = (
    f"SELECT topic, count(*), {_WINDOWS} FROM enrollments WHERE enabled AND user_id IS NULL GROUP BY topic"  # noqa: S608
)
"""What somebody who knows SQL would type."""

_PEAK = (
    "import resource, sys; from datetime import datetime, UTC;"
    "from renewctl.servers.nanomdm_database import Database;"
    "counts, failures = Database('n', sys.argv[1]).devices(datetime.now(UTC));"
    "assert not failures and sum(c.enabled for c in counts) == int(sys.argv[2]), (counts, failures);"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def measure(folder: Path) -> Iterator[Measured]:
    """A look at all devices against psql, by turns; peak memory of a process at a hundredth of them."""
    del folder
    with running_cluster() as cluster:
        few, many = cluster.create_database(), cluster.create_database()
        urls = [fill(few, _FEW), fill(many, MANY)]
        stored = Database("n", urls[1])
        yield by_turns(
            "a poll of 1,000,000 devices / the bare statement in psql",
            lambda: stored.devices(datetime.now(UTC)),
            lambda: _psql(urls[1]),
            bar=1.15,
            rounds=_ROUNDS,
        )
        small, large = _peak(urls[0], _FEW), _peak(urls[1], MANY)
        yield Measured("peak MiB of a poll, 1,000,000 / 10,000 devices", large, small, 1.05, 1)


def _psql(url: str) -> None:
    subprocess.run([BINARIES / "psql", "-XAtq", url, "-c", _BARE], check=True, capture_output=True)


def _peak(url: str, count: int) -> float:
    words = [sys.executable, "-c", _PEAK, url, str(count)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ)
    return int(done.stdout) / 1024


def fill(database: Postgres, count: int) -> str:
    """Five topics, check-ins over the last 120 days, as NanoMDM's own table has them."""
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE enrollments (id varchar(255) PRIMARY KEY, device_id varchar(255) NOT NULL, user_id varchar(255),"
            " type varchar(31) NOT NULL, topic varchar(255) NOT NULL, push_magic varchar(127) NOT NULL,"
            " token_hex varchar(255) NOT NULL, enabled boolean NOT NULL DEFAULT true,"
            " token_update_tally integer NOT NULL DEFAULT 1, last_seen_at timestamp NOT NULL,"
            " created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now())"
        )
        connection.execute(
            "INSERT INTO enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at)"
            " SELECT md5(n::text), md5(n::text), 'Device',"
            " 'com.apple.mgmt.External.0000000' || n %% 5 || '-2222-4333-8444-555555555555', md5('m' || n),"
            " md5('t' || n) || md5('u' || n), localtimestamp - (random() * 120) * interval '1 day'"
            " FROM generate_series(1, %s) AS n",
            (count,),
        )
        connection.execute("VACUUM ANALYZE enrollments")
    return database.select_only("enrollments(id, user_id, topic, enabled, last_seen_at)")
