"""All renewals of one topic together: the pair in use, the open renewal, what each node was given. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from renewctl.errors import Refused
from renewctl.reasons import Reason, Word
from renewctl.renewal import bodies
from renewctl.renewal.events import KEY_STORE, Direction, Event, Kind, PairRef
from renewctl.renewal.rules import Phase, Renewal, fold

_IN_USE = frozenset({Phase.INSTALLED, Phase.PROVEN, Phase.CLOSED})


@dataclass(frozen=True)
class Recorded:
    """A pair installed by us on a node and read back there; never merely accepted."""

    pair: PairRef
    at: datetime


@dataclass(frozen=True)
class TopicHistory:
    """One topic through the years.

    Attributes:
        renewals: oldest first.
        adopted: the pair last taken over.
        adopted_topic: the UID it is of.
        adopted_after: name of the newest renewal there was then, which had ended; None: there was none, or
            the event is of before that was told.
        adopted_seq: number of the last event beside the renewals (`adopted`, `restored`), 0 for none.
    """

    topic_id: str
    renewals: tuple[Renewal, ...] = ()
    adopted: PairRef | None = None
    adopted_topic: str | None = None
    adopted_at: datetime | None = None
    adopted_after: str | None = None
    adopted_seq: int = 0

    @property
    def topic(self) -> str | None:
        """The UID the newest of it is of; None: nothing tells."""
        newest = self.since_adopted
        return newest[-1].topic if newest else self.adopted_topic

    @property
    def bound(self) -> bool:
        """A pair of that UID is on record: the UID is no slip of somebody's pen."""
        return self.adopted is not None or any(renewal.accepted is not None for renewal in self.renewals)

    @property
    def latest(self) -> Renewal | None:
        """The newest renewal, ended or not."""
        return self.renewals[-1] if self.renewals else None

    @property
    def open(self) -> Renewal | None:
        """The renewal that has not ended, if there is one."""
        latest = self.latest
        return latest if latest is not None and not latest.ended else None

    def require_none_open(self) -> None:
        """Check that every renewal has ended.

        Raises:
            Refused: `renewal_open_already`: which one, who began it, and when.
        """
        renewal = self.open
        if renewal is not None:
            raise Refused(
                Reason.RENEWAL_OPEN_ALREADY,
                renewal=renewal.name,
                got=Word(f"phase.{renewal.phase}"),
                holder=renewal.opened_by,
                since=renewal.opened_at,
            )

    @property
    def next_name(self) -> str:
        """The name of the next renewal: two `open`s at once choose the same and collide."""
        return f"{self.topic_id}-{len(self.renewals) + 1}"

    @property
    def adopted_name(self) -> str:
        """Where `adopted` events are kept."""
        return f"{self.topic_id}-0"

    @property
    def asked_before(self) -> bool:
        """The portal may have renewed the row already, for a request that leads nowhere any more.

        Either in the newest renewal, or in those before it that were ended without a roll-out.
        """
        for renewal in reversed(self.renewals):
            if renewal.asked_before or (renewal.phase is Phase.ABORTED and renewal.request is not None):
                return True
            if renewal is not self.latest and renewal.phase is not Phase.ABORTED:
                return False
        return False

    @property
    def current(self) -> PairRef | None:
        """The pair in use as far as events tell: the one rolled out or adopted last."""
        renewal = self._in_use
        return self.adopted if renewal is None else renewal.accepted

    @property
    def pairs(self) -> tuple[PairRef, ...]:
        """Every pair on record: taken over last, accepted, or in use before a renewal."""
        told = [self.adopted, *(pair for one in self.renewals for pair in (one.previous, one.accepted))]
        return tuple(pair for pair in told if pair is not None)

    @property
    def before(self) -> PairRef | None:
        """The pair in use before that, where a renewal has replaced it."""
        return None if self._in_use is None else self._in_use.previous

    @property
    def closed(self) -> Renewal | None:
        """The renewal whose pair is in use, where it was closed and none is open."""
        renewal = self._in_use
        return renewal if renewal is not None and renewal.ended and self.open is None else None

    @property
    def _in_use(self) -> Renewal | None:
        """The renewal whose pair is in use; None: the adopted one is, if any."""
        return next((one for one in reversed(self.since_adopted) if one.phase in _IN_USE), None)

    @property
    def since_adopted(self) -> tuple[Renewal, ...]:
        """The renewals after the pair taken over last: what older ones gave the nodes counts no more."""
        names = [renewal.name for renewal in self.renewals]
        first = names.index(self.adopted_after) + 1 if self.adopted_after in names else 0
        return self.renewals[first:]

    def recorded(self, node: str) -> Recorded | None:
        """What a node was last given and read back with, since the last pair was taken over."""
        for renewal in reversed(self.since_adopted):
            state = renewal.nodes.get(node)
            if state is None:
                continue
            given = renewal.accepted if state.direction is Direction.NEW else renewal.previous
            if given is not None and renewal.was_read_back(node):
                return Recorded(given, state.at)
            if state.direction is Direction.NEW:
                return None  # not read back: what it serves is unknown
        return None


def history_of(known: Mapping[str, TopicHistory], topic_id: str, uid: str) -> TopicHistory:
    """What is on record of a UID, be it under another id than the inventory gives it; empty: nothing is.

    Where there are several, of a time when an id could change: one with an open renewal, else the one under
    this id, else the newest. Where there is none: a renewal open under this id, whatever UID it is for.
    """
    own = known.get(topic_id, TopicHistory(topic_id))
    theirs = [one for one in known.values() if one.topic == uid and (one.bound or one.open is not None)]
    mistyped = own.open is not None and not own.bound and own.topic != uid
    if mistyped or (own.bound and own.topic == uid):  # elsewhere it may have been, where no pair tells
        theirs = [one for one in theirs if one.bound]
    if theirs:
        return max(theirs, key=lambda one: (one.open is not None, one is own, _last_at(one)))
    return TopicHistory(topic_id) if own.bound else own


def _last_at(history: TopicHistory) -> datetime:
    times = [history.adopted_at, None if history.latest is None else history.latest.last_at]
    return max((one for one in times if one is not None), default=datetime.min.replace(tzinfo=UTC))


def misnamed(known: Mapping[str, TopicHistory], topic_id: str, uid: str) -> Refused | None:
    """Why an inventory's id and UID do not go with the record: it knows the one with another of the other.

    `topic_under_other_id` or `id_of_other_topic`: both belong together for good, once a pair is on record, as
    renewals bear the id in their names. Before that `renewal_of_other_uid`: mistyped, or another inventory's.
    """
    own, recorded = known.get(topic_id, TopicHistory(topic_id)), history_of(known, topic_id, uid)
    if recorded.topic_id != topic_id:
        return Refused(Reason.TOPIC_UNDER_OTHER_ID, topic=uid, got=topic_id, expected=recorded.topic_id)
    named = {"id": topic_id, "got": uid, "expected": own.topic}
    if own.bound and own.topic != uid:
        return Refused(Reason.ID_OF_OTHER_TOPIC, **named)
    if own.open is not None and own.topic != uid:
        return Refused(Reason.RENEWAL_OF_OTHER_UID, renewal=own.open.name, **named)
    return None


def histories(events: Mapping[str, Sequence[Event]]) -> dict[str, TopicHistory]:
    """Every topic's history, by topic id, out of every renewal's events (each in order).

    Raises:
        Refused: `history_broken` where events do not follow each other, or lack what their kind tells.
    """
    found: dict[str, TopicHistory] = {}
    for told in events.values():
        for event in told:
            _require_fields(event)
    for name in sorted(events.keys() - {KEY_STORE}, key=_order):
        topic_id = name.rpartition("-")[0]
        before = found.get(topic_id, TopicHistory(topic_id))
        found[topic_id] = _with(before, events[name])
    return found


def _require_fields(event: Event) -> None:
    try:
        bodies.require(event.kind, event.body)
    except ValueError:
        got = f"{event.seq} {event.kind.value}"
        raise Refused(
            Reason.HISTORY_BROKEN, renewal=event.renewal, got=got, expected=Word("word.whole_body")
        ) from None


def _with(before: TopicHistory, events: Sequence[Event]) -> TopicHistory:
    renewal = fold(events)
    if renewal is not None:
        return replace(before, renewals=(*before.renewals, renewal))
    history = replace(before, adopted_seq=events[-1].seq if events else 0)
    adopted = [event for event in events if event.kind is Kind.ADOPTED]
    if not adopted:
        return history
    last = adopted[-1]
    return replace(
        history,
        adopted=PairRef.from_body(last.body["pair"]),
        adopted_topic=str(last.body["topic"]),
        adopted_at=last.at,
        adopted_after=last.body.get("after"),
    )


def _order(name: str) -> tuple[str, int]:
    topic_id, _, number = name.rpartition("-")
    return topic_id, int(number)
