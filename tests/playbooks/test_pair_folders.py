"""What we keep on a node: folders of our own, whoever else may write around them. Root follows nobody's link."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_step
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, TOKEN, TWO, Place, fingerprint

SERVER = 65534
"""Id of the server's own account, who may write in its folder: `nobody`, wherever the tests run."""

GROUP = 1600
"""Id of a group that account is not in."""


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of root's with something in it; neither may change."""
    folder = tmp_path / "victim"
    (folder / "kept").mkdir(parents=True)
    (folder / "kept" / "file").write_text("root's")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def place(tmp_path: Path, pairs: tuple[Issued, Issued]) -> Place:
    """A node whose files lie in a folder of the server's own account."""
    folder = tmp_path / "mdm"
    folder.mkdir()
    made = Place(folder, pairs[0])
    os.chown(folder, SERVER, SERVER)
    return made


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything in a folder, with mode and owner."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.lstat().st_mode, path.lstat().st_uid) for path in paths}


def refused(step: Callable[[], object]) -> dict[str, str]:
    """The values of the refusal."""
    with pytest.raises(Fault) as caught:
        step()
    assert caught.value.reason == "node_folder_foreign"
    values: dict[str, str] = caught.value.values
    return values


def steps(place: Place, new: Issued) -> list[Callable[[], object]]:
    """Every step a node is asked for."""
    return [
        place.files.look,
        lambda: place.files.carries(1, TOKEN),
        lambda: place.files.fence(2, OTHER_TOKEN),
        lambda: place.switch(new),
        lambda: place.files.revert(1, TOKEN, fingerprint(new)),
    ]


def test_a_link_in_the_place_of_our_folder_is_not_followed(
    place: Place, victim: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Made before the first roll-out: refused as what it is, and where it leads nothing is made or opened up."""
    before = seen(victim)
    ours = place.folder / ".renewctl"
    ours.symlink_to(victim)
    os.chown(ours, SERVER, SERVER, follow_symlinks=False)
    expected = {"path": str(ours), "got": f"lrwxrwxrwx nobody -> {victim}", "expected": "drwxr-xr-x root"}
    for step in steps(place, pairs[1]):
        assert refused(step) == expected
    assert seen(victim) == before
    assert place.serves(pairs[0])


@pytest.mark.parametrize("which", [".", "push.pem", "push.pem/releases"])
def test_a_folder_of_somebody_else_s_is_not_used(place: Place, which: str) -> None:
    """Whichever of ours it stands for: refused, and left as it is."""
    ours = place.folder / ".renewctl"
    for part in (ours, ours / "push.pem", ours / "push.pem" / "releases"):
        part.mkdir()
        part.chmod(0o755)
    os.chown(ours / which, SERVER, SERVER)
    before = seen(ours / which)
    assert refused(lambda: place.files.fence(1, TOKEN)) == {
        "path": str(ours / which),
        "got": "drwxr-xr-x nobody",
        "expected": "drwxr-xr-x root",
    }
    assert seen(ours / which) == before


def test_a_planted_journal_has_nothing_removed(place: Place, victim: Path) -> None:
    """A folder of the server's own, whose `releases` lead to root's: what a fence tidies away would be root's."""
    home = place.folder / ".renewctl" / "push.pem"
    home.mkdir(parents=True)
    (home / "releases").symlink_to(victim)
    names = {"active": "a", "previous": "b"}
    journal = {"v": 1, "run": 0, "token": "", "phase": "committed", "places": {str(place.certificate): names}}
    (home / "state.json").write_text(json.dumps(journal))
    for path in (home.parent, home, home / "state.json"):
        os.chown(path, SERVER, SERVER)
    before = seen(victim)
    assert refused(lambda: place.files.fence(1, TOKEN))["path"] == str(home.parent)
    assert seen(victim) == before


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_folder_others_may_write_in_is_not_used(place: Place, mode: int) -> None:
    """One of root's that the server's account gave our name: what is in it can be anybody's. Its mode stays."""
    ours = place.folder / ".renewctl"
    ours.mkdir()
    ours.chmod(mode)
    assert refused(lambda: place.files.fence(1, TOKEN))["got"] == f"{stat.filemode(0o40000 | mode)} root"
    assert stat.S_IMODE(ours.stat().st_mode) == mode


def test_an_account_without_a_name_is_told_by_its_number(place: Place) -> None:
    """Whose it is can be told all the same."""
    (place.folder / ".renewctl").mkdir(mode=0o755)
    os.chown(place.folder / ".renewctl", 54321, 0)
    assert refused(place.files.look)["got"] == "drwxr-xr-x 54321"


def test_a_file_in_its_place_is_told_as_such(place: Place) -> None:
    """Neither folder nor link."""
    (place.folder / ".renewctl").write_text("")
    (place.folder / ".renewctl").chmod(0o644)
    assert refused(lambda: place.files.fence(1, TOKEN))["got"] == "-rw-r--r-- root"


def test_a_folder_of_root_s_under_our_name_is_not_opened_up(place: Place, victim: Path) -> None:
    """Its own folder's owner can rename it: what only root could read is not made readable for all."""
    victim.rename(place.folder / ".renewctl")
    place.files.fence(1, TOKEN)
    assert stat.S_IMODE((place.folder / ".renewctl").stat().st_mode) == 0o700


def test_a_folder_swapped_while_ours_is_made_is_not_opened_up(
    place: Place, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making our folder and setting its rights its name is given to one of root's: that one stays closed."""
    make = os.mkdir

    def swapped(name: str, mode: int, *, dir_fd: int | None = None) -> None:
        make(name, mode, dir_fd=dir_fd)
        if name.endswith(".renewctl"):
            Path(name).rename(f"{name}.away")
            victim.rename(name)

    monkeypatch.setattr(os, "mkdir", swapped)
    place.files.fence(1, TOKEN)
    assert stat.S_IMODE((place.folder / ".renewctl").stat().st_mode) == 0o700


def test_a_folder_swapped_while_a_step_is_at_work_leads_nowhere(
    tmp_path: Path, place: Place, victim: Path, pairs: tuple[Issued, Issued]
) -> None:
    """A reload is the server's own time. Its folder in place of ours, with `releases` that lead to root's: not emptied."""
    old, new = pairs
    own = tmp_path / "own"
    own.mkdir()
    first, theirs = {"pem": str(own / "both.pem")}, {"pem": str(place.folder / "both.pem")}
    for named in (first, theirs):
        Path(named["pem"]).write_bytes(old.key_pem + old.pem)
    both = PairFiles([first, theirs])
    both.fence(1, TOKEN)
    both.switch(1, TOKEN, new.pem, {"key.pem": new.key_pem})
    ours, planted = place.folder / ".renewctl", place.folder / "planted"
    (planted / "both.pem").mkdir(parents=True)
    (planted / "both.pem" / "releases").symlink_to(victim)
    before = seen(victim)
    # The inventory names that place no more, the journal does: it is put back and tidied, not read back.
    alone = PairFiles([first], [["/bin/sh", "-c", f"mv {ours} {ours}.away && mv {planted} {ours}"]])
    alone._save(alone._state(), phase="switching")  # as a kill leaves it
    os.chown(planted, SERVER, SERVER)
    assert refused(lambda: alone.fence(2, OTHER_TOKEN))["got"] == "drwxr-xr-x nobody"
    assert seen(victim) == before


def test_root_s_folder_in_the_server_s_folder_is_used_and_stays_root_s(
    place: Place, pairs: tuple[Issued, Issued]
) -> None:
    """The usual case: the server's account owns the folder its files lie in, and Ansible works as root."""
    old, new = pairs
    before = os.umask(0o077)
    try:
        place.files.fence(1, TOKEN)
        place.switch(new)
        place.files.revert(1, TOKEN, fingerprint(old))
        place.switch(new)
    finally:
        os.umask(before)
    assert place.serves(new)
    ours = place.folder / ".renewctl"
    folders = [ours, place.home, place.home / "releases", *(place.home / "releases").iterdir()]
    assert {(stat.S_IMODE(one.stat().st_mode), one.stat().st_uid) for one in folders} == {(0o755, 0)}


def as_the_server(step: Callable[[], object]) -> str:
    """What a step comes to in a process of the server's account."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(SERVER)
            os.setuid(SERVER)
            os.write(writing, repr(step()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return text


def test_a_user_works_in_a_folder_of_its_own_and_root_leaves_that_alone(
    pairs: tuple[Issued, Issued],
) -> None:
    """Ansible as the server's account: everything is that account's. Root after it is refused, and told whose it is."""
    old, new = pairs
    with TemporaryDirectory() as name:
        place = Place(Path(name), old)
        for path in (place.folder, *place.folder.iterdir()):
            os.chown(path, SERVER, SERVER)
        assert as_the_server(lambda: place.files.fence(1, TOKEN)) == "False"
        assert as_the_server(lambda: place.switch(new)) == "True"
        assert place.serves(new)
        assert {path.lstat().st_uid for path in (place.folder / ".renewctl").rglob("*")} == {SERVER}
        assert refused(place.files.look)["got"] == "drwxr-xr-x nobody"
        assert as_the_server(lambda: place.files.revert(1, TOKEN, fingerprint(old))) == "True"
        assert place.serves(old)


def test_a_group_that_the_folder_hands_down_is_handed_on(pairs: tuple[Issued, Issued]) -> None:
    """Files of a group the account is not in, which only the folder's setgid bit can give them."""
    old, new = pairs
    with TemporaryDirectory() as name:
        place = Place(Path(name), old)
        for path in (place.folder, *place.folder.iterdir()):
            os.chown(path, SERVER, GROUP)
        place.folder.chmod(0o2755)
        assert as_the_server(lambda: place.files.fence(1, TOKEN)) == "False"
        assert as_the_server(lambda: place.switch(new)) == "True"
        assert place.serves(new)
        served = [Path(path) for path in place.named(place.layouts[0]).values()]
        assert {path.stat().st_gid for path in served} == {GROUP}


def test_a_user_after_root_is_told_what_it_must_not(pairs: tuple[Issued, Issued]) -> None:
    """Root's folder is trusted, and not the user's to write in: the whole path, and which right is missing."""
    with TemporaryDirectory() as name:
        place = Place(Path(name), pairs[0])
        os.chown(place.folder, SERVER, SERVER)
        ours = place.folder / ".renewctl"
        ours.mkdir()
        ours.chmod(0o755)
        order = {"op": "fence", "places": [place.named(TWO)], "reloads": [], "run": 1, "token": TOKEN}
        fault = {"reason": "node_write_failed", "values": {"path": str(place.home), "got": "EACCES"}}
        assert as_the_server(lambda: node_step.answered(order, {})) == repr(fault)
        ours.chmod(0o700)
        fault = {"reason": "node_file_unreadable", "values": {"path": str(ours), "got": "EACCES"}}
        assert as_the_server(lambda: node_step.answered({**order, "op": "look"}, {})) == repr(fault)
