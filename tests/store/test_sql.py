"""URLs, arguments of connections, and read-only questions to MDM servers' databases."""

from __future__ import annotations

import re
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from renewctl.database import sql, sql_arguments, sql_url
from renewctl.errors import NodeFault, Unusable
from renewctl.reasons import Reason
from tests.support.postgres import Database


@pytest.mark.parametrize("base_is_file", [True, False])
def test_a_relative_sqlite_path_is_taken_from_the_inventory(tmp_path: Path, base_is_file: bool) -> None:
    """Wherever one stands: relative to the inventory's file or folder; absolute paths stay."""
    base = tmp_path / "inventory.yml" if base_is_file else tmp_path
    if base_is_file:
        base.write_text("")
    assert sql_url.resolve("sqlite:///store/x.db", base) == f"sqlite:///{tmp_path}/store/x.db"
    assert sql_url.resolve("sqlite:////srv/x.db", base) == "sqlite:////srv/x.db"
    assert sql_url.resolve("postgresql://a:b@h/d", base) == "postgresql://a:b@h/d"


@pytest.mark.parametrize(
    "text",
    [
        "", "store.db", "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=rwc", "sqlite://host/x.db",
        "postgresql://secret@h", "mysql://u:secret@h/d", "oracle://u:secret@h/d", "postgresql://u:se@cret@h/d",
        "postgresql+asyncpg://u:secret@h/d", "postgresql://u:secret@h:port/d", "secret",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_a_stores_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    """It may hold a password: of a bad URL only the scheme is repeated."""
    with pytest.raises(Unusable) as caught:
        sql_url.resolve(text, tmp_path)
    assert caught.value.reason is Reason.STORE_URL_INVALID
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value.values["got"])


@given(st.text(min_size=1).map(lambda name: f"/srv/{name}"))
def test_a_files_url_means_to_us_what_it_means_to_sqlalchemy(name: str) -> None:
    """We take it apart ourselves; whatever the name, both ways of reading it give the same file."""
    url = sql_url.file_url(Path(name))
    assert sql_url.file_of(url) == Path(name)
    assert make_url(url).database == str(Path(name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite:////srv/x.db", "/srv/x.db"),
        ("postgresql://u:secret@h:5433/d?sslpassword=secret", "postgresql://u:***@h:5433/d"),
        ("mysql://u:secret@h/d", "mysql://u:***@h/d"),
        ("postgresql://u@/d?host=/run/postgresql&password=secret", "postgresql://u@/d"),
    ],
)
def test_a_url_is_shown_without_password_and_query(text: str, expected: str) -> None:
    """Passwords hide in more than one place of a URL."""
    assert sql_url.shown(text) == expected


@pytest.mark.parametrize(
    ("host", "query", "expected"),
    [
        ("db.example.com", {}, "verify-full"),
        ("192.0.2.7", {}, "verify-full"),
        ("", {"host": "db.example.com"}, "verify-full"),
        ("db.example.com", {"sslmode": "require"}, None),
        ("localhost", {}, None),
        ("127.0.0.1", {}, None),
        ("::1", {}, None),
        ("", {"host": "/run/postgresql"}, None),
        ("", {}, None),
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is(
    host: str, query: dict[str, str], expected: str | None
) -> None:
    """TLS with a verified name, unless the URL itself says otherwise or the server is on this host."""
    arguments = sql_arguments.postgresql(host, query, read_only=True, timeout_seconds=2.5)
    assert arguments.get("sslmode") == expected
    mysql = sql_arguments.mysql(
        host, {"ssl_ca": "x"} if "sslmode" in query else {}, read_only=True, timeout_seconds=1
    )
    context = mysql.get("ssl")
    assert (context is not None) == (expected is not None and bool(host))
    if isinstance(context, ssl.SSLContext):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_trusted_issuers_are_the_systems_unless_named() -> None:
    """Psycopg's own libpq does not know where the distribution keeps them."""
    named = sql_arguments.postgresql("h", {"sslrootcert": "/ca"}, read_only=True, timeout_seconds=1)
    assert "sslrootcert" not in named
    found = sql_arguments.postgresql("h", {}, read_only=True, timeout_seconds=1).get("sslrootcert")
    assert found is None or Path(found).is_file()


@pytest.fixture
def devices(database: Database) -> str:
    """URL of a role that may SELECT two columns of a server's table."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE devices (id text, seen timestamptz, unlock_token bytea)")
        connection.execute("INSERT INTO devices VALUES ('A', now(), 'x'), ('B', NULL, 'y')")
    return database.select_only("devices(id, seen)")


def test_a_servers_database_is_asked_with_parameters(devices: str) -> None:
    """Rows are mappings; casts with two colons are no placeholders."""
    rows = sql.select(devices, "SELECT id, seen::text AS seen FROM devices WHERE id = :id", {"id": "B"}, 5)
    assert rows == [{"id": "B", "seen": None}]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT unlock_token FROM devices", Reason.DATABASE_DENIED),
        ("SELECT * FROM nowhere", Reason.DATABASE_ERROR),
        ("SELEC", Reason.DATABASE_ERROR),
    ],
)
def test_a_question_that_is_not_allowed_or_wrong_says_so(
    devices: str, statement: str, reason: Reason
) -> None:
    """A missing grant is told from a mistake."""
    with pytest.raises(NodeFault) as caught:
        sql.select(devices, statement, {}, 5)
    assert caught.value.reason is reason


def test_a_servers_database_cannot_be_changed(database: Database, devices: str) -> None:
    """Even a role that may write does not: the session is read-only."""
    with pytest.raises(NodeFault):
        sql.select(database.url, "DELETE FROM devices RETURNING id", {}, 5)
    assert len(sql.select(devices, "SELECT id FROM devices", {}, 5)) == 2


def test_a_slow_question_ends_at_our_deadline(devices: str) -> None:
    """The server gives up; nobody waits for ever."""
    began = time.monotonic()
    with pytest.raises(NodeFault) as caught:
        sql.select(devices, "SELECT pg_sleep(30)", {}, 0.3)
    assert caught.value.reason is Reason.DATABASE_UNREACHABLE
    assert time.monotonic() - began < 25


def test_a_sqlite_database_is_asked_read_only(tmp_path: Path) -> None:
    """The same question to a file; missing or foreign files are told of the database, not of our store."""
    with sqlite3.connect(tmp_path / "mdm.db") as connection:
        connection.execute("CREATE TABLE devices (id TEXT)")
        connection.execute("INSERT INTO devices VALUES ('A')")
    connection.close()
    url = f"sqlite:///{tmp_path}/mdm.db"
    assert sql.select(url, "SELECT id FROM devices WHERE id = :id", {"id": "A"}, 5) == [{"id": "A"}]
    for broken, statement, reason in (
        (f"sqlite:///{tmp_path}/none.db", "SELECT 1 AS one", Reason.DATABASE_DENIED),
        (url, "DELETE FROM devices RETURNING id", Reason.DATABASE_ERROR),
    ):
        with pytest.raises(NodeFault) as caught:
            sql.select(broken, statement, {}, 5)
        assert caught.value.reason is reason


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts stay small: the extra to install is told."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Unusable) as caught:
        sql.select("mysql://u@127.0.0.1/d", "SELECT 1", {}, 1)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert caught.value.values["expected"] == "mysql"


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


_GREETING = (
    b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<H", 0xF7FF & ~0x0800) + b"\x21"
    + struct.pack("<H", 2) + struct.pack("<H", 0x000F) + b"\x15" + b"\0" * 10 + b"123456789012\0"
    + b"mysql_native_password\0"
)  # fmt: skip


@contextmanager
def _mysql(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that greets as MySQL 8 does, takes a login, and answers once."""
    heard: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(_packet(0, _GREETING))
            heard.append(client.recv(4096))
            client.sendall(_packet(2, answer))
            heard.append(client.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(5)


def test_mysql_denies_by_its_own_number() -> None:
    """1045 is a wrong password; the password is not shown."""
    with _mysql(b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for user 'u'") as (port, _):
        with pytest.raises(NodeFault) as caught:
            sql.select(f"mysql://u:topsecret@127.0.0.1:{port}/d", "SELECT 1", {}, 2)
        assert caught.value.reason is Reason.DATABASE_DENIED
        assert "topsecret" not in str(caught.value)


def test_mysql_is_told_to_be_read_only_and_to_give_up() -> None:
    """The first statement sets the session read-only with a deadline, for MySQL and for MariaDB."""
    with _mysql(b"\0\0\0\2\0\0\0") as (port, heard):
        with pytest.raises(NodeFault) as caught:
            sql.select(f"mysql://u:p@127.0.0.1:{port}/d", "SELECT 1", {}, 2)
        assert caught.value.reason is Reason.DATABASE_UNREACHABLE
    first: Any = re.search(rb"SET SESSION.*", b"".join(heard[1:]))
    assert first is not None or b"SET" in heard[1]
    query = sql_arguments.mysql("", {}, read_only=True, timeout_seconds=2)["init_command"]
    assert "transaction_read_only=1" in query
    assert "max_execution_time=2000" in query


def test_help_need_not_load_sql() -> None:
    """The modules everybody imports load neither SQLAlchemy nor a driver."""
    code = "import sys, renewctl.secrets, renewctl.inventory.reading; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
