"""What the record tells that concerns no topic of the inventory, as `status` watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from renewctl.inventory.reading import Inventory
from renewctl.keys import agefile
from renewctl.overview import Warn
from renewctl.reasons import Word
from renewctl.renewal.events import Event
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.key_record import key_facts


def stray_renewals(inventory: Inventory, past: Mapping[str, TopicHistory]) -> list[Warn]:
    """Open renewals whose topic the inventory does not have: its id was changed, or it was taken out."""
    known = {topic.id for topic in inventory.topics}
    return [
        Warn(
            "warning.renewal_without_topic",
            {"renewal": one.open.name, "got": Word(f"phase.{one.open.phase}"), "id": name},
        )
        for name, one in sorted(past.items())
        if one.open is not None and name not in known
    ]


def sealed_to_others(
    inventory: Inventory, events: Mapping[str, Sequence[Event]], now: datetime
) -> list[Warn]:
    """Keys still needed that are sealed, as written down, to other recipients than the inventory names.

    Somebody who was removed opens them still, or somebody who was added does not yet. `keys check` looks at
    the keys themselves.
    """
    current = {agefile.plain(one) for one in inventory.keys.recipients}
    sealed = [set(one.recipients) for one in key_facts(events, now).values() if one.uses and one.recipients]
    others = [recipients for recipients in sealed if recipients != current]
    return [Warn("warning.sealed_to_others", {"count": len(others)})] if others and current else []
