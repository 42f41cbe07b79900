"""Databases: URLs, connections, schema, read-only questions. Sole owner of SQLAlchemy.

Every statement is on a connection of its own, closed after it: a reader that stays would block SQLite's
writer, and a renewal has minutes between two statements. Drivers' exceptions end here; what leaves is a
reason, and a URL in it never carries a password.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, Table, create_engine, event, exc, make_url, text

from sqlalchemy import Engine  # isort: skip

from renewctl.database import sql_arguments, sql_tables, sqlite_file
from renewctl.database.sql_faults import Trouble, server_fault, store_fault, trouble_of
from renewctl.errors import NodeFault, Refused, RenewctlError, Unusable
from renewctl.reasons import Reason

SCHEMA = 1
"""Version of `sql_tables` (the newest revision of `store.migrations`); a store of another one is refused."""

VERSION_ROW = "SELECT value AS schema_version FROM meta WHERE name = 'schema'"
"""The one record of a store's version."""

STATEMENT_SECONDS = 10.0
"""Our own deadline for one statement on a store."""

_EXPECTED = "sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE (percent-encoded)"
_DRIVERS = {
    "sqlite": ("sqlite+pysqlite", "sqlite3", ""),
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
_CREATE_LOCK = 0x72656E65776374  # "renewct": any number, the same in every process
_WRITE_LOCK = _CREATE_LOCK + 1

Row = dict[str, Any]


class Collision(Exception):
    """A primary key is taken: somebody else wrote it, or we did and never heard so."""


def resolve(url_text: str, base: Path) -> str:
    """A store's URL with its SQLite path made absolute.

    Args:
        url_text: as in the inventory; `sqlite:///store.db` is relative, `sqlite:////srv/store.db` absolute.
        base: the inventory's file or folder.

    Raises:
        Unusable: `store_url_invalid`.
    """
    url = _parsed(url_text, frozenset({"sqlite", "postgresql", "postgres"}))
    if url.drivername != "sqlite":
        return url_text
    folder = base if base.is_dir() else base.parent
    return _sqlite_url(folder.absolute() / str(url.database))


def shown(url_text: str) -> str:
    """A URL as people may see it: no password, no query; of SQLite the path alone."""
    url = _parsed(url_text, frozenset(_DRIVERS))
    if url.drivername == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def is_postgresql(url_text: str) -> bool:
    """Whether a store's URL names a PostgreSQL database."""
    return _parsed(url_text, frozenset(_DRIVERS)).drivername.startswith("postgres")


class Database:
    """One database, asked and changed one transaction at a time.

    Args:
        url_text: an absolute URL (`resolve`).
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
        self._url = _parsed(url_text, frozenset(_DRIVERS))
        self.shown = shown(url_text)
        self.path = Path(str(self._url.database)) if self._url.drivername == "sqlite" else None
        self._read_only, self._fault = read_only, fault
        self._engine = _engine(self._url, read_only=read_only, timeout_seconds=timeout_seconds)

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

    def _error(self, error: BaseException) -> RenewctlError:
        trouble = trouble_of(error, self._url.database)
        if self.path is not None:
            trouble = _looked_at(trouble, self.path)
        detail = " ".join(str(error).split())
        if self._url.password:
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
        database = Database(url, read_only=True, timeout_seconds=timeout_seconds, fault=server_fault)
        try:
            return database.rows(statement, **parameters)
        finally:
            database.close()
    except RenewctlError as error:
        raise _as_servers(error) from None


def create(url_text: str) -> None:
    """Make all tables where there are none; a store that is there already stays as it is.

    Raises:
        Unusable, Refused, NodeFault: it cannot be made, or what is there is no store we know.
    """
    path = _parsed(url_text, frozenset(_DRIVERS)).database
    if is_postgresql(url_text):
        _create_tables(url_text, [*sql_tables.IN_FILES, sql_tables.KEYS])
    elif not Path(str(path)).exists():
        with sqlite_file.newborn(Path(str(path))) as beside:
            _create_tables(_sqlite_url(beside), sql_tables.IN_FILES)
    require_schema(url_text)


def require_schema(url_text: str) -> None:
    """Check that the store is there and of our version.

    Raises:
        Unusable: `store_missing`, `store_not_a_store`.
        Refused: `store_newer`, `store_older`.
    """
    database = Database(url_text, read_only=False)
    try:
        known(database.rows(VERSION_ROW), database.shown)
    finally:
        database.close()


def known(rows: list[Row], store: str) -> None:
    """Check the `schema_version` that came with the first row.

    Raises:
        Unusable: `store_not_a_store` where there is none.
        Refused: `store_newer`, `store_older`.
    """
    version = not_newer(rows, store)
    if version < SCHEMA:
        raise Refused(Reason.STORE_OLDER, store=store, got=version, expected=SCHEMA)


def not_newer(rows: list[Row], store: str) -> int:
    """The `schema_version` that came with the first row: ours, or one we can upgrade.

    Raises:
        Unusable: `store_not_a_store` where there is none.
        Refused: `store_newer`.
    """
    if not rows:
        raise Unusable(Reason.STORE_NOT_A_STORE, store=store)
    version = int(rows[0]["schema_version"])
    if version > SCHEMA:
        raise Refused(Reason.STORE_NEWER, store=store, got=version, expected=SCHEMA)
    return version


def _create_tables(url_text: str, tables: Sequence[Table]) -> None:
    database = Database(url_text, read_only=False)
    try:
        with database.transaction() as transaction:
            if database.path is None:
                # Two at once would trip over PostgreSQL's own catalogue.
                transaction.rows("SELECT 1 AS held FROM pg_advisory_xact_lock(:lock)", lock=_CREATE_LOCK)
            sql_tables.METADATA.create_all(transaction.connection, tables)
            if not transaction.rows("SELECT 1 AS there FROM meta WHERE name = 'schema'"):
                transaction.change("INSERT INTO meta (name, value) VALUES ('schema', :v)", v=str(SCHEMA))
    finally:
        database.close()


def _rows(connection: Connection, statement: str, parameters: Mapping[str, object]) -> list[Row]:
    return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]


def _parsed(url_text: str, products: frozenset[str]) -> URL:
    """Parse, saying no more of a bad URL than its scheme: it may hold a password."""
    scheme = re.match(r"([a-z][a-z0-9]*):", url_text)
    got = f"{scheme[1]}://…" if scheme else "…"
    try:
        url = make_url(url_text)
    except (exc.ArgumentError, ValueError):
        raise Unusable(Reason.STORE_URL_INVALID, got=got, expected=_EXPECTED) from None
    odd_sqlite = url.drivername == "sqlite" and (url.host or url.query or (url.database or ":")[0] == ":")
    # An "@" left in the host is the rest of a password that was not percent-encoded.
    if url.drivername not in products or "@" in (url.host or "") or odd_sqlite or not url.database:
        raise Unusable(Reason.STORE_URL_INVALID, got=got, expected=_EXPECTED)
    return url


def _sqlite_url(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string()


def _engine(url: URL, *, read_only: bool, timeout_seconds: float) -> Engine:
    driver, package, extra = _DRIVERS[url.drivername]
    if importlib.util.find_spec(package) is None:
        raise Unusable(Reason.EXTRA_MISSING, got=package, expected=extra)
    options: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
    if url.drivername != "sqlite":
        make = sql_arguments.postgresql if driver.startswith("postgresql") else sql_arguments.mysql
        arguments = make(url.host or "", url.query, read_only=read_only, timeout_seconds=timeout_seconds)
        return create_engine(url.set(drivername=driver), connect_args=arguments, **options)
    path = Path(str(url.database))
    engine = create_engine(
        f"{driver}://", creator=lambda: sqlite_file.connect(path, read_only=read_only), **options
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """A writer takes SQLite's lock before reading what the write depends on; one statement needs no BEGIN."""
    begin = connection.get_execution_options().get("renewctl_begin")
    if begin is not None:
        connection.exec_driver_sql(begin)


def _looked_at(trouble: Trouble, path: Path) -> Trouble:
    """What the file's surroundings add to SQLite's own word."""
    if trouble is Trouble.DENIED and path.with_name(f"{path.name}-journal").exists():
        return Trouble.NEEDS_RECOVERY  # a journal that this account may not even read
    if trouble is Trouble.NO_TABLE:
        return Trouble.NOT_A_DATABASE  # a file of somebody else's
    if trouble is Trouble.FAILED and sqlite_file.is_full(path):
        return Trouble.FULL
    return trouble


def _as_servers(error: RenewctlError) -> RenewctlError:
    """A file's trouble told of an MDM server's database rather than of our store."""
    if error.reason in {Reason.STORE_DENIED, Reason.STORE_MISSING, Reason.STORE_NOT_A_STORE}:
        detail = error.reason.value
        return NodeFault(
            Reason.DATABASE_DENIED, database=error.values.get("store"), detail=detail, got=detail
        )
    return error
