"""What is watched now, swapped whole when the inventory is read again."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from exporter.keeping import Keeper
from exporter.looks import looks
from exporter.poller import Poller
from exporter.publisher import Publisher
from exporter.rendering import Page
from exporter.snapshot import Snapshot
from exporter.start import fitting, starting_snapshot
from renewctl import secrets
from renewctl.inventory.reading import Inventory

log = logging.getLogger("exporter")


class Watching:
    """Polls and publishes one inventory after another; what is known of a node outlives the change.

    Args:
        snapshot_file: where to keep what is known; None: nowhere.
        poll_interval: seconds.
    """

    def __init__(self, inventory: Inventory, snapshot_file: Path | None, poll_interval: float) -> None:
        self._was_ready = False
        self._changed = threading.Event()
        self._one_change = threading.Lock()
        self._inventory = inventory
        known = starting_snapshot(snapshot_file, inventory)
        # One of each for all inventories: looks under way when one is changed are still known of after
        # that, and a change needs no new thread, which the system might refuse.
        self._poller = Poller(looks(inventory), known, poll_interval, self._changed.set)
        self._publisher = Publisher(lambda: self.known, Keeper(snapshot_file), self._changed)

    @property
    def inventory(self) -> Inventory:
        """The one in use."""
        return self._inventory

    @property
    def known(self) -> tuple[Inventory, Snapshot]:
        """The inventory in use and what is known of it, also in the middle of a change."""
        with self._one_change:
            return self._inventory, self._poller.snapshot

    @property
    def snapshot(self) -> Snapshot:
        """Everything known now."""
        return self._poller.snapshot

    @property
    def page(self) -> Page:
        """The newest page."""
        return self._publisher.page

    @property
    def ready(self) -> bool:
        """Every node has answered or failed once.

        A node added later does not take that back: it has its series from the start, and a balancer must
        not take a working exporter away.
        """
        self._was_ready = self._was_ready or self._poller.all_asked
        return self._was_ready

    def start(self) -> None:
        """Begin to ask."""
        self._publisher.start()
        self._poller.start()

    def stop(self) -> None:
        """End, the poller first: what its last looks told is published and kept."""
        self._poller.stop()
        self._publisher.stop()

    def change_to(self, inventory: Inventory) -> None:
        """Go on with another inventory; the page before stays until the new one is there."""
        self._was_ready = self.ready
        secrets.forget()  # a password may have changed with it
        with self._one_change:
            self._poller.change_to(looks(inventory), lambda known: fitting(known, inventory))
            self._inventory = inventory
        self._publisher.publish()
