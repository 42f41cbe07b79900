"""Keeps what is known on disk, and tells whether that works."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from exporter import snapshot_file
from exporter.families import Family, single
from exporter.metrics import SNAPSHOT_WRITTEN
from exporter.snapshot import Snapshot

log = logging.getLogger("exporter")


class Keeper:
    """Writes snapshots to one file, or to none.

    Args:
        path: None: nothing is kept.

    Attributes:
        written: whether the last one was; None: none yet.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.written: bool | None = None

    def keep(self, snapshot: Snapshot) -> None:
        """Write it; where that fails, the file before stays and the log says so once."""
        if self._path is None:
            return
        try:
            snapshot_file.save(self._path, snapshot)
        except OSError as error:
            if self.written is not False:
                log.warning("snapshot file %s cannot be written: %s", self._path, error.strerror)
            self.written = False
        else:
            self.written = True

    def families(self) -> Iterator[Family]:
        """Whether it was written; nothing where nothing is kept."""
        if self._path is not None:
            yield single(SNAPSHOT_WRITTEN, bool(self.written))
