"""Random interleavings of several people's steps against the pure rules, compared with a second, plain account."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from renewctl.errors import Refused
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories
from renewctl.renewal.rules import Renewal, apply, may
from tests.support.history import BODIES, event

NODES = ("n1", "n2", "n3")
KINDS = [kind for kind in BODIES if kind not in {Kind.ADOPTED, Kind.OPENED, Kind.RESTORED}]
GOOD = {"proven", "installed"}
RARE = {Kind.ABORTED, Kind.CLOSED, Kind.KEY_MADE, Kind.CERTIFICATE_REFUSED}
"""Taken less often, so that most stories get as far as the nodes."""

LEADS_TO: dict[Kind, set[str]] = {
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


class Year(RuleBasedStateMachine):
    """Three people; each acts on what they last saw; an event is taken only from who has seen the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[str, list[Event]] = {}
        self.views: list[dict[str, list[Event]]] = [{}, {}, {}]
        self.nodes: dict[str, tuple[str, str]] = {}

    @rule(who=st.integers(0, 2))
    def reread(self, who: int) -> None:
        """Somebody reads the store, and acts on it later."""
        self.look(who)

    def look(self, who: int) -> None:
        """Read the store."""
        self.views[who] = {name: list(events) for name, events in self.log.items()}

    @rule(who=st.integers(0, 2))
    def open(self, who: int) -> None:
        """Begin a renewal, where none is open as far as they know."""
        seen = histories(self.views[who]).get("tokyo", TopicHistory("tokyo"))
        if seen.open is None and self._taken(who, event(1, Kind.OPENED, seen.next_name)):
            self.nodes = {}

    @rule(
        who=st.integers(0, 2),
        fresh=st.booleans(),
        pick=st.integers(0, 10**6),
        node=st.sampled_from(NODES),
        direction=st.sampled_from(["new", "previous"]),
        outcome=st.sampled_from(["proven", "installed", "unknown", "failed", "wrong"]),
    )
    def step(self, who: int, fresh: bool, pick: int, node: str, direction: str, outcome: str) -> None:
        """Mostly a step that the rules let them take; those they do not are refused by the fold as well."""
        if fresh:
            self.look(who)
        seen = histories(self.views[who]).get("tokyo")
        before = None if seen is None else seen.open
        if before is None:
            return
        legal = [kind for kind in KINDS if may(before, kind) for _ in range(1 if kind in RARE else 6)]
        kinds = KINDS if pick % 10 == 0 else legal
        kind = kinds[pick // 10 % len(kinds)]
        bodies: dict[Kind, dict[str, Any]] = {
            Kind.ROLL_OUT_STARTED: {"waves": [["n1"], ["n2", "n3"]]},
            Kind.WAVE_STARTED: {"nodes": [node], "direction": direction},
            Kind.NODE_FINISHED: {"node": node, "direction": direction, "outcome": outcome},
            Kind.NODE_VERIFIED: {"node": node, "direction": direction, "outcome": outcome},
        }
        drafted = event(before.seq + 1, kind, before.name, **bodies.get(kind, {}))
        if not may(before, kind):
            self._is_refused(before, drafted)
        elif self._taken(who, drafted):
            self._account(before, drafted)

    def _is_refused(self, before: Renewal, drafted: Event) -> None:
        try:
            apply(before, drafted)
        except Refused:
            return
        raise AssertionError(f"{drafted.kind} after {before.phase}")

    def _taken(self, who: int, drafted: Event) -> bool:
        written = self.log.setdefault(drafted.renewal, [])
        if len(written) != drafted.seq - 1:
            return False
        written.append(drafted)
        self.views[who].setdefault(drafted.renewal, []).append(drafted)
        return True

    def _account(self, before: Renewal, taken: Event) -> None:
        body, kind = taken.body, taken.kind
        if kind is Kind.WAVE_STARTED:
            self.nodes |= dict.fromkeys(body["nodes"], (body["direction"], "unknown"))
        kept = kind is Kind.NODE_VERIFIED and body["outcome"] == "unknown" and body["node"] in self.nodes
        if kind in {Kind.NODE_FINISHED, Kind.NODE_VERIFIED} and not kept:
            self.nodes[body["node"]] = (body["direction"], body["outcome"])
        if kind is Kind.ACCEPTED:
            assert before.key_fingerprint is not None
        if kind is Kind.CLOSED:
            assert self.nodes
            assert all(self._has_new(name) for name in before.planned)
        after = histories(self.log)["tokyo"].renewals[-1]
        allowed = LEADS_TO.get(kind, {before.phase.value})
        if kind is Kind.NODE_VERIFIED:
            allowed = allowed | {"rolling_out", "installed", "proven"}
        assert after.phase.value in allowed, (before.phase, kind, after.phase)

    def _has_new(self, name: str) -> bool:
        direction, outcome = self.nodes.get(name, ("", ""))
        return direction == "new" and outcome in GOOD

    @invariant()
    def one_story(self) -> None:
        """Whatever was taken folds; at most one renewal is open, the last; nodes are as last told."""
        found = histories(self.log).get("tokyo")
        if found is None:
            return
        assert [renewal.ended for renewal in found.renewals[:-1]] == [True] * (len(found.renewals) - 1)
        latest = found.renewals[-1]
        assert {n: (s.direction.value, s.outcome.value) for n, s in latest.nodes.items()} == self.nodes
        if latest.phase.value == "proven":
            assert all(self.nodes[name] == ("new", "proven") for name in latest.planned)
        if latest.phase.value == "rolled_back":
            assert latest.nodes == {} or latest.accepted is not None


TestYear = Year.TestCase
TestYear.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
