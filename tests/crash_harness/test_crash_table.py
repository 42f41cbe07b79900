"""The table of `make crash`: what counts as a failure."""

from __future__ import annotations

import pytest

from tests.crash import __main__ as crash
from tests.crash.table import ErrorRow, Part, Row, Took, shown

GOOD = Row("sqlite", "open", traced=7, killed=7, consistent=7, healed=7)
CONTAINED = ErrorRow("sqlite", "fsync", "key", "EIO", injected=2, contained=2)


@pytest.mark.parametrize(
    "row",
    [
        Row("sqlite", "open", 0, 0, 0, 0),
        Row("sqlite", "open", 7, 6, 6, 6),
        Row("sqlite", "open", 7, 7, 6, 7),
        Row("sqlite", "open", 7, 7, 7, 6),
    ],
)
def test_a_row_that_is_not_equal_all_along_is_a_failure(row: Row) -> None:
    """A point missed, a lie after a kill, a repeat that does not heal, no point at all: each fails the part."""
    assert Part(rows=[GOOD]).good
    assert not Part(rows=[GOOD, row]).good


def test_an_error_that_was_not_contained_is_a_failure() -> None:
    """So is a kind of error that was never injected, and a part without any figure."""
    assert Part(errors=[CONTAINED]).good
    assert not Part(errors=[ErrorRow("sqlite", "fsync", "key", "EIO", 2, 1)]).good
    assert not Part(errors=[ErrorRow("sqlite", "fsync", "key", "EIO", 0, 0)]).good
    assert not Part().good


def test_other_programs_are_shown_and_not_judged() -> None:
    """Their row stands in the table, with its own figures."""
    other = Row("certbot", "renewal", traced=24, killed=24, consistent=17, healed=24)
    part = Part(rows=[GOOD], beside=[other], states=["3 x unknown"])
    assert part.good
    assert "17" in shown([part])
    assert "3 x unknown" in shown([part])


def breaks(full: bool) -> Part:
    """A part, run in a process of its own."""
    raise RuntimeError("no ptrace")


def goes_well(full: bool) -> Part:
    """Another one."""
    return Part(rows=[GOOD])


def test_the_run_fails_when_a_part_fails_or_breaks_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code tells, the other parts still run, and the reason stands in the table."""
    monkeypatch.setattr(crash, "PARTS", {"bad": breaks, "good": goes_well})
    assert crash.main(["good"]) == 0
    assert crash.main([]) == 1
    out = capsys.readouterr().out
    assert "no ptrace" in out
    assert "bad took 0 min 00 s" in out
    assert "| sqlite" in out


def test_how_long_a_part_took_stands_below_the_table() -> None:
    """In minutes and seconds."""
    assert str(Took("sqlite", 125.4)) == "sqlite took 2 min 05 s"
    assert "- sqlite took 0 min 01 s" in shown([Part(rows=[GOOD], took=Took("sqlite", 1))])
