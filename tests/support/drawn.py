"""Steps of a renewal as chance has them, mostly such as the rules allow; and a second, plain account of them.

Kinds and bodies for the property tests, over the pure rules as over real stores. The account keeps, without folding
anything, what the last word on each node was and which pair is in use; it is compared with what events fold to.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Self

from hypothesis import strategies as st

from renewctl.renewal.events import Kind
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.rules import Renewal, may
from tests.support.history import BODIES, pair

NODES = ("n1", "n2", "n3")
KEY_KINDS = (Kind.REKEY_STARTED, Kind.KEY_RESEALED, Kind.DESTRUCTION_STARTED, Kind.KEY_DESTROYED)
AT_NODES = frozenset(
    {
        Kind.ROLL_OUT_STARTED,
        Kind.WAVE_STARTED,
        Kind.NODE_FINISHED,
        Kind.NODE_VERIFIED,
        Kind.ROLL_OUT_FINISHED,
        Kind.ROLL_BACK_STARTED,
        Kind.ROLL_BACK_FINISHED,
    }
)
"""Written by who holds a run alone."""

_STEPS = [kind for kind in BODIES if kind not in {Kind.OPENED, Kind.RESTORED}]
_RARE = {Kind.ABORTED, Kind.KEY_MADE, Kind.CERTIFICATE_REFUSED}
_OFTEN = {Kind.NODE_FINISHED, Kind.NODE_VERIFIED, Kind.ROLL_OUT_FINISHED, Kind.CLOSED}
"""So that most stories get as far as the nodes, and some to their end."""

_GOOD = {"proven", "installed"}

_LEADS_TO: dict[Kind, set[str]] = {
    Kind.KEY_MADE: {"open"},
    Kind.CSR_MADE: {"csr_made"},
    Kind.REQUESTED: {"requested"},
    Kind.ACCEPTED: {"accepted"},
    Kind.ROLL_OUT_STARTED: {"rolling_out"},
    Kind.WAVE_STARTED: {"rolling_out"},
    Kind.ROLL_OUT_FINISHED: {"accepted", "rolling_out", "installed", "proven"},
    Kind.ROLL_BACK_STARTED: {"rolling_out"},
    Kind.ROLL_BACK_FINISHED: {"rolling_out", "rolled_back"},
    Kind.CLOSED: {"closed"},
    Kind.ABORTED: {"aborted"},
}
"""Where a step may lead; any other kind leaves the phase, but for a node proven again."""


@dataclass(frozen=True)
class Draw:
    """What chance says of one step.

    Attributes:
        pick: which kind; every tenth may be one that the rules do not allow.
        serial: of a certificate that comes or is adopted.
    """

    pick: int
    node: str
    direction: str
    outcome: str
    serial: str

    def kind(self, before: Renewal) -> Kind:
        """A kind of event to come after this state."""
        legal = [kind for kind in _STEPS if _told(before, kind) for _ in range(_weight(kind))]
        illegal = [kind for kind in _STEPS if not may(before, kind)]
        kinds = illegal if self.pick % 10 == 0 else legal
        return kinds[self.pick // 10 % len(kinds)]

    def body(self, kind: Kind) -> dict[str, Any]:
        """Its body."""
        told = {"node": self.node, "direction": self.direction, "outcome": self.outcome}
        own: dict[Kind, dict[str, Any]] = {
            Kind.ACCEPTED: {"pair": pair(self.serial)},
            Kind.ADOPTED: {"pair": pair(self.serial, days=42)},
            Kind.ROLL_OUT_STARTED: {"waves": [["n1"], ["n2", "n3"]] if self.pick % 3 else [[self.node]]},
            Kind.WAVE_STARTED: {"nodes": [self.node], "direction": self.direction},
            Kind.NODE_FINISHED: told,
            Kind.NODE_VERIFIED: told,
            Kind.RESTORED: {"nodes": list(NODES)},
        }
        return {**BODIES[kind], **own.get(kind, {})}


def _told(before: Renewal, kind: Kind) -> bool:
    """The rules allow it; and of a node's end a command tells between beginning and end of a roll-out alone."""
    return may(before, kind) and (kind is not Kind.NODE_FINISHED or before.moving is not None)


def _weight(kind: Kind) -> int:
    return 1 if kind in _RARE else 6 if kind in _OFTEN else 3


DRAWS = st.builds(
    Draw,
    pick=st.integers(0, 10**6),
    node=st.sampled_from(NODES),
    direction=st.sampled_from(["new", "new", "previous"]),
    outcome=st.sampled_from(["proven", "proven", "installed", "unknown", "failed", "wrong"]),
    serial=st.sampled_from(["0b", "1c", "2d", "3e"]),
)


@dataclass(frozen=True)
class Account:
    """One topic's story so far, in plain words.

    Attributes:
        nodes: of the newest renewal: node -> the direction and the outcome last told.
        adopted: serial of the pair last adopted.
        previous: serial of the pair in use when the newest renewal was opened.
        accepted: serial of what came for the newest renewal.
        used: serials of what earlier renewals left in use.
        phase: of the newest renewal.
    """

    nodes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    adopted: str | None = None
    previous: str | None = None
    accepted: str | None = None
    used: tuple[str, ...] = ()
    phase: str | None = None

    def after(self, kind: Kind, body: Mapping[str, Any], after: TopicHistory) -> Self:
        """The account with one more event; `after`: what it folded to, for the phase alone."""
        told = getattr(self, f"_{kind.value}", lambda _body: self)(deepcopy(dict(body)))
        if kind is Kind.ADOPTED:
            return told  # type: ignore[no-any-return]
        latest = after.latest
        phase = None if latest is None else latest.phase.value
        if kind is not Kind.OPENED and phase is not None and latest is not None:
            self._require_order(kind, phase, latest.planned)
        return replace(told, phase=phase)  # type: ignore[no-any-return]

    def _require_order(self, kind: Kind, phase: str, planned: tuple[str, ...]) -> None:
        """The phase an event led to is one that it may lead to."""
        allowed = _LEADS_TO.get(kind, {self.phase})
        if kind is Kind.NODE_VERIFIED:
            allowed = allowed | {"rolling_out", "installed", "proven"}
        if kind is Kind.RESTORED and self.accepted is not None and self.phase not in {"closed", "aborted"}:
            allowed = {"rolling_out"}
        assert phase in allowed, (self.phase, kind, phase)
        if kind is Kind.CLOSED:
            assert self.nodes
            assert all(self.nodes.get(name, ("", ""))[0] == "new" for name in planned)
            assert all(self.nodes[name][1] in _GOOD for name in planned)

    def _opened(self, body: dict[str, Any]) -> Self:
        used = self.used
        if self.accepted is not None and self.phase in {"installed", "proven", "closed"}:
            used = (*used, self.accepted)
        previous = body["previous"]
        serial = None if previous is None else str(previous["serial"])
        return replace(self, nodes={}, accepted=None, previous=serial, used=used)

    def _adopted(self, body: dict[str, Any]) -> Self:
        return replace(self, adopted=str(body["pair"]["serial"]))

    def _accepted(self, body: dict[str, Any]) -> Self:
        return replace(self, accepted=str(body["pair"]["serial"]))

    def _wave_started(self, body: dict[str, Any]) -> Self:
        begun = dict.fromkeys(body["nodes"], (body["direction"], "unknown"))
        return replace(self, nodes={**self.nodes, **begun})

    def _node_finished(self, body: dict[str, Any]) -> Self:
        return replace(self, nodes={**self.nodes, body["node"]: (body["direction"], body["outcome"])})

    def _node_verified(self, body: dict[str, Any]) -> Self:
        """A question that got no answer changed nothing."""
        kept = body["outcome"] == "unknown" and body["node"] in self.nodes
        return self if kept else self._node_finished(body)

    def _restored(self, body: dict[str, Any]) -> Self:
        if self.accepted is None or self.phase in {"closed", "aborted"}:
            return self
        names = {*body["nodes"], *self.nodes}
        return replace(
            self, nodes={name: (self.nodes.get(name, ("new", ""))[0], "unknown") for name in names}
        )

    def agrees_with(self, found: TopicHistory) -> None:
        """At most one renewal is open, the last; pairs and nodes are as last told."""
        assert [renewal.ended for renewal in found.renewals[:-1]] == [True] * (len(found.renewals) - 1)
        assert (None if found.adopted is None else found.adopted.serial) == self.adopted
        latest = found.latest
        if latest is None:
            assert self.phase is None
            return
        assert {n: (s.direction.value, s.outcome.value) for n, s in latest.nodes.items()} == self.nodes
        assert (None if latest.accepted is None else latest.accepted.serial) == self.accepted
        assert (None if latest.previous is None else latest.previous.serial) == self.previous
        in_use = self.used[-1] if self.used else self.adopted
        if latest.phase.value in {"installed", "proven", "closed"}:
            in_use = self.accepted
        assert (None if found.current is None else found.current.serial) == in_use
        if latest.phase.value == "proven":
            assert all(self.nodes[name] == ("new", "proven") for name in latest.planned)
        if latest.phase.value == "rolled_back":
            assert self.accepted is not None
