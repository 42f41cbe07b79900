"""NanoMDM's SQL store (schema: its storage/{pgsql,mysql}/schema.sql), read with a SELECT-only role.

Needs SELECT on `push_certs(topic, cert_pem)` and on `enrollments(id, user_id, topic, enabled, last_seen_at)`;
`token_hex, push_magic` for a device canary alone. Never reads `key_pem`: the grant leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from renewctl import secrets
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import NodeFault
from renewctl.observation import WINDOWS, DeviceCounts, Failure, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef
from renewctl.servers.certificate_files import served
from renewctl.servers.protocol import PushTarget

TIMEOUT_SECONDS = 10.0

# `last_seen_at` has no zone and is written in the server's session zone: only the database can subtract it
# from its own "now" in that zone (facts/lab.md §0, 11). SQLite text is UTC, as its 'now' is.
_AGE = {
    "postgresql": "EXTRACT(EPOCH FROM localtimestamp - last_seen_at)",
    "mysql": "TIMESTAMPDIFF(SECOND, last_seen_at, CURRENT_TIMESTAMP)",
    "sqlite": "(julianday('now') - julianday(last_seen_at)) * 86400.0",
}
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
        windows = ", ".join(
            f"SUM(CASE WHEN age <= {window} THEN 1 ELSE 0 END) AS within_{window}" for window in WINDOWS
        )
        age = _AGE.get(self._dialect(), "0")  # of an unknown kind of database `_select` says so
        rows = self._select(
            f"SELECT topic, COUNT(*) AS enabled_devices, MIN(age) AS youngest, {windows} FROM"  # noqa: S608 - constants
            f" (SELECT topic, {age} AS age FROM enrollments WHERE {_DEVICE}) AS ages"
            " GROUP BY topic ORDER BY topic"
        )
        if any(row["youngest"] is None for row in rows):  # SQLite keeps any text as a date
            values = {"node": self._node, "got": "last_seen_at is no date"}
            return self._counted(rows, with_windows=False), [Failure(Reason.DATABASE_ERROR, values)]
        youngest = min((self._number(row["youngest"]) for row in rows), default=0.0)
        if youngest >= _ZONE_FAULT_SECONDS:
            return self._counted(rows, with_windows=True), []
        values = {"node": self._node, "got": f"{youngest:.0f}"}
        return self._counted(rows, with_windows=False), [Failure(Reason.DATABASE_ZONE, values)]

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
