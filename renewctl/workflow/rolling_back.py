"""The way back: every node a renewal touched is given the previous pair again, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renewctl.errors import Attention
from renewctl.inventory.reading import Node, Topic
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.renewal.rules import Direction, Outcome, Renewal, require
from renewctl.workflow.choices import Options, proof_variables
from renewctl.workflow.engine import Engine, NodeAnswer, lease_of, superseded_by
from renewctl.workflow.pairs import accepted, open_pair, told, way_back
from renewctl.workflow.workplace import Workplace


def roll_back(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Put every node this renewal touched back to the previous pair, newest first, each proven.

    A node that does not answer is left *owed the old pair*; the others go on.

    Raises:
        Refused: nothing was touched, or there is no previous pair to put back.
        Attention: `roll_back_owed`.
    """
    renewal = can_roll_back(work, topic)
    previous = way_back(renewal)
    nodes = touched(work, topic, renewal)
    with lease_of(work, renewal) as lease, told(work, accepted(renewal), previous) as pairs:
        body = {"nodes": [n.name for n in nodes], "pair": previous.as_body()}
        engine = Engine(work, topic, lease, nodes, {**pairs, **proof_variables(options)}, forward_only=False)
        return _backward(engine, renewal, body)


def touched(work: Workplace, topic: Topic, renewal: Renewal) -> list[Node]:
    """The nodes this renewal has touched, oldest first, without those that left the inventory."""
    by_name = {node.name: node for node in work.nodes(topic)}
    return [by_name[name] for name in renewal.nodes if name in by_name]


def can_roll_back(work: Workplace, topic: Topic) -> Renewal:
    """The renewal whose nodes `roll_back` would put back.

    Raises:
        Refused: as `roll_back`, before it begins.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_BACK_STARTED)
    open_pair(work, way_back(renewal))
    return renewal


def _backward(engine: Engine, renewal: Renewal, body: Mapping[str, Any]) -> Renewal:
    """One playbook run: it takes the newest node first, one at a time, and stops at nobody.

    Nodes that carry a higher run than ours are taken once more, under a number above theirs.
    """
    names = [node.name for node in engine.nodes]
    engine.work.tell("roll.back", {"nodes": ", ".join(reversed(names))})
    renewal = engine.work.append(renewal, Kind.ROLL_BACK_STARTED, {"run": engine.lease.run.number, **body})
    answers: list[NodeAnswer] = []
    if names:  # a roll-out killed before its first wave has touched none
        renewal, answers = engine.wave(renewal, "rollback", Direction.PREVIOUS, names)
    if carried := [run for answer in answers if (run := superseded_by(answer)) >= engine.lease.run.number]:
        engine.raise_above(max(carried))
        again = [answer.node for answer in answers if superseded_by(answer)]
        renewal, told_again = engine.wave(renewal, "rollback", Direction.PREVIOUS, again)
        answers = [answer for answer in answers if answer.node not in again] + told_again
    left = [a.node for a in answers if a.outcome not in {Outcome.PROVEN, Outcome.INSTALLED}]
    body = {"run": engine.lease.run.number, "outcome": "owed" if left else "done", "reason": None}
    renewal = engine.work.append(renewal, Kind.ROLL_BACK_FINISHED, body)
    if left:
        raise Attention(Reason.ROLL_BACK_OWED, renewal=renewal.name, nodes=", ".join(left))
    return renewal
