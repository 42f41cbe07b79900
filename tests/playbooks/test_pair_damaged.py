"""A release somebody has written into, and a step that was cut off: no way back on the node, and no dead end either."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps

from tests.playbooks.test_file_target import Remote, target
from tests.playbooks.test_pair_halves import FAILS_ONCE
from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, PEM, TOKEN, TWO, Place, fingerprint


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


def test_a_damaged_release_is_never_gone_back_to(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Half a release, or one that was written over: the fence names it and takes the run; the pair must be sent again."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    damaged = place.releases()[fingerprint(old)] / "key.pem"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert place.files.revert(1, TOKEN, fingerprint(old)) is None
    known = place.state()
    place.files._save(known, phase="switching")  # killed before the commit
    assert place.files.fence(2, OTHER_TOKEN) == str(damaged.parent)
    assert (place.files.look()["run"], place.files.look()["phase"]) == (2, "switching")
    assert place.serves(new)
    assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is None
    assert place.switch(old, 2, OTHER_TOKEN) is True
    assert place.serves(old)
    assert place.files.look()["phase"] == "committed"
    assert place.files.fence(3, TOKEN) is False


def test_an_old_pair_put_there_by_hand_after_that_stays(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Files in the place of our links: the fence leaves them, the next step takes them for the pair before."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    for release in place.releases().values():
        (release / "cert.pem").write_bytes(b"somebody's")
    place.files._save(place.state(), phase="switching")
    for path in (place.certificate, place.key):
        path.unlink()
    place.place(old)
    assert isinstance(place.files.fence(2, OTHER_TOKEN), str)
    assert place.serves(old)
    assert not place.certificate.is_symlink()
    place.switch(new, 2, OTHER_TOKEN)
    assert place.serves(new)
    assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is True
    assert place.serves(old)


def test_one_damaged_place_keeps_no_other_from_its_old_pair(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The whole ones go back, and stay as they are if the new pair then fails: a damaged release is nobody's way back."""
    old, new = pairs
    place = Place(tmp_path, old, ["/bin/false"], layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.files.reloads = []
    place.switch(new)
    place.files.reloads = [["/bin/false"]]
    release = place.ruin(old)
    place.files._save(place.state(), phase="switching")
    assert place.files.fence(2, OTHER_TOKEN) == str(release)
    assert [place.holds(layout) for layout in (TWO, PEM)] == [
        (new.der, new.key_pem),
        (old.der, old.key_pem),
    ]
    with pytest.raises(Fault) as caught:
        place.switch(apple_like().push(TOPIC, key="third"), 2, OTHER_TOKEN)
    assert (caught.value.reason, caught.value.values["put_back"]) == ("reload_failed", False)
    assert not place.mixed(old, new)
    assert place.holds(TWO) == (new.der, new.key_pem)
    place.files.reloads = []
    assert place.files.fence(3, TOKEN) is True
    assert place.holds(TWO) != place.holds(PEM)
    assert place.files.look()["phase"] == "switching", "its places differ"
    place.switch(old, 3, TOKEN)
    assert place.serves(old)
    assert place.files.look()["phase"] == "committed"


def fails(place: Place, pair: Issued, run: int = 1) -> None:
    """A switch to a pair whose reload fails, once; the places have not back what they had."""
    place.files.reloads = [["/bin/sh", "-c", FAILS_ONCE, str(place.folder / f"failed {run}")]]
    with pytest.raises(Fault) as caught:
        place.switch(pair, run)
    assert (caught.value.reason, caught.value.values["put_back"]) == ("reload_failed", False)


def test_where_a_place_is_in_ruins_a_failed_switch_commits_no_mixed_node(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """One place goes back to an older pair, the other to the one in use: not put back, and the next fence says so too."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.switch(new)
    place.ruin(new)
    fails(place, apple_like().push(TOPIC, key="third"))
    for run in (2, 3):
        assert [place.holds(layout) for layout in (TWO, PEM)] == [
            (old.der, old.key_pem),
            (new.der, new.key_pem),
        ]
        assert place.files.look()["phase"] == "switching"
        assert place.files.fence(run, TOKEN) is True
    assert place.files.revert(3, TOKEN, fingerprint(old)) is True
    assert place.serves(old)
    assert place.files.look()["phase"] == "committed"


def test_a_second_switch_that_fails_commits_no_mixed_node_either(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The first one left the places with different pairs. Again: not put back, and the fence still has that to tell."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.switch(new)
    place.ruin(new)
    third = apple_like().push(TOPIC, key="third")
    for run in (1, 2, 3):
        fails(place, third, run)
        assert place.files.look()["phase"] == "switching"
        assert place.files.fence(run + 1, TOKEN) is True
        assert [place.holds(layout) for layout in (TWO, PEM)] == [
            (old.der, old.key_pem),
            (new.der, new.key_pem),
        ]
    assert place.switch(third, 4) is True
    assert place.files.look()["phase"] == "committed"
    assert place.files.fence(5, TOKEN) is False


def test_an_older_pair_that_all_places_agree_on_ends_the_step(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """What was in use is in ruins, so the failed step did not put it back; but nothing is left for a fence to undo."""
    old, new = pairs
    for layouts in ((TWO,), (TWO, PEM)):
        folder = tmp_path / "+".join(layouts)
        folder.mkdir()
        place = Place(folder, old, layouts=layouts)
        place.files.fence(1, TOKEN)
        place.switch(new)
        for path, name in ((place.certificate, "key.pem"), (place.pem, "pair.pem"))[: len(layouts)]:
            (place.releases(path)[fingerprint(new)] / name).write_bytes(b"somebody's")
        fails(place, apple_like().push(TOPIC, key="third"))
        assert place.serves(old)
        assert place.files.look()["phase"] == "committed"
        assert place.files.fence(2, OTHER_TOKEN) is False


def test_a_step_an_older_renewctl_was_killed_at_is_undone_once(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Its journal does not tell whether each place gets what it had: it does, however much the places differ."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    other = apple_like().push(TOPIC, key="another hand's")
    place.pem.write_bytes(other.pem + other.key_pem)
    place.cut_off_after(new)
    record = place.state()
    del record["same"]
    for journal in (tmp_path / ".renewctl").glob("*/state.json"):
        journal.write_text(json.dumps(record))
    assert place.files.fence(2, OTHER_TOKEN) is True
    assert [place.holds(layout) for layout in (TWO, PEM)] == [
        (old.der, old.key_pem),
        (other.der, other.key_pem),
    ]
    assert place.files.look()["phase"] == "committed"
    assert place.files.fence(3, TOKEN) is False


def test_places_that_differed_before_the_step_get_back_what_they_had(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Each its own pair, as somebody had put them there: that is undone and ended, by the step itself or the next fence."""
    old, new = pairs
    for name, reload in (("once", FAILS_ONCE), ("twice", "exit 1")):
        folder = tmp_path / name
        folder.mkdir()
        place = Place(folder, old, ["/bin/sh", "-c", reload, str(folder / "failed")], layouts=(TWO, PEM))
        other = apple_like().push(TOPIC, key="another hand's")
        place.pem.write_bytes(other.pem + other.key_pem)
        place.files.fence(1, TOKEN)
        with pytest.raises(Fault) as caught:
            place.switch(new)
        assert caught.value.values["put_back"] is (name == "once")
        place.files.reloads = []
        assert place.files.fence(2, OTHER_TOKEN) is (name == "twice")
        assert [place.holds(layout) for layout in (TWO, PEM)] == [
            (old.der, old.key_pem),
            (other.der, other.key_pem),
        ]
        assert place.files.look()["phase"] == "committed"


def test_what_a_fence_could_not_undo_is_told_and_stops_nobody(tmp_path: Path) -> None:
    """The damaged release is the reason, in a sentence with a hint; the node has taken the run."""
    release = "/etc/.renewctl/push.pem/releases/ab"
    remote = Remote(fence=f'renewctl-answer {{"done": "{release}"}}\n')
    node = target(tmp_path, remote)
    told = steps.fenced(node, node._settings)
    said = told["renewctl"]
    assert (said["outcome"], said["changed"], told["failed"]) == ("fenced", True, False)
    assert (said["reason"], said["values"]["path"]) == ("node_release_damaged", release)
    assert f"f1: {release} is not as it was written" in told["msg"]
    assert "(node_release_damaged)" in told["msg"]
    assert [step["op"] for step in remote.steps] == ["fence"]
