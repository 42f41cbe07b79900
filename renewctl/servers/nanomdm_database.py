"""NanoMDM's SQL store (schema: its storage/{pgsql,mysql}/schema.sql), read with a SELECT-only role.

Needs SELECT on `push_certs(topic, cert_pem)` and on `enrollments(id, user_id, topic, enabled, last_seen_at)`;
`token_hex, push_magic` for a device canary alone. Never reads `key_pem`: the grant leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from renewctl import secrets
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import NodeFault
from renewctl.observation import WINDOWS, DeviceCounts, Failure, SeenDevice, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef
from renewctl.servers.certificate_files import served
from renewctl.servers.protocol import PushTarget

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class _Dialect:
    """How a kind of database counts by age.

    `last_seen_at` has no zone and is written in the server's session zone: only the database can compare it
    with its own "now" in that zone (facts/lab.md §0, 11). SQLite text is UTC, as its 'now' is. Columns are
    compared with an instant worked out once: an age worked out for each row takes PostgreSQL twice as long.

    Attributes:
        within: counts the rows seen within `{window}` seconds.
        youngest: seconds since the last check-in of all.
        age: seconds since the last check-in of a row.
    """

    within: str
    youngest: str
    age: str


_DIALECTS = {
    "postgresql": _Dialect(
        "COUNT(*) FILTER (WHERE last_seen_at >= localtimestamp - interval '{window} seconds')",
        "EXTRACT(EPOCH FROM localtimestamp - MAX(last_seen_at))",
        "EXTRACT(EPOCH FROM localtimestamp - last_seen_at)",
    ),
    "mysql": _Dialect(
        "SUM(last_seen_at >= CURRENT_TIMESTAMP - INTERVAL {window} SECOND)",
        "TIMESTAMPDIFF(SECOND, MAX(last_seen_at), CURRENT_TIMESTAMP)",
        "TIMESTAMPDIFF(SECOND, last_seen_at, CURRENT_TIMESTAMP)",
    ),
    "sqlite": _Dialect(
        "SUM(julianday(last_seen_at) >= julianday('now') - {window} / 86400.0)",
        "(julianday('now') - MAX(julianday(last_seen_at))) * 86400.0",
        "(julianday('now') - julianday(last_seen_at)) * 86400.0",
    ),
}
_UNKNOWN = _Dialect("0", "0", "0")  # `_select` says so
_SCHEMES = {"postgres": "postgresql", "mariadb": "mysql"}

# A row written after our statement's "now" was taken is a moment younger than zero; a wrong zone is hours.
_ZONE_FAULT_SECONDS = -60.0

_DEVICE = "enabled AND user_id IS NULL"  # the device channel; users of a Mac have rows of their own


class Database:
    """One NanoMDM database.

    Args:
        node: the node's name, for errors.
        url: the database's URL, or where to read it.
    """

    source = Source.DATABASE
    needs_command = False

    def __init__(self, node: str, url: SecretRef | str) -> None:
        self._node = node
        self._url = url

    def certificates(self) -> tuple[list[ServedCertificate], list[Failure]]:
        """Every stored certificate, whole: serial and issuer too, which no API of NanoMDM tells."""
        found: list[ServedCertificate] = []
        failures: list[Failure] = []
        for row in self._select("SELECT topic, cert_pem FROM push_certs ORDER BY topic"):
            try:
                certificate = PushCertificate.from_pem(str(row["cert_pem"]).encode())
            except ValueError:
                values = {
                    "node": self._node,
                    "path": f"push_certs {row['topic']}",
                    "got": "no certificate in it",
                }
                failures.append(Failure(Reason.NODE_CERTIFICATE_UNREADABLE, values))
            else:
                found.append(served(certificate, self.source))
        return found, failures

    def devices(self, now: datetime) -> tuple[tuple[DeviceCounts, ...], list[Failure]]:  # noqa: ARG002
        """Enabled devices, cumulative windows of last check-in: one statement, the database's own clock."""
        dialect = _DIALECTS.get(self._dialect(), _UNKNOWN)
        windows = ", ".join(
            f"{dialect.within.format(window=window)} AS within_{window}" for window in WINDOWS
        )
        rows = self._select(
            f"SELECT topic, COUNT(*) AS enabled_devices, {dialect.youngest} AS youngest, {windows}"  # noqa: S608 - constants
            f" FROM enrollments WHERE {_DEVICE} GROUP BY topic ORDER BY topic"
        )
        if any(row["youngest"] is None for row in rows):  # SQLite keeps any text as a date
            values = {"node": self._node, "got": "last_seen_at is no date"}
            return self._counted(rows, with_windows=False), [Failure(Reason.DATABASE_ERROR, values)]
        youngest = min((self._number(row["youngest"]) for row in rows), default=0.0)
        if youngest >= _ZONE_FAULT_SECONDS:
            return self._counted(rows, with_windows=True), []
        values = {"node": self._node, "got": f"{youngest:.0f}"}
        return self._counted(rows, with_windows=False), [Failure(Reason.DATABASE_ZONE, values)]

    def longest_silent(self, limit: int, now: datetime) -> tuple[SeenDevice, ...]:
        """A row a device, so never more than `limit`."""
        age = _DIALECTS.get(self._dialect(), _UNKNOWN).age
        rows = self._select(
            f"SELECT id, topic, {age} AS age FROM enrollments WHERE {_DEVICE}"  # noqa: S608 - constants
            " ORDER BY last_seen_at, id LIMIT :most",
            {"most": limit},
        )
        return tuple(
            SeenDevice(str(row["id"]), str(row["topic"]), self._before(now, row["age"]))
            for row in rows
            if row["age"] is not None
        )

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled devices of a topic, most recently seen first."""
        rows = self._select(
            f"SELECT id FROM enrollments WHERE {_DEVICE} AND topic = :topic"  # noqa: S608 - constants
            " ORDER BY last_seen_at DESC, id LIMIT :most",
            {"topic": topic, "most": limit},
        )
        return tuple(str(row["id"]) for row in rows)

    def enrolled(self, enrollment: str, topic: str) -> bool:
        """Whether this enrollment is enabled, for this topic."""
        rows = self._select(
            "SELECT id FROM enrollments WHERE id = :id AND topic = :topic AND enabled",
            {"id": enrollment, "topic": topic},
        )
        return bool(rows)

    def check_in(self, enrollment: str) -> str | None:
        """`last_seen_at` as text: it moves with every check-in."""
        row = self._one("SELECT last_seen_at FROM enrollments WHERE id = :id", enrollment)
        return None if row is None else str(row["last_seen_at"])

    def push_target(self, enrollment: str) -> PushTarget | None:
        """Token and push magic of one device."""
        row = self._one("SELECT token_hex, push_magic FROM enrollments WHERE id = :id", enrollment)
        return None if row is None else PushTarget(str(row["token_hex"]).lower(), str(row["push_magic"]))

    def _counted(
        self, rows: Sequence[Mapping[str, object]], *, with_windows: bool
    ) -> tuple[DeviceCounts, ...]:
        windows = WINDOWS if with_windows else ()
        return tuple(
            DeviceCounts(
                str(row["topic"]),
                int(self._number(row["enabled_devices"])),
                {window: int(self._number(row[f"within_{window}"])) for window in windows},
            )
            for row in rows
        )

    def _before(self, now: datetime, seconds: object) -> datetime:
        try:
            return now - timedelta(seconds=self._number(seconds))
        except OverflowError:
            raise NodeFault(Reason.DATABASE_ERROR, node=self._node, got="last_seen_at is no date") from None

    def _number(self, value: object) -> float:
        """Databases answer numbers as int, float or Decimal.

        Raises:
            NodeFault: `database_error`: it is none.
        """
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise NodeFault(Reason.DATABASE_ERROR, node=self._node, got="no number where devices are counted")
        return number

    def _one(self, statement: str, enrollment: str) -> Mapping[str, object] | None:
        rows = self._select(statement, {"id": enrollment})
        return rows[0] if rows else None

    def _dialect(self) -> str:
        scheme = self._address().partition(":")[0].partition("+")[0]
        return _SCHEMES.get(scheme, scheme)

    def _address(self) -> str:
        return secrets.read(self._url) if isinstance(self._url, SecretRef) else self._url

    def _select(
        self, statement: str, parameters: Mapping[str, object] | None = None
    ) -> list[dict[str, object]]:
        from renewctl.database import sql  # noqa: PLC0415 - SQLAlchemy takes a third of a second to load

        try:
            return sql.select(self._address(), statement, parameters or {}, TIMEOUT_SECONDS)
        except NodeFault as error:
            raise NodeFault(error.reason, **{**error.values, "node": self._node}) from None
