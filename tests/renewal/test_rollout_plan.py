"""Waves count storages, canary first; the stop rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewctl.errors import Unusable
from renewctl.inventory.reading import Node, Product
from renewctl.renewal.events import Outcome
from renewctl.renewal.rollout import Decision, decide, parse_waves, plan


def _nodes(*storages: str) -> list[Node]:
    return [
        Node(f"n{i}", Product.NANOMDM, ("tokyo",), storage) for i, storage in enumerate(storages, start=1)
    ]


@pytest.mark.parametrize(
    ("storages", "waves"),
    [
        (["a"], [("n1",)]),
        (["a", "b", "c"], [("n1",), ("n2",), ("n3",)]),
        (["a", "a", "b"], [("n1", "n2"), ("n3",)]),
        (list("abcdefgh"), [("n1",), ("n2", "n3"), ("n4", "n5", "n6", "n7", "n8")]),
    ],
)
def test_one_storage_then_a_quarter_then_the_rest(storages: list[str], waves: list[tuple[str, ...]]) -> None:
    """The default waves, with nodes of one storage always in one wave."""
    assert list(plan(_nodes(*storages))) == waves


@given(
    st.lists(st.sampled_from("abcdef"), max_size=30),
    st.lists(st.one_of(st.integers(1, 5), st.integers(1, 100).map("{}%".format)), min_size=1, max_size=4),
)
def test_every_node_is_in_exactly_one_wave_and_no_storage_is_split(
    storages: list[str], sizes: list[int | str]
) -> None:
    """Whatever the sizes, nobody is left out, nobody comes twice, and storages stay whole."""
    nodes = _nodes(*storages)
    waves = plan(nodes, sizes)
    assert sorted(name for wave in waves for name in wave) == sorted(node.name for node in nodes)
    where = {node.name: node.storage for node in nodes}
    seen = [{where[name] for name in wave} for wave in waves]
    assert sum(len(places) for places in seen) == len(set(storages))


def test_sizes_are_read_as_people_write_them() -> None:
    """`1, 25%,100%` is what the help shows."""
    assert parse_waves("1, 25%,100%") == (1, "25%", "100%")


@pytest.mark.parametrize("text", ["", "0", "1,,2", "-1", "101%", "0%", "many", "1;2"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    """Zero, negative, more than all, or words: exit 2 with an example."""
    with pytest.raises(Unusable):
        parse_waves(text)


@pytest.mark.parametrize(
    ("outcomes", "decision"),
    [
        (["proven", "proven"], Decision.GO_ON),
        (["proven", "installed"], Decision.HOLD),
        (["proven", "unknown"], Decision.HOLD),
        (["unknown", "wrong"], Decision.STOP),
        (["installed", "failed"], Decision.STOP),
    ],
)
def test_wrong_stops_unknown_and_unproven_hold(outcomes: list[str], decision: Decision) -> None:
    """One wrong node outweighs everything; one unknown outweighs all that is well."""
    assert decide({str(i): Outcome(o) for i, o in enumerate(outcomes)}) is decision


def test_a_person_may_say_that_installed_is_enough() -> None:
    """`--unproven-ok` goes on without a check-in, and still holds at an unknown node."""
    assert decide({"n1": Outcome.INSTALLED}, unproven_ok=True) is Decision.GO_ON
    assert decide({"n1": Outcome.UNKNOWN}, unproven_ok=True) is Decision.HOLD
