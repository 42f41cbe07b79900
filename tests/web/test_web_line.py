"""Who waits for a check of a password, and whose turn it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewctl.web.line import Full, Line


def test_addresses_take_turns() -> None:
    """Each in its own order; one that comes back waits behind those who wait already."""
    line: Line[str] = Line(9)
    for one in ("a1", "a2", "a3", "b1", "b2", "c1"):
        assert line.join(one[0], one) is None
    assert [line.next() for _ in range(2)] == ["a1", "b1"]
    assert line.join("d", "d1") is None
    assert [line.next() for _ in range(6)] == ["c1", "a2", "b2", "d1", "a3", None]


def test_in_a_full_line_the_address_with_most_loses_its_latest() -> None:
    """Nobody leaves for an address that would then have as many."""
    line: Line[str] = Line(3)
    for one in ("a1", "a2", "b1"):
        line.join(one[0], one)
    with pytest.raises(Full):
        line.join("b", "b2")
    assert line.join("c", "c1") == "a2"
    with pytest.raises(Full):
        line.join("d", "d1")
    assert [line.next() for _ in range(4)] == ["a1", "b1", "c1", None]


@given(st.lists(st.one_of(st.sampled_from(["a", "b", "c", "d"]), st.none())), st.integers(0, 5))
def test_nobody_is_lost_and_the_line_has_its_length(moves: list[str | None], places: int) -> None:
    """Whatever comes and goes: everybody is waiting, was taken, had to leave or was told that it is full."""
    line: Line[int] = Line(places)
    inside: set[int] = set()
    for number, address in enumerate(moves):
        if address is None:
            taken = line.next()
            assert (taken is None) is (not inside)
            inside.discard(-1 if taken is None else taken)
            continue
        try:
            left = line.join(address, number)
        except Full:
            assert len(inside) == places
            continue
        inside.add(number)
        inside.discard(-1 if left is None else left)
        assert len(line) == len(inside) <= places
