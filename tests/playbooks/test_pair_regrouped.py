"""An inventory that names a node's places in another order, or other places: the fence holds, what was cut off is undone."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk, pair_files
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles

from tests.playbooks.test_pair_files_killed import killed_at, switching
from tests.playbooks.test_pair_halves import FAILS_ONCE
from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, P12, PEM, TOKEN, TWO, Place, fingerprint

ORDERS = [(PEM, TWO), (TWO,), (PEM,), (P12, PEM, TWO)]
"""What the inventory names afterwards: the other order, one taken out, one added in front."""


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: thousands of syncs of a disk would take minutes."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def node(place: Place, *layouts: str) -> PairFiles:
    """A node of these places, in this order."""
    return PairFiles([place.named(layout) for layout in layouts])


def fenced(memory: Path, old: Issued) -> Iterator[tuple[int, Place]]:
    """For each point a node of its own, with two places under run 1; without end."""
    for point in itertools.count(1):
        folder = memory / str(point)
        folder.mkdir()
        place = Place(folder, old, layouts=(TWO, PEM))
        place.files.fence(1, TOKEN)
        yield point, place


def journal(place: Place, path: Path) -> Path:
    """What lies beside a place."""
    return place.folder / ".renewctl" / path.name / "state.json"


def fault_of(step: Callable[[], object]) -> Fault:
    """Why a step refuses."""
    with pytest.raises(Fault) as caught:
        step()
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize("layouts", ORDERS, ids="+".join)
def test_killed_anywhere_and_then_named_otherwise(
    memory: Path, pairs: tuple[Issued, Issued], layouts: tuple[str, ...]
) -> None:
    """Whatever the inventory names by then: all places old, or all new and committed; the orphan may do no more."""
    old, new = pairs
    for point, place in fenced(memory, old):
        Place(place.folder, old, layouts=(P12,))
        killed = killed_at(point, switching(place, new))
        said = place.files.look()["phase"]
        after = node(place, *layouts)
        assert after.look()["run"] == 1, point
        undone = after.fence(2, OTHER_TOKEN)
        assert not (undone and said == "committed"), (point, "a proof that the next fence took away")
        assert place.serves(old) or (place.serves(new) and said == "committed"), point
        assert fault_of(switching(place, new)).reason == "run_superseded", point
        assert place.files.fence(3, TOKEN) is False, point
        assert place.switch(new, 3) in {True, False}
        assert place.files.revert(3, TOKEN, fingerprint(old)) is True
        assert place.serves(old), point
        assert {node(place, layout).look()["phase"] for layout in (TWO, PEM)} == {"committed"}, point
        if not killed:
            break
    assert point > 60


@pytest.mark.slow
@pytest.mark.parametrize("layouts", [(PEM, TWO), (PEM,)], ids="+".join)
def test_an_undo_that_is_killed_is_undone_by_whoever_comes_next(
    memory: Path, pairs: tuple[Issued, Issued], layouts: tuple[str, ...]
) -> None:
    """A fence under the changed inventory dies anywhere, and the inventory is changed again: all places are old."""
    old, new = pairs
    for point, place in fenced(memory, old):
        place.switch(new)
        place.files._save(place.state(), phase="switching")  # as a kill leaves it
        after = node(place, *layouts)
        killed = killed_at(point, lambda after=after: after.fence(2, OTHER_TOKEN))
        assert not place.mixed(old, new), point
        place.files.fence(3, TOKEN)
        assert place.serves(old), point
        assert after.look()["phase"] == "committed", point
        if not killed:
            break
    assert point > 20


@pytest.mark.parametrize("layouts", ORDERS, ids="+".join)
@pytest.mark.parametrize("phase", ["switching", "committed"])
def test_a_node_of_the_time_when_one_journal_lay_beside_the_first_place(
    tmp_path: Path, pairs: tuple[Issued, Issued], layouts: tuple[str, ...], phase: str
) -> None:
    """An upgrade in the middle of a renewal goes on; only where that place was taken out nobody can know any more."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    Place(tmp_path, old, layouts=(P12,))
    place.files.fence(5, TOKEN)
    place.switch(new, 5)
    record = {**place.state(), "v": 1, "phase": phase}
    del record["step"]
    journal(place, place.certificate).write_text(json.dumps(record))
    journal(place, place.pem).unlink()
    assert place.files.look()["phase"] == phase
    after = node(place, *layouts)
    knows = TWO in layouts
    assert after.look()["run"] == (5 if knows else 0)
    if knows:
        assert fault_of(lambda: after.fence(4, OTHER_TOKEN)).reason == "run_superseded"
    assert after.fence(6, OTHER_TOKEN) is (knows and phase == "switching")
    assert place.serves(old if knows and phase == "switching" else new)
    refusal = "run_superseded" if knows or phase == "committed" else "node_step_of_other_places"
    assert fault_of(switching(place, new, 5)).reason == refusal


def test_an_older_renewctl_changes_nothing_a_newer_one_began(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """It knew one journal and version 1; what it finds now says that it is newer."""
    place = Place(tmp_path, pairs[0], layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    records = [json.loads(journal(place, path).read_text()) for path in (place.certificate, place.pem)]
    assert records[0] == records[1]
    assert records[0]["v"] == 2


def test_a_node_that_became_two_leaves_the_other_half_alone(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Each has its own journal from its first fence on: what one of them has cut off, the other never undoes."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.switch(new)
    two, pem = node(place, TWO), node(place, PEM)
    two.fence(2, TOKEN)
    pem.fence(2, TOKEN)
    assert two.switch(2, TOKEN, old.pem, {"key.pem": old.key_pem}) is True
    two._save(two._state(), phase="switching")  # as a kill leaves it
    assert pem.look()["phase"] == "committed"
    assert pem.fence(3, OTHER_TOKEN) is False
    assert place.holds(TWO) == (old.der, old.key_pem)
    assert two.look()["run"] == 2
    assert two.fence(2, TOKEN) is True
    assert place.serves(new)


def test_two_nodes_that_became_one_while_one_was_cut_off(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Refused, looking included, since the newer journal does not tell of that step; apart again, it is undone."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    two, pem = node(place, TWO), node(place, PEM)
    two.fence(1, TOKEN)
    pem.fence(2, TOKEN)
    two.switch(1, TOKEN, new.pem, {"key.pem": new.key_pem})
    two._save(two._state(), phase="switching")  # as a kill leaves it
    for step in (place.files.look, lambda: place.files.fence(3, TOKEN)):
        fault = fault_of(step)
        assert (fault.reason, fault.values) == (
            "node_step_of_other_places",
            {"path": str(place.certificate)},
        )
    assert two.fence(3, TOKEN) is True
    assert place.files.fence(4, TOKEN) is False
    assert place.serves(old)


@pytest.mark.parametrize("path", ["push.pem", "both.pem"])
def test_a_step_on_either_place_is_waited_for(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Every place has its lock: a step that knows the places in another order, or fewer of them, is never beside."""
    place = Place(tmp_path, pairs[0], layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    monkeypatch.setattr(pair_files, "STEP_SECONDS", 0.2)
    home = tmp_path / ".renewctl" / path
    with node_disk.locked(str(home / "lock"), 0):
        for layouts in [(TWO, PEM), (PEM, TWO)]:
            fault = fault_of(lambda layouts=layouts: node(place, *layouts).fence(2, TOKEN))
            assert (fault.reason, fault.values) == ("node_locked", {"path": str(home / "lock")})
    place.files.fence(2, TOKEN)


@pytest.mark.parametrize("harm", ["gone", "release gone", "somebody else's"])
def test_a_step_cut_off_in_a_place_that_is_named_no_more(
    tmp_path: Path, pairs: tuple[Issued, Issued], harm: str
) -> None:
    """What is left of it blocks no fence: the named place has its old pair, and goes on."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.cut_off_after(new)
    home, release = place.home, place.releases()[fingerprint(old)]
    if harm == "gone":
        home.rename(tmp_path / "away")
    elif harm == "release gone":
        (home / "releases").rename(tmp_path / "away")
    else:
        os.chown(home, 61001, 61001)
    left = node(place, PEM)
    undone = left.fence(2, OTHER_TOKEN)
    assert undone == (True if harm == "gone" else str(release))
    assert left.look()["phase"] == ("committed" if harm == "gone" else "switching")
    assert place.holds(PEM) == (old.der, old.key_pem)
    left.switch(2, OTHER_TOKEN, new.pem, {"key.pem": new.key_pem})
    assert place.holds(PEM) == (new.der, new.key_pem)
    assert left.look()["phase"] == "committed"
    assert left.fence(3, TOKEN) is False


@pytest.mark.parametrize("harm", ["gone", "damaged", "somebody else's"])
def test_what_lies_beside_a_place_that_is_named_no_more(
    tmp_path: Path, pairs: tuple[Issued, Issued], harm: str
) -> None:
    """Its folder may be gone, broken or another's by now: the places that are named go on."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.switch(new)
    home = journal(place, place.certificate).parent
    if harm == "gone":
        home.rename(tmp_path / "away")
    elif harm == "damaged":
        journal(place, place.certificate).write_text("{")
    else:
        os.chown(home, 61001, 61001)
    left = node(place, PEM)
    assert left.look()["phase"] == "committed"
    assert left.fence(2, OTHER_TOKEN) is False
    assert left.switch(2, OTHER_TOKEN, old.pem, {"key.pem": old.key_pem}) is True
    assert place.holds(PEM) == (old.der, old.key_pem)


HARMED: dict[str, Callable[[Path, Path], object]] = {
    "open to others": lambda home, _: home.chmod(0o775),
    "a link": lambda home, away: (home.rename(away), home.symlink_to(away)),
    "a file": lambda home, away: (home.rename(away), home.write_text("")),
}


@pytest.mark.parametrize("had", ["nothing", "a pair"])
@pytest.mark.parametrize("harm", HARMED)
def test_a_place_a_failed_switch_left_behind_and_that_is_another_s_now(
    tmp_path: Path, pairs: tuple[Issued, Issued], harm: str, had: str
) -> None:
    """Its places differed, then one was taken out of the inventory and its folder changed: no fence is refused for it."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    if had == "nothing":
        place.pem.unlink()
    place.files.fence(1, TOKEN)
    if had == "a pair":
        place.switch(new)
        place.ruin(new)
    place.files.reloads = [["/bin/sh", "-c", FAILS_ONCE, str(tmp_path / "failed")]]
    assert fault_of(switching(place, apple_like().push(TOPIC, key="third"))).values["put_back"] is False
    assert place.files.look()["phase"] == "switching"
    release = place.releases(place.pem).get(fingerprint(new))
    HARMED[harm](journal(place, place.pem).parent, tmp_path / "away")
    left = node(place, TWO)
    ended = had == "nothing" or harm == "a file"  # else it had a pair, which nobody can give it any more
    assert left.fence(2, OTHER_TOKEN) == (True if ended else str(release))
    assert place.holds(TWO) == (old.der, old.key_pem)
    assert left.look()["phase"] == ("committed" if ended else "switching")
    assert left.fence(2, OTHER_TOKEN) == (False if ended else str(release))
    assert left.switch(2, OTHER_TOKEN, new.pem, {"key.pem": new.key_pem}) is True
    assert left.look()["phase"] == "committed"
    assert left.fence(3, TOKEN) is False
