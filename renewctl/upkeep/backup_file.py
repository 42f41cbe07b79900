"""The file a backup is: a tar of plain JSON lines and sealed keys, under a manifest of SHA-256 sums.

``manifest.json``, ``<table>.jsonl`` (a row a line, bytes as ``{"base64": …}``), ``keys/<name>.age``. Neither
SQLite nor PostgreSQL nor a program of ours is needed to read it. Nothing in it is secret but the keys, and
those are age-encrypted. A file appears under its name whole or not at all, 0600, and never over another.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl.database.sqlite_file import sync_folder
from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason

FORMAT = 1
"""Version of this file's form; a newer one is refused."""

FILE_MODE = 0o600

TABLES = ("events", "documents", "runs")

_MANIFEST = "manifest.json"
_KEY = re.compile(r"keys/([0-9a-f]{64})\.age")
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SEALED = b"age-encryption.org/v1\n"  # the first line of every age file (age-encryption.org/v1, §Header)
_LARGEST = 1 << 28
"""Bytes of all parts together; a store of ten thousand events has ten million."""

_KEY_COLUMNS: Mapping[str, Mapping[str, type]] = {
    "events": {"renewal": str, "seq": int, "hash": str},
    "documents": {"sha256": str, "body": bytes},
    "runs": {"number": int},
}
"""What a row is known by, in every schema there was."""

_NUMBERS = range(-(2**63), 2**63)  # what databases hold

Row = dict[str, Any]


@dataclass(frozen=True)
class Backup:
    """What a backup holds.

    Attributes:
        made_at: aware UTC, the clock of the host it was made on.
        version: of the renewctl that made it.
        kind: `sqlite` or `postgresql`.
        schema: version of the tables.
        tables: name -> rows, columns by name.
        keys: name -> sealed key.
    """

    made_at: datetime
    version: str
    kind: str
    schema: int
    tables: Mapping[str, Sequence[Row]]
    keys: Mapping[str, bytes]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each there are."""
        return {**{name: len(self.tables[name]) for name in TABLES}, "keys": len(self.keys)}

    @property
    def renewals(self) -> dict[str, dict[str, Any]]:
        """Renewal -> how many events it has, and the hash of its last one."""
        found: dict[str, dict[str, Any]] = {}
        for row in sorted(self.tables["events"], key=lambda each: (each["renewal"], each["seq"])):
            found[row["renewal"]] = {"events": row["seq"], "hash": row["hash"]}
        return found


def write(path: Path, backup: Backup) -> str:
    """Write it; on disk when this returns.

    Returns:
        The SHA-256 (hex) that its manifest carries: the backup's name for good.

    Raises:
        Refused: `backup_exists`; `key_not_sealed`: a file among the keys that is not age-encrypted.
        OSError: as the system says.
    """
    parts = _parts(backup)
    manifest, name = _manifest(backup, parts)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(beside, flags, FILE_MODE), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for part, content in {_MANIFEST: manifest, **parts}.items():
                    about = tarfile.TarInfo(part)
                    about.size, about.mode = len(content), FILE_MODE
                    about.mtime = int(backup.made_at.timestamp())
                    tar.addfile(about, io.BytesIO(content))
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    except FileExistsError:
        raise Refused(Reason.BACKUP_EXISTS, path=str(path)) from None
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return name


def read(path: Path) -> tuple[Backup, str]:
    """Read a backup and check every part of it against the manifest.

    Returns:
        The backup, and the SHA-256 (hex) that its manifest carries.

    Raises:
        Unusable: `backup_unreadable`, `backup_damaged`, `backup_newer`.
        OSError: as the system says.
    """
    parts = _read_parts(path)
    told = _json(path, _MANIFEST, parts.pop(_MANIFEST, b""))
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise Unusable(Reason.BACKUP_UNREADABLE, path=str(path))
    if told["format"] > FORMAT:
        raise Unusable(Reason.BACKUP_NEWER, path=str(path), got=told["format"], expected=FORMAT)
    name = told.pop("sha256", None)
    if name != digest(told):
        raise _damaged(path, _MANIFEST)
    if sums(parts) != told.get("files"):
        raise _damaged(path, "SHA-256")
    tables = {name: _rows(path, name, parts.pop(f"{name}.jsonl", b"")) for name in TABLES}
    keys = {found[1]: content for name, content in parts.items() if (found := _KEY.fullmatch(name))}
    try:
        backup = Backup(
            made_at=datetime.fromisoformat(told["made_at"]),
            version=str(told["renewctl"]),
            kind=str(told["store"]),
            schema=int(told["schema"]),
            tables=tables,
            keys=keys,
        )
        whole = backup.renewals == told["renewals"] and backup.counts == told["counts"]
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole or len(keys) != len(parts) or not all(key.startswith(_SEALED) for key in keys.values()):
        raise _damaged(path, _MANIFEST)
    return backup, name


def sums(parts: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Each part's size and SHA-256, as the manifest has them."""
    return {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in parts.items()
    }


def digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over a manifest without its own `sha256`: JSON, sorted, no spaces."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _parts(backup: Backup) -> dict[str, bytes]:
    parts = {
        f"{name}.jsonl": "".join(
            json.dumps({key: _plain(value) for key, value in row.items()}, sort_keys=True) + "\n"
            for row in backup.tables[name]
        ).encode()
        for name in TABLES
    }
    for name, sealed in sorted(backup.keys.items()):
        if not sealed.startswith(_SEALED):
            raise Refused(Reason.KEY_NOT_SEALED, fingerprint=name)
        parts[f"keys/{name}.age"] = sealed
    return parts


def _manifest(backup: Backup, parts: Mapping[str, bytes]) -> tuple[bytes, str]:
    told = {
        "format": FORMAT,
        "made_at": backup.made_at.isoformat(),
        "renewctl": backup.version,
        "store": backup.kind,
        "schema": backup.schema,
        "renewals": backup.renewals,
        "counts": backup.counts,
        "files": sums(parts),
    }
    name = digest(told)
    return json.dumps({**told, "sha256": name}, indent=1, sort_keys=True).encode() + b"\n", name


def _read_parts(path: Path) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    left = _LARGEST
    try:
        with tarfile.open(path, mode="r:") as tar:
            for about in tar:
                # A sparse file is a gigabyte of holes in a kilobyte of tar.
                plain = about.isreg() and not about.issparse()
                content = tar.extractfile(about) if plain else None
                left -= about.size
                if content is None or about.name in parts or left < 0:
                    raise _damaged(path, about.name)
                parts[about.name] = content.read()
    except (tarfile.TarError, EOFError, ValueError, RecursionError):  # headers of headers of headers
        raise Unusable(Reason.BACKUP_UNREADABLE, path=str(path)) from None
    return parts


def _rows(path: Path, table: str, content: bytes) -> list[Row]:
    rows = []
    for line in content.splitlines():
        row = _json(path, table, line)
        if not isinstance(row, dict) or not all(_COLUMN.fullmatch(name) for name in row):
            raise _damaged(path, table)
        cells = {name: _bytes(path, table, value) for name, value in row.items()}
        known = all(isinstance(cells.get(name), kind) for name, kind in _KEY_COLUMNS[table].items())
        if not known or not all(_is_cell(value) for value in cells.values()):
            raise _damaged(path, table)
        rows.append(cells)
    return rows


def _is_cell(value: object) -> bool:
    """What a column can hold: no fraction, no list, no text that is no Unicode."""
    if isinstance(value, str):
        return not _SURROGATES.search(value)
    return value is None or isinstance(value, bytes) or (type(value) is int and value in _NUMBERS)


def _json(path: Path, part: str, content: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _damaged(path, part) from None


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return value


def _bytes(path: Path, part: str, value: object) -> object:
    if isinstance(value, dict):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return base64.b64decode(value["base64"], validate=True)
        raise _damaged(path, part)
    return value


def _damaged(path: Path, part: str) -> Unusable:
    return Unusable(Reason.BACKUP_DAMAGED, path=str(path), got=part)
