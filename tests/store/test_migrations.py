"""Every schema there ever was can be opened or upgraded, and an upgrade is whole or has not happened."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from renewctl.database import sql, sql_tables, sql_url, sql_version
from renewctl.errors import Attention, Refused, Unusable
from renewctl.keys.keystore import KeyTable
from renewctl.reasons import Reason
from renewctl.renewal.events import Outcome
from renewctl.renewal.history import histories
from renewctl.renewal.rules import Phase
from renewctl.store import migrations
from renewctl.store.lease import Timing
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store
from renewctl.upkeep import backup, backup_file, upgrade
from tests.support.old_stores import LATER, kept_database, kept_file, make_later
from tests.support.postgres import Cluster

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
QUICK = Timing(beat=0.05, lost=20.0, patience=0.2, look=0.02)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The kept store of schema 1, its URL."""
    if request.param == "sqlite":
        return kept_file(tmp_path / "store" / "renewctl.db")
    cluster: Cluster = request.getfixturevalue("cluster")
    return kept_database(cluster)


def _upgrade(url: str, **more: Any) -> upgrade.Upgraded:
    told: list[str] = []
    return upgrade.upgrade(url, now=NOW, timing=QUICK, tell=told.append, **more)


def _backup(url: str, folder: Path) -> Path:
    """A backup where the store is a database: there it is needed."""
    path = folder / "before.tar"
    taken = backup.take(url, KeyTable(url, ()), now=NOW, tell=lambda _key: None)
    backup_file.write(path, taken)
    return path


def _with_backup(url: str, folder: Path) -> dict[str, Any]:
    return {} if url.startswith("sqlite") else {"backup": _backup(url, folder)}


def _version(url: str) -> int:
    database = sql.Database(url, read_only=True)
    try:
        return int(database.rows(sql_version.VERSION_ROW)[0]["schema_version"])
    finally:
        database.close()


def test_a_kept_store_of_schema_1_opens(kept: str) -> None:
    """It tells the renewal as it was left: rolling out, one node proven, one unknown, its run not ended."""
    with Store(kept) as store:
        renewal = histories(store.renewals())["tokyo"].open
        run = store.open_run()
        assert renewal is not None
        assert renewal.accepted is not None
        assert b"BEGIN CERTIFICATE" in store.document(renewal.accepted.document)
    assert renewal.phase is Phase.ROLLING_OUT
    assert {name: state.outcome for name, state in renewal.nodes.items()} == {
        "n1": Outcome.PROVEN,
        "n2": Outcome.UNKNOWN,
    }
    assert run is not None
    assert (run.number, run.holder) == (1, "tanaka@ops1")


def test_revisions_lead_to_todays_tables(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What the revisions build from nothing is what a new store has; the newest is the schema we know."""
    assert migrations.newest() == sql_version.SCHEMA
    path = tmp_path / "built.db"
    path.touch()
    database = sql.Database(f"sqlite:///{path}", read_only=False)
    with database.transaction() as transaction:
        migrations.apply(transaction, above=0, upto=sql_version.SCHEMA)
        found = compare_metadata(MigrationContext.configure(transaction.connection), sql_tables.METADATA)
    assert [one[1].name for one in found if one[0] == "add_table"] == ["keys"]  # of PostgreSQL alone
    assert len(found) == 1
    assert _version(f"sqlite:///{path}") == sql_version.SCHEMA


@pytest.mark.slow
def test_revisions_lead_to_todays_tables_on_postgresql(cluster: Cluster) -> None:
    """The same, table `keys` included."""
    url = cluster.create_database().url
    database = sql.Database(url, read_only=False)
    with database.transaction() as transaction:
        migrations.apply(transaction, above=0, upto=sql_version.SCHEMA)
        assert compare_metadata(MigrationContext.configure(transaction.connection), sql_tables.METADATA) == []
    database.close()
    Store(url).close()


def test_a_store_of_this_schema_is_left_alone(kept: str) -> None:
    """Nothing to do: no copy, no backup asked for."""
    assert _upgrade(kept) == upgrade.Upgraded(sql_url.shown(kept), 1, 1)


def test_an_older_store_says_what_to_run(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither read nor written by a newer renewctl, and never upgraded in silence."""
    make_later(monkeypatch)
    for opened in (lambda: Store(kept), lambda: StoreReader(kept).renewals(), lambda: sql.create(kept)):
        with pytest.raises(Refused) as refused:
            opened()
        assert refused.value.reason is Reason.STORE_OLDER
        assert refused.value.values == {"store": sql_url.shown(kept), "got": 1, "expected": 2}
    assert _version(kept) == 1


def test_an_upgrade_keeps_every_event_and_the_old_store(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it all is as it was, in the new tables; a store in a file is kept beside as it was, 0640."""
    with StoreReader(kept) as reader:
        before = reader.renewals()
    backed_up = _with_backup(kept, tmp_path)
    make_later(monkeypatch)
    assert _upgrade(kept, **backed_up, dry_run=True).after == 2
    assert _version(kept) == 1
    done = _upgrade(kept, **backed_up)
    assert (done.before, done.after) == (1, 2)
    with Store(kept) as store:
        assert store.renewals() == before
    database = sql.Database(kept, read_only=True)
    assert database.rows("SELECT note FROM runs") == [{"note": "of schema 1"}]
    assert len(database.rows("SELECT kept_at FROM documents")) == 4
    if done.copy is not None:
        assert stat.S_IMODE(done.copy.stat().st_mode) == 0o640
        assert done.copy.name == "renewctl.db.schema-1.20261123T020000Z"
        monkeypatch.undo()
        with StoreReader(f"sqlite:///{done.copy}") as reader:
            assert reader.renewals() == before


@pytest.mark.parametrize("trouble", ["fail", "taken"])
def test_a_failing_upgrade_leaves_the_old_store(
    kept: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that fails in the middle: the store is as it was and can be used, and that is said."""
    with StoreReader(kept) as reader:
        before = reader.renewals()
    backed_up = _with_backup(kept, tmp_path)
    with monkeypatch.context() as patch:
        make_later(patch)
        patch.setenv("RENEWCTL_TEST_LATER", trouble)
        with pytest.raises(Refused) as refused:
            _upgrade(kept, **backed_up)
    assert refused.value.reason is Reason.STORE_UPGRADE_FAILED
    assert (refused.value.values["got"], refused.value.values["expected"]) == (1, 2)
    with Store(kept) as store:
        assert store.renewals() == before
    assert "note" not in sql.Database(kept, read_only=True).rows("SELECT * FROM runs")[0]


_CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from renewctl.store import migrations
from renewctl.database import sql_version
from renewctl.upkeep import upgrade
from renewctl.store.lease import Timing
migrations.VERSIONS = (*migrations.VERSIONS, Path(sys.argv[2]))
sql_version.SCHEMA = 2
backup = Path(sys.argv[3]) if sys.argv[3:] else None
quick = Timing(beat=0.05, lost=20.0, patience=0.2, look=0.02)
upgrade.upgrade(sys.argv[1], now=datetime.now(UTC), backup=backup, timing=quick, tell=print)
"""


@pytest.mark.slow
def test_killed_in_the_middle_the_store_is_the_old_one(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after tables were changed: the old store, whole; the same upgrade then does it."""
    with StoreReader(kept) as reader:
        before = reader.renewals()
    backed_up = _with_backup(kept, tmp_path)
    words = [kept, str(LATER), *map(str, backed_up.values())]
    environment = {**os.environ, "RENEWCTL_TEST_LATER": "kill"}
    killed = subprocess.run([sys.executable, "-c", _CHILD, *words], env=environment, check=False)
    assert killed.returncode == -9
    with Store(kept) as store:
        assert store.renewals() == before
    assert _version(kept) == 1
    del environment["RENEWCTL_TEST_LATER"]
    subprocess.run([sys.executable, "-c", _CHILD, *words], env=environment, check=True, capture_output=True)
    make_later(monkeypatch)
    with Store(kept) as store:
        assert store.renewals() == before


def test_nobody_upgrades_under_a_running_roll_out(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder whose run beats is at work: refused, with who holds it; one that is dead holds up nobody."""
    backed_up = _with_backup(kept, tmp_path)
    with Store(kept, timing=QUICK) as store:
        stamp = Stamp("suzuki@ops2", "ops2", "0.1.0", "d" * 64)
        with store.lease("tokyo-1", stamp), monkeypatch.context() as patch:
            make_later(patch)
            with pytest.raises(Attention) as held:
                upgrade.upgrade(
                    kept,
                    now=NOW,
                    timing=Timing(beat=0.05, patience=60.0, look=0.02),
                    tell=lambda _key: None,
                    **backed_up,
                )
    assert held.value.reason is Reason.RUN_HELD
    assert held.value.values["holder"] == "suzuki@ops2"


@pytest.mark.slow
def test_a_database_is_upgraded_only_after_a_backup_of_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one: refused. One made before somebody worked on: refused. Nothing is changed by either."""
    url = kept_database(cluster)
    old = _backup(url, tmp_path)
    with Store(url) as store:
        store.put_document(b"newer than the backup")
    make_later(monkeypatch)
    with pytest.raises(Unusable) as needed:
        _upgrade(url)
    assert needed.value.reason is Reason.BACKUP_NEEDED
    with pytest.raises(Refused) as stale:
        _upgrade(url, backup=old)
    assert stale.value.reason is Reason.BACKUP_STALE
    assert _version(url) == 1
    (tmp_path / "again").mkdir()
    assert _upgrade(url, backup=_backup(url, tmp_path / "again")).after == 2


@pytest.mark.slow
def test_a_role_that_does_not_own_the_tables_cannot_upgrade(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's role may append, not change tables: refused, and the store is as it was."""
    made = cluster.create_database()
    Store.create(made.url)
    grants = ("SELECT ON events, documents, runs, meta, keys", "INSERT ON events, documents, runs, keys")
    role = made.role(*grants, "UPDATE ON meta, events, documents, runs, keys")
    path = _backup(made.url, tmp_path)
    make_later(monkeypatch)
    with pytest.raises(Refused) as refused:
        _upgrade(role, backup=path)
    assert refused.value.reason is Reason.STORE_UPGRADE_FAILED
    assert "owner" in refused.value.values["detail"]
    with psycopg.connect(made.url) as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("1",)]


def test_a_full_disk_stops_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy cannot be written: said as that, and the store is as it was."""
    url = kept_file(tmp_path / "store" / "renewctl.db")
    make_later(monkeypatch)

    def full(*_paths: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("renewctl.database.sqlite_file.copy", full)
    with pytest.raises(Exception, match="store_") as failed:
        _upgrade(url)
    assert failed.value.values["store"] == str(tmp_path / "store" / "renewctl.db")  # type: ignore[attr-defined]
    with closing(sqlite3.connect(tmp_path / "store" / "renewctl.db")) as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("1",)]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["renewctl.db"]
