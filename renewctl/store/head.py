"""The head of a store: one hash that vouches for every event written before it, in all renewals. Pure.

Every event's body says where in the whole store it stands::

    "store": {"number": 17, "before": "<hash of event 16, of whichever renewal>"}

An event's hash covers its body, so it covers the event before it, and so all of them back to the first. The
*head* of a store is the hash of its newest event. It proves itself: while an event with that hash is in the
store and every link holds, nothing that was there when the head was told has been changed, taken out or put
between; what came after does not matter. Whoever cuts the end off, or writes it anew, loses that hash.

Events of before this was kept carry no place. The first event with one stands on the *ground* under it: a
digest of the newest event of each renewal there was, each of which vouches for its own renewal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renewctl.renewal.events import Event

FIELD = "store"
"""Where an event's body keeps its place."""


@dataclass(frozen=True)
class Place:
    """Where in the whole store an event stands.

    Attributes:
        number: 1, 2, 3, … over all renewals.
        before: the head before this event; "" for the very first.
    """

    number: int
    before: str

    def as_body(self) -> dict[str, Any]:
        """The form an event's body carries."""
        return {"number": self.number, "before": self.before}


def place_of(body: Mapping[str, Any]) -> Place | None:
    """An event's place; None for an event of before places were kept.

    Raises:
        ValueError: not as we write it.
    """
    if FIELD not in body:
        return None
    told = body[FIELD]
    if not isinstance(told, dict) or set(told) != {"number", "before"}:
        raise ValueError("store")
    number, before = told["number"], told["before"]
    if type(number) is not int or number < 1 or not isinstance(before, str):
        raise ValueError("store")
    return Place(number, before)


@dataclass(frozen=True)
class Tip:
    """The newest event of one renewal: all that is needed to know the head."""

    renewal: str
    seq: int
    hash: str
    place: Place | None


def ground(tips: Iterable[Tip]) -> str:
    """What the first event with a place stands on: SHA-256 (hex) over sorted "renewal seq hash" lines.

    Args:
        tips: of each renewal, the newest event without a place; none: "".
    """
    lines = sorted(f"{tip.renewal} {tip.seq} {tip.hash}\n" for tip in tips)
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def head(tips: Iterable[Tip]) -> str:
    """The store's head; "" while it is empty.

    Args:
        tips: the newest event of each renewal.
    """
    known = list(tips)
    placed = [(tip.place.number, tip.hash) for tip in known if tip.place is not None]
    return max(placed)[1] if placed else ground(known)


def next_place(tips: Iterable[Tip], events: int) -> Place:
    """Where the next event stands.

    Args:
        tips: the newest event of each renewal.
        events: how many there are in the store; counts where none has a place yet.
    """
    known = list(tips)
    numbers = [tip.place.number for tip in known if tip.place is not None]
    return Place(max(numbers, default=events) + 1, head(known))


def head_of(events: Mapping[str, Sequence[Event]]) -> str:
    """The head of a store read whole (`StoreReader.renewals`).

    Raises:
        ValueError: an event's place is not as we write it.
    """
    newest = [told[-1] for told in events.values()]
    return head(Tip(one.renewal, one.seq, one.hash, place_of(one.body)) for one in newest)
