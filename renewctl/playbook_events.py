"""What a playbook run tells: typed events, each node's last word, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.proof import Proof
from renewctl.reasons import Reason


@dataclass(frozen=True)
class NodeResult:
    """The last word of one node.

    Attributes:
        outcome: unchanged, proven, not_proven, wrong, put_back, failed, held, unknown, observed, fenced;
            under check also would_install, would_put_back.
        proof: as `proof.Proof.from_json` reads it.
        reason: why, where it is not well; of a node put back: why it had to be; of one fenced: what was
            found there.
    """

    node: str
    outcome: str
    changed: bool = False
    observation: Observation | None = None
    proof: Mapping[str, Any] | None = None
    reason: Reason | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def took_part(self) -> bool:
        """It has taken the run: its reason, if any, tells what the fence found there, and refuses nothing."""
        return self.outcome == "fenced"


@dataclass(frozen=True)
class NodeStarted:
    """A step on a node begins: fenced, present, verified, put_back, observed."""

    node: str
    state: str


@dataclass(frozen=True)
class NodeDone:
    """A step on a node ended."""

    node: str
    state: str
    result: NodeResult


@dataclass(frozen=True)
class NodeUnreachable:
    """Ansible could not reach a node.

    Attributes:
        address: the host it tried.
        detail: what ssh said.
        command: what shows a person the same.
    """

    node: str
    address: str
    detail: str
    command: str


@dataclass(frozen=True)
class NodeStopped:
    """A node's part ended at a task that is no step: the gate, a hold, the stop after a put-back."""

    node: str
    task: str


@dataclass(frozen=True)
class PushServiceChecked:
    """Both pairs were shown to the push service.

    Attributes:
        accepted: nothing stands in the way.
        new, previous: what the service said of each, as plain values; None where there is no pair.
    """

    accepted: bool
    new: Mapping[str, Any] | None
    previous: Mapping[str, Any] | None
    reason: Reason | None
    values: Mapping[str, Any]


PlaybookEvent = NodeStarted | NodeDone | NodeUnreachable | NodeStopped | PushServiceChecked


@dataclass(frozen=True)
class Ended:
    """How a playbook ended. The exit code decides nothing; each node's own word does.

    Attributes:
        results: node -> its last word; a node that never had its turn is missing.
        push_service: what the pre-flight said, where there was one.
        tail: the last lines the child printed.
    """

    exit_code: int
    results: Mapping[str, NodeResult]
    push_service: PushServiceChecked | None = None
    tail: str = ""


def event_from_json(told: object) -> PlaybookEvent:
    """An event from one line of the collection's callback `renewctl.mdm.events`.

    Much of it a node said: whatever type a value is of, it is taken as written or not at all.

    Raises:
        ValueError: written by something else.
    """
    try:
        fields = dict(told)  # type: ignore[call-overload] # a TypeError is foreseen
        event = _EVENTS[fields["event"]](fields)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("no event of ours") from error
    return event


def last_word(before: NodeResult | None, event: NodeDone) -> NodeResult:
    """A node put back says why it had to be; one that could not be put back stays wrong."""
    result = event.result
    if event.state != "put_back" or before is None or before.outcome != "wrong":
        return result
    if result.outcome == "put_back":
        return replace(result, reason=before.reason, values=before.values)
    return replace(before, changed=True, observation=result.observation, proof=result.proof or before.proof)


def _node_done(told: Mapping[str, Any]) -> NodeDone:
    proof = told.get("proof")
    result = NodeResult(
        node=_text(told["node"]),
        outcome=_text(told["outcome"]),
        changed=bool(told.get("changed")),
        observation=_observation(told.get("observation")),
        proof=None if proof is None else Proof.from_json(proof).as_json(),
        reason=_reason(told.get("reason")),
        values=_values(told.get("values")),
    )
    return NodeDone(result.node, str(told.get("state", "")), result)


def _checked(told: Mapping[str, Any]) -> PushServiceChecked:
    return PushServiceChecked(
        accepted=told.get("outcome") == "accepted",
        new=_pair(told.get("new")),
        previous=_pair(told.get("previous")),
        reason=_reason(told.get("reason")),
        values=_values(told.get("values")),
    )


def _observation(told: Mapping[str, Any] | None) -> Observation | None:
    if told is None:
        return None
    devices = told["devices"]
    return Observation(
        node=_text(told["node"]),
        at=_instant(told["at"]),
        up=None if told["up"] is None else bool(told["up"]),
        certificates=tuple(_served(part) for part in told["certificates"]),
        devices=None if devices is None else tuple(_counts(part) for part in devices),
        version=_text_or_none(told["version"]),
        answered=tuple(Source(part) for part in told["answered"]),
        failures=tuple(Failure(Reason(part["reason"]), _values(part["values"])) for part in told["failures"]),
    )


def _served(told: Mapping[str, Any]) -> ServedCertificate:
    marks = {name: _text_or_none(told.get(name)) for name in _MARKS}
    return ServedCertificate(
        _text(told["topic"]), _instant(told["not_after"]), Source(told["source"]), **marks
    )


def _counts(told: Mapping[str, Any]) -> DeviceCounts:
    seen = {int(window): int(count) for window, count in told["seen_within"].items()}
    return DeviceCounts(_text(told["topic"]), int(told["enabled"]), seen)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _instant(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("an instant without a zone")
    return at


def _reason(value: str | None) -> Reason | None:
    return None if value is None else Reason(value)


def _values(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {_text(name): part for name, part in (value or {}).items()}


def _pair(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if value is None else _values(value)


_OF_UNREACHABLE = ("node", "address", "detail", "command")
_MARKS = ("serial", "fingerprint", "key_fingerprint", "issuer")

_EVENTS: Mapping[str, Callable[[Mapping[str, Any]], PlaybookEvent]] = {
    "started": lambda told: NodeStarted(_text(told["node"]), _text(told["state"])),
    "node": _node_done,
    "unreachable": lambda told: NodeUnreachable(*(_text(told[name]) for name in _OF_UNREACHABLE)),
    "stopped": lambda told: NodeStopped(_text(told["node"]), _text(told["task"])),
    "apns": _checked,
}
