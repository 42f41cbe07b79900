"""What two kills left counts as the same only if it is: then the command is said again after one of them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.kills import deeds, office
from tests.crash.kills.deeds import Verdict
from tests.crash.kills.left import contents, left
from tests.crash.part_sqlite import memory, repeated
from tests.crash_harness.test_crash_kills import at_adoption
from tests.support.old_stores import kept_file

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
HOT = bytes.fromhex("d9d505f920a163d7") + bytes(504)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An office with a store and a key, and one pretended node."""
    here = tmp_path / "work"
    office.furnish(here / "office", bare=False)
    for name in ("state", "keys"):
        (here / "office" / name).mkdir()
    kept_file(here / "office" / office.STORE)
    (here / "office" / "keys" / f"{KEY}.age").write_bytes(b"sealed")
    (here / "nodes").mkdir()
    (here / "nodes" / "n1.json").write_text('{"run": 1, "pair": null}')
    return here


def write(name: str, content: bytes) -> Callable[[Path], None]:
    """A change of one file."""
    return lambda work: (work / name).write_bytes(content) and None


def tell(statement: str, *values: str) -> Callable[[Path], None]:
    """A change of the store."""

    def change(work: Path) -> None:
        with closing(sqlite3.connect(work / "office" / office.STORE)) as store, store:
            store.execute(statement, values)

    return change


def word(work: Path, change: Callable[[Path], None]) -> str:
    """What is left after a change, in a word; everything is put back."""
    saved = work.with_name("saved")
    shutil.copytree(work, saved)
    before = contents(saved)
    change(work)
    recovered = shutil.copytree(work / "office", work.with_name("recovered"))
    (recovered / f"{office.STORE}-journal").unlink(missing_ok=True)
    said = left(work, recovered, before)
    shutil.rmtree(work)
    shutil.rmtree(recovered)
    saved.rename(work)
    return said


def test_each_difference_makes_another_word(work: Path) -> None:
    """A row more or less, a file, its size or mode, a key, a journal, what a node remembers, a file that is gone."""
    changes = [
        lambda _work: None,
        tell("DELETE FROM documents"),
        tell("INSERT INTO runs VALUES (7, 't', 'tokyo-1', 'me', 'here', '2026-11-29T00:00:00Z', 0, NULL)"),
        tell("UPDATE events SET kind = 'other' WHERE seq = (SELECT max(seq) FROM events)"),
        write("office/out/request.csr", b"whole"),
        write("office/out/.request.csr.1", b"whole"),
        write("office/out/.request.csr.1", b""),
        write(f"office/keys/{OTHER_KEY}.age", b"sealed"),
        write(f"office/{office.STORE}-journal", b""),
        write(f"office/{office.STORE}-journal", HOT),
        write("nodes/n1.json", b'{"run": 1, "pair": "' + KEY.encode() + b'"}'),
        lambda work: (work / "office" / office.STORE).chmod(0o666),
        lambda work: (work / "office" / "tmp").chmod(0o700),
        lambda work: (work / "office" / "keys" / f"{KEY}.age").unlink(),
        lambda work: (work / "office" / "vendor.pem").write_bytes(b"of nobody") and None,
    ]
    words = [word(work, change) for change in changes]
    assert len(set(words)) == len(changes)
    assert [word(work, change) for change in changes] == words


def test_names_of_one_run_alone_make_none(work: Path) -> None:
    """Two kills that sealed a key and told of a run: other names, other times, the same word."""

    def like(key: str, at: str) -> Callable[[Path], None]:
        def change(work: Path) -> None:
            write(f"office/keys/{key}.age", b"sealed")(work)
            tell("INSERT INTO documents VALUES (?, x'00', ?)", key, at)(work)

        return change

    words = {
        word(work, like(key, at))
        for key, at in ((OTHER_KEY, "2026-11-29T00:00:00Z"), ("ef" * 32, "2027-01-01T12:30:00Z"))
    }
    assert len(words) == 1


@pytest.mark.slow
def test_the_same_is_said_again_once_and_something_else_anew(tmp_path: Path) -> None:
    """Two kills that left nothing, and one that left a key; without a memory (`FULL=1`) each is repeated."""
    bench, untouched = at_adoption(tmp_path, "tests.crash.kills.child")
    with bench:
        sealed = next(n for n, point in enumerate(untouched.points) if point.place[0] == "link")
        points, known = (0, 1, sealed + 1), dict[str, tuple[list[str], list[str]]]()
        tried = [deeds.kill(bench, untouched, at, known) for at in points]
        every = [deeds.kill(bench, untouched, at) for at in points]
    assert [verdict.repeated for verdict in tried] == [True, False, True]
    assert [verdict.repeated for verdict in every] == [True, True, True]
    assert all(verdict.good for verdict in [*tried, *every])
    assert "said again after 2 of 3" in repeated("killed adopt", tried)


def test_the_long_run_remembers_nothing() -> None:
    """And the short one does."""
    with memory(full=True) as known:
        assert known is None
    with memory(full=False) as known:
        assert known is not None
        known["word"] = ([], [])
        assert "word" in known


@pytest.mark.slow
def test_what_is_wrong_is_not_shared_and_what_is_known_to_be_wrong_is(tmp_path: Path) -> None:
    """A torn key is looked into each time; a repeat that failed fails for all that left the same."""
    bench, untouched = at_adoption(tmp_path, "tests.crash_harness.in_place")
    with bench:
        torn = next(n for n, point in enumerate(untouched.points) if point.place == ("write", "key"))
        known = dict[str, tuple[list[str], list[str]]]()
        broken = [deeds.kill(bench, untouched, torn, known) for _ in range(2)]
        assert [verdict.repeated for verdict in broken] == [True, True]
        assert not known
        assert deeds.kill(bench, untouched, 0, known).good
        known = {word: ([], ["led elsewhere"]) for word in known}
        shared: Verdict = deeds.kill(bench, untouched, 1, known)
    assert not shared.repeated
    assert not shared.good
