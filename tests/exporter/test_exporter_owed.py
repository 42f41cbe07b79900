"""Who is owed which pair, as the exporter reads it out of the store and sees it at the nodes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from exporter.snapshot import NodeFacts
from renewctl.inventory.reading import Inventory
from renewctl.renewal.events import Direction
from tests.support import exporter_history as history
from tests.support.exporter_store import only, read
from tests.support.exporter_values import UID, folder_node, node, seen, series, served, topic, value


def test_after_a_roll_back_the_previous_pair_is_recorded(sqlite_inventory: Inventory) -> None:
    """And nothing is owed any more."""
    steps = [history.accepted(), history.rolled_out("a"), history.put_back("a")]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    facts = only(sqlite_inventory)
    assert (facts.phase, facts.owed) == ("rolled_back", ())
    assert facts.recorded["a"].served.not_after == history.OLD_ENDS


def test_a_node_seen_with_the_new_pair_after_a_roll_back_is_owed_again(sqlite_inventory: Inventory) -> None:
    """An order carried out late: the record says that it is back, the node since then that it is not."""
    steps = [history.accepted(), history.rolled_out("a"), history.put_back("a")]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    month = 30 * 24 * 60
    for pair, minutes, owed in ((history.OLD, month, 0), (history.NEW, -month, 0), (history.NEW, month, 1)):
        ends, serial = datetime.fromisoformat(pair["not_after"]), pair["serial"]
        one = replace(served(), not_after=ends, serial=serial)
        snapshot = read(sqlite_inventory).with_node("a", NodeFacts().after(seen(one, minutes=minutes)))
        assert value(sqlite_inventory, snapshot, "mdm_renewal_nodes_owed") == owed
        assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="a") == owed
        assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="b") == 0


def test_the_new_pair_elsewhere_is_owed_by_nobody(sqlite_inventory: Inventory) -> None:
    """After a roll-back: the download kept in a watched folder, or a node of another topic that was given it."""
    steps = [history.accepted(), history.rolled_out("a"), history.put_back("a")]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    others = (folder_node(), node("c", "osaka"))
    known = replace(
        sqlite_inventory,
        topics=(*sqlite_inventory.topics, topic("osaka", "other")),
        nodes=(*sqlite_inventory.nodes, *others),
    )
    again = replace(served(), not_after=history.NEW_ENDS, serial=history.NEW["serial"])
    snapshot = read(known)
    for each in others:
        snapshot = snapshot.with_node(each.name, NodeFacts().after(seen(again)))
    assert value(known, snapshot, "mdm_renewal_nodes_owed", topic=UID) == 0
    assert [name for name, _ in series(known, snapshot)].count("mdm_renewal_node_owed") == 2


def test_of_another_topic_no_date_makes_a_node_owed(sqlite_inventory: Inventory) -> None:
    """A server without serials serves two topics: that the other's certificate ends at the same second says nothing."""
    steps = [history.accepted(), history.rolled_out("a"), history.put_back("a")]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    other = replace(served(uid="other"), not_after=history.NEW_ENDS)
    snapshot = read(sqlite_inventory).with_node("a", NodeFacts().after(seen(other, minutes=60)))
    assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="a") == 0


def test_a_node_that_left_before_it_was_back_is_owed(sqlite_inventory: Inventory) -> None:
    """Counted and named until it is let go: to take it out of the inventory puts nothing back."""
    url = str(sqlite_inventory.store)
    steps = [history.accepted(), history.rolled_out("a", "c"), history.put_back("a")]
    history.write(url, "tokyo-1", *steps)
    snapshot = read(sqlite_inventory)
    assert only(sqlite_inventory).owed == ("c",)
    assert value(sqlite_inventory, snapshot, "mdm_renewal_nodes_owed") == 1
    assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="c") == 1
    assert value(sqlite_inventory, snapshot, "mdm_renewal_node_owed", node="a") == 0


def test_a_roll_back_that_was_cut_off_owes_what_it_has_not_put_back(sqlite_inventory: Inventory) -> None:
    """Not those it has, which are without the new pair, as they should be."""
    steps = [history.accepted(), history.rolled_out("a", "b"), history.put_back("a")[:-1]]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    facts = only(sqlite_inventory)
    assert (facts.phase, facts.owed, facts.bound_for) == ("rolling_out", ("b",), Direction.PREVIOUS)


def test_in_a_roll_out_a_node_that_left_is_owed_nothing(sqlite_inventory: Inventory) -> None:
    """It was taken out, and the others go on without it."""
    steps = [history.accepted(), history.rolled_out("a", "c", outcome="unknown")]
    history.write(str(sqlite_inventory.store), "tokyo-1", *steps)
    assert only(sqlite_inventory).owed == ("a", "b")
