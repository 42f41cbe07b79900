"""Playbooks that only pretend: each node answers what the test says, and what was asked is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl.observation import Observation, ServedCertificate, Source
from renewctl.playbook_run import Ended, NodeDone, NodeResult, NodeStarted, PlaybookEvent, PushServiceChecked
from tests.support.certs import NOW, TOPIC

RUNGS = ("read_back", "serial", "push", "check_in")
GOOD = {
    "fence": "fenced",
    "rollout": "proven",
    "verify": "proven",
    "rollback": "put_back",
    "observe": "observed",
}
STATES = {
    "fence": "fenced", "rollout": "present", "verify": "verified", "rollback": "put_back", "observe": "observed"
}  # fmt: skip


def proof(verdict: str = "proven", check_in: str = "yes", reason: str | None = None) -> dict[str, Any]:
    """A proof as a node's result carries it."""
    rungs = {**dict.fromkeys(RUNGS, "yes"), "check_in": check_in}
    values = {} if reason is None else {"got": "-"}
    return {
        "verdict": verdict,
        "rungs": rungs,
        "reason": reason,
        "values": values,
        "enrollment": "DEVICE-1",
    }


SLEEPING = proof("not_proven", "no", "proof_no_check_in")
"""Read back and pushed to, and no device has been seen checking in."""


def looked(node: str, serial: str, not_after: datetime) -> Observation:
    """A look at a node that serves this certificate."""
    served = ServedCertificate(TOPIC, not_after, Source.API, serial=serial)
    return Observation(node, NOW, up=True, certificates=(served,))


@dataclass(frozen=True)
class Played:
    """One call.

    Attributes:
        pairs: what the certificate files held while the playbook ran.
    """

    name: str
    limit: tuple[str, ...]
    check: bool
    hosts: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, Any]
    pairs: Mapping[str, bytes]


@dataclass
class Playbooks:
    """Stands where `playbook_run.run` is.

    Attributes:
        answers: (playbook, node) -> its result; None: not a word of that node. Others do well.
        meanwhile: playbook -> called while it runs; what it raises ends the playbook.
        push_service: what the pre-flight says.
        exit_codes: playbook -> exit code; 0 otherwise.
        played: every call.
    """

    answers: dict[tuple[str, str], NodeResult | None] = field(default_factory=dict)
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    push_service: PushServiceChecked | None = None
    exit_codes: dict[str, int] = field(default_factory=dict)
    played: list[Played] = field(default_factory=list)

    def says(self, playbook: str, node: str, outcome: str, **more: Any) -> None:
        """From now on a node answers so."""
        self.answers[playbook, node] = NodeResult(node, outcome, **more)

    def names(self) -> list[tuple[str, tuple[str, ...]]]:
        """Playbook and nodes of every call that changes something, in order."""
        return [(one.name, one.limit) for one in self.played if one.name != "fence"]

    def run(
        self,
        name: str,
        hosts: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        limit: Sequence[str] | None = None,
        check: bool = False,
        permit: int | None = None,  # noqa: ARG002 - as the real one
        on_event: Callable[[PlaybookEvent], None],
    ) -> Ended:
        """Play it."""
        names = tuple(hosts if limit is None else limit)
        pairs = {
            key: Path(variables[key]["certificate"]).read_bytes()
            for key in ("renewctl_pair", "renewctl_previous")
            if variables.get(key)
        }
        self.played.append(Played(name, names, check, dict(hosts), dict(variables), pairs))
        self.meanwhile.get(name, lambda: None)()
        results = {}
        for node in names:
            result = self.answers.get((name, node), self._well(name, node, check=check))
            on_event(NodeStarted(node, STATES[name]))
            if result is not None:
                on_event(NodeDone(node, STATES[name], result))
                results[node] = result
        return Ended(
            self.exit_codes.get(name, 0), results, self.push_service if name == "fence" else None, "the tail"
        )

    def _well(self, name: str, node: str, *, check: bool) -> NodeResult:
        if check:
            would = "would_put_back" if name == "rollback" else "would_install"
            return NodeResult(node, would, changed=True)
        told = None if name in {"fence", "observe"} else proof()
        return NodeResult(node, GOOD[name], changed=name in {"rollout", "rollback"}, proof=told)
