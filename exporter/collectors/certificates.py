"""Push certificates as nodes tell of them, as recorded after a roll-out, or as adopted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from exporter.families import Family, seconds
from exporter.metrics import CERTIFICATE_INFO, EXPIRY
from exporter.snapshot import Known, Snapshot
from renewctl.inventory.reading import Inventory


def collect(inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    """Expiry and info, the same series for both."""
    expiry, info = Family(EXPIRY), Family(CERTIFICATE_INFO)
    for node, known in shown(inventory, snapshot):
        served = known.served
        expiry.add((served.topic, node, served.source), seconds(served.not_after))
        info.add((served.topic, node, served.source, served.serial or "", served.issuer or ""), 1)
    yield expiry
    yield info


def shown(inventory: Inventory, snapshot: Snapshot) -> Iterator[tuple[str, Known]]:
    """Node and certificate for every certificate worth showing."""
    for node in inventory.nodes:
        by_topic: dict[str, list[Known]] = defaultdict(list)
        recorded = (r.recorded[node.name] for r in snapshot.renewals if node.name in r.recorded)
        for known in (*snapshot.node(node.name).certificates, *recorded):
            by_topic[known.served.topic].append(known)
        for told in by_topic.values():
            yield from ((node.name, known) for known in _not_overtaken(told))
        adopted = (snapshot.adopted.get(topic) for topic in node.topics)
        yield from ((node.name, a) for a in adopted if a is not None and a.served.topic not in by_topic)


def _not_overtaken(told: list[Known]) -> list[Known]:
    """Leave out what a later look contradicts.

    A source that has fallen silent keeps its last word only as long as no other source says
    something else later: else a renewal made meanwhile would look as if it had not been.
    """
    latest = max(known.at for known in told)
    dates = {known.served.not_after for known in told if known.at == latest}
    return [known for known in told if known.at == latest or known.served.not_after in dates]
