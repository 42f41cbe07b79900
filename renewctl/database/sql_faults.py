"""What a database driver's complaint means: one trouble out of a short list, whatever the product.

Reads the drivers' exceptions by their attributes (SQLite's extended codes, PostgreSQL's SQLSTATE, MySQL's
numbers) and imports none of the drivers.
"""

from __future__ import annotations

from enum import Enum, auto

from renewctl.errors import NodeFault, RenewctlError, Unusable
from renewctl.reasons import Reason


class Trouble(Enum):
    """What went wrong, for every product."""

    UNREACHABLE = auto()  # no answer, or the answer was lost
    DENIED = auto()
    UNKNOWN_DATABASE = auto()
    UNVERIFIED = auto()  # the server did not prove over TLS who it is
    NO_TABLE = auto()
    NOT_A_DATABASE = auto()
    READ_ONLY = auto()
    FULL = auto()
    BUSY = auto()
    TIMEOUT = auto()
    NEEDS_RECOVERY = auto()
    DAMAGED = auto()
    FAILED = auto()


_STORE: dict[Trouble, tuple[type[RenewctlError], Reason]] = {
    Trouble.UNREACHABLE: (NodeFault, Reason.STORE_UNREACHABLE),
    Trouble.DENIED: (NodeFault, Reason.STORE_DENIED),
    Trouble.UNKNOWN_DATABASE: (NodeFault, Reason.STORE_UNKNOWN_DATABASE),
    Trouble.UNVERIFIED: (NodeFault, Reason.STORE_UNVERIFIED),
    Trouble.NO_TABLE: (Unusable, Reason.STORE_MISSING),
    Trouble.NOT_A_DATABASE: (Unusable, Reason.STORE_NOT_A_STORE),
    Trouble.READ_ONLY: (NodeFault, Reason.STORE_READ_ONLY),
    Trouble.FULL: (NodeFault, Reason.DISK_FULL),
    Trouble.BUSY: (NodeFault, Reason.STORE_BUSY),
    Trouble.TIMEOUT: (NodeFault, Reason.STORE_BUSY),
    Trouble.NEEDS_RECOVERY: (NodeFault, Reason.STORE_NEEDS_RECOVERY),
    Trouble.DAMAGED: (NodeFault, Reason.STORE_DAMAGED),
    Trouble.FAILED: (NodeFault, Reason.STORE_FAILED),
}

_SERVERS: dict[Trouble, Reason] = {
    Trouble.UNREACHABLE: Reason.DATABASE_UNREACHABLE,
    Trouble.UNVERIFIED: Reason.DATABASE_UNREACHABLE,
    Trouble.TIMEOUT: Reason.DATABASE_UNREACHABLE,
    Trouble.BUSY: Reason.DATABASE_UNREACHABLE,
    Trouble.DENIED: Reason.DATABASE_DENIED,
    Trouble.UNKNOWN_DATABASE: Reason.DATABASE_DENIED,
}


def store_fault(trouble: Trouble, store: str, detail: str) -> RenewctlError:
    """The error for a trouble with our own store; `store` is its URL without a password."""
    kind, reason = _STORE[trouble]
    return kind(reason, store=store, path=store, detail=detail)


def server_fault(trouble: Trouble, database: str, detail: str) -> RenewctlError:
    """The error for a trouble with an MDM server's database."""
    reason = _SERVERS.get(trouble, Reason.DATABASE_ERROR)
    return NodeFault(reason, database=database, detail=detail, got=detail)


def trouble_of(error: BaseException, database: str | None) -> Trouble:
    """Which trouble a driver's exception tells of; `database` is the name that was asked for."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _sqlite(int(code), str(error))
    if type(error).__module__.startswith("pymysql"):
        return _mysql(error)
    if isinstance(error, UnicodeDecodeError):
        return Trouble.DAMAGED
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return _postgresql(str(state))
    if type(error).__module__.startswith("psycopg"):
        return _postgresql_connect(str(error), database)
    return Trouble.FAILED


_SQLITE_EXTENDED = {
    264: Trouble.NEEDS_RECOVERY,  # READONLY_RECOVERY
    776: Trouble.NEEDS_RECOVERY,  # READONLY_ROLLBACK: a hot journal, and we may not roll it back
}
_SQLITE = {
    3: Trouble.DENIED,  # PERM
    5: Trouble.BUSY,
    6: Trouble.BUSY,  # LOCKED
    8: Trouble.READ_ONLY,
    11: Trouble.DAMAGED,  # CORRUPT
    13: Trouble.FULL,
    14: Trouble.DENIED,  # CANTOPEN: what is missing was found before
    23: Trouble.DENIED,  # AUTH
    26: Trouble.NOT_A_DATABASE,
}


def _sqlite(code: int, text: str) -> Trouble:
    """By extended, then primary result code (sqlite.org/rescode.html); the low byte is the primary."""
    if code == 1 and text.startswith("no such table"):
        return Trouble.NO_TABLE
    return _SQLITE_EXTENDED.get(code) or _SQLITE.get(code & 0xFF, Trouble.FAILED)


_POSTGRESQL = {
    "25006": Trouble.READ_ONLY,
    "25P03": Trouble.UNREACHABLE,  # we fell silent (a closed laptop) and it rolled back: idle in transaction
    "28000": Trouble.DENIED,
    "28P01": Trouble.DENIED,
    "3D000": Trouble.UNKNOWN_DATABASE,
    "42501": Trouble.DENIED,
    "42P01": Trouble.NO_TABLE,
    "53100": Trouble.FULL,
    "53300": Trouble.UNREACHABLE,  # too many connections
    "55P03": Trouble.BUSY,
    "57014": Trouble.TIMEOUT,
    "57P01": Trouble.UNREACHABLE,  # shut down, crashed, starting
    "57P02": Trouble.UNREACHABLE,
    "57P03": Trouble.UNREACHABLE,
}


def _postgresql(state: str) -> Trouble:
    if state.startswith("08"):
        return Trouble.UNREACHABLE
    return _POSTGRESQL.get(state, Trouble.FAILED)


def _postgresql_connect(text: str, database: str | None) -> Trouble:
    """Why a connection failed: libpq gives no code here, and servers answer in their own language.

    `FATAL:` stands in every language before what the server itself said; an unknown database is quoted in
    it, beside nothing else.
    """
    if "certificate" in text or "does not support SSL" in text:
        return Trouble.UNVERIFIED
    said = text.rpartition("FATAL:")[2] if "FATAL:" in text else ""
    if '"' not in said:
        return Trouble.UNREACHABLE  # no server there, or one that says: starting, stopping, too many clients
    only_database = said.count('"') == len('""') and f'"{database}"' in said
    about_password = "password" in said or "パスワード" in said  # a role may bear the database's name
    return Trouble.UNKNOWN_DATABASE if only_database and not about_password else Trouble.DENIED


_MYSQL = {
    1044: Trouble.DENIED,
    1045: Trouble.DENIED,
    1049: Trouble.UNKNOWN_DATABASE,
    1142: Trouble.DENIED,
    1143: Trouble.DENIED,
    1146: Trouble.NO_TABLE,
    1698: Trouble.DENIED,
    1792: Trouble.READ_ONLY,
    1969: Trouble.TIMEOUT,  # MariaDB: max_statement_time
    2003: Trouble.UNREACHABLE,
    2006: Trouble.UNREACHABLE,
    2013: Trouble.UNREACHABLE,
    3024: Trouble.TIMEOUT,  # MySQL: max_execution_time
}


def _mysql(error: BaseException) -> Trouble:
    """By number (dev.mysql.com/doc/mysql-errors)."""
    number = error.args[0] if error.args else None
    if number == 2003 and "certificate" in str(error):  # noqa: PLR2004 - CR_CONN_HOST_ERROR
        return Trouble.UNVERIFIED
    return _MYSQL.get(number, Trouble.FAILED) if isinstance(number, int) else Trouble.FAILED
