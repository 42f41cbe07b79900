"""Databases: connections, transactions, read-only questions. Sole owner of SQLAlchemy.

Every statement is on a connection of its own, closed after it: a reader that stays would block SQLite's
writer, and a renewal has minutes between two statements. Drivers' exceptions end here; what leaves is a
reason, and a URL in it never carries a password.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, Table, create_engine, event, exc, text

from sqlalchemy import Engine  # isort: skip

from renewctl.database import sql_arguments, sql_tables, sql_url, sql_version, sqlite_file
from renewctl.database.sql_faults import Trouble, server_fault, store_fault, trouble_of
from renewctl.database.sql_version import Row
from renewctl.database.sqlite_read import looked_at
from renewctl.errors import NodeFault, RenewctlError, Unusable
from renewctl.reasons import Reason

STATEMENT_SECONDS = 10.0
"""Our own deadline for one statement on a store."""

_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
_OPTIONS: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
_CREATE_LOCK = 0x72656E65776374  # "renewct": any number, the same in every process
_WRITE_LOCK = _CREATE_LOCK + 1


class Collision(Exception):
    """A primary key is taken: somebody else wrote it, or we did and never heard so."""


class Database:
    """One database, asked and changed one transaction at a time.

    Args:
        url_text: an absolute URL (`sql_url.resolve`).
        read_only: open so that nothing can be changed, not even a journal rolled back.
        fault: turns a trouble into the error to raise: the store's, or an MDM server's.
    """

    def __init__(
        self,
        url_text: str,
        *,
        read_only: bool,
        timeout_seconds: float = STATEMENT_SECONDS,
        fault: Callable[[Trouble, str, str], RenewctlError] = store_fault,
    ) -> None:
        self.shown, self.path = sql_url.shown(url_text), sql_url.file_of(url_text)
        self._fault = fault
        self._url: URL | None = None
        if self.path is not None:
            self._engine = _file_engine(self.path, read_only=read_only)
        else:
            self._url = sql_url.server(url_text)
            self._engine = _server_engine(self._url, read_only=read_only, timeout_seconds=timeout_seconds)

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """The rows of one statement, read in a transaction of its own.

        Raises:
            NodeFault, Unusable: a store's or a server's trouble.
        """
        with self._faults(writable=False), self._engine.connect() as connection:
            return _rows(connection, statement, parameters)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Several statements that see one and the same state; writers wait (SQLite) or go on (PostgreSQL).

        Raises:
            NodeFault, Unusable: a store's trouble.
        """
        isolation = {} if self.path is not None else {"isolation_level": "REPEATABLE READ"}
        with self._faults(writable=False), self._engine.connect() as plain:
            connection = plain.execution_options(renewctl_begin="BEGIN", **isolation)
            with connection.begin():
                yield Transaction(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write; committed when the block ends well, gone otherwise.

        Raises:
            Collision: a primary key is taken.
            NodeFault, Unusable: trouble. After one in the commit itself the outcome is not known.
        """
        with self._faults(writable=True), self._engine.connect() as plain:
            connection = plain.execution_options(renewctl_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield Transaction(connection)

    def copy_to(self, name: Path) -> None:
        """Copy a store in a file to another one, whole or not at all; what is there already stays.

        Raises:
            NodeFault, Unusable: trouble with either.
        """
        assert self.path is not None  # noqa: S101 - nobody asks it of a server
        with sqlite_file.newborn(name) as beside:
            try:
                sqlite_file.copy(self.path, beside)
            except sqlite3.Error as error:
                raise self._error(error) from None

    def close(self) -> None:
        """Let go of everything held."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _faults(self, *, writable: bool) -> Iterator[None]:
        if self.path is not None:
            sqlite_file.require_there(self.path, writable=writable)
        try:
            yield
        except exc.IntegrityError:
            raise Collision from None
        except exc.DBAPIError as error:
            raise self._error(error.orig or error) from None
        except UnicodeDecodeError as error:  # a name in a damaged file
            raise self._error(error) from None

    def _error(self, error: BaseException) -> RenewctlError:
        trouble = trouble_of(error, self._url and self._url.database)
        if self.path is not None:
            trouble = looked_at(trouble, self.path)
        detail = " ".join(str(error).split())
        if self._url is not None and self._url.password:
            detail = detail.replace(str(self._url.password), "***")
        return self._fault(trouble, self.shown, detail)


class Transaction:
    """What may be done inside `Database.transaction` and `Database.snapshot`.

    Attributes:
        connection: SQLAlchemy's own, for `renewctl.store.migrations` alone.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """The rows of one statement."""
        return _rows(self.connection, statement, parameters)

    def change(self, statement: str, **parameters: object) -> int:
        """Run one statement; how many rows it changed."""
        return self.connection.execute(text(statement), parameters).rowcount

    def alone(self) -> None:
        """Wait until no other transaction that asked for this goes on; SQLite's writers always are alone.

        PostgreSQL's lock needs no grant and ends with the transaction, whatever becomes of its client.
        """
        if self.connection.dialect.name == "postgresql":
            self.rows("SELECT 1 AS held FROM pg_advisory_xact_lock(:lock)", lock=_WRITE_LOCK)


def select(
    url: str, statement: str, parameters: Mapping[str, object], timeout_seconds: float
) -> list[dict[str, object]]:
    """Ask an MDM server's database, unable to change it.

    Args:
        url: SQLite, PostgreSQL, MySQL or MariaDB.
        statement: SQL with `:name` placeholders.
        parameters: their values.
        timeout_seconds: the server gives up after so long (SQLite: waits at most 5 for a lock).

    Raises:
        NodeFault: `database_unreachable`, `database_denied`, `database_error`.
        Unusable: `store_url_invalid`, `extra_missing`.
    """
    try:
        return _asked(url, timeout_seconds).rows(statement, **parameters)
    except RenewctlError as error:
        raise _as_servers(error) from None


@functools.lru_cache(maxsize=64)
def _asked(url: str, timeout_seconds: float) -> Database:
    """Kept, since SQLAlchemy asks a server that is new to it for much; it holds no connection meanwhile."""
    return Database(url, read_only=True, timeout_seconds=timeout_seconds, fault=server_fault)


def create(url_text: str) -> None:
    """Make all tables where there are none; a store that is there already stays as it is.

    Raises:
        Unusable, Refused, NodeFault: it cannot be made, or what is there is no store we know.
    """
    path = sql_url.file_of(url_text)
    if path is None:
        _create_tables(url_text, [*sql_tables.IN_FILES, sql_tables.KEYS])
    elif not path.exists():
        with sqlite_file.newborn(path) as beside:
            _create_tables(sql_url.file_url(beside), sql_tables.IN_FILES)
    require_schema(url_text)


def require_schema(url_text: str) -> None:
    """Check that the store is there and of our version.

    Raises:
        Unusable: `store_missing`, `store_not_a_store`.
        Refused: `store_newer`, `store_older`.
    """
    database = Database(url_text, read_only=False)
    try:
        sql_version.known(database.rows(sql_version.VERSION_ROW), database.shown)
    finally:
        database.close()


def _create_tables(url_text: str, tables: Sequence[Table]) -> None:
    database = Database(url_text, read_only=False)
    try:
        with database.transaction() as transaction:
            if database.path is None:
                # Two at once would trip over PostgreSQL's own catalogue.
                transaction.rows("SELECT 1 AS held FROM pg_advisory_xact_lock(:lock)", lock=_CREATE_LOCK)
            sql_tables.METADATA.create_all(transaction.connection, tables)
            if not transaction.rows("SELECT 1 AS there FROM meta WHERE name = 'schema'"):
                transaction.change(
                    "INSERT INTO meta (name, value) VALUES ('schema', :v)", v=str(sql_version.SCHEMA)
                )
    finally:
        database.close()


def _rows(connection: Connection, statement: str, parameters: Mapping[str, object]) -> list[Row]:
    return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]


def _server_engine(url: URL, *, read_only: bool, timeout_seconds: float) -> Engine:
    driver, package, extra = _DRIVERS[url.drivername]
    if importlib.util.find_spec(package) is None:
        raise Unusable(Reason.EXTRA_MISSING, got=package, expected=extra)
    make = sql_arguments.postgresql if driver.startswith("postgresql") else sql_arguments.mysql
    arguments = make(url.host or "", url.query, read_only=read_only, timeout_seconds=timeout_seconds)
    return create_engine(url.set(drivername=driver), connect_args=arguments, **_OPTIONS)


def _file_engine(path: Path, *, read_only: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite_file.connect(path, read_only=read_only)

    engine = create_engine("sqlite+pysqlite://", creator=connect, **_OPTIONS)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """A writer takes SQLite's lock before reading what the write depends on; one statement needs no BEGIN."""
    begin = connection.get_execution_options().get("renewctl_begin")
    if begin is not None:
        connection.exec_driver_sql(begin)


def _as_servers(error: RenewctlError) -> RenewctlError:
    """A file's trouble told of an MDM server's database rather than of our store."""
    if error.reason in {Reason.STORE_DENIED, Reason.STORE_MISSING, Reason.STORE_NOT_A_STORE}:
        detail = error.reason.value
        return NodeFault(
            Reason.DATABASE_DENIED, database=error.values.get("store"), detail=detail, got=detail
        )
    return error
