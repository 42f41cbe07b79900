"""Rows of a store, the file they lie in, and backups of both."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from renewctl.audit import checks, lines, page, year
from renewctl.database import sql
from renewctl.errors import RenewctlError
from renewctl.keys.keystore import KeyFolder
from renewctl.renewal.events import Kind
from renewctl.renewal.history import histories
from renewctl.renewal.key_record import key_facts
from renewctl.store.head import head_of
from renewctl.store.read import RawStore, StoreReader
from renewctl.store.write import Stamp
from renewctl.upkeep import backup_file
from renewctl.workflow import restoring
from tests.hostile.parser import Made, Parser
from tests.support.chained import Chained
from tests.support.history import NEW
from tests.support.inventories import RECIPIENT, right, write

_RUN = {
    "number": 1,
    "token": "ab" * 16,
    "renewal": "tokyo-1",
    "holder": "tanaka@ops1",
    "host": "ops1",
    "since": "2026-11-20T09:00:00.000000+00:00",
    "beat": 3,
    "ended": None,
}


def _year() -> Chained:
    """One topic from the adoption to the end, and the key store's own record."""
    store = Chained()
    store.append("tokyo-0", Kind.ADOPTED)
    for kind in (
        *(Kind.OPENED, Kind.KEY_MADE, Kind.CSR_MADE, Kind.REQUESTED),
        *(Kind.CERTIFICATE_REFUSED, Kind.ACCEPTED, Kind.ROLL_OUT_STARTED, Kind.WAVE_STARTED),
    ):
        store.append("tokyo-1", kind)
    proof = {"rungs": {"read_back": "yes", "serial": "yes"}, "verdict": "proven", "enrollment": None}
    values = {"got": "at 2026-11-29T10:00:00Z"}
    store.append(
        "tokyo-1", Kind.NODE_FINISHED, body={"proof": proof, "reason": "node_timeout", "values": values}
    )
    store.append("tokyo-1", Kind.ROLL_OUT_FINISHED)
    store.append("tokyo-1", Kind.ROLL_BACK_STARTED)
    store.append("tokyo-1", Kind.ROLL_BACK_FINISHED)
    for kind in (Kind.REKEY_STARTED, Kind.KEY_RESEALED, Kind.DESTRUCTION_STARTED, Kind.KEY_DESTROYED):
        store.append("_keys-0", kind)
    store.append("tokyo-2", Kind.OPENED, body={"previous": NEW})
    store.append("tokyo-2", Kind.RESTORED)
    store.runs.append(dict(_RUN))
    return store


def tables() -> dict[str, list[dict[str, Any]]]:
    """The rows of such a store; documents' bytes as hex."""
    store = _year()
    documents = [{"sha256": name, "body": body.hex()} for name, body in store.documents.items()]
    return {"events": store.events, "documents": documents[:2], "runs": store.runs}


def rows_of(data: bytes) -> Mapping[str, list[dict[str, Any]]]:
    """Any values in the columns there are: other columns no database hands out."""
    with suppress(ValueError, RecursionError):
        told = json.loads(data)
        known = tables()
        found: dict[str, list[dict[str, Any]]] = {}
        for table, rows in known.items():
            wanted = told.get(table) if isinstance(told, dict) else None
            listed = wanted if isinstance(wanted, list) else []
            found[table] = [
                {column: _cell(row.get(column)) for column in rows[0]}
                for row in listed
                if isinstance(row, dict)
            ]
        return found
    return {}


def _cell(value: Any) -> Any:
    """What a cell can hold."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float("inf")
    if isinstance(value, str) and value.startswith("\ud800"):
        return b"\xff\xfe"
    return value


def fill(path: Path, empty: bytes, tables: Mapping[str, list[dict[str, Any]]]) -> None:
    """A store that has these rows, whatever a column is declared as."""
    path.write_bytes(empty)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, rows in tables.items():
            for row in rows:
                with suppress(sqlite3.IntegrityError):
                    connection.execute(
                        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - our own names
                        list(row.values()),
                    )


def empty_store() -> tuple[Path, bytes]:
    """A store's path, and its bytes while it is empty."""
    path = Path(mkdtemp()) / "store.db"
    sql.create(f"sqlite:///{path}")
    return path, path.read_bytes()


def _read_everything(path: Path) -> None:
    """Every question to a store."""
    reader = StoreReader(f"sqlite:///{path}")
    for ask in (reader.head, reader.newest_run, reader.open_run, lambda: reader.document("a" * 64)):
        with suppress(RenewctlError):
            ask()
    with suppress(RenewctlError):
        _audited(reader.raw())
    events = reader.renewals()
    head_of(events)
    for history in histories(events).values():
        history.recorded("n1")
        assert history.current is None or history.current.serial
    key_facts(events, datetime(2026, 11, 29, tzinfo=UTC))


def _audited(raw: RawStore) -> None:
    """What an auditor is shown; whatever is in a row, a finding and never an error."""
    verdict = checks.verify(raw, "a" * 64)
    told = list(lines.lines(verdict.rows))
    list(lines.json_lines(told))
    list(lines.csv_lines(told))
    topics = [year.TopicNames("tokyo", "Tokyo", "Asia/Tokyo")]
    found = [year.of_year(verdict, topic, 2026) for topic in topics]
    assert found or page


def _rows() -> Made:
    path, empty = empty_store()

    def take(data: bytes) -> None:
        told = rows_of(data)
        fill(path, empty, told)
        _read_everything(path)

    return Made(take, [json.dumps(tables()).encode()])


def _audit_rows() -> Made:
    """The same rows, straight to the audit."""

    def take(data: bytes) -> None:
        _audited(RawStore(**{"events": [], "documents": [], "runs": [], **rows_of(data)}))

    return Made(take, [json.dumps(tables()).encode()])


def _meta() -> Made:
    """What the store says of its own version."""
    path, empty = empty_store()

    def take(data: bytes) -> None:
        path.write_bytes(empty)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE meta SET value = ?", (data.decode("utf-8", "replace"),))
        _read_everything(path)

    return Made(take, [b"1"])


def _file() -> Made:
    path, empty = empty_store()
    fill(path, empty, rows_of(json.dumps(tables()).encode()))
    good = path.read_bytes()

    def take(data: bytes) -> None:
        path.write_bytes(data)
        _read_everything(path)

    return Made(take, [good])


def _backup_file() -> Made:
    path = Path(mkdtemp()) / "backup.tar"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        backup_file.read(path)

    return Made(take, [_tar({**tables(), "documents": []}, {})])


def _tar(tables: Mapping[str, Any], told: Mapping[str, Any]) -> bytes:
    """A backup whose sums are right, whatever it tells; written here a second time."""
    parts = {
        f"{name}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()
        for name, rows in tables.items()
    }
    newest = {}
    with suppress(KeyError, TypeError):
        for row in tables["events"]:
            newest[str(row["renewal"])] = {"events": row["seq"], "hash": row["hash"]}
    manifest = {
        "format": 1,
        "made_at": "2026-11-29T10:00:00+00:00",
        "renewctl": "0.1.0",
        "store": "sqlite",
        "schema": 1,
        "renewals": newest,
        "counts": {**{name: len(rows) for name, rows in tables.items()}, "keys": 0},
        "files": {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in parts.items()},
        **told,
    }
    plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **parts}.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def _restored() -> Made:
    """A backup that is whole and tells anything: read, looked through, put into an empty place."""
    folder = Path(mkdtemp())
    path = folder / "backup.tar"
    from renewctl.inventory import reading  # noqa: PLC0415

    inventory = reading.load(write(folder, right(nodes=right()["nodes"][:1])))
    stamp = Stamp("tanaka@ops1", "ops1", "0.1.0", "d" * 64)

    def take(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        tables = value.get("tables") if isinstance(value, dict) else None
        if not isinstance(tables, dict) or not all(isinstance(rows, list) for rows in tables.values()):
            return
        told = value.get("told")
        path.write_bytes(_tar(tables, told if isinstance(told, dict) else {}))
        (folder / "store.db").unlink(missing_ok=True)
        backup_file.read(path)
        keys = KeyFolder(folder / "keys", [RECIPIENT])
        now = datetime(2026, 11, 29, tzinfo=UTC)
        place = restoring.Place(
            inventory,
            f"sqlite:///{folder}/store.db",
            keys,
            stamp,
            lambda: now,
            lambda _key: None,
            asked=False,
        )
        restoring.bring_back(place, path, dry_run=False)

    kept = tables()
    kept["documents"] = []
    return Made(take, [json.dumps({"tables": kept, "told": {"schema": 1}}).encode()])


_AUDIT = [f"renewctl.audit.{name}" for name in ("checks", "lines", "page", "rows", "year")]
_READS = [
    "renewctl.store.read",
    "renewctl.store.head",
    "renewctl.renewal.history",
    "renewctl.renewal.key_record",
]


PARSERS = [
    Parser(
        "store.rows",
        _rows,
        [*_READS, "renewctl.renewal.events", "renewctl.renewal.rules"],
        (RenewctlError,),
        json=True,
    ),
    Parser("store.audit_rows", _audit_rows, _AUDIT, json=True),
    Parser("store.meta", _meta, ["renewctl.database.sql_version"], (RenewctlError,), examples=0.3),
    Parser("store.file", _file, ["renewctl.database.sqlite_read"], (RenewctlError,)),
    Parser("store.backup_file", _backup_file, ["renewctl.upkeep.backup_file"], (RenewctlError,)),
    Parser(
        "store.restored",
        _restored,
        ["renewctl.upkeep.backup_file", "renewctl.workflow.restoring"],
        (RenewctlError,),
        json=True,
        examples=0.5,
    ),
]
