"""Open renewals of no topic of the inventory: named, unless one of its topics is reached under that id."""

from __future__ import annotations

from renewctl.cli.record_watch import stray_renewals
from renewctl.inventory.reading import Inventory
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import histories
from renewctl.topic_warnings import Warn
from tests.support.exporter_values import inventory, topic
from tests.support.history import ACCEPTED, TOPIC, events

_AT_THE_PORTAL = events(*ACCEPTED[:-1])
"""Open, and no pair is on record that would bind it to its topic."""


def _of(topic_id: str) -> Inventory:
    return inventory(topic(topic_id, TOPIC))


def _strays(topic_id: str, known: dict[str, list[Event]]) -> list[Warn]:
    return stray_renewals(_of(topic_id), histories(known))


def test_one_beside_the_topics_own_is_named_although_its_uid_is_in_the_inventory() -> None:
    """The topic has a history of its own under its id: nothing else would ever tell of the other one."""
    [warned] = _strays("a", {"a-1": events(*ACCEPTED, Kind.ABORTED), "b-1": _AT_THE_PORTAL})
    assert (warned.key, warned.values["topic"], warned.attention) == (
        "warning.renewal_without_topic",
        TOPIC,
        False,
    )


def test_one_that_the_topic_is_reached_under_is_no_stray() -> None:
    """Its id was changed while it was open: the topic itself tells of it."""
    assert _strays("a", {"a-1": events(Kind.OPENED, Kind.ABORTED), "b-1": _AT_THE_PORTAL}) == []
    assert _strays("b", {"b-1": _AT_THE_PORTAL}) == []
