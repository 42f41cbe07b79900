"""What the status page tells, as values: inventory, snapshot and the time in. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from exporter.collectors.certificates import shown
from exporter.collectors.renewals import nodes_owed
from exporter.snapshot import Known, NodeFacts, RenewalFacts, Snapshot
from renewctl.inventory.reading import Inventory, Topic
from renewctl.node_view import NodeView, as_owed, is_fault, same
from renewctl.observation import DeviceCounts, Failure, Observation, Source
from renewctl.overview import TopicView, Turn, looks_first, view
from renewctl.renewal.history import history_of, misnamed
from renewctl.topic_warnings import Warn, owed_warnings

CRITICAL = timedelta(days=14)
"""From here on a date is critical: the threshold of the alert MdmPushCertificateRenewalCritical."""

REACHABLE_SECONDS = 604_800
"""A device that checked in within 7 days counts as reachable, as on the dashboard."""

_OF_THE_DATE = frozenset({"warning.expired", "warning.due", "warning.date_unknown"})
"""What the date itself says already, in its own place."""

OURS = frozenset({Source.RECORDED, Source.ADOPTED})
"""Our own records of a certificate, not a node's word."""


class Level(StrEnum):
    """How urgent a topic is, the most urgent first. The first four are of its date."""

    EXPIRED = "expired"
    UNKNOWN = "unknown"
    CRITICAL = "critical"
    DUE = "due"
    ATTENTION = "attention"  # the date is in order, something else is not
    OK = "ok"

    @property
    def of_the_date(self) -> bool:
        """The date is within the renewal window, past, or unknown."""
        return self not in {Level.ATTENTION, Level.OK}


@dataclass(frozen=True)
class NodeStatus:
    """One node of one topic.

    Attributes:
        view: what it serves, as `renewctl status` would say.
        facts: what else is known of the node.
        others: what its other sources say instead of what is shown; empty where they agree.
        devices_of: the node whose storage tells of the same devices and stands above; None: count here.
    """

    view: NodeView
    facts: NodeFacts
    others: tuple[Known, ...]
    devices_of: str | None

    @property
    def silent(self) -> bool:
        """It was asked and did not answer."""
        return self.facts.up is False and self.facts.looked_at is not None

    @property
    def faulty(self) -> bool:
        """It did not tell all that it could."""
        return self.silent or any(map(is_fault, self.view.failures))


@dataclass(frozen=True)
class TopicStatus:
    """One topic.

    Attributes:
        view: as `renewctl status` would say; without renewal and steps while the store is unread.
        warnings: beyond the date.
        renewal: the newest renewal, also one only kept from before the exporter's start.
        stored: the inventory names a store; without one nothing is said of renewals.
        turn: None while the store has not been read.
        devices: checked in within `REACHABLE_SECONDS`, enrolled; None: no node tells.
    """

    view: TopicView
    level: Level
    nodes: tuple[NodeStatus, ...]
    warnings: tuple[Warn, ...]
    renewal: RenewalFacts | None
    stored: bool
    turn: Turn | None
    devices: tuple[int, int] | None


def topics_status(inventory: Inventory, snapshot: Snapshot, now: datetime) -> tuple[TopicStatus, ...]:
    """Every topic, the most urgent first."""
    told: dict[tuple[str, str], list[Known]] = defaultdict(list)
    for node, known in shown(inventory, snapshot):
        told[known.served.topic, node].append(known)
    kept = {facts.topic: facts for facts in snapshot.renewals}
    every = [
        _topic(inventory, snapshot, _for_anybody(topic), told, kept.get(topic.topic), now=now)
        for topic in inventory.topics
    ]
    return tuple(sorted(every, key=_urgency))


def _for_anybody(topic: Topic) -> Topic:
    """Without a web config anybody may read the page: of people it tells what `/metrics` tells.

    Which address one signs in with, who holds the second factor and who the deputy is, `renewctl status` and
    `renewctl renewal show` say, where the inventory is.
    """
    return replace(topic, deputy=None, account=replace(topic.account, address=None, second_factor=None))


def _urgency(topic: TopicStatus) -> tuple[int, float]:
    left = topic.view.not_after
    return list(Level).index(topic.level), 0 if left is None else left.timestamp()


def _topic(
    inventory: Inventory,
    snapshot: Snapshot,
    topic: Topic,
    told: Mapping[tuple[str, str], Sequence[Known]],
    kept: RenewalFacts | None,
    *,
    now: datetime,
) -> TopicStatus:
    read = snapshot.histories is not None
    recorded, names = snapshot.histories or {}, (topic.id, topic.topic)
    history = history_of(recorded, *names)
    by_node = {
        node.name: [
            known
            for known in told.get((topic.topic, node.name), ())
            # Of these the history tells more; it is asked wherever there is one.
            if not (read and known.served.source in OURS)
        ]
        for node in inventory.nodes_of(topic.id)
    }
    seen = {
        name: observed
        for name, known in by_node.items()
        if (observed := _observation(name, snapshot.node(name), known)) is not None
    }
    found = view(inventory, topic, history, seen, now, wrong_id=misnamed(recorded, *names))
    if not read:
        found = _as_kept(found, kept, [(name, one) for name, those in by_node.items() for one in those])
    found = replace(found, steps=looks_first(found))
    nodes = _nodes(found, snapshot, by_node)
    warnings = _warnings(found, nodes)
    return TopicStatus(
        view=found,
        level=_level(found, warnings, nodes, now),
        nodes=nodes,
        warnings=warnings,
        renewal=kept,
        stored=snapshot.store_up is not None,
        turn=found.turn if read else None,
        devices=_devices(nodes),
    )


def _observation(name: str, facts: NodeFacts, known: Sequence[Known]) -> Observation | None:
    """The facts of a node as one look of the time its certificate was told; None: never asked.

    Where its sources disagree, the one that ends first counts, as in the alerts.
    """
    first = min(known, key=lambda one: one.served.not_after, default=None)
    at = facts.looked_at if first is None else first.at
    if at is None:
        return None
    return Observation(
        node=name,
        at=at,
        up=facts.up,
        certificates=() if first is None else (first.served,),
        devices=facts.devices,
        failures=tuple(Failure(reason) for reason in dict.fromkeys(facts.failures)),
    )


def _as_kept(found: TopicView, kept: RenewalFacts | None, told: Sequence[tuple[str, Known]]) -> TopicView:
    """Without the store: nothing is said of steps, and owed is what was owed when it was last read."""
    names = {each.node.name for each in found.nodes}
    left = () if kept is None else nodes_owed(kept, names, told)
    owed = {} if kept is None else dict.fromkeys(left, as_owed(kept.bound_for))
    nodes = tuple(replace(node, state=owed.get(node.node.name, node.state)) for node in found.nodes)
    warnings = (*found.warnings, *owed_warnings(found.topic, owed))
    return replace(found, nodes=nodes, owed=tuple(owed), warnings=warnings, steps=())


def _nodes(
    found: TopicView, snapshot: Snapshot, by_node: Mapping[str, Sequence[Known]]
) -> tuple[NodeStatus, ...]:
    first: dict[str, str] = {}
    made = []
    for each in found.nodes:
        name = each.node.name
        told = each.devices is not None
        above = first.setdefault(each.node.storage, name) if told else name
        others = tuple(
            known
            for known in by_node[name]
            if each.serving is not None and not same(known.served, each.serving)
        )
        made.append(NodeStatus(each, snapshot.node(name), others, None if above == name else above))
    return tuple(made)


def _level(found: TopicView, warnings: Sequence[Warn], nodes: Sequence[NodeStatus], now: datetime) -> Level:
    keys = {warn.key for warn in found.warnings}
    if found.not_after is None:
        return Level.UNKNOWN
    if "warning.expired" in keys:
        return Level.EXPIRED
    if found.not_after - now < CRITICAL:
        return Level.CRITICAL
    if "warning.due" in keys:
        return Level.DUE
    wrong = any(warn.attention for warn in warnings) or any(node.faulty for node in nodes)
    return Level.ATTENTION if wrong else Level.OK


def _warnings(found: TopicView, nodes: Sequence[NodeStatus]) -> tuple[Warn, ...]:
    # That a node's files lie elsewhere is told in the node's own row.
    left_out = _OF_THE_DATE | {"warning.elsewhere"}
    warnings = [warn for warn in found.warnings if warn.key not in left_out]
    if any(node.others for node in nodes) and all(warn.key != "warning.disagree" for warn in warnings):
        warnings.append(Warn("warning.disagree", {"name": found.topic.name}))
    return tuple(warnings)


def _devices(nodes: Sequence[NodeStatus]) -> tuple[int, int] | None:
    """Counted once a storage, by the node that tells of most, as on the dashboard."""
    by_storage: dict[str, list[DeviceCounts]] = defaultdict(list)
    for node in nodes:
        if node.view.devices is not None:
            by_storage[node.view.node.storage].append(node.view.devices)
    if not by_storage:
        return None
    reachable = sum(max(map(reachable_of, counts)) for counts in by_storage.values())
    return reachable, sum(max(one.enabled for one in counts) for counts in by_storage.values())


def reachable_of(counts: DeviceCounts) -> int:
    """Devices that checked in within `REACHABLE_SECONDS`."""
    return counts.seen_within.get(REACHABLE_SECONDS, 0)
