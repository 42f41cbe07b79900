"""The way back: every node a renewal touched is given the previous pair again, the newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from renewctl import playbook_run
from renewctl.certificate.pushcert import Pair
from renewctl.errors import Attention, Refused, RenewctlError
from renewctl.inventory.reading import Node, Topic
from renewctl.observation import Observation
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind, PairRef
from renewctl.renewal.rules import Direction, Outcome, Renewal, gone, require
from renewctl.renewal.served import serving
from renewctl.workflow.choices import Options, proof_variables
from renewctl.workflow.engine import Engine, NodeAnswer, fixed, lease_of, own_troubles
from renewctl.workflow.equipment import reloads_not_allowed
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.pairs import accepted, open_pair, told, way_back
from renewctl.workflow.run_numbers import superseded_by
from renewctl.workflow.workplace import Workplace


@dataclass(frozen=True)
class WayBack:
    """What a roll-back would do.

    Attributes:
        nodes: those the renewal has touched, oldest first; where some of these are gone, also those it does
            not know that have its pair all the same: they are these under other names.
        gone: those it has touched that left the inventory, not known to have the previous pair.
        doubt: why it would leave devices silent; None: nothing is known against the previous pair.
    """

    renewal: Renewal
    previous: PairRef
    nodes: Sequence[Node]
    gone: Sequence[str]
    doubt: Refused | None

    @property
    def variables(self) -> dict[str, Any]:
        """What the playbook must be told: it refuses an expired pair too, unless somebody was asked."""
        expired = self.doubt is not None and self.doubt.reason is Reason.ROLL_BACK_TO_EXPIRED
        return {"renewctl_previous_expired": expired}


def roll_back(work: Workplace, topic: Topic, options: Options, confirm: Callable[[Refused], bool]) -> Renewal:
    """Put every node this renewal touched back to the previous pair, newest first, each proven.

    A node that does not answer is left *owed the old pair*; the others go on.

    Args:
        confirm: asked where the way back is doubtful and `options` do not say that it is wanted all the same.

    Raises:
        Refused: nothing was touched, or there is no previous pair to put back; `roll_back_to_expired`,
            `roll_back_to_refused`, `roll_back_forward_only`: nobody said that it is wanted all the same.
        Attention: `roll_back_owed`, `roll_back_useless`, `roll_back_gone`.
    """
    back = can_roll_back(work, topic)
    if back.doubt is not None and not options.without_push and not confirm(back.doubt):
        raise back.doubt
    renewal = back.renewal
    with lease_of(work, renewal) as lease, told(work, accepted(renewal), back.previous) as pairs:
        body = {
            "nodes": [node.name for node in back.nodes],
            "pair": back.previous.as_body(),
            **_despite(back.doubt),
        }
        variables = {**pairs, **back.variables, **proof_variables(options)}
        engine = Engine(work, topic, lease, back.nodes, variables, forward_only=False)
        return _backward(engine, renewal, body, back.gone)


def can_roll_back(work: Workplace, topic: Topic) -> WayBack:
    """The way back of the open renewal, and what speaks against it. Changes no node.

    Raises:
        Refused: nothing was touched, or there is no previous pair to put back; `renewal_closed`.
    """
    playbook_run.require_ansible()
    if (closed := work.history(topic).closed) is not None:
        raise Refused(Reason.RENEWAL_CLOSED, renewal=closed.name, since=closed.last_at)
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_BACK_STARTED)
    previous = way_back(renewal)
    doubt = _doubt(work, renewal, open_pair(work, previous))
    by_name = {node.name: node for node in work.nodes(topic)}
    left = gone(renewal, list(by_name), Direction.PREVIOUS)
    nodes = [by_name[name] for name in renewal.nodes if name in by_name]
    if left:
        unknown = [node for name, node in by_name.items() if name not in renewal.nodes]
        nodes += _renamed(work, topic, accepted(renewal), unknown)
    # What keeps a roll-out from beginning keeps nobody from going back: such a node is owed.
    for lacking in reloads_not_allowed(nodes):
        work.tell("roll.back_not_allowed", lacking.values)
    return WayBack(renewal, previous, nodes, left, doubt)


def _renamed(work: Workplace, topic: Topic, pair: PairRef, unknown: Sequence[Node]) -> list[Node]:
    """Of nodes the renewal does not know, those that have its pair, a step that was cut off, or half a pair.

    One that cannot tell is left as it is: it may as well be a node nobody has touched.
    """
    if not unknown:
        return []
    ended = playbook_run.run(
        "observe",
        host_variables(unknown, work.nodes(topic)),
        fixed(work, topic),
        on_event=lambda _event: None,
    )
    seen = {name: look for name, one in ended.results.items() if (look := one.observation) is not None}
    theirs = {
        *serving(seen, topic.topic, pair),
        *(name for name, look in seen.items() if look.cut_off or look.mismatched),
    }
    if silent := [node.name for node in unknown if not _tells(seen.get(node.name), topic)]:
        work.tell("roll.back_not_told", {"nodes": ", ".join(silent)})
    return [node for node in unknown if node.name in theirs]


def _tells(look: Observation | None, topic: Topic) -> bool:
    return look is not None and look.serving(topic.topic) is not None


def _doubt(work: Workplace, renewal: Renewal, pair: Pair) -> Refused | None:
    """Why no push may go through with the previous pair, shown to the push service before any node is asked.

    A push service that gives no answer is no doubt: the way back must not hang on it.
    """
    from renewctl.apns import PushService  # noqa: PLC0415 - HTTP/2, only on the way back

    named = {"renewal": renewal.name, "serial": pair.certificate.serial, "option": "--without-push"}
    ended = pair.certificate.not_after
    if ended <= work.now():
        return Refused(Reason.ROLL_BACK_TO_EXPIRED, **named, not_after=ended)
    apns = work.inventory.apns
    shown = PushService(apns.url, apns.ca_file).check(pair)
    if shown.accepted is False:
        return Refused(Reason.ROLL_BACK_TO_REFUSED, **named, got=shown.detail or shown.reason)
    if shown.accepted is None:
        work.tell("roll.back_not_shown", {"got": shown.detail or shown.reason})
    return Refused(Reason.ROLL_BACK_FORWARD_ONLY, **named) if renewal.forward_only else None


def _despite(doubt: Refused | None) -> dict[str, Any]:
    """A doubt that was set aside, as events carry it."""
    told = {} if doubt is None else doubt.values
    values = {name: v.isoformat() if isinstance(v, datetime) else str(v) for name, v in told.items()}
    return {"despite": None if doubt is None else doubt.reason.value, "values": values}


def _backward(engine: Engine, renewal: Renewal, body: Mapping[str, Any], left: Sequence[str]) -> Renewal:
    """One playbook run: it takes the newest node first, one at a time, and stops at nobody.

    Nodes that carry a higher run than ours are taken once more, under a number above theirs.
    """
    names = [node.name for node in engine.nodes]
    begun = {**engine.lease.run.on_record(), **body}
    renewal = engine.work.append(renewal, Kind.ROLL_BACK_STARTED, begun)
    answers: list[NodeAnswer] = []
    if names:  # a roll-out killed before its first wave has touched none
        engine.work.tell("roll.back", {"nodes": ", ".join(reversed(names))})
        renewal, answers = engine.wave(renewal, "rollback", Direction.PREVIOUS, names)
    if carried := [run for answer in answers if (run := superseded_by(answer)) >= engine.lease.run.number]:
        engine.raise_above(max(carried))
        again = [answer.node for answer in answers if superseded_by(answer)]
        renewal, told_again = engine.wave(renewal, "rollback", Direction.PREVIOUS, again)
        answers = [answer for answer in answers if answer.node not in again] + told_again
    error = not_back(renewal, answers, left)
    body = {"run": engine.lease.run.number, "outcome": "owed" if error else "done", "reason": None}
    renewal = engine.append(renewal, Kind.ROLL_BACK_FINISHED, body)
    if error is not None:
        raise error
    return renewal


def not_back(renewal: Renewal, answers: Sequence[NodeAnswer], left: Sequence[str]) -> RenewctlError | None:
    """Which nodes have not the previous pair, or do not work with it: then asking again helps nobody.

    Args:
        left: touched nodes that are gone from the inventory.
    """
    bad = [answer for answer in answers if answer.outcome not in {Outcome.PROVEN, Outcome.INSTALLED}]
    lost = Attention(Reason.ROLL_BACK_GONE, renewal=renewal.name, nodes=", ".join(left)) if left else None
    if not bad:
        return lost
    useless = any(answer.outcome is Outcome.WRONG for answer in bad)
    reason = Reason.ROLL_BACK_USELESS if useless else Reason.ROLL_BACK_OWED
    error = Attention(reason, renewal=renewal.name, nodes=", ".join(answer.node for answer in bad))
    error.others = (*own_troubles(bad), *((lost,) if lost else ()))
    return error
