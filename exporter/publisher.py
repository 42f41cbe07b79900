"""Renders the snapshot when it changed, and keeps it on disk. Its own thread: nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from exporter import collectors, snapshot_file
from exporter.rendering import Page, Part
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory

log = logging.getLogger("exporter")

_SHARE = 20
"""Pause this many times as long as the work took: at most 5 % of a core, however often things change."""

_SHORTEST_PAUSE_SECONDS = 0.1

_KEEP_SECONDS = 300
"""Where nothing changed but the times of the last looks, these are written down so often."""


class Publisher:
    """Turns the newest snapshot into the page that scrapes are answered with.

    Args:
        newest: gives the newest snapshot.
        path: where the snapshot is kept; None: nowhere.
        changed: set whenever there is a newer snapshot.
    """

    def __init__(
        self,
        inventory: Inventory,
        newest: Callable[[], Snapshot],
        path: Path | None,
        changed: threading.Event,
    ) -> None:
        self._inventory = inventory
        self._newest = newest
        self._path = path
        self._written = True
        self._kept: tuple[object, ...] | None = None
        self._keep_again = 0.0
        self._changed = changed
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._basis: tuple[object, ...] | None = None
        self._steady = Part(())
        self.page = self._rendered(newest())

    def start(self) -> None:
        """Begin to follow changes."""
        self._thread.start()

    def stop(self) -> None:
        """Keep the last snapshot and end."""
        self._leaving.set()
        self._changed.set()
        self._thread.join()
        self._keep(self._newest())

    def _run(self) -> None:
        while True:
            self._changed.wait()
            if self._leaving.is_set():
                return
            self._changed.clear()
            began = time.monotonic()
            self._publish(self._newest())
            self._leaving.wait(max(_SHORTEST_PAUSE_SECONDS, _SHARE * (time.monotonic() - began)))

    def _publish(self, snapshot: Snapshot) -> None:
        try:
            self.page = self._rendered(snapshot)
        except Exception:
            # The page before stays: whatever a node said must not blank what the others say.
            log.exception("the snapshot could not be rendered")
        basis = collectors.basis(self._inventory, snapshot)
        if basis != self._kept or time.monotonic() >= self._keep_again:
            self._kept, self._keep_again = basis, time.monotonic() + _KEEP_SECONDS
            self._keep(snapshot)

    def _rendered(self, snapshot: Snapshot) -> Page:
        basis = collectors.basis(self._inventory, snapshot)
        if basis != self._basis:
            self._steady, self._basis = Part(collectors.steady(self._inventory, snapshot)), basis
        return Page((self._steady, Part(collectors.lively(self._inventory, snapshot))))

    def _keep(self, snapshot: Snapshot) -> None:
        if self._path is None:
            return
        try:
            snapshot_file.save(self._path, snapshot)
        except OSError as error:
            if self._written:
                log.warning("snapshot file %s cannot be written: %s", self._path, error.strerror)
            self._written = False
        else:
            self._written = True
