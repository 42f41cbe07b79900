"""What else expires, beside push certificates."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.expiry_look import expiring, key_of
from exporter.families import Family, seconds
from exporter.metrics import OTHER_EXPIRY, OTHER_FAILURE, OTHER_KNOWN, OTHER_LAST_SUCCESS
from exporter.snapshot import ExpiryFacts, Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """One series each, whether it could be read or not."""
    expiry, known = Family(OTHER_EXPIRY), Family(OTHER_KNOWN)
    failure, success = Family(OTHER_FAILURE), Family(OTHER_LAST_SUCCESS)
    for key in map(key_of, expiring(inventory)):
        facts = snapshot.expiries.get(key, ExpiryFacts())
        if facts.not_after is not None:
            expiry.add(key, seconds(facts.not_after))
        known.add(key, facts.reason is None and facts.last_success is not None)
        if facts.reason is not None:
            failure.add((*key, facts.reason), 1)
        success.add(key, seconds(facts.last_success))
    yield from (expiry, known, failure, success)
