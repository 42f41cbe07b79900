"""One look at the store: every renewal, folded. Failure is data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from exporter.poller import Change
from exporter.secrets_allowed import by_command
from exporter.snapshot import Known, RenewalFacts, Snapshot, not_later
from renewctl import secrets
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Inventory
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction
from renewctl.renewal.history import TopicHistory, histories, history_of
from renewctl.renewal.rules import Phase, Renewal, missing
from renewctl.renewal.served import as_served
from renewctl.secrets import SecretRef
from renewctl.store.head import head_of

log = logging.getLogger("exporter")


class StoreLook:
    """Reads every renewal of the store and folds them."""

    least_seconds = 0.0

    def __init__(self, inventory: Inventory) -> None:
        self.question = inventory
        self._inventory = inventory
        self._said = ""

    def look(self) -> Change:
        """Read; while that fails the last values stay."""
        at = datetime.now(UTC)
        try:
            topics, head = self._read()
        except RenewctlError as error:
            return self._down(str(error.reason))
        except Exception as error:
            log.debug("store", exc_info=error)
            return self._down(type(error).__name__)
        facts = tuple(renewal_facts(self._inventory, topics))
        known = adopted(self._inventory, topics)
        return lambda snapshot: self._publish(
            replace(
                snapshot,
                renewals=tuple(_not_ahead(one, snapshot.renewals, at) for one in facts),
                adopted=known,
                histories=topics,
                store_up=True,
                store_head=head,
                store_read=at,
            ),
            "read",
        )

    def overdue(self) -> Change:
        """The store does not answer."""
        return self._down("overdue")

    def silent(self, snapshot: Snapshot) -> bool:
        """The store could not be read."""
        return not snapshot.store_up

    def _read(self) -> tuple[dict[str, TopicHistory], str]:
        """Every topic's history, and the store's head."""
        from renewctl.database.sql_url import resolve  # noqa: PLC0415 - SQL only where used
        from renewctl.store.read import StoreReader  # noqa: PLC0415

        store = self._inventory.store
        if by_command(store):
            raise RenewctlError(Reason.SECRET_COMMAND_NOT_ALLOWED)
        url = secrets.read(store) if isinstance(store, SecretRef) else store
        with StoreReader(resolve(url, self._inventory.path)) as reader:
            events = reader.renewals()
        return histories(events), head_of(events)

    def _down(self, why: str) -> Change:
        now = datetime.now(UTC)
        return lambda snapshot: self._publish(
            replace(snapshot, store_up=False, store_read=not_later(snapshot.store_read, now)), why
        )

    def _publish(self, snapshot: Snapshot, words: str) -> Snapshot:
        if words != self._said:
            log.log(logging.INFO if snapshot.store_up else logging.WARNING, "store: %s", words)
            self._said = words
        return snapshot


def adopted(inventory: Inventory, topics: Mapping[str, TopicHistory]) -> dict[str, Known]:
    """UID -> the pair a person said is in use."""
    found: dict[str, Known] = {}
    for topic in inventory.topics:
        history = history_of(topics, topic.id, topic.topic)
        if history.adopted is not None and history.adopted_at is not None:
            served = as_served(topic.topic, history.adopted, Source.ADOPTED)
            found[topic.topic] = Known(served, history.adopted_at)
    return found


def renewal_facts(inventory: Inventory, topics: Mapping[str, TopicHistory]) -> Iterable[RenewalFacts]:
    """What there is to publish of each topic's renewals."""
    for topic in inventory.topics:
        history = history_of(topics, topic.id, topic.topic)
        own = history.renewals
        if not own:
            continue
        nodes = [node.name for node in inventory.nodes_of(topic.id)]
        # A renewal just opened has accepted nothing yet.
        accepted = next((renewal for renewal in reversed(own) if renewal.accepted is not None), None)
        left = () if accepted is None else missing(accepted, nodes)
        yield RenewalFacts(
            topic=topic.topic,
            renewal=own[-1].name,
            phase=own[-1].phase,
            accepted_at=None if accepted is None else accepted.accepted_at,
            owed=left,
            recorded=_recorded(history.since_adopted),
            bound_for=Direction.NEW if accepted is None else accepted.bound_for,
            left=accepted.accepted if accepted is not None and accepted.phase is Phase.ROLLED_BACK else None,
        )


def _recorded(oldest_first: Sequence[Renewal]) -> dict[str, Known]:
    """Node -> what was last installed there by us and read back, in these renewals."""
    found: dict[str, Known] = {}
    for renewal in oldest_first:
        pairs = {Direction.NEW: renewal.accepted, Direction.PREVIOUS: renewal.previous}
        for node, state in renewal.nodes.items():
            pair = pairs[state.direction]
            if pair is not None and renewal.was_read_back(node):
                found[node] = Known(as_served(renewal.topic, pair, Source.RECORDED), state.at)
            elif state.reason == Reason.NODE_STEP_UNDONE:  # it has neither this year's pair nor last year's
                found.pop(node, None)
    return found


def _not_ahead(facts: RenewalFacts, before: Iterable[RenewalFacts], now: datetime) -> RenewalFacts:
    """These facts, where a controller's clock may have run ahead.

    What it recorded is no younger than our first reading of it: else it would hide for so long what the node
    itself says. It stays so when our clock has come that far: it is the same record still, and what the node
    said meanwhile is later. What is recorded anew bears another time.
    """
    was = next((one for one in before if one.topic == facts.topic), replace(facts, recorded={}))
    found, ahead = {}, {}
    for node, known in facts.recorded.items():
        earlier = was.recorded.get(node)
        read_before = earlier is not None and was.ahead.get(node, earlier.at) == known.at
        at = earlier.at if earlier is not None and read_before else min(known.at, now)
        found[node] = Known(known.served, at)
        if at != known.at:
            ahead[node] = known.at
    return replace(facts, recorded=found, ahead=ahead)
