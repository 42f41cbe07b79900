"""Renders the snapshot when it changed, and has it kept on disk. Its own thread: nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import chain

from exporter import collectors
from exporter.keeping import Keeper
from exporter.rendering import Page, Part
from exporter.snapshot import Snapshot
from exporter.vital import vital_thread
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
        newest: gives the inventory in use and the newest snapshot of it.
        keeper: is given snapshots to keep.
        changed: set whenever there is a newer snapshot.
    """

    def __init__(
        self, newest: Callable[[], tuple[Inventory, Snapshot]], keeper: Keeper, changed: threading.Event
    ) -> None:
        self._newest = newest
        self._keeper = keeper
        self._kept: tuple[object, ...] | None = None
        self._keep_again = 0.0
        self._changed = changed
        self._leaving = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = vital_thread("publisher", self._run)
        self._basis: tuple[object, ...] | None = None
        self._steady = Part(())
        self.page = self._rendered(*newest())

    def start(self) -> None:
        """Begin to follow changes."""
        self._thread.start()

    def stop(self) -> None:
        """Keep the last snapshot and end."""
        self._leaving.set()
        self._changed.set()
        self._thread.join()
        self._keeper.keep(self._newest()[1])

    def publish(self) -> None:
        """Make the page anew at once: it is there when this returns, unless it cannot be rendered."""
        with self._one_at_a_time:
            inventory, snapshot = self._newest()
            self._render(inventory, snapshot)
            basis = collectors.basis(inventory, snapshot)
            if basis == self._kept and time.monotonic() < self._keep_again:
                return
            self._kept, self._keep_again = basis, time.monotonic() + _KEEP_SECONDS
            told = self._keeper.written
            self._keeper.keep(snapshot)
            if self._keeper.written != told:
                self._render(inventory, snapshot)

    def _render(self, inventory: Inventory, snapshot: Snapshot) -> None:
        try:
            self.page = self._rendered(inventory, snapshot)
        except Exception:
            # The page before stays: whatever a node said must not blank what the others say.
            log.exception("the snapshot could not be rendered")

    def _run(self) -> None:
        while True:
            self._changed.wait()
            if self._leaving.is_set():
                return
            self._changed.clear()
            began = time.monotonic()
            self.publish()
            self._leaving.wait(max(_SHORTEST_PAUSE_SECONDS, _SHARE * (time.monotonic() - began)))

    def _rendered(self, inventory: Inventory, snapshot: Snapshot) -> Page:
        basis = collectors.basis(inventory, snapshot)
        if basis != self._basis:
            self._steady, self._basis = Part(collectors.steady(inventory, snapshot)), basis
        lively = chain(collectors.lively(inventory, snapshot), self._keeper.families())
        return Page((self._steady, Part(lively)))
