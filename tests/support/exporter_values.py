"""Values for the exporter's unit tests: an inventory, what nodes say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter import collectors
from exporter.families import Family
from exporter.snapshot import Snapshot
from renewctl.inventory.reading import Account, Inventory, Keys, Node, Product, Topic
from renewctl.observation import Observation, ServedCertificate, Source

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UID = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"


def topic(id_: str = "tokyo", uid: str = UID, **more: object) -> Topic:
    """A topic of the inventory."""
    return Topic(id=id_, topic=uid, name=f"Office {id_}", account=Account("alias"), **more)  # type: ignore[arg-type]


def node(name: str, *topics: str, **more: object) -> Node:
    """A NanoMDM node."""
    settings: dict[str, object] = {
        "storage": name,
        "url": "http://127.0.0.1:9",
        "product": Product.NANOMDM,
        **more,
    }
    return Node(name=name, topics=topics or ("tokyo",), **settings)  # type: ignore[arg-type]


def folder_node(folder: str = "/pki", name: str = "pki") -> Node:
    """A watched folder; it serves no topic."""
    return Node(name=name, product=Product.FILES, storage=name, topics=(), folder=Path(folder))


def inventory(*parts: Topic | Node, store: str = "sqlite:///store.db") -> Inventory:
    """An inventory of these topics and nodes; one topic and one node if none are given."""
    topics = tuple(part for part in parts if isinstance(part, Topic)) or (topic(),)
    nodes = tuple(part for part in parts if isinstance(part, Node)) or (node("a"),)
    return Inventory(
        path=Path("/nowhere/inventory.yaml"),
        digest="",
        store=store,
        keys=Keys(()),
        topics=topics,
        nodes=nodes,
    )


def served(source: Source = Source.API, days: int = 300, uid: str = UID, **more: object) -> ServedCertificate:
    """A certificate with this many days left at `NOW`."""
    return ServedCertificate(topic=uid, not_after=NOW + timedelta(days=days), source=source, **more)  # type: ignore[arg-type]


def seen(
    *certificates: ServedCertificate, minutes: int = 0, up: bool | None = True, **more: object
) -> Observation:
    """What a node said, so many minutes after `NOW`."""
    at = NOW + timedelta(minutes=minutes)
    return Observation(node="a", at=at, up=up, certificates=certificates, **more)  # type: ignore[arg-type]


def families(inventory: Inventory, snapshot: Snapshot) -> list[Family]:
    """Everything the collectors give."""
    return [*collectors.steady(inventory, snapshot), *collectors.lively(inventory, snapshot)]


def series(inventory: Inventory, snapshot: Snapshot) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample the collectors give; fails on a label set given twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families(inventory, snapshot):
        for sample in family.metric().samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = float(sample.value)
    return found


def value(inventory: Inventory, snapshot: Snapshot, name: str, /, **labels: str) -> float | None:
    """The one sample of a metric with (at least) these labels; None where there is none."""
    return one(values(inventory, snapshot, name, **labels))


def values(inventory: Inventory, snapshot: Snapshot, name: str, /, **labels: str) -> list[float]:
    """The samples of a metric with (at least) these labels."""
    wanted = _items(labels)
    return [
        v for (found, given), v in series(inventory, snapshot).items() if found == name and wanted <= given
    ]


def one(found: Iterable[float]) -> float | None:
    """The only one, or None."""
    several = list(found)
    assert len(several) <= 1, several
    return several[0] if several else None


def _items(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
