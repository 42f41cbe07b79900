"""Places as people have them: one PEM, PKCS#12, several consumers; owners, modes and labels kept; old releases pruned."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import (
    OTHER_TOKEN,
    P12,
    PASSWORD,
    PEM,
    TOKEN,
    TWO,
    Place,
    fingerprint,
)

ALL = (TWO, PEM, P12)
LABEL = "security.selinux"


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


@pytest.mark.parametrize("layouts", [(PEM,), (P12,), ALL, (P12, TWO)])
def test_every_layout_goes_there_and_back(
    tmp_path: Path, pairs: tuple[Issued, Issued], layouts: tuple[str, ...]
) -> None:
    """Switched, nothing the second time, back: each place holds one whole pair, and all of them the same."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=layouts)
    place.files.fence(1, TOKEN)
    assert place.serves(old)
    assert place.switch(new) is True
    assert place.serves(new)
    assert place.seen() == [fingerprint(new)] * len(layouts)
    assert place.switch(new) is False
    if P12 in layouts:  # which certificate was in the file somebody else made, nobody here can see
        assert place.files.revert(1, TOKEN, fingerprint(old)) is None
        place.switch(old)
    else:
        assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)
    assert place.files.revert(1, TOKEN, fingerprint(new)) is True
    assert place.serves(new)
    assert place.seen() == [fingerprint(new)] * len(layouts)


@pytest.mark.parametrize("key_first", [True, False])
def test_one_pem_keeps_its_order(tmp_path: Path, pairs: tuple[Issued, Issued], key_first: bool) -> None:
    """A consumer that takes the first block goes on finding there what it found before."""
    old, new = pairs
    place = Place(tmp_path, None, layouts=(PEM,))
    parts = [old.key_pem, old.pem] if key_first else [old.pem, old.key_pem]
    place.pem.write_bytes(b"".join(parts))
    place.files.fence(1, TOKEN)
    place.switch(new)
    parts = [new.key_pem, new.pem] if key_first else [new.pem, new.key_pem]
    assert place.pem.read_bytes() == b"".join(parts)


def test_what_is_in_a_pkcs12_file_somebody_else_made(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """It is there and cannot be seen; ours is known by the certificate beside it, as long as it is ours."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(P12,))
    (found,) = place.files.look()["found"]
    assert (found["there"], found["certificate"]) == (True, None)
    place.files.fence(1, TOKEN)
    place.switch(new)
    assert place.seen() == [fingerprint(new)]
    printed = subprocess.run(
        ["openssl", "pkcs12", "-in", place.p12, "-passin", "stdin", "-nodes"],
        input=PASSWORD,
        capture_output=True,
        check=True,
    ).stdout
    assert new.pem.splitlines()[1] in printed
    place.p12.write_bytes(b"0something else")
    assert place.seen() == [None]
    place.p12.unlink()
    assert [one["there"] for one in place.files.look()["found"]] == [False]


def test_a_look_never_tells_a_key(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A mistyped path, a file of both, a key where the certificate should be: the certificate alone, or nothing."""
    old, _ = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.certificate.write_bytes(old.key_pem)
    found = place.files.look()
    assert [one["certificate"] for one in found["found"]] == [None, old.pem.decode()]
    assert "PRIVATE" not in str(found)


def test_what_is_no_pkcs12_file_is_left_alone(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """PEM where the inventory says PKCS#12, and the other way round."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(P12,))
    place.files.fence(1, TOKEN)
    place.p12.write_bytes(old.pem)
    assert reason_of(lambda: place.switch(new)) == "node_file_not_pkcs12"
    other = Place(tmp_path, old, layouts=(PEM,))
    other.files.fence(1, TOKEN)
    other.pem.write_bytes(b"0\x82")
    assert reason_of(lambda: other.switch(new)) == "node_file_not_certificate"


def test_two_nodes_in_one_folder_leave_each_other_alone(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """NanoMDM's `file` storage keeps every topic in one folder: each place has releases of its own."""
    old, new = pairs
    first = Place(tmp_path, old)
    for name, data in (("other.pem", old.pem), ("other.key", old.key_pem)):
        (tmp_path / name).write_bytes(data)
    other = PairFiles([{"certificate": str(tmp_path / "other.pem"), "key": str(tmp_path / "other.key")}])
    first.files.fence(4, TOKEN)
    other.fence(9, OTHER_TOKEN)
    first.switch(new, 4)
    assert first.serves(new)
    assert (tmp_path / "other.pem").read_bytes() == old.pem
    assert (tmp_path / "other.key").read_bytes() == old.key_pem
    assert (first.files.look()["run"], other.look()["run"]) == (4, 9)


def test_a_folder_seen_under_another_name_still_works(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A container that mounts the folder elsewhere follows the links all the same."""
    old, new = pairs
    inside = tmp_path / "inside"
    inside.mkdir()
    place = Place(inside, old, layouts=ALL)
    place.files.fence(1, TOKEN)
    place.switch(new)
    moved = inside.rename(tmp_path / "mounted")
    assert (moved / "push.pem").read_bytes() == new.pem
    assert (moved / "both.pem").read_bytes() == new.key_pem + new.pem


def test_a_key_in_another_folder(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """`certs/push.pem` and `private/push.pem`, as Debian has them, are one place."""
    old, new = pairs
    paths = {kind: tmp_path / kind / "push.pem" for kind in ("certificate", "key")}
    for kind, path in paths.items():
        path.parent.mkdir()
        path.write_bytes(old.pem if kind == "certificate" else old.key_pem)
    place = Place(tmp_path, None)
    place.files = PairFiles([{kind: str(path) for kind, path in paths.items()}])
    place.home = tmp_path / "certificate" / ".renewctl" / "push.pem"
    place.files.fence(1, TOKEN)
    assert place.switch(new) is True
    assert (paths["certificate"].read_bytes(), paths["key"].read_bytes()) == (new.pem, new.key_pem)


def test_each_place_keeps_its_own_owner_mode_and_label(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Consumers run as different users; each reads its file as before, there and back and there again."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=ALL)

    def looks() -> dict[str, tuple[int, int, int, bytes]]:
        paths = (place.certificate, place.key, place.pem, place.p12)
        told = {path: path.stat() for path in paths}
        return {
            path.name: (stat.S_IMODE(own.st_mode), own.st_uid, own.st_gid, os.getxattr(path, LABEL))
            for path, own in told.items()
        }

    for number, (path, mode) in enumerate(
        [(place.certificate, 0o640), (place.key, 0o400), (place.pem, 0o440), (place.p12, 0o660)]
    ):
        path.chmod(mode)
        os.chown(path, 1000 + number, 2000 + number)
        os.setxattr(path, LABEL, b"system_u:object_r:cert_%d_t:s0\0" % number)
    wanted = looks()
    assert len(set(wanted.values())) == len(wanted)
    place.files.fence(1, TOKEN)
    for pair in (new, old, new):
        assert place.switch(pair) is True
        assert place.serves(pair)
        assert looks() == wanted
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)
    assert looks() == wanted
    beside = {os.getxattr(one / "cert.pem", LABEL) for one in place.releases(place.pem).values()}
    assert beside == {wanted["both.pem"][-1]}


def test_a_label_that_cannot_be_kept_is_a_refusal(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another label its consumer could not read it: refused, and nothing is switched."""
    old, new = pairs
    place = Place(tmp_path, old)
    os.setxattr(place.key, LABEL, b"system_u:object_r:mdm_key_t:s0\0")
    place.files.fence(1, TOKEN)

    def denied(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setxattr", denied)
    with pytest.raises(PermissionError):
        place.switch(new)
    assert place.serves(old)
    assert not place.key.is_symlink()


def test_an_owner_that_cannot_be_kept_is_a_refusal(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without root the consumer could not read its new key: refused before anything is switched."""
    old, new = pairs
    place = Place(tmp_path, old)
    os.chown(place.key, 4321, 4321)
    place.files.fence(1, TOKEN)

    def denied(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", denied)
    with pytest.raises(PermissionError):
        place.switch(new)
    assert place.serves(old)
    assert not place.certificate.is_symlink()


def test_a_new_place_without_root_belongs_to_whoever_writes(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was there to take the owner from; root takes the folder's."""
    _, new = pairs
    os.chown(tmp_path, 4321, 4322)
    place = Place(tmp_path, None)
    place.files.fence(1, TOKEN)
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    place.switch(new)
    assert place.key.stat().st_uid == os.getuid()
    monkeypatch.undo()
    shutil.rmtree(tmp_path / ".renewctl")
    place.files.fence(2, TOKEN)
    place.switch(new, 2)
    assert (place.key.stat().st_uid, place.key.stat().st_gid) == (4321, 4322)


def test_old_releases_are_pruned(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Of every place the active release and the one before it stay, and no third key lies about."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.files.fence(1, TOKEN)
    place.switch(new)
    apple = apple_like()
    for name in ("third", "fourth"):
        newest = apple.push(TOPIC, key=name)
        place.switch(newest)
        for path in (place.certificate, place.pem):
            kept = set(place.releases(path))
            assert kept == {fingerprint(new), fingerprint(newest)}
        new = newest
    for path in (place.certificate, place.pem):
        (tmp_path / ".renewctl" / path.name / "releases" / "left-over").mkdir()
    place.files.fence(2, OTHER_TOKEN)  # a killed step's remains
    assert len(list(place.home.glob("releases/*"))) == 2
    assert place.serves(new)


def test_a_pair_written_through_the_links_is_kept_as_what_it_is(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """`cp new.pem push.pem` writes into a release: the next step takes that for the pair to go back to."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    third = apple_like().push(TOPIC, key="third")
    place.certificate.write_bytes(third.pem)
    place.key.write_bytes(third.key_pem)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert place.serves(old)
    assert place.files.revert(1, TOKEN, fingerprint(third)) is True
    assert place.serves(third)
    assert place.files.revert(1, TOKEN, fingerprint(new)) is None


@pytest.mark.parametrize("left", [TWO, PEM])
def test_a_place_the_inventory_names_no_more_is_still_put_back(
    tmp_path: Path, pairs: tuple[Issued, Issued], left: str
) -> None:
    """Killed in the middle, then either place was taken out: every journal knows every place that was touched."""
    old, new = pairs
    place = Place(tmp_path, old, layouts=(TWO, PEM))
    place.cut_off_after(new)
    less = PairFiles([place.named(left)])
    assert less.look()["phase"] == "switching"
    assert less.fence(2, OTHER_TOKEN) is True
    assert place.serves(old)
    assert place.files.look()["phase"] == "committed"


def test_a_system_without_labels(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python has the call on Linux alone; a node of another kind has no labels to keep."""
    old, new = pairs
    monkeypatch.delattr(os, "getxattr")
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    assert place.switch(new) is True
    assert place.serves(new)


def test_what_runs_on_a_node_is_python_3_8() -> None:
    """Nodes may have a Python as old as ansible-core 2.19 takes: no newer grammar, no newer dictionary union."""
    plugins = Path(str(node_disk.__file__)).parents[1]
    sources = [*plugins.glob("module_utils/*.py"), *plugins.glob("modules/*.py")]
    assert len(sources) >= 8
    for source in sources:
        tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8))
        unions = [
            part
            for part in ast.walk(tree)
            if isinstance(part, ast.AugAssign) and isinstance(part.op, ast.BitOr)
        ]
        assert not unions, source
