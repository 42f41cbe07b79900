"""What is to be said of one node: inventory, events and what it was seen serving together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from renewctl.inventory.reading import Node, Topic
from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Outcome
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.rules import NodeState
from renewctl.renewal.served import as_served, is_pair, renewed_elsewhere


class State(StrEnum):
    """What is to be said of one node."""

    SAME = "same"
    OWED = "owed"
    OWED_PREVIOUS = "owed_previous"  # a roll-back is not known to have put it back
    INSTALLED = "installed"
    PROVEN = "proven"
    UNKNOWN = "unknown"
    WRONG = "wrong"
    FAILED = "failed"
    DISAGREES = "disagrees"
    BACK = "back"  # put back to the previous pair, not proven yet
    BACK_PROVEN = "back_proven"


@dataclass(frozen=True)
class NodeView:
    """One node of one topic.

    Attributes:
        serving: what it was seen serving, else what was recorded; None: unknown.
        at: when that was seen or recorded.
    """

    node: Node
    serving: ServedCertificate | None
    at: datetime | None
    state: State
    up: bool | None = None
    devices: DeviceCounts | None = None
    failures: tuple[Failure, ...] = ()


def as_owed(bound_for: Direction) -> State:
    """What a node is that is not known to have the pair its renewal is bound for."""
    return State.OWED_PREVIOUS if bound_for is Direction.PREVIOUS else State.OWED


def is_fault(failure: Failure) -> bool:
    """That a pair lies on another host is no fault: there the roll-out reads it back."""
    return failure.reason is not Reason.NODE_CERTIFICATE_ELSEWHERE


def node_view(
    node: Node,
    topic: Topic,
    history: TopicHistory,
    seen: Observation | None,
    left_owed: Mapping[str, State],
) -> NodeView:
    """One node of one topic.

    Args:
        seen: the look just taken; None: it was not asked.
        left_owed: node name -> which pair it is owed.
    """
    recorded = history.recorded(node.name)
    observed = None if seen is None else seen.serving(topic.topic)
    serving, at = observed, None if seen is None or observed is None else seen.at
    if serving is None and recorded is not None:
        serving, at = as_served(topic.topic, recorded.pair, Source.RECORDED), recorded.at
    counts = [] if seen is None else [count for count in seen.devices or () if count.topic == topic.topic]
    return NodeView(
        node=node,
        serving=serving,
        at=at,
        state=_state(node, history, observed, serving, left_owed),
        up=None if seen is None else seen.up,
        devices=counts[0] if counts else None,
        failures=() if seen is None else seen.failures,
    )


def _state(
    node: Node,
    history: TopicHistory,
    observed: ServedCertificate | None,
    serving: ServedCertificate | None,
    left_owed: Mapping[str, State],
) -> State:
    renewal = history.latest
    told = None if renewal is None else renewal.nodes.get(node.name)
    if told is not None and told.outcome in {Outcome.UNKNOWN, Outcome.WRONG, Outcome.FAILED}:
        return State(told.outcome.value)
    if serving is None:
        return State.UNKNOWN
    recorded = history.recorded(node.name)
    if observed is not None and recorded is not None and not is_pair(observed, recorded.pair):
        return State.DISAGREES
    if node.name in left_owed:
        return left_owed[node.name]
    if told is not None:
        return _told(told)
    expected = history.current
    return State.DISAGREES if expected is not None and not is_pair(serving, expected) else State.SAME


def _told(state: NodeState) -> State:
    if state.direction is Direction.PREVIOUS:
        return State.BACK_PROVEN if state.outcome is Outcome.PROVEN else State.BACK
    return State(state.outcome.value)


def same(one: ServedCertificate, other: ServedCertificate) -> bool:
    """Whether two facts are of one certificate, as far as both tell: serial, else the date."""
    if one.serial is not None and other.serial is not None:
        return one.serial == other.serial
    return abs(one.not_after - other.not_after) < timedelta(seconds=1)


def with_newer_pairs(nodes: Sequence[NodeView], history: TopicHistory) -> list[str]:
    """Nodes with a pair nobody has written down: a roll-back would not bring it back.

    Measured, as a roll-out does, by the pair that would be put back.
    """
    current = history.current if history.open is None else history.open.previous
    if current is None:
        return []
    return [
        view.node.name
        for view in nodes
        if view.serving is not None and renewed_elsewhere(view.serving, history.pairs, current)
    ]
