"""Take a backup: the store first, then the keys.

In that order, because a key is written before the event that names it: whatever key an event of the copy
names was there before the copy began, so the keys read after it hold that key too. The store is read in one
transaction, so that a roll-out may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import renewctl
from renewctl.audit.checks import verify
from renewctl.database import sql, sql_url, sql_version
from renewctl.errors import NodeFault
from renewctl.keys.keystore import KeyHome, KeyTable
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.store.read import RawStore, event_from
from renewctl.upkeep.backup_file import TABLES, Backup

_BROKEN = frozenset(
    {
        Reason.AUDIT_EVENT_UNREADABLE,
        Reason.AUDIT_EVENT_CHANGED,
        Reason.AUDIT_EVENT_MISSING,
        Reason.AUDIT_CHAIN_BROKEN,
    }
)
"""Of what an audit finds: what is wrong with an event itself, or with the one before it in its renewal."""

_ORDER = {"events": "renewal, seq", "documents": "sha256", "runs": "number"}


def take(url: str, keys: KeyHome, *, now: datetime, tell: Callable[[str], None]) -> Backup:
    """Read store and keys; changes nothing but for rolling back what a killed writer left.

    Args:
        url: of the store, absolute; an older schema than ours will do.
        keys: where the store's keys are.
        now: the clock, aware UTC.
        tell: called with a key of the catalogues at each step.

    Raises:
        Unusable, Refused, NodeFault: as the store and the key store raise.
    """
    tell("backup.store")
    in_table = isinstance(keys, KeyTable)
    try:
        schema, tables, sealed = _store(url, read_only=True, with_keys=in_table)
    except NodeFault as error:
        if error.reason is not Reason.STORE_NEEDS_RECOVERY:
            raise
        schema, tables, sealed = _store(url, read_only=False, with_keys=in_table)
    tell("backup.keys")
    if not in_table:
        sealed = {name: keys.sealed(name) for name in keys.names()}
    kind = "postgresql" if sql_url.is_postgresql(url) else "sqlite"
    return Backup(now, renewctl.__version__, kind, schema, tables, sealed)


def missing_keys(backup: Backup) -> tuple[str, ...]:
    """Keys that its events name and it does not hold: lost before it was made.

    Destroyed ones are no loss; nor are those whose destruction was begun, and which nothing has named since:
    the command may have been cut off before it wrote down that they are gone.
    """
    named: dict[str, str] = {}
    ended: set[str] = set()
    begun: dict[str, str] = {}
    for row in backup.tables["events"]:
        body, at = _body(row), str(row["at"])
        if row["kind"] == Kind.DESTRUCTION_STARTED:
            begun |= dict.fromkeys(_chosen(body), at)
        elif row["kind"] == Kind.KEY_DESTROYED:
            ended |= _named(body)
        elif row["renewal"] != KEY_STORE:
            named |= {name: max(at, named.get(name, at)) for name in _named(body)}
    ended |= {name for name, at in begun.items() if at >= named.get(name, at)}
    return tuple(sorted(named.keys() - ended - set(backup.keys)))


def broken_links(backup: Backup) -> tuple[str, ...]:
    """Events, as `renewal seq`, that are not as they were written, or do not follow the one before."""
    traces = verify(RawStore(**backup.tables)).traces
    return tuple(dict.fromkeys(f"{trace.renewal} {trace.seq}" for trace in traces if trace.reason in _BROKEN))


def _store(
    url: str, *, read_only: bool, with_keys: bool
) -> tuple[int, dict[str, list[sql_version.Row]], dict[str, bytes]]:
    database = sql.Database(url, read_only=read_only)
    try:
        with database.snapshot() as seen:
            schema = sql_version.not_newer(seen.rows(sql_version.VERSION_ROW), database.shown)
            tables = {name: seen.rows(f"SELECT * FROM {name} ORDER BY {_ORDER[name]}") for name in TABLES}  # noqa: S608 - our own names
            rows = seen.rows("SELECT fingerprint, sealed FROM keys") if with_keys else []
    finally:
        database.close()
    return schema, tables, {row["fingerprint"]: bytes(row["sealed"]) for row in rows}


def _body(row: sql_version.Row) -> dict[str, Any]:
    try:
        return dict(event_from(row).body)
    except (KeyError, TypeError, ValueError):
        return {}  # told by `broken_links`


def _chosen(body: dict[str, Any]) -> set[str]:
    """Fingerprints of keys that are to be destroyed."""
    keys = body.get("keys")
    told = keys if isinstance(keys, list) else []
    return {name for one in told if isinstance(one, dict) for name in _named(one)}


def _named(body: dict[str, Any]) -> set[str]:
    """Fingerprints of keys an event says we hold."""
    pairs = [body.get("pair"), body.get("previous"), body]
    found = [pair.get("key_fingerprint") for pair in pairs if isinstance(pair, dict)]
    return {name for name in found if isinstance(name, str)}
