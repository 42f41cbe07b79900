"""A renewal as it stands: its phase, what is known of each node. Values; `rules` makes them of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from renewctl.renewal.events import Direction, Outcome, PairRef


class Phase(StrEnum):
    """How far a renewal has come."""

    OPEN = "open"
    CSR_MADE = "csr_made"
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    ROLLING_OUT = "rolling_out"
    INSTALLED = "installed"
    PROVEN = "proven"
    CLOSED = "closed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


ENDED = frozenset({Phase.CLOSED, Phase.ABORTED})
"""Phases nothing follows."""


_GOOD = frozenset({Outcome.INSTALLED, Outcome.PROVEN})


@dataclass(frozen=True)
class NodeState:
    """What is known of one node by the last event that told something of it.

    Attributes:
        storage: what it shared with which nodes when it was last given a pair; None: not written down then.
        unsettled: the other pair was given since to a node that may share its storage, or be this one under
            another name.
        unanswered: when it was asked since then and nothing was learned (`reason` and `values` say why); a
            question changes nothing on a node, so all else stays.
    """

    direction: Direction
    outcome: Outcome
    at: datetime
    run: int | None
    proof: Mapping[str, Any] | None = None
    reason: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    unsettled: bool = False
    unanswered: datetime | None = None

    @property
    def has_new(self) -> bool:
        """The node was read back with the new pair."""
        return self.direction is Direction.NEW and self.outcome in _GOOD


@dataclass(frozen=True)
class SignedRequest:
    """The file for the portal: its document, the last day its chain is valid, who signed, where it is."""

    document: str
    last_day: datetime
    signer: str
    serial: str
    file: str | None = None


@dataclass(frozen=True)
class Renewal:
    """One renewal as its events tell it.

    Attributes:
        seq: number of the last event.
        previous: the pair in use when it was opened; None: not known.
        kept_csr: SHA-256 of the CSR kept with the key.
        csr: the same from when it may be handed out.
        moving: direction of a roll-out or roll-back that has begun and not finished; None otherwise.
        nodes: node -> state, for every node ever touched in this renewal.
        let_go: nodes it ended without: touched, no longer of its topic, not known to hold what they should.
        left_out: nodes left out on purpose, with the reason given.
        refusals: certificates refused so far.
        asked_before: a request for another key was made before; the portal may have answered that one.
        restored: the store came back from a backup since the request; the portal may have answered it.
    """

    name: str
    topic_id: str
    topic: str
    phase: Phase
    seq: int
    opened_at: datetime
    opened_by: str
    last_at: datetime
    previous: PairRef | None = None
    key_fingerprint: str | None = None
    kept_csr: str | None = None
    csr: str | None = None
    request: SignedRequest | None = None
    accepted: PairRef | None = None
    accepted_at: datetime | None = None
    run: int | None = None
    moving: Direction | None = None
    planned: tuple[str, ...] = ()
    forward_only: bool = False
    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    let_go: tuple[str, ...] = ()
    refusals: int = 0
    asked_before: bool = False
    restored: bool = False

    def was_read_back(self, node: str) -> bool:
        """The node itself told that it holds what it was given; never merely that it took it."""
        state = self.nodes.get(node)
        if state is None or state.outcome not in _GOOD:
            return False
        rungs = (state.proof or {}).get("rungs", {})
        return "yes" in {rungs.get("read_back"), rungs.get("serial")}

    @property
    def bound_for(self) -> Direction:
        """Which pair its nodes are to have when it ends."""
        back = self.moving is Direction.PREVIOUS or self.phase is Phase.ROLLED_BACK
        return Direction.PREVIOUS if back else Direction.NEW

    @property
    def ended(self) -> bool:
        """Nothing can follow."""
        return self.phase in ENDED

    def has_new(self, node: str) -> bool:
        """The node was read back with the new pair."""
        state = self.nodes.get(node)
        return state is not None and state.has_new

    def has_previous_back(self, node: str) -> bool:
        """The node was put back and read back with the previous pair."""
        state = self.nodes.get(node)
        return state is not None and state.direction is Direction.PREVIOUS and state.outcome in _GOOD
