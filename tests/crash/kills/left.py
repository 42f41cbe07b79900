"""What a kill left behind, as one word: two kills of a command that left the same are repeated once.

Alike is what agrees in all of these:

- every file and folder of office and nodes that is not, to the byte, as it was before the command: which kind of
  file, its mode, whether anything is in it, which key it is; what a pretended node remembers; whether a journal lies beside the store
  that has to be rolled back;
- every row of every table of the store, as it is once that journal is rolled back.

Ids, times, keys and run numbers, which no two runs share, are told by the order in which they appear (`truth.Names`).
That each file is whole was looked at before, after each kill of its own.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from tests.crash.kills.office import STORE, UnknownFileError, kind_of
from tests.crash.kills.truth import Names, Plain

_HOT = bytes.fromhex("d9d505f920a163d7")
"""The first bytes of a journal that is to be rolled back (sqlite.org/fileformat2.html, 3)."""


def contents(work: Path) -> Mapping[str, str]:
    """Path of each file and folder, relative -> mode and digest."""
    return {str(path.relative_to(work)): _content(path) for path in sorted(work.rglob("*"))}


def left(work: Path, recovered: Path, before: Mapping[str, str]) -> str:
    """The word.

    Args:
        work: office and nodes, as they were left; only looked at.
        recovered: a copy of that office, whose journal was rolled back.
        before: `contents` of the state in which the command began.
    """
    now = contents(work)
    names = Names()
    whole = [
        [path for path in before if path not in now],
        list(_rows(recovered / STORE, names)),
        sorted(_shown(work, path, names) for path in now if now[path] != before.get(path)),
    ]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _content(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return f"{stat.S_IMODE(path.stat().st_mode):04o} {digest}"


def _rows(store: Path, names: Names) -> Iterator[Plain]:
    if not store.exists():
        return
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}" ORDER BY rowid')  # noqa: S608 - a name of ours
            yield [table, [_plain(dict(row), names) for row in rows]]


def _plain(row: Mapping[str, object], names: Names) -> Plain:
    """A row; a document is known by its name, which is its digest."""
    plain = {name: len(value) if isinstance(value, bytes) else value for name, value in row.items()}
    if isinstance(body := plain.get("body"), str):
        plain["body"] = json.loads(body)
    return names.plain(plain)


def _shown(work: Path, path: str, names: Names) -> str:
    """A file or folder that was changed or made."""
    found = work / path
    mode = f"{stat.S_IMODE(found.stat().st_mode):04o}"
    if found.is_dir():
        return f"{_named(path, names)}, a folder, {mode}"
    if path == f"office/{STORE}":
        return f"the store, {mode}"  # its rows are told
    content = found.read_bytes()
    if path.startswith("nodes/") and found.suffix == ".json":
        return f"{path}: {json.dumps(names.plain(json.loads(content)))}"
    if path.endswith("-journal"):  # how much of it there is does not matter: it was rolled back, in a copy
        return f"{_named(path, names)}, {mode}, hot: {content.startswith(_HOT)}"
    # Sizes differ by chance (age pads at random); a torn file of a final name would have been seen.
    return f"{_named(path, names)}, {mode}, empty: {not content}"


def _named(path: str, names: Names) -> str:
    """By its kind, a key by its name as well."""
    inside = path.removeprefix("office/")
    try:
        kind = kind_of(inside)
    except UnknownFileError:
        return path
    return f"{kind} {names.plain(Path(inside).stem)}" if kind == "key" else kind
