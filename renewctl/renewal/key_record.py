"""What all events together tell of each key: who needs it, whom it is sealed to, is it gone. Pure.

The key store has a record of its own beside the renewals (`events.KEY_STORE`), because keys of many topics
are sealed anew together, and because a key outlives the renewal that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from renewctl.errors import Refused
from renewctl.renewal.events import KEY_STORE, Event, Kind, PairRef
from renewctl.renewal.history import TopicHistory, histories, misnamed


class Role(StrEnum):
    """What a key is needed for."""

    PENDING = "pending"  # of a request that may be at the portal
    ACCEPTED = "accepted"  # of a certificate that is to be rolled out
    CURRENT = "current"  # of the certificate in use
    PREVIOUS = "previous"  # the way back


@dataclass(frozen=True)
class Use:
    """One reason to keep a key.

    Attributes:
        pair: the certificate it belongs to; None while there is none.
    """

    topic_id: str
    role: Role
    pair: PairRef | None = None


@dataclass(frozen=True)
class KeyFacts:
    """One key as events tell of it.

    Attributes:
        named_by: renewals (`<topic id>-<n>`) whose events name it, in the order of names.
        topics: UIDs of the topics these are of.
        open: one of them has not ended.
        last: the newest event of those; a key that nothing needs is superseded since then.
        uses: what it is needed for; empty: superseded.
        recipients: whom it was sealed to; None: not known (sealed by hand, by an older renewctl, or anew and
            cut off before that was written down).
        may_open: whom it was last sealed to, as far as was written down; and whom a sealing that was begun
            since, and of which nothing more is known, was for.
        surely_opens: those of them to whom it is sealed whichever of these it was.
        destroying: its destruction was begun.
        destroyed: written down as destroyed.
    """

    fingerprint: str
    named_by: tuple[str, ...]
    open: bool
    last: datetime
    uses: tuple[Use, ...] = ()
    topics: frozenset[str] = frozenset()
    recipients: tuple[str, ...] | None = None
    may_open: frozenset[str] = frozenset()
    surely_opens: frozenset[str] = frozenset()
    destroying: bool = False
    destroyed: bool = False

    @property
    def topic_ids(self) -> frozenset[str]:
        """Ids, as the record has them, of the topics its renewals are of."""
        return frozenset(name.rpartition("-")[0] for name in self.named_by)


def key_facts(events: Mapping[str, Sequence[Event]], now: datetime) -> dict[str, KeyFacts]:
    """Every key that events name, by its name.

    Raises:
        Refused: `history_broken`.
    """
    topics = histories(events)
    still_open = {one.open.name for one in topics.values() if one.open is not None}
    found: dict[str, KeyFacts] = {}
    for name in sorted(events):
        if name == KEY_STORE:
            continue
        for event in events[name]:
            for fingerprint in _named(event):
                found[fingerprint] = _with(found.get(fingerprint), fingerprint, event)
    for fingerprint, facts in found.items():
        last = max(events[name][-1].at for name in facts.named_by)
        is_open = bool(still_open & set(facts.named_by))
        uids = [_uids(topics[topic_id]) for topic_id in facts.topic_ids]
        found[fingerprint] = replace(facts, last=last, open=is_open, topics=frozenset().union(*uids))
    for use, fingerprint in _uses(topics, now):
        found[fingerprint] = replace(found[fingerprint], uses=(*found[fingerprint].uses, use))
    return _after_key_store(found, events.get(KEY_STORE, ()))


def of_topics(found: Mapping[str, KeyFacts], uids: Collection[str]) -> dict[str, KeyFacts]:
    """The keys of these topics: others are another inventory's, with recipients of its own."""
    return {name: one for name, one in found.items() if not one.topics.isdisjoint(uids)}


@dataclass(frozen=True)
class Whose:
    """Every key that events name, as one inventory sees it.

    Attributes:
        own: of its topics whose id and UID go with the record.
        unclear: of a topic whose id and UID do not; of one of its other topics too, perhaps (then in `own`
            as well). They may be another inventory's, with recipients of its own.
        others: names of the rest: of topics it does not know.
        faults: why those ids and UIDs do not go with the record (`history.misnamed`), in its order.
    """

    own: Mapping[str, KeyFacts]
    unclear: Mapping[str, KeyFacts]
    others: frozenset[str]
    faults: tuple[Refused, ...]

    @property
    def surely_own(self) -> dict[str, KeyFacts]:
        """Those that may be changed: of its topics, and of none that is in doubt."""
        return {name: one for name, one in self.own.items() if name not in self.unclear}


def whose(events: Mapping[str, Sequence[Event]], topics: Iterable[tuple[str, str]], now: datetime) -> Whose:
    """Tell the keys of an inventory's topics (id, UID) from those of others, and from those in doubt.

    Raises:
        Refused: `history_broken`.
    """
    recorded, known = histories(events), key_facts(events, now)
    judged = [(topic_id, uid, misnamed(recorded, topic_id, uid)) for topic_id, uid in topics]
    own = of_topics(known, {uid for _, uid, fault in judged if fault is None})
    doubtful = [(topic_id, uid) for topic_id, uid, fault in judged if fault is not None]
    unclear = of_topics(known, {uid for _, uid in doubtful})
    ids = {topic_id for topic_id, _ in doubtful}
    unclear |= {name: one for name, one in known.items() if ids & one.topic_ids}
    others = frozenset(known.keys() - own.keys() - unclear.keys())
    return Whose(own, unclear, others, tuple(fault for _, _, fault in judged if fault is not None))


def _uids(history: TopicHistory) -> frozenset[str]:
    uids = {history.adopted_topic, *(renewal.topic for renewal in history.renewals)}
    return frozenset(uid for uid in uids if uid is not None)


def _named(event: Event) -> set[str]:
    """Names of the keys an event tells of."""
    body = event.body
    pairs = [body.get("pair"), body.get("previous")]
    names = [body.get("key_fingerprint"), *(pair.get("key_fingerprint") for pair in pairs if pair)]
    return {name for name in names if name}


def _with(before: KeyFacts | None, fingerprint: str, event: Event) -> KeyFacts:
    facts = before or KeyFacts(fingerprint, (), open=False, last=event.at)
    if event.renewal not in facts.named_by:
        facts = replace(facts, named_by=(*facts.named_by, event.renewal))
    sealed_to = event.body.get("recipients")
    return facts if sealed_to is None else _sealed(facts, sealed_to)


def _sealed(facts: KeyFacts, to: Sequence[str]) -> KeyFacts:
    return replace(facts, recipients=tuple(to), may_open=frozenset(to), surely_opens=frozenset(to))


def _uses(topics: Mapping[str, TopicHistory], now: datetime) -> list[tuple[Use, str]]:
    found: list[tuple[Use, str]] = []
    for topic_id in sorted(topics):
        history = topics[topic_id]
        wanted: list[tuple[Role, PairRef | None]] = [(Role.CURRENT, history.current)]
        latest, renewal = history.latest, history.open
        if renewal is not None:
            wanted.append((Role.ACCEPTED, renewal.accepted))
            if renewal.accepted is None and renewal.key_fingerprint is not None:
                found.append((Use(topic_id, Role.PENDING), renewal.key_fingerprint))
        previous = None if latest is None else latest.previous
        # After the end of a renewal `accept --previous` and `adopt` are still a way back, as long as that
        # certificate is valid; to the pair before the one in use even while the next renewal is open.
        if previous is not None and (renewal is not None or previous.not_after > now):
            wanted.append((Role.PREVIOUS, previous))
        before = history.before
        if before is not None and before != previous and before.not_after > now:
            wanted.append((Role.PREVIOUS, before))
        found += [
            (Use(topic_id, role, pair), pair.key_fingerprint)
            for role, pair in wanted
            if pair is not None and pair.key_fingerprint is not None
        ]
    return found


def _rekey_started(found: dict[str, KeyFacts], body: Mapping[str, Any]) -> None:
    """Begun and not told of: whom these are sealed to is not known."""
    to = frozenset(body["recipients"])
    for name in body["keys"]:
        if name in found:
            before = found[name]
            may_open, surely = before.may_open | to, before.surely_opens & to
            found[name] = replace(before, recipients=None, may_open=may_open, surely_opens=surely)


def _key_resealed(found: dict[str, KeyFacts], body: Mapping[str, Any]) -> None:
    name = body["key_fingerprint"]
    if name in found:
        found[name] = _sealed(found[name], body["recipients"])


def _destruction_started(found: dict[str, KeyFacts], body: Mapping[str, Any]) -> None:
    for name in (key["key_fingerprint"] for key in body["keys"]):
        if name in found:
            found[name] = replace(found[name], destroying=True)


def _key_destroyed(found: dict[str, KeyFacts], body: Mapping[str, Any]) -> None:
    name = body["key_fingerprint"]
    if name in found:
        found[name] = replace(found[name], destroyed=True)


_STEPS: Mapping[Kind, Callable[[dict[str, KeyFacts], Mapping[str, Any]], None]] = {
    Kind.REKEY_STARTED: _rekey_started,
    Kind.KEY_RESEALED: _key_resealed,
    Kind.DESTRUCTION_STARTED: _destruction_started,
    Kind.KEY_DESTROYED: _key_destroyed,
}


def _after_key_store(found: dict[str, KeyFacts], events: Sequence[Event]) -> dict[str, KeyFacts]:
    for event in events:
        if event.kind in _STEPS:
            _STEPS[event.kind](found, event.body)
    return found
