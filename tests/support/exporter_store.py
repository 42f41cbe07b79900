"""Looks of the exporter at a store, once each."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest

from exporter.snapshot import RenewalFacts, Snapshot
from exporter.store_look import StoreLook
from renewctl.inventory.reading import Inventory


def read(asked: Inventory, before: Snapshot | None = None) -> Snapshot:
    """One look at the store."""
    return StoreLook(asked).look()(before or Snapshot(store_up=False))


def read_at(now: datetime, asked: Inventory, before: Snapshot) -> Snapshot:
    """One look at the store, by a clock that says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.store_look.datetime", SimpleNamespace(now=now.astimezone))
        return read(asked, before)


def only(asked: Inventory) -> RenewalFacts:
    """The facts of the one topic that has a renewal."""
    [facts] = read(asked).renewals
    return facts
