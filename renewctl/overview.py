"""What `status` and the status page tell of one topic: inventory, events and observations together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from renewctl.certificate.pushcert import days_left
from renewctl.errors import Refused
from renewctl.guidance import Situation, Step, command, next_steps
from renewctl.inventory.reading import Inventory, Topic
from renewctl.node_view import NodeView, State, as_owed, is_fault, node_view, with_newer_pairs
from renewctl.observation import Failure, Observation
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.rules import Phase, Renewal, gone, owed, owed_previous
from renewctl.renewal.served import serving
from renewctl.topic_warnings import (
    Warn,
    date_warnings,
    gone_warnings,
    id_warnings,
    node_warnings,
    record_warnings,
    request_warnings,
)


class Turn(StrEnum):
    """Whose turn it is."""

    OPERATOR = "operator"
    PERSON = "person"
    VENDOR = "vendor"
    NOBODY = "nobody"


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

    `seen` is node name -> the look just taken (nodes not asked are absent); `options` is what every further
    command line needs again; `wrong_id`: why its id and UID do not go with the record; `store_missing`: the
    history is empty because there is no store; `vendor_refuses`: why nothing can be signed here.
    """
    configured = inventory.nodes_of(topic.id)
    accepted = _accepted(history)
    names = [node.name for node in configured]
    back = _not_back(accepted, names, topic, seen)
    left_owed = _owed(accepted, names, back)
    nodes = tuple(node_view(node, topic, history, seen.get(node.name), left_owed) for node in configured)
    not_after = _end(nodes, history)
    elsewhere = with_newer_pairs(nodes, history)
    warnings = [
        *date_warnings(topic, not_after, now),
        *node_warnings(topic, nodes, left_owed),
        *record_warnings(topic, nodes, elsewhere),
        *gone_warnings(topic, history.open, names),
        *id_warnings(topic, wrong_id),
        *request_warnings(topic, history.open, now),
    ]
    situation = Situation(
        topic,
        history,
        now,
        owed=tuple(left_owed),
        owed_previous=back,
        gone=() if history.open is None else gone(history.open, names),
        wrong_id=wrong_id,
        renewed_elsewhere=bool(elsewhere),
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


def _end(nodes: Sequence[NodeView], history: TopicHistory) -> datetime | None:
    ends = [view.serving.not_after for view in nodes if view.serving is not None]
    if ends:
        return min(ends)
    return None if history.current is None else history.current.not_after


def _turn(topic: Topic, renewal: Renewal | None, *, urgent: bool) -> Turn:
    if renewal is None:
        return Turn.OPERATOR if urgent else Turn.NOBODY
    if renewal.phase is Phase.REQUESTED:
        return Turn.PERSON
    if renewal.phase is Phase.CSR_MADE and (topic.vendor is None or topic.vendor.key is None):
        return Turn.VENDOR
    return Turn.OPERATOR
