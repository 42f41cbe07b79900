"""A real MariaDB for tests that need one: its own folder, its own loopback port, ended by its pid."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pymysql

from tests.support.ports import free_port

_SERVER = "/usr/sbin/mariadbd"
"""Where Debian's package `mariadb-server` puts it; without it the tests fail, they never skip."""

_START_SECONDS = 60.0


@dataclass(frozen=True)
class MariaDB:
    """A running server with one empty database, `mdm`."""

    socket: Path
    port: int

    @contextmanager
    def connect(self, *, zone: str = "+00:00") -> Iterator[pymysql.cursors.Cursor]:
        """As its administrator, in a session of some zone, committing each statement."""
        connection = pymysql.connect(
            unix_socket=str(self.socket), user="root", database="mdm", autocommit=True,
            init_command=f"SET time_zone = '{zone}'",
        )  # fmt: skip
        with connection, connection.cursor() as cursor:
            yield cursor

    def role(self, grants: Mapping[str, str]) -> str:
        """URL of a new user that may SELECT these columns of these tables."""
        name, password = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
        with self.connect() as cursor:
            cursor.execute(f"CREATE USER {name} IDENTIFIED BY '{password}'")
            for table, columns in grants.items():
                cursor.execute(f"GRANT SELECT ({columns}) ON mdm.{table} TO {name}")
        return f"mysql://{name}:{password}@127.0.0.1:{self.port}/mdm"


@contextmanager
def mariadb(*settings: str) -> Iterator[MariaDB]:
    """Start one; with further settings of the server."""
    folder = Path(mkdtemp(prefix="renewctl-mariadb-"))
    user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if user == "mysql":
        shutil.chown(folder, user)
    data = folder / "data"
    made = subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db",
         "--auth-root-authentication-method=normal"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    port = free_port()
    words = [
        _SERVER, "--no-defaults", f"--datadir={data}", f"--user={user}", f"--socket={folder / 's'}",
        f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", *settings,
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield _ready(MariaDB(folder / "s", port), process, folder / "log")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def _ready(server: MariaDB, process: subprocess.Popen[bytes], log: Path) -> MariaDB:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if "ready for connections" in log.read_text():
            with pymysql.connect(unix_socket=str(server.socket), user="root") as connection:
                connection.cursor().execute("CREATE DATABASE mdm")
            return server
        time.sleep(0.1)
    raise AssertionError(f"MariaDB did not start:\n{log.read_text()}")
