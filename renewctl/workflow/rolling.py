"""The roll-out and the way back: fence once, then wave by wave, each node's answer written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renewctl import playbook_run
from renewctl.errors import Attention, Refused, RenewctlError, Unusable
from renewctl.events import Kind
from renewctl.inventory import Node, Topic
from renewctl.lease import Lease
from renewctl.playbook_run import Ended, PlaybookEvent
from renewctl.reasons import Reason
from renewctl.renewal import Direction, Outcome, Renewal, require
from renewctl.rollout import DEFAULT_WAVES, Decision, decide, plan
from renewctl.store_read import Run
from renewctl.verification import Verdict
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.pairs import open_pair, previous_pair, told
from renewctl.workflow.workplace import Workplace


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


@dataclass(frozen=True)
class NodeAnswer:
    """What is known of one node after something was done to it."""

    node: str
    direction: Direction
    outcome: Outcome
    changed: bool
    proof: Mapping[str, Any] | None
    reason: str | None
    values: Mapping[str, Any]

    @property
    def for_stop_rule(self) -> Outcome:
        """A node that had to be put back counts as wrong, however well that went."""
        return Outcome.WRONG if self.direction is Direction.PREVIOUS else self.outcome


_OUTCOMES: Mapping[str, Outcome] = {
    "unchanged": Outcome.PROVEN,
    "proven": Outcome.PROVEN,
    "not_proven": Outcome.INSTALLED,
    "put_back": Outcome.PROVEN,
    "failed": Outcome.FAILED,
    "wrong": Outcome.WRONG,
}
"""The collection's words for what became of a node; any other says that it is not known."""

_NO_ANSWER = frozenset({Reason.NODE_UNREACHABLE, Reason.NODE_TIMEOUT, Reason.DATABASE_UNREACHABLE})
"""A node that gave no answer has neither done nor refused anything."""


def roll_out(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Give every node of the topic the accepted pair, wave by wave, each proven before the next wave.

    Raises:
        Refused: out of order; a key that cannot be opened; no way back; stopped by a wrong pair.
        Attention: held by another operator, or because a node is unknown, not proven or owed.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_OUT_STARTED)
    nodes = _chosen(work.nodes(topic), options.left_out)
    new = renewal.accepted
    if new is None:
        raise Refused(Reason.OUT_OF_ORDER, renewal=renewal.name, got=renewal.phase.value, step="roll-out")
    open_pair(work, new)
    previous = previous_pair(renewal, forward_only=options.forward_only)
    if previous is not None:
        open_pair(work, previous)
    waves = plan(nodes, options.waves)
    with _lease(work, renewal) as lease, told(work, new, previous) as pairs:
        body = {
            "run": lease.run.number,
            "waves": [list(wave) for wave in waves],
            "left_out": dict(options.left_out),
            "pair": new.as_body(),
            "forward_only": previous is None,
        }
        renewal = work.append(renewal, Kind.ROLL_OUT_STARTED, body)
        engine = _Engine(work, topic, lease, nodes, {**pairs, **_proof_variables(options)}, previous is None)
        return _forward(engine, renewal, waves, options)


def dry_run(work: Workplace, topic: Topic, options: Options) -> tuple[list[list[str]], list[NodeAnswer]]:
    """What a roll-out would change where: the waves, and each node as it is now. Changes nothing."""
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_OUT_STARTED)
    nodes = _chosen(work.nodes(topic), options.left_out)
    new = renewal.accepted
    if new is None:
        raise Refused(Reason.OUT_OF_ORDER, renewal=renewal.name, got=renewal.phase.value, step="roll-out")
    open_pair(work, new)
    previous = previous_pair(renewal, forward_only=options.forward_only)
    waves = plan(nodes, options.waves)
    with told(work, new, previous) as pairs:
        variables = {**_fixed(work, topic), **pairs, **_proof_variables(options)}
        ended = playbook_run.run(
            "rollout", host_variables(nodes), variables, check=True, on_event=_teller(work)
        )
    return [list(wave) for wave in waves], [_answer(node.name, ended, Direction.NEW) for node in nodes]


def roll_back(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Put every node this renewal touched back to the previous pair, newest first, each proven.

    A node that does not answer is left *owed the old pair*; the others go on.

    Raises:
        Refused: nothing was touched, or there is no previous pair to put back.
        Attention: `roll_back_owed`.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.ROLL_BACK_STARTED)
    previous = previous_pair(renewal, forward_only=False)
    if previous is None or renewal.accepted is None:
        raise Refused(Reason.PREVIOUS_PAIR_MISSING, renewal=renewal.name, got="-", option="-")
    open_pair(work, previous)
    by_name = {node.name: node for node in work.nodes(topic)}
    nodes = [by_name[name] for name in renewal.nodes if name in by_name]
    with _lease(work, renewal) as lease, told(work, renewal.accepted, previous) as pairs:
        body = {"run": lease.run.number, "nodes": [n.name for n in nodes], "pair": previous.as_body()}
        renewal = work.append(renewal, Kind.ROLL_BACK_STARTED, body)
        engine = _Engine(
            work, topic, lease, nodes, {**pairs, **_proof_variables(options)}, forward_only=False
        )
        return _backward(engine, renewal)


def verify(work: Workplace, topic: Topic, options: Options) -> Renewal:
    """Prove again every node that was given the new pair; changes nothing on any node.

    Raises:
        Attention: a node is not proven, or unknown.
        Refused: a node serves another pair.
    """
    renewal = work.open_renewal(topic)
    require(renewal, Kind.NODE_VERIFIED)
    nodes = [node for node in work.nodes(topic) if node.name in renewal.nodes]
    if renewal.accepted is None:
        raise Refused(Reason.OUT_OF_ORDER, renewal=renewal.name, got=renewal.phase.value, step="verify")
    work.tell("roll.verify", {"count": len(nodes)})
    with told(work, renewal.accepted, None) as pairs:
        variables = {**_fixed(work, topic), **pairs, **_proof_variables(options)}
        ended = playbook_run.run("verify", host_variables(nodes), variables, on_event=_teller(work))
    answers = [_answer(node.name, ended, Direction.NEW) for node in nodes]
    for answer in answers:
        renewal = work.append(renewal, Kind.NODE_VERIFIED, _told_of(answer))
    _judge_end(renewal, answers, decide(_for_rule(answers), unproven_ok=options.unproven_ok))
    return renewal


@dataclass(frozen=True)
class _Engine:
    """One run over one topic's nodes: what stays the same from wave to wave."""

    work: Workplace
    topic: Topic
    lease: Lease
    nodes: Sequence[Node]
    pairs: Mapping[str, Any]
    forward_only: bool

    def play(self, name: str, limit: Sequence[str] | None = None) -> Ended:
        self.lease.check()
        variables = {
            **_fixed(self.work, self.topic),
            **self.pairs,
            "renewctl_run": self.lease.run.number,
            "renewctl_token": self.lease.run.token,
            "renewctl_forward_only": self.forward_only,
        }
        return playbook_run.run(
            name, host_variables(self.nodes), variables, limit=limit, on_event=_teller(self.work)
        )

    def one_a_storage_first(self, names: Sequence[str]) -> list[list[str]]:
        """Install once a storage; the nodes that share it are read back and proven after."""
        storage = {node.name: node.storage for node in self.nodes}
        first = {storage[name]: name for name in reversed(names)}.values()
        batches = [[n for n in names if n in first], [n for n in names if n not in first]]
        return [batch for batch in batches if batch]

    def wave(
        self, renewal: Renewal, playbook: str, direction: Direction, names: Sequence[str]
    ) -> tuple[Renewal, list[NodeAnswer]]:
        run = self.lease.run.number
        begun = {"run": run, "direction": direction.value, "nodes": list(names)}
        renewal = self.work.append(renewal, Kind.WAVE_STARTED, begun)
        ended = self.play(playbook, limit=names)
        answers = [_answer(name, ended, direction) for name in names]
        for answer in answers:
            told_of = {**_told_of(answer), "run": run, "changed": answer.changed}
            renewal = self.work.append(renewal, Kind.NODE_FINISHED, told_of)
            given = renewal.accepted if answer.direction is Direction.NEW else renewal.previous
            serial = None if given is None else given.serial
            self.work.tell("roll.node_finished", {"node": answer.node, "answer": answer, "serial": serial})
        return renewal, answers


def _lease(work: Workplace, renewal: Renewal) -> Lease:
    def watching(run: Run, left: float) -> None:
        work.tell("roll.waiting", {"holder": run.holder, "run": run.number, "seconds": round(left)})

    return work.store.lease(renewal.name, work.stamp, watching=watching)


def _forward(engine: _Engine, renewal: Renewal, waves: Sequence[Sequence[str]], options: Options) -> Renewal:
    refused = _fence(engine)
    if refused is not None:
        _finish(engine, renewal, "stopped", refused.reason)
        raise refused
    answers: list[NodeAnswer] = []
    decision = Decision.GO_ON
    for number, names in enumerate(waves, start=1):
        engine.work.tell("roll.wave", {"number": number, "of": len(waves), "nodes": ", ".join(names)})
        for batch in engine.one_a_storage_first(names):
            renewal, answers = engine.wave(renewal, "rollout", Direction.NEW, batch)
            decision = decide(_for_rule(answers), unproven_ok=options.unproven_ok)
            if decision is not Decision.GO_ON:
                break
        if decision is not Decision.GO_ON:
            break
    outcome = {Decision.STOP: "stopped", Decision.HOLD: "held"}.get(decision, "done")
    renewal = _finish(engine, renewal, outcome, None)
    _judge_end(renewal, answers, decision)
    if options.left_out:
        raise Attention(Reason.NODES_OWED, renewal=renewal.name, nodes=", ".join(options.left_out))
    return renewal


def _backward(engine: _Engine, renewal: Renewal) -> Renewal:
    """One playbook run: it takes the newest node first, one at a time, and stops at nobody."""
    names = [node.name for node in engine.nodes]
    engine.work.tell("roll.back", {"nodes": ", ".join(reversed(names))})
    renewal, answers = engine.wave(renewal, "rollback", Direction.PREVIOUS, names)
    left = [a.node for a in answers if a.outcome not in {Outcome.PROVEN, Outcome.INSTALLED}]
    body = {"run": engine.lease.run.number, "outcome": "owed" if left else "done", "reason": None}
    renewal = engine.work.append(renewal, Kind.ROLL_BACK_FINISHED, body)
    if left:
        raise Attention(Reason.ROLL_BACK_OWED, renewal=renewal.name, nodes=", ".join(left))
    return renewal


def _fence(engine: _Engine) -> RenewctlError | None:
    """Show the pairs to the push service, take the run on every node; what went wrong, if anything."""
    engine.work.tell("roll.fence", {"count": len(engine.nodes)})
    ended = engine.play("fence")
    checked = ended.push_service
    if checked is not None and not checked.accepted:
        return Refused(checked.reason or Reason.PUSH_SERVICE_UNKNOWN, **checked.values)
    for result in ended.results.values():
        if result.reason is not None:
            return Attention(result.reason, **{**result.values, "node": result.node})
    if ended.exit_code != 0:
        return Attention(Reason.FENCE_FAILED, got=ended.tail, exit_code=ended.exit_code)
    return None


def _finish(engine: _Engine, renewal: Renewal, outcome: str, reason: Reason | None) -> Renewal:
    body = {"run": engine.lease.run.number, "outcome": outcome, "reason": reason}
    return engine.work.append(renewal, Kind.ROLL_OUT_FINISHED, body)


def _judge_end(renewal: Renewal, answers: Iterable[NodeAnswer], decision: Decision) -> None:
    """Say how it ended, where it did not end well."""
    bad = [a for a in answers if a.for_stop_rule is not Outcome.PROVEN]
    named = {"renewal": renewal.name, "nodes": ", ".join(a.node for a in bad)}
    why = next((a.reason for a in bad if a.reason), None)
    if decision is Decision.STOP:
        raise Refused(Reason.ROLL_OUT_STOPPED, **named, got=why or "-")
    if decision is Decision.HOLD:
        unknown = any(a.outcome is Outcome.UNKNOWN for a in bad)
        raise Attention(Reason.NODES_UNKNOWN if unknown else Reason.NODES_NOT_PROVEN, **named, got=why or "-")


def _chosen(nodes: Sequence[Node], left_out: Mapping[str, str]) -> list[Node]:
    names = [node.name for node in nodes]
    for name in left_out:
        if name not in names:
            raise Unusable(Reason.NODE_NOT_IN_INVENTORY, got=name, expected=", ".join(names))
    return [node for node in nodes if node.name not in left_out]


def _fixed(work: Workplace, topic: Topic) -> dict[str, Any]:
    apns = work.inventory.apns
    ca_file = None if apns.ca_file is None else str(apns.ca_file)
    return {"renewctl_topic": topic.topic, "renewctl_apns": {"url": apns.url, "ca_file": ca_file}}


def _proof_variables(options: Options) -> dict[str, Any]:
    return {
        "renewctl_waves": ["100%"],  # renewctl counts the waves itself: one playbook run is one wave
        "renewctl_canaries": options.canaries,
        "renewctl_check_in_timeout": options.check_in_timeout,
    }


def _for_rule(answers: Iterable[NodeAnswer]) -> dict[str, Outcome]:
    return {answer.node: answer.for_stop_rule for answer in answers}


def _answer(node: str, ended: Ended, direction: Direction) -> NodeAnswer:
    """A node Ansible told nothing of, or could not reach, is unknown: neither done nor failed."""
    result = ended.results.get(node)
    if result is None:
        return NodeAnswer(node, direction, Outcome.UNKNOWN, False, None, None, {})
    outcome = _OUTCOMES.get(result.outcome, Outcome.UNKNOWN)
    if outcome is Outcome.FAILED and result.reason in _NO_ANSWER:
        outcome = Outcome.UNKNOWN
    if result.outcome == "put_back":
        direction = Direction.PREVIOUS
        if result.proof is not None and result.proof["verdict"] != Verdict.PROVEN:
            outcome = Outcome.INSTALLED
    reason = None if result.reason is None else result.reason.value
    return NodeAnswer(node, direction, outcome, result.changed, result.proof, reason, result.values)


def _told_of(answer: NodeAnswer) -> dict[str, Any]:
    return {
        "node": answer.node,
        "direction": answer.direction.value,
        "outcome": answer.outcome.value,
        "proof": answer.proof,
        "reason": answer.reason,
        "values": dict(answer.values),
    }


def _teller(work: Workplace) -> Callable[[PlaybookEvent], None]:
    def on_event(event: PlaybookEvent) -> None:
        work.tell("roll.event", {"event": event})

    return on_event
