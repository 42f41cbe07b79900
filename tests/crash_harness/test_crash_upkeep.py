"""Kills beside the year, errors that stay, kills in a beat: each kind sees a product that is broken just there."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from renewctl.keys.keystore import KeyFolder
from renewctl.renewal.events import KEY_STORE
from tests.crash.kills import beats, deeds, office, upkeep
from tests.crash.kills.bench import Bench, Untouched, command
from tests.crash.kills.calls import STAYS, Call
from tests.crash.kills.strace import failing_at
from tests.crash.kills.truth import Told, with_less
from tests.support.old_stores import kept_file

SOUND = "tests.crash.kills.child"


def after(folder: Path, names: Sequence[str], child: str = SOUND) -> Bench:
    """A bench on which these were done by the real renewctl; the commands after it are the child's."""
    with Bench(folder / "first", folder / "saved") as first:
        first.furnish()
        for name in names:
            each = command(name)
            first.begin(each)
            assert first.run(each).code == each.ends
            first.save(name)
    return Bench(folder / "bench", folder / "saved", child)


def untouched(bench: Bench, name: str) -> Untouched:
    """What a command does untouched; not compared with a run of its own."""
    each = command(name)
    bench._get_ready(each)
    before, code = bench.told(), bench.run(each).code
    told = bench.told()
    again = bench.run(each).code
    bench.begin(each)
    return Untouched(
        each, code, again, before, told, bench.calls(bench.forks.watch(bench.office, bench.words(each)))
    )


def at(points: Sequence[Call], *place: str) -> int:
    """The first point of that call and kind."""
    return next(number for number, point in enumerate(points) if point.place == place)


def test_an_error_that_stays_meets_all_that_come_after() -> None:
    """The call itself and, from the next one on, each of its kind; opening fails but once."""
    point = Call("openat", "key, beside", 7, {"write": 3})
    said = failing_at(point, "ENOSPC+")
    assert said[0] == "openat:error=ENOSPC:when=7"
    assert "?write:error=ENOSPC:when=4+" in said
    assert "?mkdir:error=ENOSPC:when=1+" in said
    assert len(said) == 1 + len(STAYS["ENOSPC"])
    assert failing_at(Call("write", "key, beside", 4, {"write": 3}), "ENOSPC+").count(said[1]) == 1
    assert failing_at(point, "ENOSPC") == ["openat:error=ENOSPC:when=7"]


@pytest.mark.slow
def test_a_key_store_that_counts_on_its_second_try_is_caught(tmp_path: Path) -> None:
    """It passes while a call fails once; where the disk stays full it ends without a clear message."""
    with after(tmp_path, ["init --existing"], "tests.crash_harness.second_try") as bench:
        adopt = untouched(bench, "adopt")
        here = at(adopt.points, "write", "key, beside")
        assert deeds.fail(bench, adopt, here, "ENOSPC").good
        verdict = deeds.fail(bench, adopt, here, "ENOSPC+")
    assert verdict.hit
    assert any("unexpected happened" in wrong for wrong in verdict.wrong_now)


YEAR = ("init --existing", "adopt", "renewal open", "renewal request", "renewal accept")


@pytest.mark.slow
def test_a_beat_that_shuts_the_group_out_is_caught(tmp_path: Path) -> None:
    """Killed in a beat of the broken one, the store's mode is wrong; in one of ours nothing is. A miss is told."""
    with after(tmp_path, YEAR) as sound:
        roll_out = untouched(sound, "renewal roll-out")
    with Bench(tmp_path / "broken", tmp_path / "saved", "tests.crash_harness.restless") as bench:
        calls = beats.beats(bench, roll_out)
        second = [call for call in calls if call.name == "chmod"][1]
        verdict = beats.strike(bench, beats.Strike(roll_out, second, beats.KILL))
        assert verdict.hit
        assert any("has mode 0600" in wrong for wrong in verdict.wrong_now)
    with Bench(tmp_path / "ours", tmp_path / "saved", beats.CHILD) as bench:
        dice = random.Random(1)  # noqa: S311 - the same again
        for one in beats.strikes(bench, [roll_out], dice, 1, ["EIO"]):
            assert list(beats.strike(bench, one).failures) == []
        never = beats.Strike(roll_out, Call("fsync", "store", 9999), beats.KILL)
        assert not beats.strike(bench, never).hit


@pytest.mark.slow
def test_a_backup_written_straight_under_its_name_is_caught(tmp_path: Path) -> None:
    """Killed before its bytes are in the file, a torn backup bears the backup's name."""
    with after(tmp_path, [*YEAR, "renewal roll-out"], "tests.crash_harness.hasty") as bench:
        backup = untouched(bench, "backup")
        verdict = deeds.kill(bench, backup, at(backup.points, "write", "backup"))
    assert verdict.hit
    assert any("a torn backup" in wrong for wrong in verdict.wrong_now)


def test_a_rekey_that_left_a_key_out_may_say_less_and_not_more() -> None:
    """One key's event is missing: taken for the end. Twice the same, another beginning: not."""
    begun, one, two = (
        ["rekey_started", {"keys": 2}],
        ["key_resealed", {"key": 1}],
        ["key_resealed", {"key": 2}],
    )
    end = Told({KEY_STORE: [begun, one, two]}, {})
    for less in ([], [begun], [begun, two]):
        assert Told({KEY_STORE: less}, {}).begins(with_less(end, Told({KEY_STORE: less}, {})))
    for more in ([begun, one, two, two], [one], [["rekey_started", {"keys": 1}], one]):
        assert not Told({KEY_STORE: more}, {}).begins(with_less(end, Told({KEY_STORE: more}, {})))


def test_promises_that_are_not_kept_are_told(tmp_path: Path) -> None:
    """A key the new recipient cannot open, two keys where one is left, no backup, an upgrade without a copy."""
    office.furnish(tmp_path, bare=False)
    old = yaml.safe_load((tmp_path / "renewctl.yaml").read_text())["keys"]["recipients"]
    upkeep.another_recipient(tmp_path)
    new = yaml.safe_load((tmp_path / "renewctl.yaml").read_text())["keys"]["recipients"]
    name = KeyFolder(tmp_path / "keys", old).seal(office.OLD.key_pem)
    assert len(list(upkeep.opens_to_the_other(tmp_path))) == 1
    (tmp_path / "keys" / f"{name}.age").unlink()
    assert list(upkeep.one_key_less(tmp_path))
    KeyFolder(tmp_path / "keys", new).seal(office.OLD.key_pem)
    assert not list(upkeep.opens_to_the_other(tmp_path))
    assert not list(upkeep.one_key_less(tmp_path))
    assert list(upkeep.backup_there(tmp_path))


def test_an_upgrade_must_leave_a_whole_copy(tmp_path: Path) -> None:
    """None, one with fewer events, a whole one."""
    path = tmp_path / office.STORE
    kept_file(path)
    copy = path.with_name(f"{path.name}.schema-1.20261129T000000Z")
    assert not list(upkeep.old_store_kept(tmp_path))
    assert list(upkeep.upgraded(tmp_path))
    shutil.copy(path, copy)
    for file, statement in (
        (path, "UPDATE meta SET value = '2' WHERE name = 'schema'"),
        (copy, "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"),
    ):
        with closing(sqlite3.connect(file)) as store, store:
            store.execute(statement)
    assert list(upkeep.old_store_kept(tmp_path)) == [f"{copy.name} is no copy of the old store"]
    copy.unlink()
    assert list(upkeep.old_store_kept(tmp_path)) == ["a store of schema 2, and 0 copies of the old one"]
    assert not list(upkeep.upgraded(tmp_path))
