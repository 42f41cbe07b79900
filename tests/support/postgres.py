"""A real PostgreSQL for tests: one throw-away cluster a pytest worker, one database a test.

Never touches a cluster of the machine: its own folder, its own unix socket, its own loopback port.
The server dies with the test process (pdeathsig), is otherwise ended by its pid, and its folder goes with it.

Use it in a `conftest.py`::

    from tests.support.postgres import cluster, database  # pytest fixtures
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
"""Where Debian 12's package `postgresql` puts the programs."""

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_PORT_ATTEMPTS = 5


class PostgresMissingError(AssertionError):
    """The tests need the apt package `postgresql`; they fail rather than skip."""


@dataclass(frozen=True)
class Database:
    """One empty database and how to reach it.

    Attributes:
        url: its owner, over loopback TCP with a password.
        password: the owner's, so that a test can search for it.
    """

    cluster: Cluster
    name: str
    owner: str
    password: str

    @property
    def url(self) -> str:
        """`postgresql://owner:password@127.0.0.1:port/name`."""
        return self.url_as(self.owner, self.password)

    def url_as(self, user: str, password: str) -> str:
        """The same database as another role."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.cluster.port}/{self.name}"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as superuser over the unix socket, in autocommit."""
        return self.cluster.connect(self.name)

    def role(self, *grants: str) -> str:
        """URL of a new login role that has just these grants, e.g. `SELECT ON events, documents`."""
        name, password = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
            connection.execute(f'GRANT CONNECT ON DATABASE "{self.name}" TO {name}')
            for grant in grants:
                connection.execute(f"GRANT {grant} TO {name}")
        return self.url_as(name, password)

    def select_only(self, *tables: str) -> str:
        """URL of a new role that may SELECT from these tables (or `table(column, …)`) alone."""
        return self.role(*(_select(table) for table in tables))


def _select(table: str) -> str:
    name, bracket, columns = table.partition("(")
    return f"SELECT {bracket}{columns} ON {name}" if bracket else f"SELECT ON {name}"


class Cluster:
    """One running PostgreSQL server, started by `start` and ended by `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.RLock()  # one thread may kill it while another starts it again

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None, "the cluster is not running"
        return self._process.pid

    def create(self) -> None:
        """Run initdb; trust on the socket, passwords (SCRAM) over TCP."""
        if not (BINARIES / "initdb").exists():
            raise PostgresMissingError(f"{BINARIES}/initdb not found: apt-get install postgresql (Debian 12)")
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            account = _unprivileged()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        program = [str(BINARIES / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "--no-sync"]
        done = subprocess.run(
            [*_as_unprivileged(), *program, *options],
            check=False, capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start the server; the port of an earlier start is kept."""
        with self._turn:
            for attempt in range(_PORT_ATTEMPTS):
                if attempt or not self.port:
                    self.port = free_port()
                if self._started():
                    return
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """End the server at once (SIGQUIT), by its pid."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the postmaster (SIGKILL), as an out-of-memory killer would; its children notice and end."""
        self._end(signal.SIGKILL)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection over the unix socket, in autocommit."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def create_database(self) -> Database:
        """A new empty database with an owner of its own."""
        name, owner, password = (f"{kind}{secrets.token_hex(6)}" for kind in ("db_", "owner_", "pw"))
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE {owner} LOGIN PASSWORD '{password}'")
            connection.execute(f"CREATE DATABASE {name} OWNER {owner}")
        return Database(self, name, owner, password)

    def _started(self) -> bool:
        settings = {
            "unix_socket_directories": str(self.folder), "listen_addresses": "127.0.0.1", "port": str(self.port),
            "fsync": "off", "full_page_writes": "off", "max_connections": "60", "shared_buffers": "16MB",
        }  # fmt: skip
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        program = [str(BINARIES / "postgres"), "-D", str(self.folder / "data"), *arguments]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_unprivileged(), *program],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect().close()
                return True
            time.sleep(0.05)
        self._end(signal.SIGQUIT)
        return False

    def _end(self, how: signal.Signals) -> None:
        with self._turn:
            if self._process is None:
                return
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            self._process.wait(_STOP_SECONDS)
            self._process = None


def _unprivileged() -> pwd.struct_passwd:
    """The account the server runs as under root: PostgreSQL refuses to run as root."""
    return next(entry for entry in pwd.getpwall() if entry.pw_name in {"postgres", "nobody"})


def _as_unprivileged() -> list[str]:
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() != 0:
        return prefix
    account = _unprivileged()
    return [*prefix, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster of our own in a short-named temporary folder (socket paths end at 107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    made = Cluster(folder)
    try:
        made.create()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL server for this pytest worker."""
    with running_cluster() as made:
        yield made


@pytest.fixture
def database(cluster: Cluster) -> Database:
    """An empty database for one test."""
    return cluster.create_database()
