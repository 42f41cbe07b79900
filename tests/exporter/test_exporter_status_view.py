"""What the status page makes of inventory and snapshot, before a word of it is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from exporter.snapshot import Known, NodeFacts, RenewalFacts, Snapshot
from exporter.status.view import CRITICAL, REACHABLE_SECONDS, Level, TopicStatus, topics_status
from grafana import expressions
from renewctl.inventory.reading import Inventory
from renewctl.node_view import State
from renewctl.observation import DeviceCounts, Failure, Observation, Source
from renewctl.overview import Turn
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, PairRef
from renewctl.renewal.history import TopicHistory
from tests.support.exporter_values import NOW, UID, inventory, node, seen, served, topic, value

READ = Snapshot(store_up=True, store_read=NOW, histories={})
"""A store that was read and holds nothing."""


def serving(*days: int, snapshot: Snapshot = READ, **more: object) -> Snapshot:
    """Nodes a, b, … were seen serving certificates with so many days left."""
    for name, left in zip("abcdef", days, strict=False):
        snapshot = snapshot.with_node(name, NodeFacts().after(seen(served(days=left), **more)))  # type: ignore[arg-type]
    return snapshot


def only(snapshot: Snapshot, known: Inventory | None = None) -> TopicStatus:
    """The status of the one topic."""
    [status] = topics_status(known or inventory(), snapshot, NOW)
    return status


def warnings(status: TopicStatus) -> set[str]:
    """Which warnings there are beyond the date."""
    return {warn.key.removeprefix("warning.") for warn in status.warnings}


@pytest.mark.parametrize(
    ("left", "level"),
    [
        (timedelta(days=61), Level.OK),
        (timedelta(days=60), Level.DUE),
        (timedelta(days=14), Level.DUE),
        (timedelta(days=14, seconds=-1), Level.CRITICAL),
        (timedelta(seconds=1), Level.CRITICAL),
        (timedelta(0), Level.EXPIRED),
        (timedelta(days=-400), Level.EXPIRED),
    ],
)
def test_the_level_follows_the_alerts(left: timedelta, level: Level) -> None:
    """Due from the window on, critical under 14 days, expired with the second it ends."""
    certificate = replace(served(), not_after=NOW + left)
    status = only(READ.with_node("a", NodeFacts().after(seen(certificate))))
    assert status.level is level
    assert level.of_the_date == (level is not Level.OK)


def test_thresholds_are_those_of_the_dashboard() -> None:
    """Page and dashboard never disagree on what is critical or reachable."""
    assert CRITICAL.total_seconds() == expressions.CRITICAL
    assert REACHABLE_SECONDS == 7 * expressions.DAY


def test_the_window_is_the_topics_own() -> None:
    """A topic with 90 days is due at 80."""
    wide = inventory(topic(window=timedelta(days=90)), node("a"))
    assert only(serving(80), wide).level is Level.DUE
    assert only(serving(80)).level is Level.OK


def test_the_worst_node_gives_the_date() -> None:
    """As in the alerts: the earliest end of what nodes serve."""
    status = only(serving(300, 20), inventory(node("a"), node("b")))
    assert status.view.not_after == NOW + timedelta(days=20)
    assert status.level is Level.DUE
    assert warnings(status) == {"disagree"}


def test_nobody_knows_the_date() -> None:
    """Nothing was ever told: unknown, and that is urgent."""
    status = only(READ)
    assert (status.level, status.view.not_after, status.view.left) == (Level.UNKNOWN, None, None)
    [shown] = status.nodes
    assert (shown.view.state, shown.silent, shown.faulty) == (State.UNKNOWN, False, False)


def test_a_silent_node_keeps_its_date_with_its_age() -> None:
    """What it told an hour ago stays, of an hour ago; that it is silent now needs somebody."""
    facts = NodeFacts().after(seen(served(), minutes=-60)).failing(NOW, Reason.NODE_TIMEOUT)
    status = only(READ.with_node("a", facts))
    [shown] = status.nodes
    assert shown.view.at == NOW - timedelta(hours=1)
    assert shown.view.serving == served()
    assert (shown.silent, shown.faulty, status.level) == (True, True, Level.ATTENTION)
    assert status.view.steps[0].key == "next.look_at_node"


def test_a_pkcs12_file_from_before_the_first_roll_out_sends_nobody_to_ask_the_node() -> None:
    """Asking again tells nothing; the next roll-out does. What else is wrong with the node is asked about as ever."""
    locked, missing = Failure(Reason.NODE_CERTIFICATE_LOCKED), Failure(Reason.NODE_FILE_MISSING)
    steps = {}
    for failures in ((locked,), (locked, missing)):
        status = only(READ.with_node("a", NodeFacts().after(seen(up=None, failures=failures))))
        steps[len(failures)] = status.view.steps[0]
    assert (steps[1].key, steps[1].values, steps[1].command) == ("next.locked_node", {"node": "a"}, None)
    assert steps[2].key == "next.look_at_node"


def test_files_on_another_host_are_no_fault() -> None:
    """From here there is nothing to ask; that alone needs nobody."""
    elsewhere = seen(up=None, failures=(Failure(Reason.NODE_CERTIFICATE_ELSEWHERE),))
    known = replace(served(), source=Source.RECORDED)
    kept = RenewalFacts(UID, "tokyo-1", "closed", recorded={"a": Known(known, NOW)})
    status = only(Snapshot(renewals=(kept,), store_up=False).with_node("a", NodeFacts().after(elsewhere)))
    [shown] = status.nodes
    assert (shown.silent, shown.faulty, status.level) == (False, False, Level.OK)
    assert "elsewhere" not in warnings(status)


def test_sources_of_one_node_that_disagree() -> None:
    """The one that ends first counts, the other is named; MdmNodesDisagree fires on it too."""
    both = seen(served(Source.API, 300), served(Source.DATABASE, 20))
    status = only(READ.with_node("a", NodeFacts().after(both)))
    [shown] = status.nodes
    assert shown.view.serving == served(Source.DATABASE, 20)
    assert [other.served.source for other in shown.others] == [Source.API]
    assert warnings(status) == {"disagree"}


def test_nodes_that_agree_say_nothing() -> None:
    """Two sources, two nodes, one certificate."""
    both = NodeFacts().after(seen(served(Source.API, serial="0a"), served(Source.FILE, serial="0a")))
    status = only(READ.with_node("a", both).with_node("b", both), inventory(node("a"), node("b")))
    assert warnings(status) == set()
    assert all(shown.others == () for shown in status.nodes)
    assert status.level is Level.OK


def test_other_topics_of_a_node_do_not_matter() -> None:
    """A node of two topics: each has its own certificate."""
    two = inventory(topic(), topic("osaka", "other"), node("a", "tokyo", "osaka"))
    facts = NodeFacts().after(seen(served(days=300), served(days=5, uid="other")))
    first, second = topics_status(two, READ.with_node("a", facts), NOW)
    assert (first.view.topic.id, first.level) == ("osaka", Level.CRITICAL)
    assert (second.view.topic.id, second.level) == ("tokyo", Level.OK)


def test_the_most_urgent_topic_comes_first() -> None:
    """Expired, unknown, critical, due, then what is in order; within each the earlier end."""
    days = {"ok": 300, "due": 50, "due2": 40, "critical": 3, "expired": -1}
    known = inventory(*(topic(id_, uid=id_) for id_ in (*days, "unknown")), node("a", *days, "unknown"))
    facts = NodeFacts().after(seen(*(served(days=left, uid=id_) for id_, left in days.items())))
    order = [status.view.topic.id for status in topics_status(known, READ.with_node("a", facts), NOW)]
    assert order == ["expired", "unknown", "critical", "due2", "due", "ok"]


@pytest.mark.parametrize(
    ("counts", "storages", "devices"),
    [
        ((None, None), ("s", "s"), None),
        (((150, 200), None), ("s", "s"), (150, 200)),
        (((150, 200), (160, 190)), ("s", "s"), (160, 200)),
        (((150, 200), (5, 10)), ("s", "t"), (155, 210)),
        (((0, 0), None), ("s", "t"), (0, 0)),
    ],
)
def test_devices_are_counted_once_a_storage(
    counts: tuple[tuple[int, int] | None, ...], storages: tuple[str, ...], devices: tuple[int, int] | None
) -> None:
    """Nodes of one storage tell of the same devices; none known is not zero."""
    names = ("a", "b")
    known = inventory(*(node(name, storage=storage) for name, storage in zip(names, storages, strict=True)))
    snapshot = READ
    for name, count in zip(names, counts, strict=True):
        told = None if count is None else (DeviceCounts(UID, count[1], {REACHABLE_SECONDS: count[0]}),)
        snapshot = snapshot.with_node(name, NodeFacts().after(seen(served(), devices=told)))
    status = only(snapshot, known)
    assert status.devices == devices
    shared = storages == ("s", "s") and None not in counts
    assert [shown.devices_of for shown in status.nodes] == [None, "a" if shared else None]


def test_before_the_store_was_read_only_what_was_kept_is_told() -> None:
    """Owed and recorded of before the start; nothing of turns and steps, which only the store knows."""
    recorded = {"a": Known(served(Source.RECORDED), NOW - timedelta(days=1))}
    kept = RenewalFacts(UID, "tokyo-1", "rolling_out", NOW, owed=("b",), recorded=recorded)
    snapshot = Snapshot(renewals=(kept,), store_up=False)
    status = only(snapshot, inventory(node("a"), node("b")))
    assert (status.turn, status.view.steps, status.renewal) == (None, (), kept)
    assert [shown.view.state for shown in status.nodes] == [State.SAME, State.OWED]
    assert status.view.not_after == served().not_after
    assert "owed" in warnings(status)


def test_without_the_store_too_a_node_seen_with_the_new_pair_again_is_owed() -> None:
    """It was put back, then an order was carried out late: page and metric say so alike after a restart."""
    new = PairRef("d", "f", "0b", served().not_after, None)
    kept = RenewalFacts(UID, "tokyo-1", "rolled_back", NOW, bound_for=Direction.PREVIOUS, left=new)
    for serial, owed in (("0b", ("a",)), ("0a", ())):
        facts = NodeFacts().after(seen(served(serial=serial)))
        snapshot = Snapshot(renewals=(kept,), store_up=False).with_node("a", facts)
        assert only(snapshot).view.owed == owed
        assert value(inventory(), snapshot, "mdm_renewal_nodes_owed") == len(owed)


def test_with_the_store_turn_and_steps_are_those_of_status() -> None:
    """Nothing open and the date far away: nobody's turn. Due: the operator's."""
    assert only(serving(300)).turn is Turn.NOBODY
    assert only(serving(30)).turn is Turn.OPERATOR
    assert [step.key for step in only(serving(30)).view.steps] == ["next.adopt", "next.open"]


def test_a_topic_without_nodes() -> None:
    """Nothing to ask: the date is unknown, and no count is made up."""
    known = inventory(topic(), topic("osaka", "other"), node("a", "tokyo"))
    status = next(one for one in topics_status(known, serving(300), NOW) if one.view.topic.id == "osaka")
    assert (status.nodes, status.devices, status.level) == ((), None, Level.UNKNOWN)


def test_adopted_date_before_the_store_was_read() -> None:
    """A date only a person told is shown, with where it is from."""
    adopted = {UID: Known(served(Source.ADOPTED, 100), NOW)}
    status = only(Snapshot(adopted=adopted, store_up=False))
    [shown] = status.nodes
    assert shown.view.serving is not None
    assert (shown.view.serving.source, status.level) == (Source.ADOPTED, Level.OK)


def test_what_the_store_tells_beats_what_was_kept() -> None:
    """A store that was read and knows nothing of the topic: no renewal, whatever was recorded before."""
    history = {"tokyo": TopicHistory("tokyo")}
    status = only(replace(serving(300), histories=history))
    assert (status.view.renewal, status.renewal, status.turn) == (None, None, Turn.NOBODY)


def test_what_is_known_of_a_node_alone_is_told_of_it() -> None:
    """Once the store was read, its history says what was recorded; an adopted pair was read from no node."""
    adopted = {UID: Known(served(Source.ADOPTED, 100), NOW)}
    kept = RenewalFacts(UID, "tokyo-1", "closed", recorded={"a": Known(served(Source.RECORDED), NOW)})
    for told in (replace(READ, adopted=adopted), replace(READ, renewals=(kept,))):
        [shown] = only(told).nodes
        assert (shown.view.serving, shown.view.state) == (None, State.UNKNOWN)


def test_a_lone_look_gives_the_same_as_status() -> None:
    """Exporter and `renewctl status` judge by one function: what a look gave is what is shown."""
    looked = Observation("a", NOW, up=True, certificates=(served(),), devices=())
    [shown] = only(READ.with_node("a", NodeFacts().after(looked))).nodes
    assert (shown.view.serving, shown.view.at, shown.view.up) == (looked.certificates[0], NOW, True)
