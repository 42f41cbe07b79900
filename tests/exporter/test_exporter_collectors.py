"""From what is known to series: nothing expected is missing, nothing outdated misleads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exporter.snapshot import Known, NodeFacts, RenewalFacts, Snapshot
from renewctl.inventory.reading import Product
from renewctl.observation import DeviceCounts, Failure, SeenDevice, Source
from renewctl.reasons import NODE_REASONS, Reason
from tests.support.exporter_values import NOW, UID, inventory, node, seen, served, topic, value, values

EXPIRY = "mdm_push_certificate_expiry_timestamp_seconds"


def test_before_the_first_answer_what_is_expected_is_zero_not_gone() -> None:
    """A node of the inventory has its series from the first scrape on."""
    known, empty = inventory(node("a"), node("b")), Snapshot(store_up=False)
    for name in (
        "mdm_node_up",
        "mdm_node_last_success_timestamp_seconds",
        "mdm_node_snapshot_timestamp_seconds",
    ):
        assert values(known, empty, name) == [0, 0]
    assert values(known, empty, "mdm_node_failures", node="a") == [0] * len(
        values(known, empty, "mdm_node_failures", node="b")
    )
    assert value(known, empty, "mdm_topic_expiry_known", topic=UID) == 0
    assert value(known, empty, "mdm_store_up") == 0
    assert value(known, empty, "mdm_store_last_success_timestamp_seconds") == 0
    assert value(known, empty, "mdm_exporter_last_round_timestamp_seconds") == 0


@pytest.mark.parametrize("reason", [*NODE_REASONS, Reason.INTERNAL])
def test_failures_are_counted_by_reason(reason: Reason) -> None:
    """A gauge of current failures; the other reasons are 0."""
    twice = Snapshot().with_node("a", NodeFacts().after(seen(failures=(Failure(reason), Failure(reason)))))
    assert value(inventory(), twice, "mdm_node_failures", node="a", reason=reason) == 2
    assert sum(values(inventory(), twice, "mdm_node_failures")) == 2


def test_a_reason_outside_the_closed_list_is_shown_too() -> None:
    """Better an unexpected series than a silent failure."""
    odd = Snapshot().with_node("a", NodeFacts().after(seen(failures=(Failure(Reason.FILE_EMPTY),))))
    assert value(inventory(), odd, "mdm_node_failures", reason="file_empty") == 1


def test_an_expired_certificate_keeps_its_series() -> None:
    """The series must not vanish at the moment it matters."""
    expired = Snapshot().with_node("a", NodeFacts().after(seen(served(days=-3, serial="0a", issuer="CN=x"))))
    assert (
        value(inventory(), expired, EXPIRY, topic=UID, node="a", source="api")
        == (NOW - timedelta(days=3)).timestamp()
    )
    assert value(inventory(), expired, "mdm_push_certificate_info", serial="0a", issuer="CN=x") == 1


def test_the_age_shown_is_that_of_the_oldest_fact() -> None:
    """One silent source makes the whole node's picture old."""
    facts = NodeFacts().after(seen(served(), served(Source.DATABASE)))
    facts = facts.after(seen(served(), failures=(Failure(Reason.DATABASE_UNREACHABLE),), minutes=9))
    shown = Snapshot().with_node("a", facts)
    assert value(inventory(), shown, "mdm_node_snapshot_timestamp_seconds", node="a") == NOW.timestamp()


def _recorded(days: int, minutes: int) -> Snapshot:
    known = Known(served(Source.RECORDED, days=days, serial="02"), NOW + timedelta(minutes=minutes))
    facts = RenewalFacts(UID, "tokyo-1", "installed", recorded={"a": known})
    return Snapshot(renewals=(facts,), store_up=True)


def test_what_was_installed_and_read_back_is_shown_as_recorded() -> None:
    """The only date there is for a server that tells nothing."""
    assert value(inventory(), _recorded(300, 0), EXPIRY, source="recorded", node="a") is not None
    assert value(inventory(), _recorded(300, 0), "mdm_topic_expiry_known") == 1


def test_the_latest_word_wins_where_two_sources_disagree() -> None:
    """A record of last year's roll-out must not contradict the certificate the node serves today, nor the reverse."""
    node_says = NodeFacts().after(seen(served(days=365), minutes=10))
    renewed_by_hand = _recorded(days=0, minutes=0).with_node("a", node_says)
    assert value(inventory(), renewed_by_hand, EXPIRY, source="recorded") is None
    silent_since_roll_out = _recorded(days=700, minutes=20).with_node("a", node_says)
    assert value(inventory(), silent_since_roll_out, EXPIRY, source="api") is None
    agreeing = _recorded(days=365, minutes=0).with_node("a", node_says)
    assert len(values(inventory(), agreeing, EXPIRY)) == 2


def test_sources_that_disagree_at_the_same_look_are_both_shown() -> None:
    """That is something to alert on, not to hide."""
    both = NodeFacts().after(seen(served(days=1), served(Source.DATABASE, days=2)))
    assert len(values(inventory(), Snapshot().with_node("a", both), EXPIRY)) == 2


def test_a_certificate_of_a_topic_nobody_asked_for_is_shown() -> None:
    """The portal's Create makes one: it has to be seen; the topic's own date stays unknown."""
    other = Snapshot().with_node("a", NodeFacts().after(seen(served(uid="com.apple.mgmt.External.other"))))
    assert value(inventory(), other, EXPIRY, topic="com.apple.mgmt.External.other") is not None
    assert value(inventory(), other, "mdm_topic_expiry_known", topic=UID) == 0


def test_devices_come_with_their_storage_and_cumulative_windows() -> None:
    """Each node tells of its storage's devices; labels let a query count them once."""
    counts = (DeviceCounts(UID, 200, {86400: 150, 604800: 180}), DeviceCounts("other", 0))
    shown = Snapshot().with_node("a", NodeFacts().after(seen(devices=counts)))
    known = inventory(node("a", storage="db"))
    assert value(known, shown, "mdm_devices_enrolled", node="a", storage="db", topic=UID) == 200
    assert value(known, shown, "mdm_devices_enrolled", topic="other") == 0
    assert value(known, shown, "mdm_devices_seen", topic=UID, within="604800") == 180


def test_topics_carry_what_routing_needs_and_no_address() -> None:
    """The inventory's labels are one set for every topic, empty where one is not given."""
    topics = (
        topic(owner="Sato", window=timedelta(days=45), labels={"team": "it"}),
        topic("osaka", "com.apple.mgmt.External.osaka", labels={"site": "west"}),
    )
    known = inventory(*topics, node("a", "tokyo", "osaka"), node("b", "osaka"))
    info = {"id": "tokyo", "name": "Office tokyo", "owner": "Sato", "account": "alias"}
    assert value(known, Snapshot(), "mdm_topic_info", topic=UID, label_team="it", label_site="", **info) == 1
    assert (
        value(known, Snapshot(), "mdm_topic_info", id="osaka", owner="", label_team="", label_site="west")
        == 1
    )
    assert value(known, Snapshot(), "mdm_topic_renewal_window_seconds", topic=UID) == 45 * 86400
    assert value(known, Snapshot(), "mdm_topic_node", topic=UID, node="a") == 1
    assert value(known, Snapshot(), "mdm_topic_node", topic=UID, node="b") is None
    assert values(known, Snapshot(), "mdm_topic_node", node="b") == [1]


def test_a_renewal_shows_its_phase_alone_and_who_is_owed() -> None:
    """One phase series a topic; a topic that never had a renewal has none."""
    facts = RenewalFacts(UID, "tokyo-2", "rolling_out", accepted_at=NOW, owed=("b",))
    shown = Snapshot(renewals=(facts,), store_up=True)
    known = inventory(topic(), topic("osaka", "o"), node("a", "tokyo", "osaka"), node("b"))
    assert value(known, shown, "mdm_renewal_phase", topic=UID, renewal="tokyo-2", phase="rolling_out") == 1
    assert len(values(known, shown, "mdm_renewal_phase")) == 1
    assert value(known, shown, "mdm_renewal_accepted_timestamp_seconds", topic=UID) == NOW.timestamp()
    assert value(known, shown, "mdm_renewal_nodes_owed", topic=UID) == 1
    assert value(known, shown, "mdm_renewal_node_owed", topic=UID, node="a") == 0
    assert value(known, shown, "mdm_renewal_node_owed", topic=UID, node="b") == 1
    assert value(known, shown, "mdm_store_up") == 1


def test_before_a_certificate_is_accepted_there_is_no_accepted_time() -> None:
    """Absent is not zero: zero would look like accepted in 1970."""
    shown = Snapshot(renewals=(RenewalFacts(UID, "tokyo-1", "open"),), store_up=True)
    assert value(inventory(), shown, "mdm_renewal_accepted_timestamp_seconds") is None
    assert value(inventory(), shown, "mdm_renewal_nodes_owed") == 0


def test_the_round_is_as_old_as_the_node_asked_longest_ago() -> None:
    """One node that is never asked keeps it at 0."""
    known = inventory(node("a"), node("b"))
    half = Snapshot().with_node("a", NodeFacts().after(seen(minutes=5)))
    assert value(known, half, "mdm_exporter_last_round_timestamp_seconds") == 0
    whole = half.with_node("b", NodeFacts().after(seen(minutes=3)))
    at = (NOW + timedelta(minutes=3)).timestamp()
    assert value(known, whole, "mdm_exporter_last_round_timestamp_seconds") == at


def test_files_on_another_host_say_nothing_about_being_up() -> None:
    """Nothing can be asked from here: no series rather than a false alarm, and a failure that says why."""
    facts = NodeFacts().after(seen(up=None, failures=(Failure(Reason.NODE_CERTIFICATE_ELSEWHERE),)))
    known = inventory(node("a", product=Product.FILES))
    assert value(known, Snapshot().with_node("a", facts), "mdm_node_up") is None
    assert sum(values(known, Snapshot().with_node("a", facts), "mdm_node_failures")) == 1


def test_single_devices_are_shown_where_asked_for_and_the_rest_is_counted() -> None:
    """Off by default; with a limit, how many have no series of their own is a series."""
    counts = (DeviceCounts(UID, 7), DeviceCounts("other", 2))
    silent = (SeenDevice("A1", UID, NOW - timedelta(days=90)), SeenDevice("B2", "other", NOW))
    shown = Snapshot().with_node("a", NodeFacts().after(seen(devices=counts, silent=silent)))
    at = (NOW - timedelta(days=90)).timestamp()
    assert value(inventory(), shown, "mdm_device_last_seen_timestamp_seconds", device="A1", topic=UID) == at
    assert value(inventory(), shown, "mdm_device_series_dropped", node="a", storage="a") == 7
    off = Snapshot().with_node("a", NodeFacts().after(seen(devices=counts)))
    assert values(inventory(), off, "mdm_device_last_seen_timestamp_seconds") == []
    assert value(inventory(), off, "mdm_device_series_dropped") is None
