"""Nodes that only remember: what each storage holds, which run each node carries; playbooks that change them.

A worker asks before each change whether the run may still change nodes, as the real one does; what it changes then,
no other run may have begun on meanwhile.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509

from renewctl.observation import Observation, ServedCertificate, Source
from renewctl.playbook_run import Ended, NodeResult
from renewctl.reasons import Reason
from tests.support.certs import NOW
from tests.support.pretended_playbooks import proof
from tests.support.turns import here


class Mood(StrEnum):
    """What a node does when it is asked."""

    WELL = "well"
    AWAY = "away"  # answers nothing
    SILENT = "silent"  # takes the run, then neither does nor says anything
    MUTE = "mute"  # does it, and says nothing
    ASLEEP = "asleep"  # does it; no device checks in
    WRONG = "wrong"  # the pair proves wrong on it, and is put back


@dataclass
class Nodes:
    """All of an inventory's.

    Attributes:
        storages: node -> its storage.
        newest: asks the store which run is the newest.
        holds: (storage, topic) -> certificate, PEM.
        carries: server -> the run it carries; a node is one server, whether it is called `n1` or `n1b`.
        moods: server -> its mood; well where it is not told.
    """

    storages: Mapping[str, str]
    newest: Callable[[], int]
    holds: dict[tuple[str, str], bytes] = field(default_factory=dict)
    carries: dict[str, int] = field(default_factory=dict)
    moods: dict[str, Mood] = field(default_factory=dict)

    def run(
        self,
        name: str,
        hosts: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        limit: Sequence[str] | None = None,
        permit: int | None = None,
        on_event: Callable[[Any], None],  # noqa: ARG002 - as the real one
        check: bool = False,
    ) -> Ended:
        """Stands where `playbook_run.run` is."""
        assert not check
        pairs = {
            key: Path(variables[f"renewctl_{key}"]["certificate"]).read_bytes()
            for key in ("pair", "previous")
            if variables.get(f"renewctl_{key}")
        }
        here().halts(f"plays {name}")
        told: dict[str, NodeResult] = {}
        names = tuple(hosts if limit is None else limit)
        for node in reversed(names) if name == "rollback" else names:
            turn = _Turn(self, node, variables, pairs, permit)
            result = getattr(turn, name)()
            if result is not None:
                told[node] = result
            here().halts(f"after {name} on {node}")
        return Ended(0 if len(told) == len(names) else 4, told, None, "the tail")


@dataclass(frozen=True)
class _Turn:
    """One node's turn in one playbook."""

    nodes: Nodes
    node: str
    variables: Mapping[str, Any]
    pairs: Mapping[str, bytes]
    permit: int | None

    @property
    def server(self) -> str:
        return self.node.removesuffix("b")

    @property
    def mood(self) -> Mood:
        return self.nodes.moods.get(self.server, Mood.WELL)

    @property
    def place(self) -> tuple[str, str]:
        return self.nodes.storages[self.node], self.variables["renewctl_topic"]

    def fence(self) -> NodeResult | None:
        """The node takes the run, unless it carries a higher one."""
        if self.mood is Mood.AWAY:
            return None
        if (refused := self._superseded()) is not None:
            return refused
        self.nodes.carries[self.server] = self.variables["renewctl_run"]
        return NodeResult(self.node, "fenced")

    def rollout(self) -> NodeResult | None:
        """The new pair, unless the node has it."""
        if self.mood is not Mood.AWAY and (refused := self._superseded()) is not None:
            return refused
        if self.mood in {Mood.AWAY, Mood.SILENT} or not self._may_change():
            return None
        changed = self.nodes.holds[self.place] != self.pairs["pair"]
        if self.mood is Mood.WRONG and "previous" in self.pairs:
            self.nodes.holds[self.place] = self.pairs["previous"]
            return NodeResult(self.node, "put_back", changed=True, proof=proof(), reason=Reason.NODES_WRONG)
        self.nodes.holds[self.place] = self.pairs["pair"]
        if self.mood is Mood.MUTE:
            return None
        return self._proven("proven" if changed else "unchanged", changed=changed)

    def verify(self) -> NodeResult | None:
        """What it holds; changes nothing."""
        if self.mood in {Mood.AWAY, Mood.SILENT, Mood.MUTE}:
            return None
        if self.nodes.holds[self.place] != self.pairs["pair"]:
            return NodeResult(self.node, "wrong", proof=proof("wrong"))
        return self._proven("proven", changed=False)

    def rollback(self) -> NodeResult | None:
        """The previous pair; nothing was fenced before it."""
        if self.mood is not Mood.AWAY and (refused := self._superseded()) is not None:
            return refused
        if self.mood in {Mood.AWAY, Mood.SILENT} or not self._may_change():
            return None
        self.nodes.carries[self.server] = self.variables["renewctl_run"]
        self.nodes.holds[self.place] = self.pairs["previous"]
        return None if self.mood is Mood.MUTE else self._proven("put_back", changed=True)

    def observe(self) -> NodeResult | None:
        """What it holds, and the run it carries; changes nothing."""
        if self.mood in {Mood.AWAY, Mood.SILENT, Mood.MUTE}:
            return None
        held = x509.load_pem_x509_certificate(self.nodes.holds[self.place])
        topic, ends = self.variables["renewctl_topic"], held.not_valid_after_utc
        served = ServedCertificate(topic, ends, Source.API, serial=f"{held.serial_number:x}")
        look = Observation(self.node, NOW, up=True, certificates=(served,))
        values = {"run": self.nodes.carries.get(self.server, 0)}
        return NodeResult(self.node, "observed", values=values, observation=look)

    def _proven(self, outcome: str, *, changed: bool) -> NodeResult:
        if self.mood is Mood.ASLEEP:
            slept = proof("not_proven", "no", "proof_no_check_in")
            told = outcome if outcome == "put_back" else "not_proven"
            return NodeResult(self.node, told, changed, proof=slept)
        return NodeResult(self.node, outcome, changed, proof=proof())

    def _superseded(self) -> NodeResult | None:
        got, carried = self.variables["renewctl_run"], self.nodes.carries.get(self.server, 0)
        if got >= carried:
            return None
        values = {"node": self.node, "got": got, "expected": carried}
        return NodeResult(self.node, "failed", reason=Reason.RUN_SUPERSEDED, values=values)

    def _may_change(self) -> bool:
        """What a worker asks before it sends anything; whoever may is the one who holds the newest run."""
        assert self.permit is not None
        (until,) = struct.unpack("<d", os.pread(self.permit, 8, 0))
        if here().clock.now >= until:
            return False
        newest = self.nodes.newest()
        assert newest == self.variables["renewctl_run"], "a node is changed by a run that was taken over"
        return True
