"""The roll-out, and proving it again: fence once, then wave by wave, each node's answer written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from renewctl import playbook_run
from renewctl.certificate import findings
from renewctl.errors import Attention, Refused, RenewctlError, Unusable
from renewctl.inventory.reading import Node, Topic
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Kind, Outcome, PairRef
from renewctl.renewal.rollout import Decision, decide, plan
from renewctl.renewal.rules import Renewal, out_of_order, owed, require
from renewctl.workflow.choices import Options, proof_variables
from renewctl.workflow.engine import (
    Engine,
    NodeAnswer,
    answer_of,
    fence,
    fixed,
    lease_of,
    own_troubles,
    teller,
    told_of,
)
from renewctl.workflow.enrolled import enrolled_topics
from renewctl.workflow.equipment import require_equipped
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.on_record import require_on_record
from renewctl.workflow.pairs import accepted, open_pair, open_previous, previous_pair, told
from renewctl.workflow.workplace import Workplace

_NUMBERS_TRIED = 3
"""How often a roll-out takes a higher number: once is enough unless another store is at work on the nodes."""


def roll_out(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Give every node of the topic the accepted pair, wave by wave, each proven before the next wave.

    Raises:
        Refused: out of order; a key that cannot be opened; no way back, or not to what a node serves; stopped
            by a wrong pair; enrolled devices use another topic; a reload command this host does not allow.
        Unusable: a node's password cannot be read here.
        Attention: held by another operator, or because a node is unknown, not proven or owed.
    """
    ready = ready_for(work, topic, options)
    renewal = ready.renewal
    with lease_of(work, renewal) as lease, told(work, ready.new, ready.previous) as pairs:
        body = {
            "waves": [list(wave) for wave in ready.waves],
            "left_out": dict(options.left_out),
            "pair": ready.new.as_body(),
            "forward_only": ready.previous is None,
        }
        variables = {**pairs, **proof_variables(options)}
        engine = Engine(work, topic, lease, ready.nodes, variables, ready.previous is None)
        renewal = _begun(engine, renewal, body)
        return _forward(engine, renewal, ready.waves, options)


@dataclass(frozen=True)
class Ready:
    """What a roll-out is going to do."""

    renewal: Renewal
    nodes: Sequence[Node]
    waves: Sequence[Sequence[str]]
    new: PairRef
    previous: PairRef | None


def ready_for(work: Workplace, topic: Topic, options: Options) -> Ready:
    """Everything that can be known before a node is touched.

    Raises:
        Refused, Unusable: as `roll_out`, before it begins.
    """
    playbook_run.require_ansible()
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_OUT_STARTED)
    nodes = _chosen(work.nodes(topic), options.left_out)
    require_equipped(nodes)
    new = accepted(renewal)
    pair, account = open_pair(work, new), topic.account.address or topic.account.alias
    findings.insist(findings.topic(pair.certificate, topic.topic, account))
    previous = previous_pair(renewal, forward_only=options.forward_only)
    if previous is not None:
        open_previous(work, previous)
        require_on_record(nodes, topic.topic, work.history(topic).pairs, previous)
    others = [other.topic for other in work.inventory.topics]
    findings.insist(findings.enrolled_elsewhere(enrolled_topics(nodes), topic.topic, account, others))
    return Ready(renewal, nodes, plan(nodes, options.waves), new, previous)


def verify(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Prove again every node that was given the new pair; changes nothing on any node.

    Raises:
        Attention: held by another operator; a node is not proven, unknown, or owed.
        Refused: a node serves another pair; no node was given the new one, or all were put back.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.NODE_VERIFIED)
    given = [name for name, state in renewal.nodes.items() if state.direction is Direction.NEW]
    nodes = [node for node in work.nodes(topic) if node.name in given]
    if not nodes:  # all were put back: to judge them by the new pair would call them wrong
        raise out_of_order(renewal, Kind.NODE_VERIFIED)
    work.tell("roll.verify", {"count": len(nodes)})
    with lease_of(work, renewal) as lease, told(work, accepted(renewal), None) as pairs:
        variables = {**fixed(work, topic), **pairs, **proof_variables(options)}
        ended = playbook_run.run(
            "verify", host_variables(nodes, work.nodes(topic)), variables, on_event=teller(work)
        )
        lease.check()  # whoever took over counts on writing alone
        answers = [_learned(answer_of(node.name, ended, Direction.NEW)) for node in nodes]
        for answer in answers:
            body = {**told_of(answer), **lease.run.on_record()}
            renewal = work.append(renewal, Kind.NODE_VERIFIED, body)
    decision = decide(_for_rule(answers), unproven_ok=options.unproven_ok)
    _judge_end(renewal, answers, decision, Reason.NODES_WRONG)
    _require_none_owed(work, topic, renewal)
    return renewal


def _learned(answer: NodeAnswer) -> NodeAnswer:
    """A question that failed (a refused login, say) tells nothing of the pair: that takes a proof."""
    return replace(answer, outcome=Outcome.UNKNOWN) if answer.outcome is Outcome.FAILED else answer


def _begun(engine: Engine, renewal: Renewal, body: Mapping[str, Any]) -> Renewal:
    """Announce the roll-out and fence every node, under a higher number where a node carries one already.

    That is so after the store was restored from a backup, or where another store's runs were there before.

    Raises:
        Refused, Attention: the push service or a node refused; nothing was changed on any node.
    """
    for attempt in range(_NUMBERS_TRIED):
        run = engine.lease.run.number
        renewal = engine.work.append(renewal, Kind.ROLL_OUT_STARTED, {**engine.lease.run.on_record(), **body})
        renewal, refused, carried = fence(engine, renewal)
        if refused is None:
            return renewal
        renewal = _finish(engine, renewal, "stopped", refused.reason)
        if carried < run or attempt == _NUMBERS_TRIED - 1:
            raise refused
        engine.raise_above(carried)
    raise AssertionError  # pragma: no cover - the last attempt has returned or raised


def _forward(engine: Engine, renewal: Renewal, waves: Sequence[Sequence[str]], options: Options) -> Renewal:
    answers: list[NodeAnswer] = []
    decision = Decision.GO_ON
    for number, names in enumerate(waves, start=1):
        engine.work.tell("roll.wave", {"number": number, "of": len(waves), "nodes": ", ".join(names)})
        for shared in engine.shared_storages(names):
            engine.work.tell("roll.device_canary", {"nodes": ", ".join(shared)})
        for batch in engine.one_a_storage_first(names):
            renewal, answers = engine.wave(renewal, "rollout", Direction.NEW, batch)
            decision = decide(_for_rule(answers), unproven_ok=options.unproven_ok)
            if decision is not Decision.GO_ON:
                break
        if decision is not Decision.GO_ON:
            break
    outcome = {Decision.STOP: "stopped", Decision.HOLD: "held"}.get(decision, "done")
    renewal = _finish(engine, renewal, outcome, None)
    _judge_end(renewal, answers, decision, Reason.ROLL_OUT_STOPPED)
    _require_none_owed(engine.work, engine.topic, renewal)
    return renewal


def _finish(engine: Engine, renewal: Renewal, outcome: str, reason: Reason | None) -> Renewal:
    body = {"run": engine.lease.run.number, "outcome": outcome, "reason": reason}
    return engine.append(renewal, Kind.ROLL_OUT_FINISHED, body)


def _require_none_owed(work: Workplace, topic: Topic, renewal: Renewal) -> None:
    """A topic is not done while a node of it, left out or never reached, has not the new pair."""
    if left := owed(renewal, [node.name for node in work.nodes(topic)]):
        raise Attention(Reason.NODES_OWED, renewal=renewal.name, nodes=", ".join(left))


def _judge_end(renewal: Renewal, answers: Iterable[NodeAnswer], decision: Decision, stopped: Reason) -> None:
    """Say how it ended, where it did not end well; each node's own trouble comes with it."""
    bad = [a for a in answers if a.for_stop_rule is not Outcome.PROVEN]
    named = {"renewal": renewal.name, "nodes": ", ".join(a.node for a in bad)}
    error: RenewctlError | None = None
    if decision is Decision.STOP:
        error = Refused(stopped, **named)
    if decision is Decision.HOLD:
        unknown = any(a.outcome is Outcome.UNKNOWN for a in bad)
        error = Attention(Reason.NODES_UNKNOWN if unknown else Reason.NODES_NOT_PROVEN, **named)
    if error is not None:
        error.others = own_troubles(bad)
        raise error


def _chosen(nodes: Sequence[Node], left_out: Mapping[str, str]) -> list[Node]:
    names = [node.name for node in nodes]
    for name in left_out:
        if name not in names:
            raise Unusable(Reason.NODE_NOT_IN_INVENTORY, got=name, expected=", ".join(names))
    return [node for node in nodes if node.name not in left_out]


def _for_rule(answers: Iterable[NodeAnswer]) -> dict[str, Outcome]:
    return {answer.node: answer.for_stop_rule for answer in answers}
