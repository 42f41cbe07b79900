"""The judges of killed roll-outs: each lie, each mixed pair and each badly chosen moment is a failure."""

from __future__ import annotations

import random
from typing import Any

import pytest

from renewctl.sandbox.authority import Apple, Issued, new_topic
from tests.crash.part_rollout import report
from tests.crash.rollout_kills import (
    MIDWAY,
    Seen,
    Track,
    all_proven,
    mixed,
    patience,
    sent_by_orphans,
    untrue,
    where,
)
from tests.crash.rollout_nodes import FOREIGN, MISSING, MIXED, pair_of
from tests.crash.rollout_troubles import Trouble
from tests.support.sandbox_parts import in_days, now

ALL_OLD = {"api-1": "old", "api-2": "old"}
STARTED: tuple[str, dict[str, Any]] = ("roll_out_started", {})
WAVE: tuple[str, dict[str, Any]] = ("wave_started", {"nodes": ["api-1"]})
PROVEN: tuple[str, dict[str, Any]] = (
    "node_finished",
    {"node": "api-1", "direction": "new", "outcome": "proven"},
)
FINISHED: tuple[str, dict[str, Any]] = ("roll_out_finished", {"outcome": "done"})
STOPPED: tuple[str, dict[str, Any]] = ("roll_out_finished", {"outcome": "stopped"})


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple, topic = Apple.create(now()), new_topic()
    return apple.push_pair(topic, ends=in_days(42)), apple.push_pair(topic, ends=in_days(365))


def test_a_pair_is_known_by_its_key_as_well(pairs: tuple[Issued, Issued]) -> None:
    """Old, new, of each one half, one half missing, of nobody."""
    old, new = pairs
    names = {old.certificate.serial_number: "old", new.certificate.serial_number: "new"}
    assert pair_of(old.certificate_pem, old.key_pem, names) == "old"
    assert pair_of(new.certificate_pem, new.key_pem, names) == "new"
    assert pair_of(new.certificate_pem, old.key_pem, names) == MIXED
    assert pair_of(new.certificate_pem, b"", names) == MISSING
    assert pair_of(new.certificate_pem, new.key_pem, {}) == FOREIGN
    assert mixed({"a": "old", "b": MIXED}, "then") == ["then: b holds a pair that is mixed"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], "before it began"),
        ([STARTED], "in the fence"),
        ([STARTED, WAVE], "in a wave"),
        ([STARTED, WAVE, PROVEN], "between waves"),
        ([STARTED, STOPPED], "in the middle, and it wrote down that it stopped"),
        ([STARTED, WAVE, PROVEN, FINISHED], "after its last word"),
    ],
)
def test_the_store_tells_how_far_it_came(events: list[tuple[str, dict[str, Any]]], expected: str) -> None:
    """By the last thing it was told."""
    assert where(events) == expected
    assert (expected in MIDWAY) == (0 < len(events) < 4)


@pytest.mark.parametrize(
    ("events", "state", "holds", "complaint"),
    [
        ([STARTED, WAVE], "unknown", ALL_OLD, None),
        ([STARTED, WAVE], "owed", ALL_OLD, "which was begun and never told of"),
        ([STARTED, WAVE, PROVEN], "proven", ALL_OLD | {"api-1": "new"}, None),
        ([STARTED, WAVE, PROVEN], "proven", ALL_OLD, "holds the pair that is old"),
        ([STARTED], "owed", ALL_OLD | {"api-1": "new"}, "no wave of it was announced"),
        ([STARTED, WAVE, PROVEN], "owed", ALL_OLD, "is recorded as proven"),
    ],
)
def test_what_status_says_is_held_against_store_and_nodes(
    events: list[tuple[str, dict[str, Any]]], state: str, holds: dict[str, str], complaint: str | None
) -> None:
    """Unknown must be called so; proven must be true; nothing changes unannounced."""
    status = {"topics": [{"nodes": [{"name": "api-1", "state": state}]}]}
    wrong = untrue(status, events, holds)
    assert bool(wrong) == (complaint is not None)
    assert complaint is None or complaint in wrong[0]


def test_when_every_node_is_on_record_nothing_is_left_to_see_to() -> None:
    """A kill between the last node's word and the run's end: then, and only then, status may end with 0."""
    assert all_proven([STARTED, WAVE, PROVEN], ["api-1"])
    assert not all_proven([STARTED, WAVE, PROVEN], ["api-1", "api-2"])
    assert not all_proven([STARTED, WAVE], ["api-1"])


def test_moments_are_the_same_for_the_same_seed_and_reach_from_first_to_last() -> None:
    """Any moment alike, after each line but those beyond the end."""
    track = Track([2.0, 5.0, 5.0, 9.0, 10.0], 2.0, 9.5)
    one, two = random.Random(7), random.Random(7)  # noqa: S311 - the same moments again
    drawn = [track.moment(one) for _ in range(300)]
    assert drawn == [track.moment(two) for _ in range(300)]
    assert {moment.lines for moment in drawn} == {1, 3, 4}
    assert all(0 <= moment.after <= 4 for moment in drawn)


def kill(where: str = "in a wave", states: str = "new/old old/old", **more: Any) -> Seen:
    """One kill that went well, unless told otherwise."""
    return Seen("KILL, alone", "line 3 + 0.10 s", where, states, states, **more)


FINE = [
    kill(states=f"{a}/{b} old/{c}") for a in ("old", "new") for b in ("old", "new") for c in ("old", "new")
]


def _good(kills: list[Seen], troubles: list[Trouble] = []) -> bool:  # noqa: B006 - never changed
    return report({"renewal roll-out": kills}, troubles, []).good


def test_a_part_is_good_only_if_every_kill_and_trouble_was() -> None:
    """A lie, a run that did not heal, a trouble, too few kills in the middle, too few states: each fails it."""
    assert _good(FINE)
    assert not _good([*FINE, kill(wrong=["mixed"])])
    assert not _good([*FINE, kill(unhealed=["exit 1"])])
    assert not _good([*FINE, *[kill("before it began")] * 6])
    assert not _good([kill()] * 9)
    assert not _good([])
    assert not _good(FINE, [Trouble("link set down", "API node", "during", ["exit 0"], "exit 0")])
    assert _good(FINE, [Trouble("link set down", "API node", "during", [], "exit 4")])


@pytest.mark.parametrize(("window", "is_wrong"), [(None, False), (0.1, False), (0.6, True), (9.0, True)])
def test_a_request_of_an_orphan_is_wrong_however_long_the_orphan_lives(
    window: float | None, is_wrong: bool
) -> None:
    """Only what was under way when the parent died may still come."""
    assert bool(sent_by_orphans(window)) == is_wrong


def test_a_crowded_machine_is_given_more_time_but_not_an_orphan_s() -> None:
    """Two seconds, five at most: a worker that waits for its node's answer lives longer than that."""
    assert [patience(load) for load in (0.0, 1.0, 2.0, 4.0, 99.0)] == [2.0, 2.0, 2.0, 4.0, 5.0]


def test_the_windows_are_told() -> None:
    """How long after the parent's death a request came, and how long its last child lived."""
    part = report({"renewal roll-out": [*FINE, kill(window=0.01, alive=0.2)]}, [], [])
    said = "\n".join(part.states)
    assert "1 requests, the last after 0.01 s" in said
    assert "its last child ended 0.20 s after" in said
