"""A store in a file, read and never changed: all that `status` and the exporter want of it.

The same statements and the same rows as through `sql`, without loading SQLAlchemy, which takes longer than
the rest of `status` together.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from renewctl.database import sqlite_file
from renewctl.database.sql_faults import Trouble, store_fault, trouble_of
from renewctl.database.sql_version import Row
from renewctl.errors import RenewctlError


class ReadOnlyFile:
    """A SQLite store opened so that nothing can be changed, not even a journal rolled back.

    Attributes:
        shown: its path.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.shown = path, str(path)

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """The rows of one statement, on a connection of its own.

        Raises:
            NodeFault, Unusable: a store's trouble.
        """
        sqlite_file.require_there(self._path, writable=False)
        try:
            with contextlib.closing(sqlite_file.connect(self._path, read_only=True)) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(statement, parameters)]
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where a column's name is damaged
            raise self._fault(error) from None

    def close(self) -> None:
        """Nothing is held between two statements."""

    def _fault(self, error: Exception) -> RenewctlError:
        trouble = looked_at(trouble_of(error, None), self._path)
        return store_fault(trouble, self.shown, " ".join(str(error).split()))


def looked_at(trouble: Trouble, path: Path) -> Trouble:
    """What the file's surroundings add to SQLite's own word."""
    if trouble is Trouble.DENIED and path.with_name(f"{path.name}-journal").exists():
        return Trouble.NEEDS_RECOVERY  # a journal that this account may not even read
    if trouble is Trouble.NO_TABLE:
        return Trouble.NOT_A_DATABASE  # a file of somebody else's
    if trouble is Trouble.FAILED and sqlite_file.is_full(path):
        return Trouble.FULL
    return trouble
