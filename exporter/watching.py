"""What is watched now, swapped whole when the inventory is read again."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from exporter.looks import looks
from exporter.poller import Poller
from exporter.publisher import Publisher
from exporter.rendering import Page
from exporter.snapshot import Snapshot
from exporter.start import fitting, starting_snapshot
from renewctl import secrets
from renewctl.inventory.reading import Inventory

log = logging.getLogger("exporter")


@dataclass(frozen=True)
class _Shift:
    """One inventory at work."""

    inventory: Inventory
    poller: Poller
    publisher: Publisher

    def start(self) -> None:
        self.publisher.start()
        self.poller.start()

    def stop(self) -> None:
        """The poller first: what its last looks told is published and kept."""
        self.poller.stop()
        self.publisher.stop()


class Watching:
    """Polls and publishes one inventory after another; what is known of a node outlives the change.

    Args:
        snapshot_file: where to keep what is known; None: nowhere.
        poll_interval: seconds.
    """

    def __init__(self, inventory: Inventory, snapshot_file: Path | None, poll_interval: float) -> None:
        self._snapshot_file = snapshot_file
        self._poll_interval = poll_interval
        self._was_ready = False
        self._now = self._shift(inventory, starting_snapshot(snapshot_file, inventory))

    @property
    def inventory(self) -> Inventory:
        """The one in use."""
        return self._now.inventory

    @property
    def known(self) -> tuple[Inventory, Snapshot]:
        """The inventory in use and what is known of it, also in the middle of a change."""
        now = self._now
        return now.inventory, now.poller.snapshot

    @property
    def snapshot(self) -> Snapshot:
        """Everything known now."""
        return self._now.poller.snapshot

    @property
    def page(self) -> Page:
        """The newest page."""
        return self._now.publisher.page

    @property
    def ready(self) -> bool:
        """Every node has answered or failed once.

        A node added later does not take that back: it has its series from the start, and a balancer must
        not take a working exporter away.
        """
        self._was_ready = self._was_ready or self._now.poller.all_asked
        return self._was_ready

    def start(self) -> None:
        """Begin to ask."""
        self._now.start()

    def stop(self) -> None:
        """End, and keep what is known."""
        self._now.stop()

    def change_to(self, inventory: Inventory) -> None:
        """Go on with another inventory; the page before stays until the new one is there."""
        before, self._was_ready = self._now, self.ready
        before.stop()
        secrets.forget()  # a password may have changed with it
        self._now = self._shift(inventory, fitting(before.poller.snapshot, inventory))
        self._now.start()

    def _shift(self, inventory: Inventory, known: Snapshot) -> _Shift:
        changed = threading.Event()
        poller = Poller(looks(inventory), known, self._poll_interval, changed.set)
        publisher = Publisher(inventory, lambda: poller.snapshot, self._snapshot_file, changed)
        return _Shift(inventory, poller, publisher)
