"""A workbench: one database behind a proxy, one operator's folder, states to go back to, and the year's commands."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml
from cryptography import x509
from psycopg import sql

from tests.crash.pg_child import PLAYED, RARE_BEATS, ended, start
from tests.crash.pg_proxy import Proxy, Strike
from tests.support.certs import NOW, TOPIC, apple_like
from tests.support.desk import PublicHalf
from tests.support.identities import Identity
from tests.support.postgres import Cluster

_APPLE = apple_like()
_OLD = _APPLE.push(not_after=NOW + timedelta(days=42), key="old")
_VENDOR = _APPLE.vendor()
_TABLES = ("events", "documents", "runs", "keys")
_SECONDS = 120.0
"""No command takes so long: it hangs."""


@dataclass(frozen=True)
class Command:
    """One command of the year.

    Attributes:
        before: name of the state it starts from.
        code: how it ends undisturbed.
        again: how it ends where it is said once more after it was done.
    """

    name: str
    words: tuple[str, ...]
    before: str
    code: int
    again: int


_ROLL = ("--check-in-timeout", "1")
YEAR = (
    Command("adopt", ("adopt", "--certificate", "old.pem", "--key", "old.key"), "empty", 0, 0),
    Command("open", ("renewal", "open"), "adopt", 0, 1),
    Command("request", ("renewal", "request", "--out", "tokyo.plist"), "open", 3, 3),
    Command("accept", ("renewal", "accept", "new.pem"), "request", 0, 0),
    Command("roll-out", ("renewal", "roll-out", *_ROLL), "accept", 0, 0),
    Command("verify", ("renewal", "verify", *_ROLL), "roll-out", 0, 0),
    Command("close", ("renewal", "close"), "verify", 0, 1),
)
"""From nothing to closed; each leaves the state of its own name."""

BESIDE = (
    Command("roll-back", ("renewal", "roll-back", *_ROLL), "verify", 0, 0),
    Command("abort", ("renewal", "abort"), "request", 0, 1),
)


@dataclass(frozen=True)
class State:
    """What the store's tables and the operator's folder held."""

    rows: Mapping[str, list[tuple[Any, ...]]]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: -9: killed.
        asked: what it asked of the server, a label each.
        struck: the moment of the strike came.
    """

    code: int
    out: str
    err: str
    asked: list[str]
    struck: bool


class Bench:
    """Everything for one thread of the run.

    Attributes:
        broken: see `pg_child.start`; "": the product as it is.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder, self.broken = cluster, folder, ""
        folder.mkdir(parents=True)
        self.database = cluster.create_database()
        self.proxy = Proxy(lambda: cluster.port)
        self.identity = _furnish(folder, self.url)
        self.states: dict[str, State] = {}

    @property
    def url(self) -> str:
        """The store, through the proxy."""
        return self.database.url.replace(f":{self.cluster.port}/", f":{self.proxy.port}/")

    def year(self) -> None:
        """Live through an undisturbed year, keeping the state after each command."""
        done = self.run(("init", "--existing"))
        assert done.code == 0, done
        self.keep("empty")
        for command in YEAR:
            done = self.run(command.words)
            assert done.code == command.code, (command.name, done)
            if command.name == "request":
                self.download()
            self.keep(command.name)

    def download(self) -> None:
        """What the portal makes of the CSR that lies in the folder."""
        csr = x509.load_pem_x509_csr((self.folder / "tokyo.csr").read_bytes())
        (self.folder / "new.pem").write_bytes(_APPLE.push(TOPIC, key=PublicHalf(csr)).pem)  # type: ignore[arg-type]

    def keep(self, name: str) -> None:
        """Remember the present state."""
        with self.admin() as connection:
            rows = {
                table: connection.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
                ).fetchall()
                for table in _TABLES
            }
        files = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        self.states[name] = State(rows, files)

    def back_to(self, name: str) -> None:
        """Put a remembered state back; whoever is still connected is sent away."""
        self.proxy.begin(None)
        state = self.states[name]
        with self.admin() as connection, connection.transaction():
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            for table, rows in state.rows.items():
                name_of = sql.Identifier(table)
                connection.execute(sql.SQL("TRUNCATE {}").format(name_of))
                for row in rows:
                    places = sql.SQL(", ").join(sql.Placeholder() * len(row))
                    connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(name_of, places), row)
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in state.files:
                path.unlink()
        for file, content in state.files.items():
            (self.folder / file).write_bytes(content)

    def run(
        self,
        words: tuple[str, ...],
        strike: Callable[[Callable[[], int]], Strike] | None = None,
        beat: float = RARE_BEATS,
    ) -> Ended:
        """One command in a process of its own.

        Args:
            strike: makes the strike; is handed what tells the process's id.
            beat: seconds between two beats of a run.
        """
        known: Future[int] = Future()
        self.proxy.begin(None if strike is None else strike(lambda: known.result(_SECONDS)))
        process = start(words, self.folder, beat, self.broken)
        assert process.pid is not None
        known.set_result(process.pid)
        if (code := ended(process, _SECONDS)) is None:
            process.kill()
            raise AssertionError(f"{words} hung: {self._said()}")
        out, err = self._said()
        return Ended(code, out, err, list(self.proxy.asked), self.proxy.struck)

    def _said(self) -> tuple[str, str]:
        texts = [self.folder / "out", self.folder / "err"]
        out, err = (path.read_text() if path.exists() else "" for path in texts)
        return out, err

    @contextlib.contextmanager
    def admin(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A superuser's connection past the proxy, as soon as the server lets us in."""
        end = time.monotonic() + _SECONDS
        while True:
            try:
                connection = self.database.connect()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < end, "the server does not come back"
                time.sleep(0.1)
        with connection:
            yield connection

    def played(self) -> Path:
        """Where the pretended playbooks write down what they were asked."""
        return self.folder / PLAYED

    def close(self) -> None:
        """Let go of everything."""
        self.proxy.close()
        shutil.rmtree(self.folder)


def _furnish(folder: Path, url: str) -> Identity:
    """The operator's folder: inventory, vendor, identity, the pair in use."""
    identity = Identity(folder, "age")
    files = {
        "vendor.pem": _VENDOR.pem, "vendor.key": _VENDOR.key_pem, "wwdr.pem": _APPLE.wwdr.pem,
        "root.pem": _APPLE.root.pem, "pw": b"secret", "old.pem": _OLD.pem, "old.key": _OLD.key_pem,
        "store.url": url.encode(),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    node = {"product": "nanomdm", "url": "http://127.0.0.1:1", "password": {"file": "pw"}}
    storages = {"n1": "a", "n2": "b", "n3": "b"}
    topic = {"id": "tokyo", "topic": TOPIC, "name": "Tokyo", "zone": "Asia/Tokyo"}
    inventory = {
        "version": 1,
        "store": {"file": "store.url"},
        "keys": {"recipients": [identity.recipient], "identity": {"file": str(identity.file)}},
        "vendor": {
            "certificate": "vendor.pem",
            "chain": ["wwdr.pem", "root.pem"],
            "key": {"file": "vendor.key"},
        },
        "topics": [topic | {"account": {"alias": "mdm-tokyo", "address": "mdm@example.com"}}],
        "nodes": [{"name": name, **node, "storage": storage} for name, storage in storages.items()],
    }
    (folder / "renewctl.yaml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    return identity
