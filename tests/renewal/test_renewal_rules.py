"""The rules of order: what may follow what, and what events add up to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewctl.errors import Refused
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Kind, Outcome
from renewctl.renewal.rules import (
    ENDED,
    Phase,
    Renewal,
    apply,
    behind,
    fold,
    gone,
    may,
    owed,
    owed_previous,
    require,
)
from tests.support.history import ACCEPTED, event, events, told, wave

NODES = ("n1", "n2")


def _folded(*kinds: object) -> Renewal:
    renewal = fold(events(*kinds))  # type: ignore[arg-type]
    assert renewal is not None
    return renewal


@pytest.mark.parametrize(
    ("kinds", "phase"),
    [
        (ACCEPTED[:1], Phase.OPEN),
        (ACCEPTED[:2], Phase.OPEN),
        (ACCEPTED[:3], Phase.CSR_MADE),
        (ACCEPTED[:4], Phase.REQUESTED),
        ((*ACCEPTED[:4], Kind.CERTIFICATE_REFUSED), Phase.REQUESTED),
        (ACCEPTED, Phase.ACCEPTED),
        ((*ACCEPTED, Kind.ROLL_OUT_STARTED), Phase.ROLLING_OUT),
        ((*ACCEPTED, Kind.ROLL_OUT_STARTED, Kind.ROLL_OUT_FINISHED), Phase.ACCEPTED),
        ((*ACCEPTED, Kind.ABORTED), Phase.ABORTED),
    ],
)
def test_each_step_leads_to_its_phase(kinds: tuple[Kind, ...], phase: Phase) -> None:
    """Every kind of event leads to the phase DESIGN names; a roll-out that touched nothing leads back."""
    assert _folded(*kinds).phase is phase


def test_a_started_wave_leaves_its_nodes_unknown() -> None:
    """A node whose change was announced and not told of is neither done nor failed."""
    renewal = _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, wave("n1"))
    assert renewal.nodes["n1"].outcome is Outcome.UNKNOWN
    assert renewal.moving is Direction.NEW
    assert owed(renewal, NODES) == NODES


@pytest.mark.parametrize(
    ("first", "second", "phase"),
    [
        ("proven", "proven", Phase.PROVEN),
        ("proven", "installed", Phase.INSTALLED),
        ("proven", "unknown", Phase.ROLLING_OUT),
        ("proven", "failed", Phase.ROLLING_OUT),
    ],
)
def test_a_roll_out_ends_as_well_as_its_worst_node(first: str, second: str, phase: Phase) -> None:
    """Proven only when every planned node is proven, installed only when every one was read back."""
    middle = (wave("n1", "n2"), told("n1", first), told("n2", second))
    assert _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, *middle, Kind.ROLL_OUT_FINISHED).phase is phase


def test_verifying_later_turns_installed_into_proven() -> None:
    """A device that wakes up later proves a node without another roll-out."""
    middle = (wave("n1", "n2"), told("n1", "proven"), told("n2", "installed"), Kind.ROLL_OUT_FINISHED)
    verified = (Kind.NODE_VERIFIED, {"node": "n2"})
    assert _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, *middle, verified).phase is Phase.PROVEN


def test_a_question_without_an_answer_changes_nothing_that_is_known() -> None:
    """`verify` touches no node: state and phase stay; that it was asked in vain is noted, until it answers."""
    middle = (wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"), Kind.ROLL_OUT_FINISHED)
    proven = _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, *middle)
    silent = event(proven.seq + 1, Kind.NODE_VERIFIED, node="n2", outcome="unknown", reason="node_timeout")
    asked = apply(proven, silent)
    before, after = proven.nodes["n2"], asked.nodes["n2"]
    assert (asked.phase, asked.was_read_back("n2"), after.at) == (Phase.PROVEN, True, before.at)
    assert (after.outcome, after.unanswered, after.reason) == (Outcome.PROVEN, silent.at, "node_timeout")
    answered = apply(asked, event(asked.seq + 1, Kind.NODE_VERIFIED, node="n2"))
    assert (answered.nodes["n2"].unanswered, answered.nodes["n2"].reason) == (None, None)


def test_the_answer_that_a_step_was_cut_off_takes_the_proof_away() -> None:
    """That is no silence: until a roll-out proves it anew the node is unknown, and nothing is closed over it."""
    middle = (wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"), Kind.ROLL_OUT_FINISHED)
    cut_off = {"node": "n2", "outcome": "unknown", "reason": "node_step_unfinished"}
    renewal = _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, *middle, (Kind.NODE_VERIFIED, cut_off))
    assert (renewal.nodes["n2"].outcome, renewal.nodes["n2"].unanswered) == (Outcome.UNKNOWN, None)
    assert (renewal.phase, may(renewal, Kind.CLOSED)) == (Phase.ROLLING_OUT, False)
    assert owed(renewal, NODES) == ("n2",)


def test_after_the_end_nothing_is_owed() -> None:
    """No command brings an ended renewal's pair to a node that comes, or comes back, later; before, it is owed."""
    out = (Kind.ROLL_OUT_STARTED, {"waves": [["n1"]], "left_out": {"n2": "down"}})
    ended = (*ACCEPTED, out, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    nodes = ("n1", "n2", "n9")
    assert owed(_folded(*ended), nodes) == ("n2", "n9")
    assert owed(_folded(*ended, Kind.CLOSED), nodes) == ()


def test_a_roll_back_ends_rolled_back_and_nothing_is_owed() -> None:
    """Every node back on the previous pair: phase rolled_back, owed nothing, may be rolled out again."""
    out = (Kind.ROLL_OUT_STARTED, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    back = (Kind.ROLL_BACK_STARTED, wave("n1", direction="previous"), told("n1", "proven", "previous"))
    renewal = _folded(*ACCEPTED, *out, *back, Kind.ROLL_BACK_FINISHED)
    assert renewal.phase is Phase.ROLLED_BACK
    assert renewal.has_previous_back("n1")
    assert (owed(renewal, NODES), owed_previous(renewal, NODES)) == ((), ())
    assert may(renewal, Kind.ROLL_OUT_STARTED)
    assert may(renewal, Kind.ABORTED)


def test_a_node_that_could_not_be_put_back_is_owed_the_previous_pair() -> None:
    """While a roll-back is under way, what it has not put back is told by name."""
    out = (Kind.ROLL_OUT_STARTED, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    back = (Kind.ROLL_BACK_STARTED, wave("n1", direction="previous"))
    assert owed_previous(_folded(*ACCEPTED, *out, *back), NODES) == ("n1",)
    ended = _folded(*ACCEPTED, *out, *back, told("n1", "unknown", "previous"), Kind.ROLL_BACK_FINISHED)
    assert ended.phase is Phase.ROLLED_BACK
    assert owed_previous(ended, NODES) == behind(ended, NODES) == ("n1",)


def test_a_roll_back_that_died_before_its_wave_owes_every_node_it_set_out_for() -> None:
    """Announced, nothing begun: no node that holds the new pair is passed over; one never touched owes nothing."""
    out = (Kind.ROLL_OUT_STARTED, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    assert owed_previous(_folded(*ACCEPTED, *out, Kind.ROLL_BACK_STARTED), NODES) == ("n1",)


def test_a_node_that_was_away_during_the_roll_back_is_owed_when_it_returns() -> None:
    """Out of the inventory while others were put back, and not known to hold the previous pair: told all the same."""
    out = (wave("n1", "n2"), told("n1", "proven"), told("n2", "unknown"), Kind.ROLL_OUT_FINISHED)
    back = (wave("n1", direction="previous"), told("n1", "proven", "previous"), Kind.ROLL_BACK_FINISHED)
    ended = _folded(*ACCEPTED, Kind.ROLL_OUT_STARTED, *out, Kind.ROLL_BACK_STARTED, *back)
    assert (ended.phase, behind(ended, ("n1",)), behind(ended, NODES)) == (
        Phase.ROLLED_BACK,
        ("n2",),
        ("n2",),
    )
    assert (owed_previous(ended, ("n1",)), gone(ended, ("n1",)), gone(ended, NODES)) == ((), ("n2",), ())
    assert owed_previous(ended, ("n1", "n2b")) == ()  # which nobody has touched, as far as is known


def test_a_roll_back_that_left_a_new_pair_somewhere_is_not_rolled_back() -> None:
    """A node still on the new pair keeps the renewal in phase rolling_out."""
    out = (Kind.ROLL_OUT_STARTED, wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"))
    start = (Kind.ROLL_BACK_STARTED, {"nodes": ["n1", "n2"]})
    back = (start, wave("n1", direction="previous"), told("n1", "proven", "previous"))
    renewal = _folded(*ACCEPTED, *out, Kind.ROLL_OUT_FINISHED, *back, Kind.ROLL_BACK_FINISHED)
    assert renewal.phase is Phase.ROLLING_OUT


def test_a_key_may_be_made_again_before_a_certificate_is_accepted_and_never_after() -> None:
    """A lost key leads to a new request; an accepted certificate pins its key."""
    again = _folded(*ACCEPTED[:4], (Kind.KEY_MADE, {"key_fingerprint": "n" * 64}))
    assert (again.phase, again.csr, again.request) == (Phase.OPEN, None, None)
    assert not may(_folded(*ACCEPTED), Kind.KEY_MADE)


def test_out_of_order_is_refused_with_the_phase() -> None:
    """Asking for a step too early names step, phase and the phases it needs, as words of the catalogues."""
    with pytest.raises(Refused) as caught:
        require(_folded(Kind.OPENED), Kind.ROLL_OUT_STARTED)
    assert caught.value.reason is Reason.OUT_OF_ORDER
    values = caught.value.values
    assert (values["got"], values["step"]) == ("phase.open", "event.roll_out_started")
    assert values["expected"] == [
        f"phase.{phase}" for phase in ("accepted", "rolling_out", "installed", "proven", "rolled_back")
    ]


@pytest.mark.parametrize(
    "broken",
    [
        [event(1, Kind.KEY_MADE)],
        [event(2, Kind.OPENED)],
        [event(1, Kind.OPENED), event(3, Kind.KEY_MADE)],
        [event(1, Kind.OPENED), event(2, Kind.CLOSED)],
        [event(1, Kind.OPENED), event(2, Kind.OPENED)],
    ],
)
def test_a_history_with_a_gap_or_a_jump_is_refused(broken: list[object]) -> None:
    """A missing, doubled or impossible event is history_broken, never silently folded."""
    with pytest.raises(Refused) as caught:
        fold(broken)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.HISTORY_BROKEN


def test_nothing_folds_to_nothing() -> None:
    """No events, or an adoption alone, are no renewal."""
    assert fold([]) is None
    assert fold(events(Kind.ADOPTED, name="tokyo-0")) is None


@given(st.lists(st.sampled_from([kind for kind in Kind if kind is not Kind.ADOPTED]), max_size=40))
def test_whatever_is_tried_in_whatever_order_the_rules_hold(tried: list[Kind]) -> None:
    """Random orders: allowed events always apply, ended renewals stay ended, nodes need an acceptance."""
    renewal = _folded(Kind.OPENED)
    for kind in tried:
        allowed = may(renewal, kind)
        assert not (renewal.ended and allowed)
        if not allowed:
            with pytest.raises(Refused):
                apply(renewal, event(renewal.seq + 1, kind))
            continue
        renewal = apply(renewal, event(renewal.seq + 1, kind))
        assert renewal.accepted is not None or not renewal.nodes
        assert (renewal.phase in ENDED) == renewal.ended
        if renewal.phase is Phase.PROVEN:
            assert all(renewal.has_new(node) for node in renewal.planned)


def test_after_a_restore_no_node_is_what_old_events_say() -> None:
    """Whatever was told of a node before is not known now; a node that no event names may have been changed too."""
    done = (Kind.WAVE_STARTED, Kind.NODE_FINISHED, Kind.ROLL_OUT_FINISHED)
    for kinds in ((), (Kind.ROLL_OUT_STARTED,), (Kind.ROLL_OUT_STARTED, *done)):
        renewal = _folded(*(Kind.OPENED, Kind.KEY_MADE, Kind.CSR_MADE, Kind.ACCEPTED), *kinds, Kind.RESTORED)
        assert renewal.phase is Phase.ROLLING_OUT
        assert renewal.moving is None
        assert {name: state.outcome for name, state in renewal.nodes.items()} == dict.fromkeys(
            ("n1", "n2"), Outcome.UNKNOWN
        )
        assert owed(renewal, ["n1", "n2"]) == ("n1", "n2")
        assert not may(renewal, Kind.ABORTED)
        seen = apply(renewal, event(renewal.seq + 1, Kind.NODE_VERIFIED, node="n1"))
        assert seen.phase is Phase.ROLLING_OUT  # n2 was not read back yet
        seen = apply(seen, event(seen.seq + 1, Kind.NODE_VERIFIED, node="n2"))
        assert seen.phase is Phase.PROVEN


def test_before_acceptance_a_restore_changes_nothing_but_the_record() -> None:
    """No pair of this renewal can be on a node: it goes on where the backup left it."""
    for kinds in ((Kind.OPENED,), (Kind.OPENED, Kind.KEY_MADE, Kind.CSR_MADE, Kind.REQUESTED)):
        before, after = _folded(*kinds), _folded(*kinds, Kind.RESTORED)
        assert (after.phase, after.nodes) == (before.phase, {})


def test_a_wave_ends_what_was_proven() -> None:
    """A node that is being changed is unknown, so the renewal is not proven any more, whatever came before."""
    before = (
        Kind.OPENED,
        Kind.KEY_MADE,
        Kind.CSR_MADE,
        Kind.ACCEPTED,
        Kind.ROLL_OUT_STARTED,
        Kind.WAVE_STARTED,
    )
    after = (Kind.NODE_FINISHED, Kind.ROLL_BACK_STARTED, Kind.ROLL_OUT_FINISHED)
    renewal = _folded(*before, *after)
    assert renewal.phase is Phase.PROVEN
    assert apply(renewal, event(renewal.seq + 1, Kind.WAVE_STARTED)).phase is Phase.ROLLING_OUT
