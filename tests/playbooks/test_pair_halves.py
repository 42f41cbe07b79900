"""A place whose key and certificate do not belong together: told, never gone back to, and given the pair sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk, pair_match
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, P12, PEM, TOKEN, TWO, Place, fingerprint

FAILS_ONCE = 'test -e "$0" || { touch "$0"; exit 1; }'


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


def rolled_out(folder: Path, pairs: tuple[Issued, Issued], layout: str = TWO) -> Place:
    """A node with the new pair, and the old one to go back to."""
    place = Place(folder, pairs[0], layouts=(layout,))
    place.files.fence(1, TOKEN)
    place.switch(pairs[1])
    return place


def together(place: Place) -> list[bool | None]:
    """What a look tells of each place."""
    return [one["together"] for one in place.files.look()["found"]]


def cut(path: Path) -> None:
    """What a disk or an editor leaves of a key."""
    path.write_bytes(path.read_bytes()[:60])


def test_a_look_tells_whether_a_key_belongs_to_its_certificate(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """As consumers read them. Of a PKCS#12 file only a release of ours tells; of nothing, nothing."""
    old, new = pairs
    assert together(Place(tmp_path, None, layouts=(TWO, PEM, P12))) == [None, None, None]
    place = Place(tmp_path, old, layouts=(TWO, PEM, P12))
    assert together(place) == [True, True, None]
    place.key.write_bytes(new.key_pem)
    place.pem.write_bytes(old.pem + new.key_pem)
    assert together(place) == [False, False, None]
    place.place(old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    assert together(place) == [True, True, True]
    place.key.unlink()
    place.pem.write_bytes(new.pem)
    assert together(place) == [False, False, True]
    place.key.mkdir()
    assert together(place) == [False, False, True]


def test_a_key_that_cannot_be_looked_into_is_not_known(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its consumer's password, or not for the account we look as: the certificate is told as ever."""
    old, _ = pairs
    place = Place(tmp_path, old)
    locked = BestAvailableEncryption(b"its consumer's")
    place.key.write_bytes(old.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    assert together(place) == [None]
    read = node_disk.read

    def denied(path: str, at: int | None = None) -> bytes | None:
        if path == str(place.key):
            raise Fault("node_file_unreadable", path=path, got="EACCES")
        content: bytes | None = read(path, at)
        return content

    monkeypatch.setattr(node_disk, "read", denied)
    assert together(place) == [None]
    assert place.seen() == [fingerprint(old)]


def test_a_look_between_two_files_of_a_switch_sees_no_half_pair(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no lock: what does not belong together is read once more."""
    place = rolled_out(tmp_path, pairs)
    read, seen = node_disk.read, []

    def switched(path: str, at: int | None = None) -> bytes | None:
        if path == str(place.key):
            seen.append(path)
            if len(seen) == 1:
                return pairs[0].key_pem
        content: bytes | None = read(path, at)
        return content

    monkeypatch.setattr(node_disk, "read", switched)
    assert together(place) == [True]


def test_going_back_over_an_old_certificate_put_there_by_hand(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The key was forgotten: the old release has both, and is what is gone back to."""
    old, _ = pairs
    place = rolled_out(tmp_path, pairs)
    place.certificate.write_bytes(old.pem)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)


@pytest.mark.parametrize("layout", [TWO, PEM])
def test_a_half_pair_is_no_way_back(tmp_path: Path, pairs: tuple[Issued, Issued], layout: str) -> None:
    """An old certificate with a foreign key, there before the first roll-out: the old pair must be sent."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(layout,))
    place.key.write_bytes(new.key_pem)
    place.pem.write_bytes(old.pem + new.key_pem)
    place.files.fence(1, TOKEN)
    assert place.switch(new) is True
    assert place.serves(new)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is None


def test_a_half_pair_that_was_found_is_given_back_by_a_failed_switch(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Whatever it was good for: a step that fails leaves what it found."""
    old, new = pairs
    place = Place(tmp_path, old, ["/bin/sh", "-c", FAILS_ONCE, str(tmp_path / "failed")])
    place.key.write_bytes(new.key_pem)
    place.files.fence(1, TOKEN)
    with pytest.raises(Fault) as caught:
        place.switch(new)
    assert caught.value.values["put_back"] is True
    assert place.holds(TWO) == (old.der, new.key_pem)


def test_a_key_that_was_cut_short_does_not_become_the_way_back(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Back and damaged there: the roll-out makes no release of it, and the next way back asks for the pair."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    place.files.revert(1, TOKEN, fingerprint(old))
    cut(place.key)
    assert place.switch(new) is True
    assert place.files.revert(1, TOKEN, fingerprint(old)) is None
    assert place.switch(old) is True
    assert place.serves(old)


def test_rolling_out_over_a_damaged_release_keeps_the_way_back(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The new pair is sent once more; the old release is still the one to go back to."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    cut(place.key)
    assert place.switch(new) is True
    assert place.serves(new)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)


def test_a_failed_switch_over_a_damaged_release_does_not_claim_that_it_put_back(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """What was there is nobody's any more; the older whole pair is read meanwhile, and the right one must be sent."""
    old, _ = pairs
    place = rolled_out(tmp_path, pairs)
    cut(place.key)
    place.files.reloads = [["/bin/sh", "-c", FAILS_ONCE, str(tmp_path / "failed")]]
    with pytest.raises(Fault) as caught:
        place.switch(apple_like().push(TOPIC, key="third"))
    assert caught.value.values["put_back"] is False
    assert place.serves(old)


def test_a_pair_put_there_by_hand_is_still_the_way_back(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Written through our links, both files: it belongs together, so a failed switch gives it back."""
    third = apple_like().push(TOPIC, key="third")
    place = rolled_out(tmp_path, pairs)
    place.certificate.write_bytes(third.pem)
    place.key.write_bytes(third.key_pem)
    place.files.reloads = [["/bin/sh", "-c", FAILS_ONCE, str(tmp_path / "failed")]]
    with pytest.raises(Fault) as caught:
        place.switch(pairs[1])
    assert caught.value.values["put_back"] is True
    assert place.serves(third)
    assert place.switch(pairs[1]) is True
    assert place.files.revert(1, TOKEN, fingerprint(third)) is True


DAMAGE: dict[str, Callable[[Path], object]] = {
    "key cut": lambda release: cut(release / "key.pem"),
    "key empty": lambda release: (release / "key.pem").write_bytes(b""),
    "key gone": lambda release: (release / "key.pem").unlink(),
    "certificate empty": lambda release: (release / "cert.pem").write_bytes(b""),
    "certificate gone": lambda release: (release / "cert.pem").unlink(),
    "release gone": shutil.rmtree,
    "a folder in it": lambda release: (release / "x").mkdir(),
}


@pytest.mark.parametrize("way", ["out", "back"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_active_release_stops_neither_way(
    tmp_path: Path, pairs: tuple[Issued, Issued], damage: str, way: str
) -> None:
    """The step was cut off before its rename, then what consumers read was damaged: the pair sent takes its place."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    place.files.revert(1, TOKEN, fingerprint(old))
    before = {one.path: one.convert() for one in place.files.places}
    after = {one.path: one.build(new.pem, new.key_pem, None) for one in place.files.places}
    place.files._announce(place.files._state(), before, after)  # killed here
    DAMAGE[damage](place.releases()[fingerprint(old)])
    assert isinstance(place.files.fence(2, OTHER_TOKEN), str)
    wanted = new if way == "out" else old
    if way == "back":
        assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is None
    assert place.switch(wanted, 2, OTHER_TOKEN) is True
    assert place.serves(wanted)
    assert place.files.look()["phase"] == "committed"
    place.files.revert(2, OTHER_TOKEN, fingerprint(old))
    assert not place.mixed(old, new)


@pytest.mark.parametrize("gone", ["push.pem", "push.key"])
def test_a_link_of_ours_that_was_removed_is_made_again(
    tmp_path: Path, pairs: tuple[Issued, Issued], gone: str
) -> None:
    """The other one still leads to our release: half a pair, which the pair sent makes whole, out or back."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    (tmp_path / gone).unlink()
    assert place.switch(new) is True
    assert place.serves(new)
    (tmp_path / gone).unlink()
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)


def test_a_key_that_was_put_there_by_its_name_is_never_written_over(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Beside a certificate no release can be made of: it may be the only one of its kind, so nothing is done."""
    place = rolled_out(tmp_path, pairs)
    third = apple_like().push(TOPIC, key="third")
    place.certificate.write_bytes(b"")  # through our link
    place.key.unlink()
    place.key.write_bytes(third.key_pem)
    [look] = place.files.look()["found"]
    assert (look["together"], look["refused"]) == (False, True)
    for step in (lambda: place.switch(pairs[1]), lambda: place.files.revert(1, TOKEN, fingerprint(pairs[0]))):
        with pytest.raises(Fault, match="node_file_not_certificate"):
            step()
        assert place.key.read_bytes() == third.key_pem


def moved(path: Path, data: bytes) -> None:
    """As rsync and `install` put a file there: in place of what is there, our link say."""
    beside = path.with_name("beside")
    beside.write_bytes(data)
    beside.replace(path)


BY_NAME: dict[str, Callable[[Place, Issued], object]] = {
    "an old certificate": lambda place, old: moved(place.certificate, old.pem),
    "an old key": lambda place, old: moved(place.key, old.key_pem),
    "a key that is none": lambda place, _: moved(place.key, b"x"),
    "a certificate that is none": lambda place, _: moved(place.certificate, b"x"),
    "a certificate in DER": lambda place, old: moved(place.certificate, old.der),
    "an empty certificate": lambda place, _: moved(place.certificate, b""),
    "two empty files": lambda place, _: (moved(place.certificate, b""), moved(place.key, b"")),
    "a certificate, the key removed": lambda place, old: (
        place.key.resolve().unlink(),
        moved(place.certificate, old.pem),
    ),
    "nothing": lambda place, _: (place.certificate.unlink(), place.key.unlink()),
}


@pytest.mark.parametrize("way", ["out", "back"])
@pytest.mark.parametrize("what", BY_NAME)
def test_a_file_that_was_replaced_by_its_name_stops_neither_way(
    tmp_path: Path, pairs: tuple[Issued, Issued], what: str, way: str
) -> None:
    """Our link is gone with it, the other one leads to our release: no pair, and the look does not say refused."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    BY_NAME[what](place, old)
    told = place.files.look()["found"][0]
    assert (told["together"] or False, told["refused"]) == (False, False)
    place.files.fence(2, OTHER_TOKEN)
    wanted = new if way == "out" else old
    if way == "out" or place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is None:
        assert place.switch(wanted, 2, OTHER_TOKEN) is True
    assert place.serves(wanted)


def test_one_file_that_was_emptied_by_its_name_is_as_none(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The place is one file, so no link of ours is left: what is empty is nobody's."""
    place = rolled_out(tmp_path, pairs, PEM)
    for wanted in reversed(pairs):
        moved(place.pem, b"")
        assert place.files.look()["found"][0]["refused"] is False
        assert place.switch(wanted) is True
        assert place.serves(wanted)


def test_two_files_of_somebody_else_s_are_not_written_over(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """A pair in DER, whose consumer reads that: no link of ours is left, so it is no ruin of ours. The look says so."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    moved(place.certificate, old.der)
    moved(place.key, b"in DER, too")
    assert place.files.look()["found"][0]["refused"] is True
    for step in (lambda: place.switch(new), lambda: place.files.revert(1, TOKEN, fingerprint(old))):
        with pytest.raises(Fault) as caught:
            step()
        assert caught.value.reason == "node_file_not_certificate"
    assert (place.certificate.read_bytes(), place.key.read_bytes()) == (old.der, b"in DER, too")


def test_a_half_pair_moved_there_is_given_back_by_a_failed_switch(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """It was put there by its name, so nothing of ours was lost: what is found is what is there again."""
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    moved(place.certificate, old.pem)
    place.files.reloads = [["/bin/sh", "-c", FAILS_ONCE, str(tmp_path / "failed")]]
    with pytest.raises(Fault) as caught:
        place.switch(apple_like().push(TOPIC, key="third"))
    assert caught.value.values["put_back"] is True
    assert place.holds(TWO) == (old.der, new.key_pem)


def test_a_node_that_cannot_look_into_keys_is_as_before(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is refused there that was not: out and back from its own releases."""
    monkeypatch.setattr(pair_match, "belongs", lambda *_: None)
    old, new = pairs
    place = rolled_out(tmp_path, pairs)
    assert together(place) == [None]
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.switch(new) is True
    assert place.serves(new)
