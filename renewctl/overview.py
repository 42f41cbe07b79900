"""What `status` and the status page tell of one topic: inventory, events and observations together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from renewctl.certificate.pushcert import days_left
from renewctl.errors import Refused
from renewctl.guidance import Situation, Step, command, next_steps
from renewctl.inventory.reading import Inventory, Keys, Node, Topic
from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Outcome, PairRef
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.rules import NodeState, Phase, Renewal, gone, owed, owed_previous
from renewctl.renewal.served import is_pair, is_stranger, serving

REQUEST_WARNING = timedelta(days=14)
"""How long before its last day a request is warned of."""


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


class Turn(StrEnum):
    """Whose turn it is."""

    OPERATOR = "operator"
    PERSON = "person"
    VENDOR = "vendor"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Warn:
    """Something a person should know.

    Attributes:
        key: of the sentence (`warning.…`).
        attention: it makes `status` end with exit code 4.
    """

    key: str
    values: Mapping[str, object] = field(default_factory=dict)
    attention: bool = True


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


@dataclass(frozen=True)
class TopicView:
    """One topic.

    Attributes:
        not_after: the earliest end of what its nodes serve; what was adopted where no node tells.
        owed: nodes not known to have the pair they should have: from a roll-back on, the previous one.
        left_out: node -> why it was left out of the roll-out, for those that are owed because of it.
    """

    topic: Topic
    not_after: datetime | None
    left: int | None
    nodes: tuple[NodeView, ...]
    renewal: Renewal | None
    turn: Turn
    owed: tuple[str, ...]
    left_out: Mapping[str, str]
    warnings: tuple[Warn, ...]
    steps: tuple[Step, ...]

    @property
    def urgent(self) -> bool:
        """The date is within the topic's window, past, or unknown."""
        return any(
            warn.key in {"warning.due", "warning.expired", "warning.date_unknown"} for warn in self.warnings
        )


def key_warnings(keys: Keys) -> list[Warn]:
    """What is to be said of those who can open keys: one alone may be lost, and nobody is left."""
    if len(keys.recipients) == 1:
        return [Warn("warning.recipients_one", attention=False)]
    return [] if keys.escrow else [Warn("warning.escrow_none", attention=False)]


def view(
    inventory: Inventory,
    topic: Topic,
    history: TopicHistory,
    seen: Mapping[str, Observation],
    now: datetime,
    options: Sequence[str] = (),
    *,
    wrong_id: Refused | None = None,
    store_missing: bool = False,
    vendor_refuses: Reason | None = None,
) -> TopicView:
    """Everything there is to say of one topic.

    `seen` is node name -> the look just taken (nodes not asked are absent); `options` is what every
    further command line needs again; `wrong_id`: why its id and UID do not go with the record;
    `store_missing`: the history is empty because there is no store; `vendor_refuses`: why nothing can be
    signed here.
    """
    configured = inventory.nodes_of(topic.id)
    accepted = _accepted(history)
    names = [node.name for node in configured]
    back = _not_back(accepted, names, topic, seen)
    left_owed = _owed(accepted, names, back)
    nodes = tuple(_node(node, topic, history, seen.get(node.name), left_owed) for node in configured)
    not_after = _end(nodes, history)
    warnings = [
        *_date_warnings(topic, not_after, now),
        *_node_warnings(topic, nodes, left_owed),
        *_record_warnings(topic, nodes, history),
        *_gone_warnings(topic, history.open, names),
        *_id_warnings(topic, wrong_id),
        *_request_warnings(topic, history.open, now),
    ]
    situation = Situation(
        topic,
        history,
        now,
        owed=tuple(left_owed),
        owed_previous=back,
        gone=() if history.open is None else gone(history.open, names),
        wrong_id=wrong_id,
        not_after=not_after,
        options=options,
        store_missing=store_missing,
        vendor_refuses=vendor_refuses,
    )
    return TopicView(
        topic=topic,
        not_after=not_after,
        left=None if not_after is None else days_left(not_after, now),
        nodes=nodes,
        renewal=history.latest,
        turn=_turn(topic, history.open, urgent=bool(warnings)),
        owed=tuple(left_owed),
        left_out={} if accepted is None else _of(accepted.left_out, left_owed),
        warnings=tuple(warnings),
        steps=next_steps(situation),
    )


def looks_first(shown: TopicView, options: Sequence[str] = ()) -> tuple[Step, ...]:
    """First look at the topic's nodes that did not tell all; then the rest, unless that is nothing."""
    troubled = {each.node.name: each.failures for each in shown.nodes if any(map(is_fault, each.failures))}
    look = tuple(_look_at(name, troubled[name], options) for name in sorted(troubled))
    return (*look, *(step for step in shown.steps if not look or step.key != "next.nothing_due"))


def _look_at(node: str, failures: Sequence[Failure], options: Sequence[str]) -> Step:
    """To ask again where that may tell more; a PKCS#12 file that no roll-out made stays closed."""
    if {failure.reason for failure in failures if is_fault(failure)} == {Reason.NODE_CERTIFICATE_LOCKED}:
        return Step("next.locked_node", {"node": node})
    return Step("next.look_at_node", {"node": node}, command(options, "node", "observe", node))


def is_fault(failure: Failure) -> bool:
    """That a pair lies on another host is no fault: there the roll-out reads it back."""
    return failure.reason is not Reason.NODE_CERTIFICATE_ELSEWHERE


def _accepted(history: TopicHistory) -> Renewal | None:
    """The newest that can owe a node anything: one just opened owes nothing yet."""
    return next((one for one in reversed(history.renewals) if one.accepted is not None), None)


def _not_back(
    renewal: Renewal | None, nodes: list[str], topic: Topic, seen: Mapping[str, Observation]
) -> tuple[str, ...]:
    """Nodes a roll-back is not known to have put back, or seen with the new pair since."""
    if renewal is None or renewal.accepted is None:
        return ()
    again = serving(seen, topic.topic, renewal.accepted) if renewal.phase is Phase.ROLLED_BACK else ()
    return tuple(node for node in nodes if node in {*owed_previous(renewal, nodes), *again})


def _owed(renewal: Renewal | None, nodes: list[str], back: Sequence[str]) -> dict[str, State]:
    """Nodes without the pair they should have; on the way back, one without the new pair has it."""
    if renewal is None:
        return {}
    left = back if renewal.bound_for is Direction.PREVIOUS else owed(renewal, nodes)
    return dict.fromkeys(left, as_owed(renewal.bound_for))


def _of(reasons: Mapping[str, str], nodes: Iterable[str]) -> dict[str, str]:
    return {node: reasons[node] for node in nodes if node in reasons}


def _node(
    node: Node,
    topic: Topic,
    history: TopicHistory,
    seen: Observation | None,
    left_owed: Mapping[str, State],
) -> NodeView:
    recorded = history.recorded(node.name)
    observed = None if seen is None else seen.serving(topic.topic)
    serving, at = observed, None if seen is None or observed is None else seen.at
    if serving is None and recorded is not None:
        serving, at = _as_served(topic, recorded.pair), recorded.at
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


def _as_served(topic: Topic, pair: PairRef) -> ServedCertificate:
    return ServedCertificate(
        topic=topic.topic,
        not_after=pair.not_after,
        source=Source.RECORDED,
        serial=pair.serial,
        fingerprint=pair.fingerprint,
        key_fingerprint=pair.key_fingerprint,
    )


def _end(nodes: Sequence[NodeView], history: TopicHistory) -> datetime | None:
    ends = [view.serving.not_after for view in nodes if view.serving is not None]
    if ends:
        return min(ends)
    return None if history.current is None else history.current.not_after


def _date_warnings(topic: Topic, not_after: datetime | None, now: datetime) -> list[Warn]:
    if not_after is None:
        return [Warn("warning.date_unknown", {"name": topic.name})]
    values = {"name": topic.name, "left": days_left(not_after, now), "not_after": not_after}
    if not_after <= now:
        return [Warn("warning.expired", values)]
    return [Warn("warning.due", values)] if not_after - now <= topic.window else []


def as_owed(bound_for: Direction) -> State:
    """What a node is that is not known to have the pair its renewal is bound for."""
    return State.OWED_PREVIOUS if bound_for is Direction.PREVIOUS else State.OWED


def owed_warnings(topic: Topic, left_owed: Mapping[str, State]) -> list[Warn]:
    """Of nodes that are owed a pair, and which it is."""
    values = {"name": topic.name, "nodes": ", ".join(left_owed)}
    return [Warn(f"warning.{state}", values) for state in dict.fromkeys(left_owed.values())]


def _node_warnings(topic: Topic, nodes: Sequence[NodeView], left_owed: Mapping[str, State]) -> list[Warn]:
    warnings = owed_warnings(topic, left_owed)
    unknown = [view.node.name for view in nodes if view.state is State.UNKNOWN]
    if unknown:
        warnings.append(Warn("warning.node_unknown", {"name": topic.name, "nodes": ", ".join(unknown)}))
    if elsewhere := [view.node.name for view in nodes if _lies_elsewhere(view)]:
        values = {"name": topic.name, "nodes": ", ".join(elsewhere)}
        warnings.append(Warn("warning.elsewhere", values, attention=False))
    settled = [view.serving for view in nodes if view.serving is not None and view.node.name not in left_owed]
    differing = any(not same(settled[0], other) for other in settled[1:])
    if differing or any(view.state is State.DISAGREES for view in nodes):
        warnings.append(Warn("warning.disagree", {"name": topic.name}))
    bad = [view.node.name for view in nodes if view.state in {State.WRONG, State.FAILED}]
    if bad:
        warnings.append(Warn("warning.node_failed", {"name": topic.name, "nodes": ", ".join(bad)}))
    return warnings


def _record_warnings(topic: Topic, nodes: Sequence[NodeView], history: TopicHistory) -> list[Warn]:
    """What nobody has written down: a roll-back would not bring it back."""
    strangers = [
        view.node.name
        for view in nodes
        if view.serving is not None and is_stranger(view.serving, history.pairs)
    ]
    values = {"name": topic.name, "nodes": ", ".join(strangers)}
    return [Warn("warning.not_on_record", values)] if strangers else []


def _gone_warnings(topic: Topic, renewal: Renewal | None, nodes: Sequence[str]) -> list[Warn]:
    """To take a node out is what a person may decide, but it puts none back."""
    if renewal is None or not (left := gone(renewal, nodes)):
        return []
    back = renewal.bound_for is Direction.PREVIOUS
    key = f"warning.gone_{renewal.bound_for.value}"
    return [Warn(key, {"name": topic.name, "nodes": ", ".join(left)}, attention=back)]


def _id_warnings(topic: Topic, wrong_id: Refused | None) -> list[Warn]:
    """Every command will refuse it."""
    if wrong_id is None:
        return []
    return [Warn(f"warning.{wrong_id.reason}", {"name": topic.name, **wrong_id.values})]


def _lies_elsewhere(view: NodeView) -> bool:
    """Why nothing is known of a node of files: they are another host's, and nothing was recorded yet."""
    reasons = {failure.reason for failure in view.failures}
    return view.serving is None and Reason.NODE_CERTIFICATE_ELSEWHERE in reasons


def _request_warnings(topic: Topic, renewal: Renewal | None, now: datetime) -> list[Warn]:
    if renewal is None or renewal.phase is not Phase.REQUESTED or renewal.request is None:
        return []
    last_day = renewal.request.last_day
    if last_day - now > REQUEST_WARNING:
        return []
    key = "warning.request_ended" if last_day <= now else "warning.request_ends"
    return [Warn(key, {"name": topic.name, "last_day": last_day})]


def _turn(topic: Topic, renewal: Renewal | None, *, urgent: bool) -> Turn:
    if renewal is None:
        return Turn.OPERATOR if urgent else Turn.NOBODY
    if renewal.phase is Phase.REQUESTED:
        return Turn.PERSON
    if renewal.phase is Phase.CSR_MADE and (topic.vendor is None or topic.vendor.key is None):
        return Turn.VENDOR
    return Turn.OPERATOR
