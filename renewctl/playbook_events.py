"""What a playbook run tells: typed events, each node's last word, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason


@dataclass(frozen=True)
class NodeResult:
    """The last word of one node.

    Attributes:
        outcome: unchanged, proven, not_proven, wrong, put_back, failed, held, unknown, observed, fenced;
            under check also would_install, would_put_back.
        proof: as `verification.Proof.from_json` reads it.
        reason: why, where it is not well; of a node put back: why it had to be.
    """

    node: str
    outcome: str
    changed: bool = False
    observation: Observation | None = None
    proof: Mapping[str, Any] | None = None
    reason: Reason | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


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
        address: the host it tried, where the inventory names one.
        detail: what ssh said.
    """

    node: str
    address: str
    detail: str


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


def event_from_json(told: Mapping[str, Any]) -> PlaybookEvent:
    """An event from one line of the collection's callback `renewctl.mdm.events`."""
    return _EVENTS[told["event"]](told)


def last_word(before: NodeResult | None, event: NodeDone) -> NodeResult:
    """A node put back says why it had to be; one that could not be put back stays wrong."""
    result = event.result
    if event.state != "put_back" or before is None or before.outcome != "wrong":
        return result
    if result.outcome == "put_back":
        return replace(result, reason=before.reason, values=before.values)
    return replace(before, changed=True, observation=result.observation, proof=result.proof or before.proof)


def _node_done(told: Mapping[str, Any]) -> NodeDone:
    reason = told.get("reason")
    result = NodeResult(
        node=str(told["node"]),
        outcome=str(told["outcome"]),
        changed=bool(told.get("changed")),
        observation=_observation(told.get("observation")),
        proof=told.get("proof"),
        reason=None if reason is None else Reason(reason),
        values=told.get("values") or {},
    )
    return NodeDone(result.node, str(told.get("state", "")), result)


def _checked(told: Mapping[str, Any]) -> PushServiceChecked:
    reason = told.get("reason")
    return PushServiceChecked(
        accepted=told.get("outcome") == "accepted",
        new=told.get("new"),
        previous=told.get("previous"),
        reason=None if reason is None else Reason(reason),
        values=told.get("values") or {},
    )


def _observation(told: Mapping[str, Any] | None) -> Observation | None:
    if told is None:
        return None
    devices = told["devices"]
    return Observation(
        node=told["node"],
        at=datetime.fromisoformat(told["at"]),
        up=told["up"],
        certificates=tuple(
            ServedCertificate(
                **{
                    **part,
                    "not_after": datetime.fromisoformat(part["not_after"]),
                    "source": Source(part["source"]),
                }
            )
            for part in told["certificates"]
        ),
        devices=None
        if devices is None
        else tuple(
            DeviceCounts(p["topic"], p["enabled"], {int(k): v for k, v in p["seen_within"].items()})
            for p in devices
        ),
        version=told["version"],
        answered=tuple(Source(p) for p in told["answered"]),
        failures=tuple(Failure(Reason(p["reason"]), p["values"]) for p in told["failures"]),
    )


_EVENTS: Mapping[str, Callable[[Mapping[str, Any]], PlaybookEvent]] = {
    "started": lambda told: NodeStarted(told["node"], told["state"]),
    "node": _node_done,
    "unreachable": lambda told: NodeUnreachable(told["node"], told["address"], told["detail"]),
    "stopped": lambda told: NodeStopped(told["node"], told["task"]),
    "apns": _checked,
}
