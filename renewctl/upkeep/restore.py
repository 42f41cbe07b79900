"""Put a backup into an empty place: the keys first, then the store, all of its rows in one transaction.

Keys first, because an event must never name a key that is not there. What is there already is never
overwritten: a store that is not empty is refused, a key of the same name stays. Whether the backup came from
a file or from a database, and to which of them it goes, does not matter; an older schema is brought to ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from renewctl.database import sql, sql_url, sql_version
from renewctl.errors import Refused, Unusable
from renewctl.keys.keystore import KeyHome
from renewctl.reasons import Reason
from renewctl.renewal.events import Event
from renewctl.store.read import Run, instant_text
from renewctl.store.write import Store
from renewctl.upkeep.backup_file import TABLES, Backup

_LEFT = " + ".join(f"(SELECT count(*) FROM {name})" for name in TABLES)  # noqa: S608 - our own names

_INSERT_RUN = """
INSERT INTO runs (number, token, renewal, holder, host, since, beat, ended)
VALUES (:number, :token, :renewal, :holder, :host, :since, :beat, :ended)"""


def require_empty(url: str) -> None:
    """Check that nothing would be overwritten.

    Raises:
        Refused: `store_not_empty`; `store_newer`, `store_older`: what is there is of another renewctl.
        Unusable, NodeFault: as the store raises.
    """
    try:
        sql.require_schema(url)
    except Unusable as error:
        if error.reason is Reason.STORE_MISSING or (
            sql_url.is_postgresql(url) and error.reason is Reason.STORE_NOT_A_STORE
        ):
            return
        raise
    database = sql.Database(url, read_only=False)
    try:
        with database.transaction() as transaction:
            _require_empty(transaction, database.shown)
    finally:
        database.close()


def require_known(backup: Backup, shown: str) -> None:
    """Check that the backup's tables are of a schema we know.

    Raises:
        Refused: `store_newer`.
    """
    sql_version.not_newer([{"schema_version": backup.schema}], shown)


def keep_keys(backup: Backup, keys: KeyHome) -> int:
    """Put back what is not there; how many that were.

    Raises:
        Refused, NodeFault: as the key store raises.
    """
    return sum(keys.put(name, sealed) for name, sealed in sorted(backup.keys.items()))


def newest_run(backup: Backup) -> int:
    """The highest run of the backup, 0 for none."""
    return max((int(row["number"]) for row in backup.tables["runs"]), default=0)


def fill(store: Store, backup: Backup, drafts: Sequence[Event], run: Run, *, path: str = "") -> None:
    """Fill an empty store.

    Args:
        path: the backup's file, for messages.
        store: of our schema, and empty.
        backup: what goes into it.
        drafts: the events that tell of the restore; written after the backup's own.
        run: one that has ended as it begins: the next is above it, and whoever still holds an older one
            finds that it lost it.

    Raises:
        Refused: `store_not_empty`.
        Unusable: `backup_damaged`: a row stands in it twice.
        NodeFault, Unusable: as the store raises; nothing was changed.
    """
    if backup.schema != sql_version.SCHEMA:
        from renewctl.store import migrations  # noqa: F401, PLC0415 - slow to load, so not inside the transaction

    database = sql.Database(store.url, read_only=False)
    try:
        with database.transaction() as transaction:
            _require_empty(transaction, database.shown)
            if backup.schema != sql_version.SCHEMA:
                _back_to(backup.schema, transaction)
            for table in TABLES:
                for row in backup.tables[table]:
                    names = sorted(row)
                    values = ", ".join(f":{name}" for name in names)
                    transaction.change(
                        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})",  # noqa: S608 - checked names
                        **row,
                    )
            if backup.schema != sql_version.SCHEMA:
                _forward_from(backup.schema, transaction)
            at = instant_text(run.since)
            transaction.change(_INSERT_RUN, **{**vars(run), "since": at, "ended": at})
            for draft in drafts:
                store.write(draft, transaction)
    except sql.Collision:
        raise Unusable(Reason.BACKUP_DAMAGED, path=path, got="a row twice") from None
    finally:
        database.close()


def _require_empty(transaction: sql.Transaction, shown: str) -> None:
    if transaction.rows(f"SELECT {_LEFT} AS found")[0]["found"]:
        raise Refused(Reason.STORE_NOT_EMPTY, store=shown)


def _back_to(schema: int, transaction: sql.Transaction) -> None:
    """The tables as they were when the backup was made; they are empty, so nothing is lost."""
    from renewctl.store import migrations  # noqa: PLC0415 - slow to load, and seldom needed

    tables = {*TABLES, "meta"} | ({"keys"} if transaction.connection.dialect.name == "postgresql" else set())
    kept = transaction.rows("SELECT * FROM keys") if "keys" in tables else []
    for table in sorted(tables):
        transaction.change(f"DROP TABLE {table}")
    migrations.apply(transaction, above=0, upto=schema)
    for row in kept:
        transaction.change(
            "INSERT INTO keys (fingerprint, sealed, at) VALUES (:fingerprint, :sealed, :at)", **row
        )


def _forward_from(schema: int, transaction: sql.Transaction) -> None:
    from renewctl.store import migrations  # noqa: PLC0415 - slow to load, and seldom needed

    migrations.apply(transaction, above=schema, upto=sql_version.SCHEMA)
