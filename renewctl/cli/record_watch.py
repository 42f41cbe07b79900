"""What the record tells that concerns no topic of the inventory, as `status` watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from renewctl.inventory.reading import Inventory
from renewctl.keys import agefile
from renewctl.reasons import Word
from renewctl.renewal.events import Event
from renewctl.renewal.history import TopicHistory, history_of
from renewctl.renewal.key_record import key_facts, of_topics
from renewctl.topic_warnings import Warn


def stray_renewals(inventory: Inventory, past: Mapping[str, TopicHistory]) -> list[Warn]:
    """Open renewals of none of the inventory's topics: those of another inventory with the same store.

    Or of a topic that was taken out in the middle; from here the two look the same.
    """
    ids = {topic.id for topic in inventory.topics}
    told = {history_of(past, topic.id, topic.topic).topic_id for topic in inventory.topics}
    return [
        Warn(
            "warning.renewal_without_topic",
            {"renewal": one.open.name, "got": Word(f"phase.{one.open.phase}"), "topic": one.open.topic},
            attention=False,
        )
        for name, one in sorted(past.items())
        if one.open is not None and name not in ids and name not in told
    ]


def sealed_to_others(
    inventory: Inventory, events: Mapping[str, Sequence[Event]], now: datetime
) -> list[Warn]:
    """Keys still needed that are sealed, as written down, to other recipients than the inventory names.

    Somebody who was removed opens them still, or somebody who was added does not yet. `keys check` looks at
    the keys themselves.
    """
    current = {agefile.plain(one) for one in inventory.keys.recipients}
    if not current:
        return []
    own = of_topics(key_facts(events, now), {topic.topic for topic in inventory.topics}).values()
    needed = [one for one in own if one.uses]
    removed = sum(not one.may_open <= current for one in needed)
    added = sum(bool(one.may_open) and one.may_open <= current != one.surely_opens for one in needed)
    counts = {"warning.sealed_to_others": removed, "warning.sealed_not_to_all": added}
    return [Warn(key, {"count": count}) for key, count in counts.items() if count]
