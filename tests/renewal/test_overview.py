"""What `status` makes of inventory, events and observations. Pure: nothing is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from renewctl import messages
from renewctl.inventory.model import Account
from renewctl.inventory.reading import Inventory, Keys, Node, Product, Topic, Vendor
from renewctl.node_view import State
from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.overview import TopicView, Turn, view
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Outcome, PairRef
from renewctl.renewal.history import TopicHistory
from renewctl.renewal.rules import NodeState, Phase, Renewal, SignedRequest
from renewctl.secrets import Kind, SecretRef

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
UID = "com.apple.mgmt.External.1"
OLD = PairRef("d0", "f0", "0a", NOW + timedelta(days=42), "k0")
NEW = PairRef("d1", "f1", "0b", NOW + timedelta(days=407), "k1")
TOPIC = Topic("tokyo", UID, "Tokyo", Account("mdm"))


def node(name: str) -> Node:
    """A node that serves the topic."""
    return Node(name, Product.NANOMDM, ("tokyo",), name, url="http://127.0.0.1:9000")


def inventory(*names: str, topic: Topic = TOPIC) -> Inventory:
    """An inventory of one topic and these nodes."""
    return Inventory(
        path=__file__,  # type: ignore[arg-type]
        digest="",
        store="sqlite:///x.db",
        keys=Keys(()),
        topics=(topic,),
        nodes=tuple(map(node, names)),
    )


def serves(name: str, pair: PairRef = OLD, **more: Any) -> Observation:
    """A node seen serving a pair."""
    served = ServedCertificate(UID, pair.not_after, Source.API, serial=pair.serial)
    return Observation(name, NOW, up=True, certificates=(served,), **more)


def renewal(phase: Phase, **more: Any) -> Renewal:
    """A renewal in a phase; accepted from that phase on."""
    later = {Phase.ACCEPTED, Phase.ROLLING_OUT, Phase.INSTALLED, Phase.PROVEN, Phase.CLOSED}
    pair = NEW if phase in later else None
    return Renewal("tokyo-1", "tokyo", UID, phase, 1, NOW, "me", NOW, previous=OLD, accepted=pair, **more)


def told(outcome: Outcome, direction: Direction = Direction.NEW) -> NodeState:
    """What events say of a node."""
    rungs = {"read_back": "yes" if outcome in {Outcome.PROVEN, Outcome.INSTALLED} else "unknown"}
    return NodeState(direction, outcome, NOW - timedelta(days=1), 1, {"rungs": rungs})


def look(
    *seen: Observation,
    names: tuple[str, ...] = ("a", "b"),
    history: TopicHistory | None = None,
    topic: Topic = TOPIC,
    now: datetime = NOW,
) -> TopicView:
    """The view of one topic."""
    past = history or TopicHistory("tokyo", adopted=OLD)
    return view(inventory(*names, topic=topic), topic, past, {each.node: each for each in seen}, now)


def keys(shown: TopicView) -> set[str]:
    """Which warnings there are."""
    return {warn.key.removeprefix("warning.") for warn in shown.warnings}


def test_all_is_well() -> None:
    """Long before its end, all nodes agreeing, nothing is warned of and it is nobody's turn."""
    far = replace(OLD, not_after=NOW + timedelta(days=200))
    shown = look(serves("a", far), serves("b", far))
    assert (keys(shown), shown.turn, shown.left) == (set(), Turn.NOBODY, 200)
    assert not shown.urgent
    assert [each.state for each in shown.nodes] == [State.SAME, State.SAME]


@pytest.mark.parametrize(
    ("days", "warning"), [(61, None), (60, "due"), (1, "due"), (0, "expired"), (-3, "expired")]
)
def test_the_window_decides_what_is_due(days: int, warning: str | None) -> None:
    """Due from exactly 60 days before the end; expired from the end on."""
    pair = replace(OLD, not_after=NOW + timedelta(days=days))
    shown = look(serves("a", pair), names=("a",))
    assert keys(shown) == ({warning} if warning else set())
    assert shown.urgent == (warning is not None)


def test_the_earliest_end_counts() -> None:
    """Where nodes differ, the topic's date is the one that comes first."""
    assert look(serves("a", NEW), serves("b", OLD)).not_after == OLD.not_after


def test_nobody_knows_the_date() -> None:
    """A topic nobody can date is a warning, never zero days."""
    shown = look(history=TopicHistory("tokyo"))
    assert keys(shown) == {"date_unknown", "node_unknown"}
    assert (shown.left, shown.urgent) == (None, True)


def test_what_was_adopted_dates_a_topic_whose_nodes_tell_nothing() -> None:
    """NanoMDM 0.9 tells nothing by API: the adopted certificate is the date, the nodes stay unknown."""
    shown = look()
    assert shown.not_after == OLD.not_after
    assert "node_unknown" in keys(shown)


def test_nodes_that_disagree() -> None:
    """Different serials, nothing owed: somebody changed one by hand."""
    assert "disagree" in keys(look(serves("a", OLD), serves("b", NEW)))


def test_a_pair_nobody_wrote_down_is_not_current() -> None:
    """All nodes serve one pair, and it is not the one taken over: as after a renewal by hand. Nor is one of before."""
    stranger = replace(NEW, serial="0c")
    shown = look(serves("a", stranger), serves("b", stranger))
    assert [each.state for each in shown.nodes] == [State.DISAGREES, State.DISAGREES]
    assert {"renewed_elsewhere"} == keys(shown)
    assert [step.key for step in shown.steps] == ["next.adopt"]


@pytest.mark.parametrize("serial", ["09", "0a"])
def test_a_node_that_was_forgotten_is_not_called_renewed(serial: str) -> None:
    """Its pair is of before, on record or not: it differs, and nobody is told to take that over."""
    older = replace(OLD, serial=serial, not_after=OLD.not_after - timedelta(days=1))
    closed = replace(renewal(Phase.CLOSED), previous=OLD)
    shown = look(serves("a", older), names=("a",), history=TopicHistory("tokyo", (closed,), adopted=OLD))
    assert [each.state for each in shown.nodes] == [State.DISAGREES]
    assert {"not_as_recorded"} <= keys(shown)
    assert not {"renewed_elsewhere", "disagree"} & keys(shown)
    assert "next.adopt" not in [step.key for step in shown.steps]


def test_a_node_left_out_for_its_newer_pair_stays_named() -> None:
    """It ends between the old pair and the new: the roll-out that is offered for it would stop again."""
    between = replace(OLD, serial="0c", not_after=OLD.not_after + timedelta(days=1))
    past = TopicHistory("tokyo", (renewal(Phase.PROVEN, nodes={"a": told(Outcome.PROVEN)}),), adopted=OLD)
    shown = look(serves("a", NEW), serves("b", between), history=past)
    assert shown.owed == ("b",)
    assert "renewed_elsewhere" in keys(shown)


def test_a_pair_that_came_through_a_shared_storage_is_no_stranger() -> None:
    """Midway through a roll-out a node serves the new pair before its own turn."""
    past = TopicHistory(
        "tokyo", (renewal(Phase.ROLLING_OUT, nodes={"a": told(Outcome.PROVEN)}),), adopted=OLD
    )
    shown = look(serves("a", NEW), serves("b", NEW), history=past)
    assert [each.state for each in shown.nodes] == [State.PROVEN, State.OWED]
    assert not {"renewed_elsewhere", "not_as_recorded", "disagree"} & keys(shown)


def test_without_anything_on_record_no_pair_is_a_stranger() -> None:
    """Nobody has taken over a pair yet, as monitoring alone does not ask for it."""
    shown = look(serves("a", NEW), names=("a",), history=TopicHistory("tokyo"))
    assert ([each.state for each in shown.nodes], keys(shown)) == ([State.SAME], set())


def test_facts_without_serials_are_compared_by_date() -> None:
    """A source that knows no serial still tells the date."""
    bare = ServedCertificate(UID, OLD.not_after, Source.API)
    same = Observation("b", NOW, certificates=(bare,))
    assert "disagree" not in keys(look(serves("a", OLD), same))


def test_owed_nodes_are_no_disagreement() -> None:
    """Midway through a roll-out the old pair on a node still to come is owed, not wrong."""
    past = TopicHistory("tokyo", (renewal(Phase.ROLLING_OUT, nodes={"a": told(Outcome.PROVEN)}),))
    shown = look(serves("a", NEW), serves("b", OLD), history=past)
    assert shown.owed == ("b",)
    assert [each.state for each in shown.nodes] == [State.PROVEN, State.OWED]
    assert {"owed"} <= keys(shown)
    assert "disagree" not in keys(shown)


def test_half_way_back_a_node_that_is_back_is_owed_nothing() -> None:
    """It is without the new pair, as it should be; one that still has it is owed the previous one, and said to be."""
    nodes = {"a": told(Outcome.INSTALLED, Direction.PREVIOUS), "b": told(Outcome.INSTALLED)}
    past = TopicHistory(
        "tokyo", (renewal(Phase.ROLLING_OUT, moving=Direction.PREVIOUS, nodes=nodes),), adopted=OLD
    )
    shown = look(serves("a", OLD), serves("b", NEW), history=past)
    assert shown.owed == ("b",)
    assert [each.state for each in shown.nodes] == [State.BACK, State.OWED_PREVIOUS]
    assert [dict(warn.values) for warn in shown.warnings if warn.key == "warning.owed_previous"] == [
        {"name": "Tokyo", "nodes": "b"}
    ]
    assert not {"owed", "disagree"} & keys(shown)


def test_after_a_roll_back_a_node_seen_with_the_new_pair_is_owed_the_previous_one() -> None:
    """Never the new one, which it serves; it is somebody's turn."""
    nodes = {"a": told(Outcome.UNKNOWN, Direction.PREVIOUS), "b": told(Outcome.INSTALLED, Direction.PREVIOUS)}
    back = replace(renewal(Phase.ROLLED_BACK, nodes=nodes), accepted=NEW)
    shown = look(serves("a", NEW), serves("b", OLD), history=TopicHistory("tokyo", (back,), adopted=OLD))
    assert (shown.owed, keys(shown) & {"owed", "owed_previous"}) == (("a",), {"owed_previous"})
    assert [each.state for each in shown.nodes] == [State.UNKNOWN, State.BACK]


def test_a_node_that_serves_something_else_than_recorded() -> None:
    """We installed the new pair and read it back; now it serves the old one: it disagrees."""
    nodes = {"a": told(Outcome.PROVEN), "b": told(Outcome.INSTALLED)}
    past = TopicHistory("tokyo", (renewal(Phase.INSTALLED, nodes=nodes),))
    shown = look(serves("a", OLD), serves("b", NEW), history=past)
    assert [each.state for each in shown.nodes] == [State.DISAGREES, State.INSTALLED]
    assert "disagree" in keys(shown)


@pytest.mark.parametrize(
    ("outcome", "state", "warning"),
    [
        (Outcome.UNKNOWN, State.UNKNOWN, "node_unknown"),
        (Outcome.WRONG, State.WRONG, "node_failed"),
        (Outcome.FAILED, State.FAILED, "node_failed"),
    ],
)
def test_what_the_last_run_left(outcome: Outcome, state: State, warning: str) -> None:
    """Unknown, wrong and failed are shown as they are, each a warning."""
    past = TopicHistory("tokyo", (renewal(Phase.ROLLING_OUT, nodes={"a": told(outcome)}),))
    shown = look(serves("a", OLD), names=("a",), history=past)
    assert shown.nodes[0].state is state
    assert warning in keys(shown)


def test_recorded_facts_fill_in_for_silent_nodes() -> None:
    """Installed by us and read back counts, with its age, while a node cannot be asked."""
    past = TopicHistory("tokyo", (renewal(Phase.PROVEN, nodes={"a": told(Outcome.PROVEN)}),))
    failed = Observation("a", NOW, up=False, failures=(Failure(Reason.NODE_TIMEOUT),))
    (only,) = look(failed, names=("a",), history=past).nodes
    assert only.serving is not None
    assert (only.serving.source, only.serving.serial) == (Source.RECORDED, "0b")
    assert only.at == NOW - timedelta(days=1)
    assert only.failures == failed.failures


def test_devices_of_this_topic_are_counted() -> None:
    """Counts are of the topic asked about; a node that cannot tell has none."""
    counts = (DeviceCounts(UID, 7), DeviceCounts("other", 9))
    told_, silent = look(serves("a", devices=counts), serves("b")).nodes
    assert told_.devices is not None
    assert told_.devices.enabled == 7
    assert silent.devices is None


VENDOR = Vendor(__file__, (), SecretRef(Kind.ENV, ("K",)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phase", "vendor", "turn"),
    [
        (Phase.OPEN, None, Turn.OPERATOR),
        (Phase.CSR_MADE, None, Turn.VENDOR),
        (Phase.CSR_MADE, VENDOR, Turn.OPERATOR),
        (Phase.REQUESTED, None, Turn.PERSON),
        (Phase.ACCEPTED, None, Turn.OPERATOR),
    ],
)
def test_whose_turn(phase: Phase, vendor: Vendor | None, turn: Turn) -> None:
    """At the portal it is a person's turn, a CSR without a vendor key is the vendor's, the rest the operator's."""
    past = TopicHistory("tokyo", (renewal(phase),))
    assert look(history=past, topic=replace(TOPIC, vendor=vendor)).turn is turn


@pytest.mark.parametrize(
    ("days", "warning"), [(15, None), (14, "request_ends"), (0, "request_ended"), (-1, "request_ended")]
)
def test_a_request_has_a_last_day(days: int, warning: str | None) -> None:
    """Fourteen days before its chain ends a request is warned of; then it has to be made anew."""
    request = SignedRequest("d", NOW + timedelta(days=days), "vendor", "01", None)
    past = TopicHistory("tokyo", (renewal(Phase.REQUESTED, request=request),))
    found = keys(look(serves("a"), serves("b"), history=past))
    assert found & {"request_ends", "request_ended"} == ({warning} if warning else set())


def test_next_steps_are_computed_from_what_was_seen() -> None:
    """The date seen on the nodes decides, not the one of the events."""
    steps = look(serves("a", replace(OLD, not_after=NOW - timedelta(days=1))), names=("a",)).steps
    assert "next.open_expired" in {step.key for step in steps}


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_word_shown_has_a_sentence(language: str) -> None:
    """States, sources, turns and phases are words in both languages."""
    words = [f"state.{each}" for each in State]
    words += [f"turn.{each}" for each in Turn]
    words += [f"source.{each}" for each in Source]
    words += [f"phase.{each}" for each in Phase]
    assert [word for word in words if not messages.has(word, language)] == []
