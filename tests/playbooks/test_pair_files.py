"""Two files on a node: never mixed, never half-written, undone when interrupted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk, node_reload, pair_match
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_journal import HIGHEST_RUN

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, TOKEN, Place, fingerprint


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


def reason_of(step: Callable[[], object]) -> str:
    """Why a step refuses."""
    with pytest.raises(Fault) as caught:
        step()
    reason: str = caught.value.reason
    return reason


def test_a_switch_replaces_both_files_by_one_rename(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """After a switch both paths lead through one link to the new pair; a second switch changes nothing."""
    old, new = pairs
    place = Place(tmp_path, old)
    assert place.files.fence(1, TOKEN) is False
    assert place.serves(old)
    assert place.switch(new) is True
    assert place.serves(new)
    assert (place.home / "current").readlink() == Path("releases", place.releases()[fingerprint(new)].name)
    assert place.certificate.is_symlink()
    assert place.key.is_symlink()
    assert place.switch(new) is False
    known = place.state()
    names = {pair: place.releases()[fingerprint(pair)].name for pair in (old, new)}
    assert known["phase"] == "committed"
    assert known["places"] == {str(place.certificate): {"active": names[new], "previous": names[old]}}


def test_modes_and_owners(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Folders 0755, certificates 0644, keys 0600 however lax the old key was; owners are kept."""
    old, new = pairs
    place = Place(tmp_path, old)
    os.chown(place.key, 12345, 23456)
    place.files.fence(1, TOKEN)
    place.switch(new)
    for release in (place.home / "releases").iterdir():
        assert stat.S_IMODE(release.stat().st_mode) == 0o755
        assert stat.S_IMODE((release / "cert.pem").stat().st_mode) == 0o644
        about = (release / "key.pem").stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (0o600, 12345, 23456)
    assert stat.S_IMODE(place.home.stat().st_mode) == 0o755
    assert stat.S_IMODE((place.home / "state.json").stat().st_mode) == 0o600
    assert {found.name for found in place.home.iterdir()} == {"current", "lock", "releases", "state.json"}


def test_a_group_readable_key_stays_readable_for_its_group(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """A consumer that reads the key through its group still can."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.key.chmod(0o640)
    place.files.fence(1, TOKEN)
    place.switch(new)
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o640


def test_the_certificate_gets_another_time(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """NanoMDM's `file` storage notices a new certificate by its time alone, so that differs, in whole seconds."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    before = int(place.certificate.stat().st_mtime)
    place.files.revert(1, TOKEN, fingerprint(old))
    assert int(place.certificate.stat().st_mtime) != before
    os.utime(place.releases()[fingerprint(new)] / "cert.pem", (before, before))
    os.utime(place.certificate, (before, before))
    place.switch(new)
    assert int(place.certificate.stat().st_mtime) == before + 1


def test_going_back(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """The previous pair comes back from the node's own release, once; an unknown one must be sent."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    assert place.files.revert(1, TOKEN, "ee" * 32) is None
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is False
    assert place.seen() == [fingerprint(old)]


def test_a_node_never_switched_has_nothing_to_go_back_to(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Its files stay as they are, and looking at them needs no journal."""
    old, _ = pairs
    place = Place(tmp_path, old)
    assert place.files.look()["run"] == 0
    place.files.fence(1, TOKEN)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is None
    assert not place.certificate.is_symlink()


def test_something_else_that_writes_is_noticed(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """What is read back must be what was written; otherwise the old pair comes back."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.reloads = [["/bin/sh", "-c", f"echo other > {place.certificate}"]]
    place.files.fence(1, TOKEN)
    assert reason_of(lambda: place.switch(new)) == "node_read_back_differs"


def _edit_run(place: Place, run: int) -> None:
    state = place.home / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "run": run}))


def test_the_highest_run_can_be_taken(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A journal that tells of more is named, file and number; put right by hand, the next run is taken."""
    place = Place(tmp_path, pairs[0])
    place.files.fence(HIGHEST_RUN, TOKEN)
    assert place.files.look()["run"] == HIGHEST_RUN
    _edit_run(place, 202_611_301_200)
    with pytest.raises(Fault) as caught:
        place.files.fence(1, TOKEN)
    assert caught.value.reason == "run_too_high"
    assert caught.value.values == {
        "path": str(place.home / "state.json"),
        "got": "202611301200",
        "expected": HIGHEST_RUN,
    }
    _edit_run(place, 1)
    assert place.files.fence(2, OTHER_TOKEN) is False


def test_runs_only_go_upwards(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A lower run, or the same run of somebody else, is refused by every step."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(5, TOKEN)
    assert place.files.carries(5, TOKEN)
    assert not place.files.carries(5, OTHER_TOKEN)
    assert reason_of(lambda: place.files.fence(4, OTHER_TOKEN)) == "run_superseded"
    assert reason_of(lambda: place.files.fence(5, OTHER_TOKEN)) == "run_superseded"
    assert reason_of(lambda: place.switch(new, run=4)) == "run_superseded"
    assert reason_of(lambda: place.switch(new, run=6, token=OTHER_TOKEN)) == "run_not_fenced"
    assert reason_of(lambda: place.files.revert(5, OTHER_TOKEN, fingerprint(old))) == "run_not_fenced"
    assert place.files.fence(5, TOKEN) is False
    assert place.files.fence(6, OTHER_TOKEN) is False
    assert place.serves(old)


def test_a_reload_that_fails_puts_the_old_pair_back(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A consumer that will not take the new pair gets the old one back within the same step, and is reloaded."""
    old, new = pairs
    count = tmp_path / "count"
    script = f"echo x >> {count}; test $(wc -l < {count}) != 1"
    place = Place(tmp_path, old, ["/bin/sh", "-c", script])
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.reason == "reload_failed"
    assert caught.value.values["put_back"] is True
    assert place.serves(old)
    assert place.state()["phase"] == "committed"
    assert count.read_text() == "x\nx\n"


@pytest.mark.parametrize("reload", [["/bin/false"], ["/no/such/program"]])
def test_a_node_that_cannot_go_back_says_so(
    tmp_path: Path, pairs: tuple[Issued, Issued], reload: list[str]
) -> None:
    """When even the reload of the old pair fails, the step says so, and the next fence tries again."""
    old, new = pairs
    place = Place(tmp_path, old, reload)
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.values["put_back"] is False
    assert place.serves(old)
    place.files.reloads = []
    assert place.files.fence(2, OTHER_TOKEN) is True
    assert place.state()["phase"] == "committed"


def test_a_reload_has_a_time_limit(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload that hangs is ended, with all it started, and counts as failed."""
    old, new = pairs
    monkeypatch.setattr(node_reload, "RELOAD_SECONDS", 0.2)
    place = Place(tmp_path, old, ["/bin/sh", "-c", "sleep 60 & wait"])
    place.files.fence(1, TOKEN)
    assert reason_of(lambda: place.switch(new)) == "reload_failed"


def test_the_first_pair_of_a_node_has_no_way_back(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A node without any pair takes one; if that fails there is nothing to go back to, and it says so."""
    _, new = pairs
    place = Place(tmp_path, None, ["/bin/false"])
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.values["put_back"] is False
    place.files.reloads = []
    assert place.switch(new) is True
    assert place.serves(new)


def test_files_somebody_else_changed(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file replaced behind our back is taken for what was there, and is no way back; both, a pair to start from."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    third = apple_like().push(TOPIC, key="third")
    place.certificate.unlink()
    place.certificate.write_bytes(third.pem)
    with monkeypatch.context() as patch:
        patch.setattr(pair_match, "belongs", lambda *_: None)  # a node that cannot tell
        assert reason_of(lambda: place.switch(old)) == "node_files_changed"
    assert place.switch(new) is True
    assert place.serves(new)
    assert place.files.revert(1, TOKEN, fingerprint(third)) is None
    for path in (place.certificate, place.key):
        path.unlink()
    place.place(third)
    assert place.switch(new) is True
    assert place.files.revert(1, TOKEN, fingerprint(third)) is True
    assert place.serves(third)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda place: place.key.unlink(), "node_file_missing"),
        (lambda place: place.certificate.write_text("no certificate"), "node_file_not_certificate"),
        (lambda place: (place.key.unlink(), place.key.mkdir()), "node_file_unreadable"),
        (lambda place: (place.home / "state.json").write_text("{"), "node_state_damaged"),
        (lambda place: (place.home / "state.json").write_text('{"v": 3}'), "node_state_newer"),
        (lambda place: _edit_run(place, HIGHEST_RUN + 1), "run_too_high"),
        (lambda place: _edit_run(place, -1), "run_too_high"),
    ],
)
def test_what_cannot_be_understood_is_not_touched(
    tmp_path: Path, pairs: tuple[Issued, Issued], prepare: Callable[[Place], object], reason: str
) -> None:
    """Half a pair, a file that is no certificate, a journal from the future: refused, with the reason."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    prepare(place)
    assert reason_of(lambda: place.switch(new)) == reason


@pytest.mark.parametrize(
    "places",
    [
        [],
        [{"certificate": "push.pem", "key": "/a/push.key"}],
        [{"certificate": "/a/push.pem", "key": "/a/push.pem"}],
        [{"certificate": "/a/push.pem"}],
        [{"key": "/a/push.key", "pem": "/a/both.pem"}],
        [{"pem": "/a/../b/both.pem"}],
        [{"pkcs12": "/a/push.p12"}, {"pem": "/a/push.p12"}],
        [{}],
    ],
)
def test_layouts_that_make_no_sense(places: list[dict[str, str]]) -> None:
    """Relative or roundabout paths, half a pair, one file for two purposes: refused before anything is looked at."""
    assert reason_of(lambda: PairFiles(places)) == "node_layout_unsupported"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A mistyped path is not created."""
    files = PairFiles([{"certificate": str(tmp_path / "push.pem"), "key": str(tmp_path / "no" / "push.key")}])
    assert reason_of(lambda: files.fence(1, TOKEN)) == "node_file_missing"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_the_middle_goes_back(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the operating system during the switch puts the old pair back, and says what it was."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    point, calls = node_disk.point, []

    def full(link: str, target: str, at: int | None = None) -> None:
        calls.append(target)
        release = place.releases().get(fingerprint(new))
        if release is not None and target.endswith(release.name):
            raise OSError(28, "No space left on device", link)
        point(link, target, at)

    monkeypatch.setattr(node_disk, "point", full)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert (caught.value.reason, caught.value.values["got"]) == ("node_write_failed", "ENOSPC")
    assert caught.value.values["put_back"] is True
    assert place.serves(old)


def test_two_steps_at_once_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held by one, waited for a bounded time by the other, and free again afterwards."""
    lock = str(tmp_path / "lock")
    with (
        node_disk.locked(lock, seconds=0),
        pytest.raises(Fault, match="node_locked"),
        node_disk.locked(lock, seconds=0.15),
    ):
        pytest.fail("two holders")
    with node_disk.locked(lock, seconds=0):
        pass


def test_a_pipe_or_a_disk_image_in_a_files_place_holds_nobody_up(tmp_path: Path) -> None:
    """Neither waited for nor read in: the operator hears which path it is."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "image").open("wb") as file:
        file.truncate(node_disk.LARGEST + 1)
    assert reason_of(lambda: node_disk.read(str(tmp_path / "pipe"))) == "node_file_unreadable"
    assert reason_of(lambda: node_disk.read(str(tmp_path / "image"))) == "node_file_unreadable"
    assert node_disk.read(str(tmp_path / "nothing")) is None
