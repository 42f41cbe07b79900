"""Push certificates as nodes tell of them, as recorded after a roll-out, or as adopted."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.families import Family, seconds
from exporter.metrics import CERTIFICATE_INFO, EXPIRY
from exporter.snapshot import Known, Snapshot, not_overtaken
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
    uids = {topic.id: topic.topic for topic in inventory.topics}
    for node in inventory.nodes:
        recorded = (r.recorded[node.name] for r in snapshot.renewals if node.name in r.recorded)
        told = [*snapshot.node(node.name).certificates, *recorded]
        yield from ((node.name, known) for known in not_overtaken(told))
        topics = {known.served.topic for known in told}
        adopted = (snapshot.adopted.get(uids.get(topic_id, "")) for topic_id in node.topics)
        yield from ((node.name, a) for a in adopted if a is not None and a.served.topic not in topics)
