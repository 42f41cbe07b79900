"""Bring an older store to our schema: after a copy, in one transaction, and only when somebody asks for it.

Killed anywhere, the store is the old one or the new one: SQLite and PostgreSQL both undo a transaction that
did not end, table changes included. A store in a file is copied beside itself under the very lock the upgrade
works under, so that the copy misses nothing; of a database somebody must have made a backup.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from renewctl.database import sql, sql_version
from renewctl.errors import Attention, Refused, RenewctlError, Unusable
from renewctl.reasons import Reason
from renewctl.store.lease import Timing
from renewctl.upkeep import backup_file

STATEMENT_SECONDS = 600.0
"""A change of a large table may take its time; nobody else works on the store meanwhile."""

_DETAIL = 500  # characters of what a database says

_LAST_RUN = """
SELECT number, renewal, holder, host, since, beat FROM runs
WHERE ended IS NULL AND number = (SELECT max(number) FROM runs)"""

_RENEWALS = """
SELECT renewal, seq, hash FROM events
WHERE seq = (SELECT max(newer.seq) FROM events AS newer WHERE newer.renewal = events.renewal)"""

_COUNTS = "SELECT (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM keys) AS keys"


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did, or would do.

    Attributes:
        before, after: schema versions; equal where there was nothing to do.
        copy: of the old store, beside it; None for a database.
    """

    store: str
    before: int
    after: int
    copy: Path | None = None


def upgrade(
    url: str,
    *,
    now: datetime,
    backup: Path | None = None,
    dry_run: bool = False,
    timing: Timing | None = None,
    tell: Callable[[str], None],
) -> Upgraded:
    """Upgrade a store; nothing is done to one that is of our schema already.

    Args:
        url: absolute (`sql_url.resolve`).
        now: names the copy.
        backup: of this store, as it is now; needed where it is a database.
        timing: of runs: how long a run must have shown no sign of life.
        tell: called with a key of the catalogues at each step.

    Raises:
        Unusable: `backup_needed`, `backup_…`; there is no store, or it is none we know.
        Refused: `store_newer`, `backup_stale`, `store_upgrade_failed` (the store is as it was).
        Attention: `run_held`: somebody is changing nodes now.
        NodeFault: as the store raises.
    """
    from renewctl.store import migrations  # noqa: PLC0415 - slow to load; not inside a transaction

    database = sql.Database(url, read_only=False, timeout_seconds=STATEMENT_SECONDS)
    try:
        before = sql_version.not_newer(database.rows(sql_version.VERSION_ROW), database.shown)
        if before == sql_version.SCHEMA:
            return Upgraded(database.shown, before, before)
        if database.path is None and backup is None:
            raise Unusable(
                Reason.BACKUP_NEEDED, store=database.shown, got=before, expected=sql_version.SCHEMA
            )
        copy = None if database.path is None else _copy_name(database.path, before, now)
        if not dry_run:
            _require_no_run(database, timing or Timing(), tell)
            with database.transaction() as transaction:
                if database.path is None:
                    transaction.change("LOCK TABLE events, documents, runs, keys, meta IN EXCLUSIVE MODE")
                if sql_version.not_newer(transaction.rows(sql_version.VERSION_ROW), database.shown) != before:
                    return Upgraded(database.shown, before, sql_version.SCHEMA)  # somebody was faster
                _keep_old(database, transaction, before, copy, backup, tell)
                tell("upgrade.changing")
                try:
                    migrations.apply(transaction, above=before, upto=sql_version.SCHEMA)
                except Exception as error:
                    raise _failed(database, before, error) from error
        return Upgraded(database.shown, before, sql_version.SCHEMA, copy)
    finally:
        database.close()


def _keep_old(
    database: sql.Database,
    transaction: sql.Transaction,
    before: int,
    copy: Path | None,
    backup: Path | None,
    tell: Callable[[str], None],
) -> None:
    """With the store held: make sure that what it was can be had again."""
    if copy is not None:
        tell("upgrade.copying")
        database.copy_to(copy)
        return
    assert backup is not None  # noqa: S101 - asked for above
    tell("upgrade.checking_backup")
    _require_current(backup, transaction, before)


def _require_current(path: Path, transaction: sql.Transaction, before: int) -> None:
    """The backup holds everything the store holds, whoever made it."""
    found, _ = backup_file.read(path)
    told = {
        row["renewal"]: {"events": row["seq"], "hash": row["hash"]} for row in transaction.rows(_RENEWALS)
    }
    counts = transaction.rows(_COUNTS)[0]
    kept = {name: found.counts[name] for name in counts}
    if (found.schema, found.renewals) != (before, told) or any(kept[name] < counts[name] for name in counts):
        raise Refused(Reason.BACKUP_STALE, path=str(path), made_at=found.made_at)


def _require_no_run(database: sql.Database, timing: Timing, tell: Callable[[str], None]) -> None:
    """Nobody changes nodes: whoever holds a run would go on writing as the old schema wants it."""
    first = database.rows(_LAST_RUN)
    if not first:
        return
    tell("upgrade.watching_run")
    until = time.monotonic() + timing.patience
    while time.monotonic() < until:
        time.sleep(timing.look)
        seen = database.rows(_LAST_RUN)
        if not seen:
            return
        if seen != first:
            run = {name: seen[0][name] for name in ("holder", "host", "renewal")}
            since = datetime.fromisoformat(seen[0]["since"])
            raise Attention(Reason.RUN_HELD, **run, run=seen[0]["number"], since=since)


def _copy_name(path: Path, before: int, now: datetime) -> Path:
    return path.with_name(f"{path.name}.schema-{before}.{now:%Y%m%dT%H%M%SZ}")


def _failed(database: sql.Database, before: int, error: Exception) -> RenewctlError:
    if isinstance(error, RenewctlError):
        return error
    detail = " ".join(f"{type(error).__name__}: {error}".split())[:_DETAIL]
    return Refused(
        Reason.STORE_UPGRADE_FAILED,
        store=database.shown,
        got=before,
        expected=sql_version.SCHEMA,
        detail=detail,
    )
