"""One run over one topic's nodes: the playbooks are played, and each node's answer is written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from renewctl import playbook_run
from renewctl.errors import Attention, Refused, RenewctlError
from renewctl.inventory.reading import Node, Topic
from renewctl.playbook_run import Ended, NodeResult, PlaybookEvent
from renewctl.proof import Proof, Rung, RungState
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Kind, Outcome
from renewctl.renewal.rules import NodeState, Renewal
from renewctl.servers.transport import DEADLINE_SECONDS
from renewctl.store.lease import Lease
from renewctl.store.read import Run
from renewctl.verification import Verdict
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.run_numbers import believed, superseded_by
from renewctl.workflow.workplace import Workplace


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

    @property
    def sent_last(self) -> Direction:
        """Of what was sent there last, or may have been: a wrong pair is put back, and not always told of."""
        untold = self.outcome is Outcome.UNKNOWN and self.reason is None
        return Direction.PREVIOUS if untold or self.outcome is Outcome.WRONG else self.direction


_OUTCOMES: Mapping[str, Outcome] = {
    "unchanged": Outcome.PROVEN,
    "proven": Outcome.PROVEN,
    "not_proven": Outcome.INSTALLED,
    "put_back": Outcome.PROVEN,
    "would_install": Outcome.INSTALLED,
    "would_put_back": Outcome.INSTALLED,
    "failed": Outcome.FAILED,
    "wrong": Outcome.WRONG,
}
"""The collection's words for what became of a node; any other says that it is not known."""

_TELL_EVERY = 10.0
"""Seconds of waiting for somebody else's run between two lines of talk."""

_NO_ANSWER = frozenset({Reason.NODE_UNREACHABLE, Reason.NODE_TIMEOUT, Reason.DATABASE_UNREACHABLE})
"""A node that gave no answer has neither done nor refused anything."""


@dataclass(frozen=True)
class Engine:
    """One run over one topic's nodes: what stays the same from wave to wave."""

    work: Workplace
    topic: Topic
    lease: Lease
    nodes: Sequence[Node]
    pairs: Mapping[str, Any]
    forward_only: bool

    def play(self, name: str, limit: Sequence[str] | None = None) -> Ended:
        """Play one playbook, if the run is still ours.

        Where it was killed, a node may still carry out what a worker asked it for: that is waited out before
        the run can be given back, so that whoever comes next reads back what stays.

        Raises:
            Attention: `run_lost`.
        """
        try:
            ended = self._play(name, limit)
        except RenewctlError:
            raise  # it ended by itself, or never began
        except BaseException:  # Ctrl-C above all; whatever it was, the playbook was killed
            self._wait_out()
            raise
        if ended.exit_code < 0:  # by somebody else: the system's memory ran out, say
            self._wait_out()
        return believed(ended, self.nodes, self.lease.run.number)

    def _wait_out(self) -> None:
        """Wait until no call of a killed worker is carried out any more; cut short, the run stays unended."""
        try:
            self.work.tell("roll.waiting_out", {"seconds": round(DEADLINE_SECONDS)})
            sleep(DEADLINE_SECONDS)
        except BaseException:  # a second Ctrl-C, or nobody to tell
            self.lease.leave_unended()
            raise

    def _play(self, name: str, limit: Sequence[str] | None) -> Ended:
        self.lease.check()
        variables = {
            **fixed(self.work, self.topic),
            **self.pairs,
            "renewctl_run": self.lease.run.number,
            "renewctl_token": self.lease.run.token,
            "renewctl_forward_only": self.forward_only,
            "renewctl_shown": True,  # by the fence of this run, once for all waves
        }
        return playbook_run.run(
            name,
            host_variables(self.nodes, self.work.nodes(self.topic)),
            variables,
            limit=limit,
            permit=self.lease.permit,
            on_event=teller(self.work),
        )

    def raise_above(self, carried: int) -> None:
        """Go on under a higher run than nodes carry; said, since it means that another store was at work.

        Raises:
            Attention: `run_lost`.
        """
        before = self.lease.run.number
        self.lease.raise_above(carried)
        numbers = {"run": before, "carried": carried, "raised": self.lease.run.number}
        self.work.tell("roll.raised", numbers)

    def shared_storages(self, names: Sequence[str]) -> list[list[str]]:
        """Nodes that share storage with one of this wave: the first install reaches all their devices."""
        places: dict[str, list[str]] = {}
        here = {node.storage for node in self.nodes if node.name in names}
        for node in self.work.nodes(self.topic):
            if node.storage in here:
                places.setdefault(node.storage, []).append(node.name)
        return [sharing for sharing in places.values() if len(sharing) > 1]

    def _unsettled(
        self, renewal: Renewal, names: Sequence[str], sent: Direction, known: Mapping[str, NodeState]
    ) -> list[str]:
        """Nodes known to hold the other pair, to which this one was or will be sent through these.

        Those of the same storages: of one that left the inventory, the storage it had then. And all that
        left, where the renewal did not know one of these (`known`), or its storage by another name: it may
        be any of them, or share its storage, under another name.
        """
        here = {node.name: node.storage for node in self.work.nodes(self.topic)}
        reached = {here[name] for name in names if name in here}
        renamed = any(name not in known or known[name].storage != here.get(name) for name in names)

        def is_reached(name: str, state: NodeState) -> bool:
            if name in here:
                return here[name] in reached
            return renamed or state.storage is None or state.storage in reached

        return [
            name
            for name, state in renewal.nodes.items()
            if name not in names
            and is_reached(name, state)
            and state.direction is not sent
            and state.outcome is not Outcome.UNKNOWN
        ]

    def one_a_storage_first(self, names: Sequence[str]) -> list[list[str]]:
        """Install once a storage; the nodes that share it are read back and proven after."""
        storage = {node.name: node.storage for node in self.nodes}
        first = {storage[name]: name for name in reversed(names)}.values()
        batches = [[n for n in names if n in first], [n for n in names if n not in first]]
        return [batch for batch in batches if batch]

    def append(self, renewal: Renewal, kind: Kind, body: Mapping[str, Any]) -> Renewal:
        """Write down what comes of this run, once it was announced.

        Raises:
            Attention: `run_overtaken`: somebody has gone on under a run of their own, and nodes were begun
                on under this one; `somebody_else_moved`: none was.
        """
        try:
            return self.work.append(renewal, kind, body)
        except Attention as error:
            own = {renewal.run, self.lease.run.number}  # a raised run has two
            begun = [name for name, node in renewal.nodes.items() if node.run in own]
            if error.reason is not Reason.SOMEBODY_ELSE_MOVED or not begun:
                raise
            told = {**error.values, "run": self.lease.run.number, "nodes": ", ".join(begun)}
            raise Attention(Reason.RUN_OVERTAKEN, **told) from None

    def wave(
        self, renewal: Renewal, playbook: str, direction: Direction, names: Sequence[str]
    ) -> tuple[Renewal, list[NodeAnswer]]:
        """Announce a wave, play it, write down what became of each of its nodes."""
        self.lease.check()  # before the wave is announced: a lost run must not leave it unknown
        known = renewal.nodes
        begun = {
            **self.lease.run.on_record(),
            "direction": direction.value,
            "nodes": list(names),
            "storages": {node.name: node.storage for node in self.nodes if node.name in names},
            "unsettled": self._unsettled(renewal, names, direction, known),
        }
        renewal = self.append(renewal, Kind.WAVE_STARTED, begun)
        ended = self.play(playbook, limit=names)
        answers = [answer_of(name, ended, direction) for name in names]
        for answer in answers:
            renewal = self.finished(renewal, answer, known)
        return renewal, answers

    def finished(self, renewal: Renewal, answer: NodeAnswer, known: Mapping[str, NodeState]) -> Renewal:
        """Write down what became of a node, and tell it.

        Args:
            known: nodes the renewal knew before anything was done to this one.
        """
        unsettled = self._unsettled(renewal, [answer.node], answer.sent_last, known)
        told = {"run": self.lease.run.number, "changed": answer.changed, "unsettled": unsettled}
        body = {**told_of(answer), **told}
        renewal = self.append(renewal, Kind.NODE_FINISHED, body)
        given = renewal.accepted if answer.direction is Direction.NEW else renewal.previous
        serial = None if given is None else given.serial
        self.work.tell("roll.node_finished", {"node": answer.node, "answer": answer, "serial": serial})
        return renewal


def fence(engine: Engine, renewal: Renewal) -> tuple[Renewal, RenewctlError | None, int]:
    """Show the pairs to the push service, take the run on every node; what that undid is written down.

    Returns:
        The renewal; what went wrong, if anything; the highest run that refused ours, 0 where none did.
    """
    engine.work.tell("roll.fence", {"count": len(engine.nodes)})
    ended = engine.play("fence")
    for result in ended.results.values():
        if result.took_part and result.reason is not None:
            renewal = engine.finished(renewal, undone(result, renewal), renewal.nodes)
    refused = refused_by(ended)
    if refused is None and ended.exit_code != 0:
        silent = ", ".join(node.name for node in engine.nodes if node.name not in ended.results)
        refused = Attention(Reason.FENCE_FAILED, got=ended.tail, exit_code=ended.exit_code, nodes=silent)
    behind = refused is not None and refused.reason is Reason.RUN_SUPERSEDED
    return renewal, refused, max(map(superseded_by, ended.results.values()), default=0) if behind else 0


def undone(result: NodeResult, renewal: Renewal) -> NodeAnswer:
    """Of a node on which the fence undid a step that was cut off: which pair it has read back since.

    Mostly the previous one. What is no pair of this renewal (a step of another year) is *unknown* here, and
    so is a node whose previous release is damaged.
    """
    reason = None if result.reason is None else result.reason.value
    pairs = {Direction.PREVIOUS: renewal.previous, Direction.NEW: renewal.accepted}
    for direction, pair in pairs.items():
        if pair is not None and pair.serial == result.values.get("serial"):
            rungs = dict.fromkeys((Rung.READ_BACK, Rung.SERIAL), RungState.YES)
            proof = Proof(Verdict.NOT_PROVEN, rungs, result.reason).as_json()
            return NodeAnswer(result.node, direction, Outcome.INSTALLED, True, proof, reason, result.values)
    return NodeAnswer(result.node, Direction.NEW, Outcome.UNKNOWN, True, None, reason, result.values)


def refused_by(ended: Ended) -> RenewctlError | None:
    """Why the pre-flight or a node refused, further nodes' reasons with it; None where none did."""
    checked = ended.push_service
    if checked is not None and not checked.accepted:
        return Refused(checked.reason or Reason.PUSH_SERVICE_UNKNOWN, **checked.values)
    told = [
        Attention(result.reason, **{**result.values, "node": result.node})
        for result in ended.results.values()
        if result.reason is not None and not result.took_part
    ]
    if not told:
        return None
    told[0].others = tuple(told[1:])
    return told[0]


def answer_of(node: str, ended: Ended, direction: Direction) -> NodeAnswer:
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


def told_of(answer: NodeAnswer) -> dict[str, Any]:
    """A node's answer as events carry it."""
    return {
        "node": answer.node,
        "direction": answer.direction.value,
        "outcome": answer.outcome.value,
        "proof": answer.proof,
        "reason": answer.reason,
        "values": dict(answer.values),
    }


def fixed(work: Workplace, topic: Topic) -> dict[str, Any]:
    """Variables every playbook gets."""
    apns = work.inventory.apns
    ca_file = None if apns.ca_file is None else str(apns.ca_file)
    return {"renewctl_topic": topic.topic, "renewctl_apns": {"url": apns.url, "ca_file": ca_file}}


def teller(work: Workplace) -> Callable[[PlaybookEvent], None]:
    """Hands events on as they come."""

    def on_event(event: PlaybookEvent) -> None:
        work.tell("roll.event", {"event": event})

    return on_event


def lease_of(work: Workplace, renewal: Renewal) -> Lease:
    """The right to change a renewal's nodes; the person is told while it is waited for.

    Raises:
        Attention: `run_held`.
    """
    due = math.inf

    def watching(run: Run, left: float) -> None:
        nonlocal due
        if left <= due:
            due = left - _TELL_EVERY
            work.tell("roll.waiting", {"holder": run.holder, "run": run.number, "seconds": round(left)})

    return work.store.lease(renewal.name, work.stamp, watching=watching)


def own_troubles(answers: Iterable[NodeAnswer]) -> tuple[RenewctlError, ...]:
    """Each node's own reason, where it gave one."""
    return tuple(Refused(Reason(a.reason), **{**a.values, "node": a.node}) for a in answers if a.reason)
