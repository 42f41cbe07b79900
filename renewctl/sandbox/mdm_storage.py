"""The MDM server's database: SQLite with NanoMDM's table and column names.

Two server processes may share one file, as two NanoMDM share one PostgreSQL: each reads the pair again at
every push. Times are UTC, `YYYY-MM-DD HH:MM:SS.ffffff`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from renewctl.sandbox.mdm_pair import StoredPair

_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    id TEXT NOT NULL PRIMARY KEY, identity_cert TEXT, serial_number TEXT, unlock_token BLOB,
    authenticate TEXT NOT NULL, authenticate_at TEXT NOT NULL, token_update TEXT, token_update_at TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS enrollments (
    id TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, user_id TEXT, type TEXT NOT NULL,
    topic TEXT NOT NULL, push_magic TEXT NOT NULL, token_hex TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1, token_update_tally INTEGER NOT NULL DEFAULT 1,
    last_seen_at TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS push_certs (
    topic TEXT NOT NULL PRIMARY KEY, cert_pem TEXT NOT NULL, key_pem TEXT NOT NULL,
    stale_token INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
"""


@dataclass(frozen=True)
class PushInfo:
    """What a push to one enrollment takes."""

    topic: str
    magic: str
    token: str


class Storage:
    """One connection, used from one thread."""

    def __init__(self, path: Path) -> None:
        # No sync: a world lives for minutes. A rollback journal: read-only readers must not need a -shm file.
        self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        self._database.executescript("PRAGMA synchronous=OFF;" + _SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def put_pair(self, pair: StoredPair) -> None:
        """Store a pair under its topic and raise the stale token, as every PUT does."""
        now = now_text()
        self._database.execute(
            "INSERT INTO push_certs VALUES (?, ?, ?, 0, ?, ?) ON CONFLICT (topic) DO UPDATE SET"
            " cert_pem = excluded.cert_pem, key_pem = excluded.key_pem,"
            " stale_token = stale_token + 1, updated_at = excluded.updated_at",
            (pair.topic, pair.certificate_pem.decode(), pair.key_pem.decode(), now, now),
        )

    def pair(self, topic: str) -> StoredPair | None:
        """The pair of a topic, read afresh."""
        row = self._database.execute(
            "SELECT cert_pem, key_pem FROM push_certs WHERE topic = ?", (topic,)
        ).fetchone()
        return StoredPair(topic, row[0].encode(), row[1].encode()) if row else None

    def authenticate(self, udid: str, serial_number: str, message: str) -> None:
        """A device begins to enrol: until its TokenUpdate it is disabled."""
        now = now_text()
        self._database.execute(
            "INSERT INTO devices (id, serial_number, authenticate, authenticate_at, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " serial_number = excluded.serial_number, authenticate = excluded.authenticate,"
            " authenticate_at = excluded.authenticate_at, updated_at = excluded.updated_at",
            (udid, serial_number, message, now, now, now),
        )
        self._disable(udid)

    def token_update(self, udid: str, info: PushInfo, message: str) -> None:
        """A device is enrolled, or tells its new token."""
        now = now_text()
        self._database.execute(
            "UPDATE devices SET token_update = ?, token_update_at = ?, updated_at = ? WHERE id = ?",
            (message, now, now, udid),
        )
        self._database.execute(
            "INSERT INTO enrollments VALUES (?, ?, NULL, 'Device', ?, ?, ?, 1, 1, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET topic = excluded.topic, push_magic = excluded.push_magic,"
            " token_hex = excluded.token_hex, enabled = 1, token_update_tally = token_update_tally + 1,"
            " last_seen_at = excluded.last_seen_at, updated_at = excluded.updated_at",
            (udid, udid, info.topic, info.magic, info.token, now, now, now),
        )

    def check_out(self, udid: str) -> None:
        """A device leaves."""
        self._disable(udid)

    def seen(self, udid: str) -> bool:
        """A device connected; also moves for a disabled one. False if there is no such enrollment."""
        changed = self._database.execute(
            "UPDATE enrollments SET last_seen_at = ? WHERE id = ?", (now_text(), udid)
        )
        return changed.rowcount > 0

    def push_info(self, enrollment: str) -> PushInfo | None:
        """What a push takes; disabled enrollments are pushed to as well."""
        row = self._database.execute(
            "SELECT topic, push_magic, token_hex FROM enrollments WHERE id = ?", (enrollment,)
        ).fetchone()
        return PushInfo(*row) if row else None

    def _disable(self, udid: str) -> None:
        now = now_text()
        self._database.execute(
            "UPDATE enrollments SET enabled = 0, token_update_tally = 0, last_seen_at = ?, updated_at = ?"
            " WHERE id = ?",
            (now, now, udid),
        )


def now_text() -> str:
    """This instant as the database keeps times: UTC, microseconds, no zone."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
