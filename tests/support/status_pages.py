"""The status page made of values, read back as a tree: what its tests have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from exporter.snapshot import NodeFacts, Snapshot
from exporter.status.page import Reader, render
from renewctl.inventory.reading import Inventory
from renewctl.renewal.history import histories
from tests.support import history as past
from tests.support.exporter_values import NOW, inventory, node, seen, served, topic
from tests.support.html_page import of_class, read, rows, text

READ = Snapshot(store_up=True, store_read=NOW - timedelta(minutes=2), histories={})
TWO = inventory(topic(zone="Asia/Tokyo"), node("a"), node("b"))


def page(snapshot: Snapshot, known: Inventory = TWO, language: str = "en", now: datetime = NOW) -> Element:
    """The page as a tree."""
    return read(render(known, snapshot, now, Reader(language)))


def both(*certificates: object, **more: object) -> Snapshot:
    """Nodes a and b say the same, just now."""
    told = NodeFacts().after(seen(*certificates, **more))  # type: ignore[arg-type]
    return READ.with_node("a", told).with_node("b", told)


def in_phase(*events: object, snapshot: Snapshot | None = None) -> Snapshot:
    """What nodes say, and a renewal with these events."""
    told = histories({"tokyo-1": past.events(*events)})  # type: ignore[arg-type]
    return replace(snapshot or both(served(days=30)), histories=told)


def sections(root: Element) -> list[Element]:
    """The topics' sections."""
    return of_class(root, "topic")


def section(root: Element) -> Element:
    """The section of the one topic."""
    [found] = sections(root)
    return found


def nodes(root: Element) -> dict[str, dict[str, str]]:
    """The node table of the one topic, by node."""
    [table] = section(root).iter("table")
    return {
        text(row.find("th")): cells for row, cells in zip(table.findall("tbody/tr"), rows(table), strict=True)
    }  # type: ignore[arg-type]


def steps(root: Element) -> str:
    """The next steps of the one topic."""
    [found] = of_class(section(root), "steps")
    return text(found)
