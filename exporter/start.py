"""What is known before the first look: the snapshot of the last run, as far as the inventory still asks."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from exporter import snapshot_file
from exporter.expiry_look import expiring, key_of
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Inventory

log = logging.getLogger("exporter")


def starting_snapshot(path: Path | None, inventory: Inventory) -> Snapshot:
    """The kept snapshot, or an empty one; a file that cannot be used is told of in the log, once."""
    kept = None
    if path is not None:
        try:
            kept = snapshot_file.load(path)
        except snapshot_file.UnusableSnapshot as error:
            log.warning("snapshot file %s is not used: %s", path, error)
    kept = replace(kept or Snapshot(), store_up=False)
    return fitting(kept, inventory)


def fitting(known: Snapshot, inventory: Inventory) -> Snapshot:
    """What is known, as far as this inventory asks for it."""
    expected = {node.name for node in inventory.nodes}
    return Snapshot(
        nodes={name: facts for name, facts in known.nodes.items() if name in expected},
        renewals=known.renewals if inventory.store else (),
        adopted=known.adopted if inventory.store else {},
        expiries={
            key: known.expiries[key] for key in map(key_of, expiring(inventory)) if key in known.expiries
        },
        store_up=bool(known.store_up) if inventory.store else None,
        store_head=known.store_head if inventory.store else "",
        store_read=known.store_read if inventory.store else None,
        histories=known.histories if inventory.store else None,
    )
