"""What a roll-out or the way back would do, learned without changing anything and without an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renewctl import playbook_run
from renewctl.errors import Attention, RenewctlError
from renewctl.inventory.reading import Node, Topic
from renewctl.observation import ServedCertificate
from renewctl.playbook_run import Ended
from renewctl.reasons import Reason
from renewctl.renewal.events import PairRef
from renewctl.renewal.rules import Direction, Outcome, Renewal
from renewctl.workflow.choices import Options, proof_variables
from renewctl.workflow.engine import NodeAnswer, answer_of, fixed, refused_by
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.on_record import not_on_record
from renewctl.workflow.pairs import accepted, told
from renewctl.workflow.rolling import ready_for
from renewctl.workflow.rolling_back import can_roll_back, not_back
from renewctl.workflow.workplace import Workplace


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
    ready = ready_for(work, topic, options)
    with told(work, ready.new, ready.previous) as pairs:
        variables = {**pairs, "renewctl_forward_only": ready.previous is None}
        ended = _played_dry(work, topic, "rollout", ready.nodes, {**variables, **proof_variables(options)})
    answers = [answer_of(node.name, ended, Direction.NEW) for node in ready.nodes]
    before = _serving(ended, topic)
    refused = refused_by(ended) or _unknown(ready.renewal, answers)
    if refused is None and ready.previous is not None:  # of nodes, too, that nobody could ask before
        refused = not_on_record(before, work.history(topic).pairs, ready.previous)
    return Plan(ready.renewal.name, Direction.NEW, ready.waves, answers, before, ready.new, refused)


def dry_run_back(work: Workplace, topic: Topic, options: Options) -> Plan:
    """What `roll_back` would change where. Changes nothing, and appends nothing; nobody is asked.

    Raises:
        Refused: as `roll_back`, before it begins, but for a doubtful way back: that is in the plan.
    """
    back = can_roll_back(work, topic)
    with told(work, accepted(back.renewal), back.previous) as pairs:
        variables = {**pairs, **back.variables, **proof_variables(options)}
        ended = _played_dry(work, topic, "rollback", back.nodes, variables)
    answers = [answer_of(node.name, ended, Direction.PREVIOUS) for node in back.nodes]
    waves = [(node.name,) for node in reversed(back.nodes)]
    refused = not_back(back.renewal, answers, back.gone)
    if back.doubt is not None and not options.without_push:
        back.doubt.others = () if refused is None else (refused, *refused.others)
        refused = back.doubt
    before = _serving(ended, topic)
    return Plan(back.renewal.name, Direction.PREVIOUS, waves, answers, before, back.previous, refused)


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


def _unknown(renewal: Renewal, answers: Sequence[NodeAnswer]) -> RenewctlError | None:
    """Nodes the playbook told nothing of: the roll-out would not get past them either."""
    silent = [answer.node for answer in answers if answer.outcome is Outcome.UNKNOWN]
    if not silent:
        return None
    return Attention(Reason.NODES_UNKNOWN, renewal=renewal.name, nodes=", ".join(silent))
