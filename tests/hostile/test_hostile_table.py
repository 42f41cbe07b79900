"""The table is whole: no module reads anything without a row, or a reason why it needs none."""

from __future__ import annotations

from tests.hostile.table import NOT_FROM_OUTSIDE, READS, SEEDS, everyone, modules

READING = {name for name, path in modules() if READS.search(path.read_text(encoding="utf-8"))}
COVERED = {module for parser in everyone() for module in parser.modules}


def excused(name: str) -> bool:
    """It stands among the others, itself or its package."""
    return any(name == one or name.startswith(f"{one}.") for one in NOT_FROM_OUTSIDE)


def test_every_module_that_reads_is_in_the_table() -> None:
    """A new parser fails here until it has a row (or, where nobody else makes what it reads, a reason)."""
    assert {name for name in READING - COVERED if not excused(name)} == set()


def test_the_table_names_modules_that_are_there() -> None:
    """A module that was renamed takes its row with it."""
    assert {name for name, _ in modules()} >= COVERED


def test_no_excuse_outlives_its_module() -> None:
    """Each still reads something, and none is covered besides."""
    for one in NOT_FROM_OUTSIDE:
        assert any(name == one or name.startswith(f"{one}.") for name in READING), one
    assert not [name for name in COVERED if excused(name)]


def test_names_and_seeds_belong_together() -> None:
    """Names are told apart; no folder of seeds lies there for a parser that is gone."""
    names = [parser.name for parser in everyone()]
    assert len(set(names)) == len(names)
    assert {path.name for path in SEEDS.iterdir() if path.is_dir()} <= set(names)
