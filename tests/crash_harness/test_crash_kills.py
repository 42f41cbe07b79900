"""The kill harness at work: it sees what goes wrong, and a harness that sees nothing fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.kills import deeds
from tests.crash.kills.bench import Bench, Untouched, command
from tests.crash.kills.calls import Call

pytestmark = pytest.mark.slow

ADOPT = command("adopt")


def at_adoption(folder: Path, child: str) -> tuple[Bench, Untouched]:
    """A bench on which a store was made, and what `adopt` does there untouched."""
    bench = Bench(folder / "bench", folder / "saved", child)
    bench.furnish()
    first = command("init --existing")
    bench.begin(first)
    assert bench.run(first).code == 0
    bench.save(first.name)
    bench.begin(ADOPT)
    before, code = bench.told(), bench.run(ADOPT).code
    after = bench.told()
    bench.begin(ADOPT)
    points = bench.calls(bench.forks.watch(bench.office, bench.words(ADOPT)))
    return bench, Untouched(ADOPT, code, code, before, after, points)


def test_a_key_store_that_writes_in_place_is_caught(tmp_path: Path) -> None:
    """Killed before the bytes are in the file, a torn key bears a key's name: that must not pass."""
    bench, untouched = at_adoption(tmp_path, "tests.crash_harness.in_place")
    with bench:
        (at,) = [n for n, point in enumerate(untouched.points) if point.place == ("write", "key")]
        verdict = deeds.kill(bench, untouched, at)
    assert verdict.hit
    assert any("does not open" in wrong for wrong in verdict.wrong_now)
    assert not verdict.good


def test_ours_is_whole_at_the_same_call(tmp_path: Path) -> None:
    """The very same kill of the real one: hit, consistent, healed; and an error there is contained."""
    bench, untouched = at_adoption(tmp_path, "tests.crash.kills.child")
    with bench:
        (at,) = [n for n, point in enumerate(untouched.points) if point.place == ("write", "key, beside")]
        assert list(deeds.kill(bench, untouched, at).failures) == []
        assert list(deeds.fail(bench, untouched, at, "ENOSPC").failures) == []
        _a_miss_is_told(bench, untouched, at)
        _other_calls_than_alone_are_told(bench, untouched)


def _a_miss_is_told(bench: Bench, untouched: Untouched, at: int) -> None:
    """A kill that never comes, or comes elsewhere, is no kill."""
    never = [*untouched.points[:at], Call("fsync", "key", 999), *untouched.points[at + 1 :]]
    missed = Untouched(ADOPT, untouched.code, untouched.code, untouched.before, untouched.after, never)
    assert not deeds.kill(bench, missed, at).hit
    assert not deeds.fail(bench, missed, at, "EIO").hit


def _other_calls_than_alone_are_told(bench: Bench, untouched: Untouched) -> None:
    """Points that a run of its own does not have, or a trace without any."""
    for points in ((), untouched.points[:-2]):
        with pytest.raises(RuntimeError, match="alone"):
            bench._require_same(ADOPT, points)
