"""The rules of order: which event may follow which, and what a renewal's events add up to.

No I/O and no clock: events in, state out. State is what the events fold to; nothing else is kept.

- A renewal begins with `opened`; one topic has at most one renewal that has not ended.
- Whatever changes something outside the store is announced first (`…_started`) and told of after.
  A started step without an outcome is *unknown* until it is read back.
- `accepted` needs a key of ours: of this renewal's request, or of a pair of before; a node is touched only
  after it.
- `closed` and `aborted` end a renewal; nothing follows them.
- `restored`: the store is of before a loss; once a pair was accepted, every node is *unknown* from here.
- Nodes share storages: what is done through one may change what another serves. Which those are is told
  (`unsettled`); they are *unknown* until they are read back.
- A node that left the inventory cannot be asked any more; no phase that others reach speaks for it. What was
  done to a node the renewal did not know may have been done to this one, under another name.
- A question that was not answered leaves what is known of a node; the answer that its last step was cut off
  takes a proof away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from renewctl.errors import Refused
from renewctl.reasons import Reason, Word
from renewctl.renewal.events import Direction, Event, Kind, Outcome, PairRef
from renewctl.renewal.state import ENDED, NodeState, Phase, Renewal, SignedRequest

__all__ = [
    "ENDED",
    "Direction",
    "NodeState",
    "Outcome",
    "Phase",
    "Renewal",
    "SignedRequest",
    "apply",
    "behind",
    "but",
    "fold",
    "gone",
    "may",
    "missing",
    "out_of_order",
    "owed",
    "owed_previous",
    "require",
]

_BEFORE_NODES = frozenset({Phase.OPEN, Phase.CSR_MADE, Phase.REQUESTED})
_WITH_PAIR = frozenset({Phase.ACCEPTED, Phase.ROLLING_OUT, Phase.INSTALLED, Phase.PROVEN, Phase.ROLLED_BACK})
_TOUCHED = _WITH_PAIR - {Phase.ACCEPTED}

_Changes = dict[str, Any]
"""Fields of a `Renewal` that an event changes, with their new values."""

_MAY_FOLLOW: Mapping[Kind, frozenset[Phase]] = {
    Kind.KEY_MADE: _BEFORE_NODES,
    Kind.CSR_MADE: _BEFORE_NODES,
    Kind.REQUESTED: frozenset({Phase.CSR_MADE, Phase.REQUESTED}),
    Kind.CERTIFICATE_REFUSED: _BEFORE_NODES | {Phase.ACCEPTED},
    Kind.ACCEPTED: _BEFORE_NODES,  # without a CSR: a pair of before, whose key is kept
    Kind.ROLL_OUT_STARTED: _WITH_PAIR,
    Kind.WAVE_STARTED: _TOUCHED,
    Kind.NODE_FINISHED: _TOUCHED,
    Kind.NODE_VERIFIED: _TOUCHED,
    Kind.ROLL_OUT_FINISHED: frozenset({Phase.ROLLING_OUT}),
    Kind.ROLL_BACK_STARTED: _TOUCHED,
    Kind.ROLL_BACK_FINISHED: _TOUCHED,
    Kind.CLOSED: frozenset({Phase.INSTALLED, Phase.PROVEN}),
    Kind.ABORTED: _BEFORE_NODES | {Phase.ACCEPTED, Phase.ROLLED_BACK},
    Kind.RESTORED: frozenset(Phase) - ENDED,
}


def may(renewal: Renewal, kind: Kind) -> bool:
    """Whether an event of this kind may follow now."""
    return renewal.phase in _MAY_FOLLOW.get(kind, frozenset())


def require(renewal: Renewal, kind: Kind) -> None:
    """Check that an event of this kind may follow.

    Raises:
        Refused: `out_of_order`, with the phase the renewal is in and those the step may follow.
    """
    if not may(renewal, kind):
        raise out_of_order(renewal, kind)


def out_of_order(renewal: Renewal, kind: Kind) -> Refused:
    """What was asked cannot follow in this phase; those it can follow in are named."""
    others = _MAY_FOLLOW.get(kind, frozenset()) - {renewal.phase}
    return Refused(
        Reason.OUT_OF_ORDER,
        renewal=renewal.name,
        got=Word(f"phase.{renewal.phase}"),
        step=Word(f"event.{kind}"),
        expected=[Word(f"phase.{phase}") for phase in Phase if phase in others],
    )


def fold(events: Iterable[Event]) -> Renewal | None:
    """What the events of one renewal add up to; None for none, and for `adopted` and `restored` alone.

    Raises:
        Refused: `history_broken` where an event does not follow the one before it.
    """
    renewal: Renewal | None = None
    for event in events:
        if event.kind is Kind.ADOPTED or (renewal is None and event.kind is Kind.RESTORED):
            continue
        renewal = _begin(event) if renewal is None else apply(renewal, event)
    return renewal


def apply(renewal: Renewal, event: Event) -> Renewal:
    """The renewal after one more event.

    Raises:
        Refused: `history_broken` where it may not follow.
    """
    if event.seq != renewal.seq + 1 or not may(renewal, event.kind):
        raise _broken(event, f"{renewal.seq + 1} after {renewal.phase.value}")
    changes = _STEPS[event.kind](renewal, event)
    # not `replace`, which looks up each field by name: a history has thousands of events
    return Renewal(**{**vars(renewal), **changes, "seq": event.seq, "last_at": event.at})


def _broken(event: Event, expected: str) -> Refused:
    got = f"{event.seq} {event.kind.value}"
    return Refused(Reason.HISTORY_BROKEN, renewal=event.renewal, got=got, expected=expected)


def _begin(event: Event) -> Renewal:
    if event.kind is not Kind.OPENED or event.seq != 1:
        raise _broken(event, "1 opened")
    previous = event.body["previous"]
    return Renewal(
        name=event.renewal,
        topic_id=event.body["topic_id"],
        topic=event.body["topic"],
        phase=Phase.OPEN,
        seq=1,
        opened_at=event.at,
        opened_by=event.actor,
        last_at=event.at,
        previous=None if previous is None else PairRef.from_body(previous),
    )


def _key_made(renewal: Renewal, event: Event) -> _Changes:
    return {
        "phase": Phase.OPEN,
        "key_fingerprint": event.body["key_fingerprint"],
        "kept_csr": event.body.get("document"),
        "csr": None,
        "request": None,
        "asked_before": renewal.asked_before or renewal.request is not None,
    }


def _csr_made(_renewal: Renewal, event: Event) -> _Changes:
    made = {"key_fingerprint": event.body["key_fingerprint"], "csr": event.body["document"]}
    return {"phase": Phase.CSR_MADE, "request": None, **made}


def _requested(_renewal: Renewal, event: Event) -> _Changes:
    body = event.body
    last_day = datetime.fromisoformat(body["last_day"])
    signed = SignedRequest(body["document"], last_day, body["signer"], body["serial"], body.get("file"))
    return {"phase": Phase.REQUESTED, "request": signed, "restored": False}


def _refused(renewal: Renewal, _event: Event) -> _Changes:
    return {"refusals": renewal.refusals + 1}


def _accepted(_renewal: Renewal, event: Event) -> _Changes:
    pair = PairRef.from_body(event.body["pair"])
    if pair.key_fingerprint is None:
        raise _broken(event, "key_fingerprint")
    return {
        "phase": Phase.ACCEPTED,
        "topic": event.body["topic"],  # a UID mistyped when it was opened has been put right
        "accepted": pair,
        "accepted_at": event.at,
    }


def _roll_out_started(_renewal: Renewal, event: Event) -> _Changes:
    body = event.body
    return {
        "phase": Phase.ROLLING_OUT,
        "run": body["run"],
        "moving": Direction.NEW,
        "planned": tuple(node for wave in body["waves"] for node in wave),
        "forward_only": body["forward_only"],
        "left_out": dict(body["left_out"]),
    }


def _wave_started(renewal: Renewal, event: Event) -> _Changes:
    body = event.body
    direction, storages = Direction(body["direction"]), body.get("storages") or {}
    nodes = {
        name: NodeState(direction, Outcome.UNKNOWN, event.at, body["run"], storage=storages.get(name))
        for name in body["nodes"]
    }
    return {"phase": Phase.ROLLING_OUT, "nodes": {**renewal.nodes, **_unsettled(renewal, event), **nodes}}


def _unsettled(renewal: Renewal, event: Event) -> dict[str, NodeState]:
    """Those that share the storage of one that is being changed: unknown."""
    return {
        name: _unknown(renewal.nodes[name], event.at, event.body.get("run"))
        for name in event.body.get("unsettled") or ()
        if name in renewal.nodes
    }


def _unknown(state: NodeState, at: datetime, run: int | None) -> NodeState:
    return NodeState(state.direction, Outcome.UNKNOWN, at, run, storage=state.storage, unsettled=True)


def _node_finished(renewal: Renewal, event: Event) -> _Changes:
    body = event.body
    before = renewal.nodes.get(body["node"])
    direction = body.get("direction") or (before.direction if before else Direction.NEW)
    state = NodeState(
        Direction(direction),
        Outcome(body["outcome"]),
        event.at,
        body.get("run"),
        body.get("proof"),
        body.get("reason"),
        body.get("values") or {},
        before.storage if before else None,
    )
    return {"nodes": {**renewal.nodes, **_unsettled(renewal, event), body["node"]: state}}


def _node_verified(renewal: Renewal, event: Event) -> _Changes:
    body = event.body
    before = renewal.nodes.get(body["node"])
    answered = body["outcome"] != Outcome.UNKNOWN or body.get("reason") == Reason.NODE_STEP_UNFINISHED
    if before is not None and not answered:
        reason, values = body.get("reason"), body.get("values") or {}
        asked = replace(before, unanswered=event.at, reason=reason, values=values)
        return {"nodes": {**renewal.nodes, body["node"]: asked}}
    changes = _node_finished(renewal, event)
    return changes if renewal.moving else {**changes, "phase": _reached(changes["nodes"], renewal.planned)}


def _roll_out_finished(renewal: Renewal, _event: Event) -> _Changes:
    return {"moving": None, "phase": _reached(renewal.nodes, renewal.planned)}


def _roll_back_started(_renewal: Renewal, event: Event) -> _Changes:
    return {
        "phase": Phase.ROLLING_OUT,
        "run": event.body["run"],
        "moving": Direction.PREVIOUS,
        "planned": tuple(event.body["nodes"]),
    }


def _roll_back_finished(renewal: Renewal, _event: Event) -> _Changes:
    left = [node for node in renewal.planned if renewal.has_new(node)]
    return {"moving": None, "phase": Phase.ROLLING_OUT if left else Phase.ROLLED_BACK}


def _restored(renewal: Renewal, event: Event) -> _Changes:
    if renewal.accepted is None:
        return {"restored": True}
    names = tuple(dict.fromkeys([*event.body["nodes"], *renewal.nodes]))
    if not names:  # of another inventory than the one that restored: nothing is known to have been rolled out
        return {}
    begun = NodeState(Direction.NEW, Outcome.UNKNOWN, event.at, None)
    known = {
        n: replace(begun, direction=state.direction, storage=state.storage)
        for n, state in renewal.nodes.items()
    }
    nodes = {**dict.fromkeys(names, begun), **known}
    return {"phase": Phase.ROLLING_OUT, "moving": None, "planned": names, "left_out": {}, "nodes": nodes}


def _closed(_renewal: Renewal, event: Event) -> _Changes:
    return {"phase": Phase.CLOSED, "let_go": tuple(event.body.get("let_go") or ())}


def _aborted(_renewal: Renewal, event: Event) -> _Changes:
    return {"phase": Phase.ABORTED, "let_go": tuple(event.body.get("let_go") or ())}


_STEPS: Mapping[Kind, Callable[[Renewal, Event], _Changes]] = {
    Kind.KEY_MADE: _key_made,
    Kind.CSR_MADE: _csr_made,
    Kind.REQUESTED: _requested,
    Kind.CERTIFICATE_REFUSED: _refused,
    Kind.ACCEPTED: _accepted,
    Kind.ROLL_OUT_STARTED: _roll_out_started,
    Kind.WAVE_STARTED: _wave_started,
    Kind.NODE_FINISHED: _node_finished,
    Kind.NODE_VERIFIED: _node_verified,
    Kind.ROLL_OUT_FINISHED: _roll_out_finished,
    Kind.ROLL_BACK_STARTED: _roll_back_started,
    Kind.ROLL_BACK_FINISHED: _roll_back_finished,
    Kind.CLOSED: _closed,
    Kind.ABORTED: _aborted,
    Kind.RESTORED: _restored,
}


def _reached(nodes: Mapping[str, NodeState], planned: Sequence[str]) -> Phase:
    """Installed once every planned node was read back with the new pair, proven once each is proven."""
    if not nodes:
        return Phase.ACCEPTED  # stopped before any node was touched
    states = [nodes.get(node) for node in planned]
    if not all(state is not None and state.has_new for state in states):
        return Phase.ROLLING_OUT
    if all(state is not None and state.outcome is Outcome.PROVEN for state in states):
        return Phase.PROVEN
    return Phase.INSTALLED


def owed(renewal: Renewal, nodes: Sequence[str]) -> tuple[str, ...]:
    """Which of a topic's nodes are still owed the accepted pair: none before that, or after the end.

    No renewal ends while it owes a node of the inventory, and none brings its pair to one that comes later.
    """
    if renewal.accepted is None or renewal.ended or renewal.phase is Phase.ROLLED_BACK:
        return ()
    return tuple(node for node in nodes if not renewal.has_new(node))


def owed_previous(renewal: Renewal, nodes: Sequence[str]) -> tuple[str, ...]:
    """Which of a topic's nodes this renewal touched and a roll-back is not known to have put back."""
    if renewal.ended or renewal.bound_for is not Direction.PREVIOUS:
        return ()
    return tuple(node for node in nodes if node in renewal.nodes and not renewal.has_previous_back(node))


def gone(renewal: Renewal, nodes: Sequence[str], bound_for: Direction | None = None) -> tuple[str, ...]:
    """Nodes an open renewal touched that are none of its topic any more, not known to hold what they should.

    Args:
        bound_for: which pair that is; None: the one the renewal itself is bound for.
    """
    back = (bound_for or renewal.bound_for) is Direction.PREVIOUS
    holds = renewal.has_previous_back if back else renewal.has_new
    left = set(renewal.nodes) - set(nodes)
    return () if renewal.ended else tuple(name for name in renewal.nodes if name in left and not holds(name))


def missing(renewal: Renewal, nodes: Sequence[str]) -> tuple[str, ...]:
    """Nodes not known to have the pair the renewal is bound for; on the way back, those that are gone too."""
    if renewal.bound_for is Direction.PREVIOUS:
        return (*owed_previous(renewal, nodes), *gone(renewal, nodes))
    return owed(renewal, nodes)


def behind(renewal: Renewal, nodes: Sequence[str]) -> tuple[str, ...]:
    """Nodes of which the phase alone would say too much: it must not be shown without them."""
    if renewal.ended:
        return renewal.let_go
    told = {Phase.INSTALLED, Phase.PROVEN, Phase.ROLLED_BACK}
    return missing(renewal, nodes) if renewal.phase in told else ()


def but(phase: Phase) -> Word:
    """The sentence a phase is told in while nodes are `behind`."""
    if phase in ENDED:
        return Word("phase.but_let_go")
    return Word("phase.but_not_back" if phase is Phase.ROLLED_BACK else "phase.but_owed")
