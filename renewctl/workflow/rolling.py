"""The roll-out and the way back: fence once, then wave by wave, each node's answer written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renewctl import playbook_run
from renewctl.certificate import findings
from renewctl.errors import Attention, Refused, RenewctlError, Unusable
from renewctl.inventory.reading import Node, Topic
from renewctl.observation import ServedCertificate
from renewctl.playbook_run import Ended
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Kind, Outcome, PairRef
from renewctl.renewal.rollout import DEFAULT_WAVES, Decision, decide, plan
from renewctl.renewal.rules import Renewal, out_of_order, owed, require
from renewctl.store.lease import Lease
from renewctl.store.read import Run
from renewctl.workflow.engine import (
    Engine,
    NodeAnswer,
    answer_of,
    fence,
    fixed,
    refused_by,
    superseded_by,
    teller,
    told_of,
)
from renewctl.workflow.enrolled import enrolled_topics
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.pairs import accepted, open_pair, open_previous, previous_pair, told, way_back
from renewctl.workflow.workplace import Workplace

_NUMBERS_TRIED = 3
"""How often a roll-out takes a higher number: once is enough unless another store is at work on the nodes."""


@dataclass(frozen=True)
class Options:
    """What an operator may choose about a roll-out.

    Attributes:
        waves: sizes, counted in storages.
        left_out: node -> why it is left out; it stays owed.
        forward_only: go without a way back.
        unproven_ok: installed is enough; do not wait for a person where no device checks in.
        canaries: devices tried a node before giving up on a check-in.
        check_in_timeout: seconds to wait for each device.
    """

    waves: Sequence[int | str] = DEFAULT_WAVES
    left_out: Mapping[str, str] = field(default_factory=dict)
    forward_only: bool = False
    unproven_ok: bool = False
    canaries: int = 3
    check_in_timeout: float = 20.0


def roll_out(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Give every node of the topic the accepted pair, wave by wave, each proven before the next wave.

    Raises:
        Refused: out of order; a key that cannot be opened; no way back; stopped by a wrong pair;
            enrolled devices use another topic.
        Attention: held by another operator, or because a node is unknown, not proven or owed.
    """
    ready = _ready(work, topic, options)
    renewal = ready.renewal
    with _lease(work, renewal) as lease, told(work, ready.new, ready.previous) as pairs:
        body = {
            "waves": [list(wave) for wave in ready.waves],
            "left_out": dict(options.left_out),
            "pair": ready.new.as_body(),
            "forward_only": ready.previous is None,
        }
        variables = {**pairs, **_proof_variables(options)}
        engine = Engine(work, topic, lease, ready.nodes, variables, ready.previous is None)
        renewal = _begun(engine, renewal, body)
        return _forward(engine, renewal, ready.waves, options)


@dataclass(frozen=True)
class Plan:
    """What a roll-out or the way back would do, learned without changing anything.

    Attributes:
        renewal: its name.
        waves: node names in the order they would have their turn; on the way back one at a time.
        answers: each node as it is now; `changed`: it would be given the pair.
        before: node -> the certificate it serves now; None where it cannot tell.
        after: the pair each would have.
        refused: why it would not begin, or not reach every node; None where nothing stands in its way.
    """

    renewal: str
    direction: Direction
    waves: Sequence[Sequence[str]]
    answers: Sequence[NodeAnswer]
    before: Mapping[str, ServedCertificate | None]
    after: PairRef
    refused: RenewctlError | None


def dry_run(work: Workplace, topic: Topic, options: Options) -> Plan:
    """What a roll-out would change where. Changes nothing, and appends nothing.

    Raises:
        Refused: as `roll_out`, before it begins.
    """
    ready = _ready(work, topic, options)
    with told(work, ready.new, ready.previous) as pairs:
        variables = {**pairs, "renewctl_forward_only": ready.previous is None}
        ended = _played_dry(work, topic, "rollout", ready.nodes, {**variables, **_proof_variables(options)})
    answers = [answer_of(node.name, ended, Direction.NEW) for node in ready.nodes]
    refused = refused_by(ended) or _unknown(ready.renewal, answers)
    before = _serving(ended, topic)
    return Plan(ready.renewal.name, Direction.NEW, ready.waves, answers, before, ready.new, refused)


def dry_run_back(work: Workplace, topic: Topic, options: Options) -> Plan:
    """What `roll_back` would change where. Changes nothing, and appends nothing.

    Raises:
        Refused: as `roll_back`, before it begins.
    """
    renewal = can_roll_back(work, topic)
    previous, nodes = way_back(renewal), _touched(work, topic, renewal)
    with told(work, accepted(renewal), previous) as pairs:
        ended = _played_dry(work, topic, "rollback", nodes, {**pairs, **_proof_variables(options)})
    answers = [answer_of(node.name, ended, Direction.PREVIOUS) for node in nodes]
    waves = [(node.name,) for node in reversed(nodes)]
    refused = _stays_owed(renewal, answers)
    before = _serving(ended, topic)
    return Plan(renewal.name, Direction.PREVIOUS, waves, answers, before, previous, refused)


def _played_dry(
    work: Workplace, topic: Topic, playbook: str, nodes: Sequence[Node], variables: Mapping[str, Any]
) -> Ended:
    return playbook_run.run(
        playbook,
        host_variables(nodes, work.nodes(topic)),
        {**fixed(work, topic), **variables},
        check=True,
        on_event=lambda _event: None,
    )


def _serving(ended: Ended, topic: Topic) -> dict[str, ServedCertificate | None]:
    looks = {node: result.observation for node, result in ended.results.items()}
    return {node: None if seen is None else seen.serving(topic.topic) for node, seen in looks.items()}


def _stays_owed(renewal: Renewal, answers: Iterable[NodeAnswer]) -> RenewctlError | None:
    """The way back stops at nobody, but does not reach a node that cannot be asked now."""
    bad = [answer for answer in answers if answer.outcome not in {Outcome.PROVEN, Outcome.INSTALLED}]
    if not bad:
        return None
    error = Attention(Reason.ROLL_BACK_OWED, renewal=renewal.name, nodes=", ".join(a.node for a in bad))
    error.others = _own_troubles(bad)
    return error


def _unknown(renewal: Renewal, answers: Sequence[NodeAnswer]) -> RenewctlError | None:
    """Nodes the playbook told nothing of: the roll-out would not get past them either."""
    silent = [answer.node for answer in answers if answer.outcome is Outcome.UNKNOWN]
    if not silent:
        return None
    return Attention(Reason.NODES_UNKNOWN, renewal=renewal.name, nodes=", ".join(silent))


@dataclass(frozen=True)
class _Ready:
    renewal: Renewal
    nodes: Sequence[Node]
    waves: Sequence[Sequence[str]]
    new: PairRef
    previous: PairRef | None


def _ready(work: Workplace, topic: Topic, options: Options) -> _Ready:
    """Everything that can be known before a node is touched."""
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_OUT_STARTED)
    nodes = _chosen(work.nodes(topic), options.left_out)
    new = accepted(renewal)
    open_pair(work, new)
    previous = previous_pair(renewal, forward_only=options.forward_only)
    if previous is not None:
        open_previous(work, previous)
    others = [other.topic for other in work.inventory.topics]
    findings.insist(findings.enrolled_elsewhere(enrolled_topics(nodes), topic.topic, others))
    return _Ready(renewal, nodes, plan(nodes, options.waves), new, previous)


def roll_back(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Put every node this renewal touched back to the previous pair, newest first, each proven.

    A node that does not answer is left *owed the old pair*; the others go on.

    Raises:
        Refused: nothing was touched, or there is no previous pair to put back.
        Attention: `roll_back_owed`.
    """
    renewal = can_roll_back(work, topic)
    previous = way_back(renewal)
    nodes = _touched(work, topic, renewal)
    with _lease(work, renewal) as lease, told(work, accepted(renewal), previous) as pairs:
        body = {"nodes": [n.name for n in nodes], "pair": previous.as_body()}
        engine = Engine(work, topic, lease, nodes, {**pairs, **_proof_variables(options)}, forward_only=False)
        return _backward(engine, renewal, body)


def _touched(work: Workplace, topic: Topic, renewal: Renewal) -> list[Node]:
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
        raise out_of_order(renewal)
    work.tell("roll.verify", {"count": len(nodes)})
    with _lease(work, renewal) as lease, told(work, accepted(renewal), None) as pairs:
        variables = {**fixed(work, topic), **pairs, **_proof_variables(options)}
        ended = playbook_run.run(
            "verify", host_variables(nodes, work.nodes(topic)), variables, on_event=teller(work)
        )
        lease.check()  # whoever took over counts on writing alone
        answers = [answer_of(node.name, ended, Direction.NEW) for node in nodes]
        for answer in answers:
            renewal = work.append(renewal, Kind.NODE_VERIFIED, told_of(answer))
    decision = decide(_for_rule(answers), unproven_ok=options.unproven_ok)
    _judge_end(renewal, answers, decision, Reason.NODES_WRONG)
    _require_none_owed(work, topic, renewal)
    return renewal


def _lease(work: Workplace, renewal: Renewal) -> Lease:
    def watching(run: Run, left: float) -> None:
        work.tell("roll.waiting", {"holder": run.holder, "run": run.number, "seconds": round(left)})

    return work.store.lease(renewal.name, work.stamp, watching=watching)


def _begun(engine: Engine, renewal: Renewal, body: Mapping[str, Any]) -> Renewal:
    """Announce the roll-out and fence every node, under a higher number where a node carries one already.

    That is so after the store was restored from a backup, or where another store's runs were there before.

    Raises:
        Refused, Attention: the push service or a node refused; nothing was changed on any node.
    """
    for attempt in range(_NUMBERS_TRIED):
        run = engine.lease.run.number
        renewal = engine.work.append(renewal, Kind.ROLL_OUT_STARTED, {"run": run, **body})
        refused, carried = fence(engine)
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


def _finish(engine: Engine, renewal: Renewal, outcome: str, reason: Reason | None) -> Renewal:
    body = {"run": engine.lease.run.number, "outcome": outcome, "reason": reason}
    return engine.work.append(renewal, Kind.ROLL_OUT_FINISHED, body)


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
        error.others = _own_troubles(bad)
        raise error


def _own_troubles(answers: Iterable[NodeAnswer]) -> tuple[RenewctlError, ...]:
    return tuple(Refused(Reason(a.reason), **{**a.values, "node": a.node}) for a in answers if a.reason)


def _chosen(nodes: Sequence[Node], left_out: Mapping[str, str]) -> list[Node]:
    names = [node.name for node in nodes]
    for name in left_out:
        if name not in names:
            raise Unusable(Reason.NODE_NOT_IN_INVENTORY, got=name, expected=", ".join(names))
    return [node for node in nodes if node.name not in left_out]


def _proof_variables(options: Options) -> dict[str, Any]:
    return {
        "renewctl_waves": ["100%"],  # renewctl counts the waves itself: one playbook run is one wave
        "renewctl_canaries": options.canaries,
        "renewctl_check_in_timeout": options.check_in_timeout,
    }


def _for_rule(answers: Iterable[NodeAnswer]) -> dict[str, Outcome]:
    return {answer.node: answer.for_stop_rule for answer in answers}
