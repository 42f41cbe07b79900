"""What a person should know of a topic, as sentences of the catalogues. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from renewctl.certificate.pushcert import days_left
from renewctl.errors import Refused
from renewctl.inventory.reading import Keys, Topic
from renewctl.node_view import NodeView, State, same
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction
from renewctl.renewal.rules import Phase, Renewal, gone

REQUEST_WARNING = timedelta(days=14)
"""How long before its last day a request is warned of."""


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


def key_warnings(keys: Keys) -> list[Warn]:
    """What is to be said of those who can open keys: one alone may be lost, and nobody is left."""
    if len(keys.recipients) == 1:
        return [Warn("warning.recipients_one", attention=False)]
    return [] if keys.escrow else [Warn("warning.escrow_none", attention=False)]


def owed_warnings(topic: Topic, left_owed: Mapping[str, State]) -> list[Warn]:
    """Of nodes that are owed a pair, and which it is."""
    values = {"name": topic.name, "nodes": ", ".join(left_owed)}
    return [Warn(f"warning.{state}", values) for state in dict.fromkeys(left_owed.values())]


def date_warnings(topic: Topic, not_after: datetime | None, now: datetime) -> list[Warn]:
    """The date is within the window, past, or unknown."""
    if not_after is None:
        return [Warn("warning.date_unknown", {"name": topic.name})]
    values = {"name": topic.name, "left": days_left(not_after, now), "not_after": not_after}
    if not_after <= now:
        return [Warn("warning.expired", values)]
    return [Warn("warning.due", values)] if not_after - now <= topic.window else []


def node_warnings(topic: Topic, nodes: Sequence[NodeView], left_owed: Mapping[str, State]) -> list[Warn]:
    """Of nodes that are owed a pair, tell nothing, differ from each other, or did not take theirs."""
    warnings = owed_warnings(topic, left_owed)
    unknown = [view.node.name for view in nodes if view.state is State.UNKNOWN]
    if unknown:
        warnings.append(Warn("warning.node_unknown", {"name": topic.name, "nodes": ", ".join(unknown)}))
    if elsewhere := [view.node.name for view in nodes if _lies_elsewhere(view)]:
        values = {"name": topic.name, "nodes": ", ".join(elsewhere)}
        warnings.append(Warn("warning.elsewhere", values, attention=False))
    settled = [view.serving for view in nodes if view.serving is not None and view.node.name not in left_owed]
    if any(not same(settled[0], other) for other in settled[1:]):
        warnings.append(Warn("warning.disagree", {"name": topic.name}))
    bad = [view.node.name for view in nodes if view.state in {State.WRONG, State.FAILED}]
    if bad:
        warnings.append(Warn("warning.node_failed", {"name": topic.name, "nodes": ", ".join(bad)}))
    return warnings


def record_warnings(topic: Topic, nodes: Sequence[NodeView], elsewhere: Sequence[str]) -> list[Warn]:
    """Of nodes that serve something else than the record says.

    Args:
        elsewhere: those with a newer pair that is on no record.
    """
    others = [
        one.node.name for one in nodes if one.state is State.DISAGREES and one.node.name not in elsewhere
    ]
    told = {"warning.renewed_elsewhere": elsewhere, "warning.not_as_recorded": others}
    return [
        Warn(key, {"name": topic.name, "nodes": ", ".join(names)}) for key, names in told.items() if names
    ]


def gone_warnings(topic: Topic, renewal: Renewal | None, nodes: Sequence[str]) -> list[Warn]:
    """To take a node out is what a person may decide, but it puts none back."""
    if renewal is None or not (left := gone(renewal, nodes)):
        return []
    back = renewal.bound_for is Direction.PREVIOUS
    key = f"warning.gone_{renewal.bound_for.value}"
    return [Warn(key, {"name": topic.name, "nodes": ", ".join(left)}, attention=back)]


def id_warnings(topic: Topic, wrong_id: Refused | None) -> list[Warn]:
    """Every command will refuse it."""
    if wrong_id is None:
        return []
    return [Warn(f"warning.{wrong_id.reason}", {"name": topic.name, **wrong_id.values})]


def _lies_elsewhere(view: NodeView) -> bool:
    """Why nothing is known of a node of files: they are another host's, and nothing was recorded yet."""
    reasons = {failure.reason for failure in view.failures}
    return view.serving is None and Reason.NODE_CERTIFICATE_ELSEWHERE in reasons


def request_warnings(topic: Topic, renewal: Renewal | None, now: datetime) -> list[Warn]:
    """The request at the portal has a last day."""
    if renewal is None or renewal.phase is not Phase.REQUESTED or renewal.request is None:
        return []
    last_day = renewal.request.last_day
    if last_day - now > REQUEST_WARNING:
        return []
    key = "warning.request_ended" if last_day <= now else "warning.request_ends"
    return [Warn(key, {"name": topic.name, "last_day": last_day})]
