"""Killed before every single call that changes something on a node's disk: no consumer ever reads a mixed pair."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import (
    node_disk,
    node_reload,
    pair_files,
    pair_journal,
    pair_place,
    releases,
)

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, P12, PEM, TOKEN, TWO, Place, fingerprint

MUTATING = (
    "mkdir", "unlink", "open", "fsync", "replace", "rename", "symlink", "chmod", "fchmod", "fchown",
    "rmdir", "utime", "setxattr", "removexattr",
)  # fmt: skip
"""Every call of `os` that can change a file's content, name or look; and `open`, which may create one."""


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued, Issued]:
    """The pair before the last, the old one, the new one."""
    apple = apple_like()
    soon = NOW + timedelta(days=42)
    return apple.push(TOPIC, key="older"), apple.push(TOPIC, not_after=soon), apple.push(TOPIC, key="new")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: thousands of syncs of a disk would take minutes, and a kill loses nothing of either."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def killed_at(point: int, step: Callable[[], object]) -> bool:
    """Run a step in a child that dies before its nth mutating call; False: it came to its end."""
    pid = os.fork()
    if pid == 0:
        left = point

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), 9)
                return real(*args, **kwargs)

            return call

        try:
            for name in MUTATING:
                setattr(os, name, dying(getattr(os, name)))
            step()
            os._exit(0)
        finally:
            os._exit(1)  # an exception: a fault of the test
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"point {point}: {status}"
    return os.WIFSIGNALED(status)


def switching(place: Place, pair: Issued, run: int = 1, token: str = TOKEN) -> Callable[[], object]:
    """A switch whose files have been sent."""
    files = place.sent(pair)
    return lambda: place.files.switch(run, token, pair.pem, files)


@pytest.mark.slow
@pytest.mark.parametrize("layouts", [(TWO,), (PEM,), (P12,), (TWO, PEM, P12)], ids="+".join)
def test_killed_anywhere_in_a_switch_no_pair_is_ever_mixed(
    memory: Path, pairs: tuple[Issued, Issued, Issued], layouts: tuple[str, ...]
) -> None:
    """The first switch, which converts: whole pairs everywhere, and the next run mends it and goes there and back."""
    _, old, new = pairs
    for point in range(1, 1000):
        folder = memory / str(point)
        folder.mkdir()
        place = Place(folder, old, layouts=layouts)
        place.files.fence(1, TOKEN)
        killed = killed_at(point, switching(place, new))
        assert not place.mixed(old, new), point
        if not killed:
            assert place.serves(new)
            break
        place.files.fence(2, OTHER_TOKEN)
        assert place.serves(old) or (place.serves(new) and place.state()["phase"] == "committed"), point
        assert place.switch(new, 2, OTHER_TOKEN) in {True, False}
        assert place.serves(new), point
        if P12 not in layouts:
            assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is True
            assert place.serves(old), point
    assert point > 30 * len(layouts)


@pytest.mark.slow
@pytest.mark.parametrize("layouts", [(TWO, PEM, P12)], ids="+".join)
def test_killed_anywhere_in_the_second_year(
    memory: Path, pairs: tuple[Issued, Issued, Issued], layouts: tuple[str, ...]
) -> None:
    """A switch that ends in pruning: the way back is there at every moment, and at most three keys a place."""
    older, old, new = pairs
    for point in range(1, 1000):
        folder = memory / str(point)
        folder.mkdir()
        place = Place(folder, older, layouts=layouts)
        place.files.fence(1, TOKEN)
        place.switch(old)
        killed = killed_at(point, switching(place, new))
        assert not place.mixed(old, new), point
        if not killed:
            break
        place.files.fence(2, OTHER_TOKEN)
        assert place.serves(old) or (place.serves(new) and place.state()["phase"] == "committed"), point
        assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) in {True, False}
        assert place.serves(old), point
        assert place.switch(new, 2, OTHER_TOKEN) is True
        for kept in folder.glob(".renewctl/*/releases"):
            assert len(list(kept.iterdir())) == 2, point
    assert point > 60


@pytest.mark.slow
def test_killed_anywhere_on_the_way_back(memory: Path, pairs: tuple[Issued, Issued, Issued]) -> None:
    """A fence that undoes, and a roll-back: started again, both end on the old pair in every place."""
    _, old, new = pairs
    for way in ("fence", "revert"):
        for point in range(1, 1000):
            folder = memory / f"{way}-{point}"
            folder.mkdir()
            place = Place(folder, old, layouts=(TWO, PEM))
            place.files.fence(1, TOKEN)
            place.switch(new)
            if way == "fence":
                place.files._save(place.state(), phase="switching")  # as a kill leaves it
                killed = killed_at(point, lambda place=place: place.files.fence(2, OTHER_TOKEN))
            else:
                back = fingerprint(old)
                killed = killed_at(point, lambda place=place, back=back: place.files.revert(1, TOKEN, back))
            assert not place.mixed(old, new), point
            place.files.fence(3, OTHER_TOKEN)
            if way == "revert":
                place.files.revert(3, OTHER_TOKEN, fingerprint(old))
            assert place.serves(old), (way, point)
            assert place.state()["phase"] == "committed"
            if not killed:
                break
        assert point > 20


RELEASE: dict[str, Callable[[Path], object]] = {
    "a further file": lambda release: (release / "key.pem~").write_bytes(b"x"),
    "a certificate written over": lambda release: (release / "cert.pem").write_bytes(b"x"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", RELEASE)
def test_killed_anywhere_while_the_release_in_use_is_made_anew(
    memory: Path, pairs: tuple[Issued, Issued, Issued], damage: str
) -> None:
    """Between two renames its consumer finds nothing: the next fence gives it back what it read, or a whole pair."""
    _, old, new = pairs
    gaps = 0
    for point in range(1, 1000):
        folder = memory / str(point)
        folder.mkdir()
        place = Place(folder, old)
        place.files.fence(1, TOKEN)
        place.switch(new)
        RELEASE[damage](place.certificate.resolve().parent)
        damaged = place.certificate.read_bytes()
        killed = killed_at(point, switching(place, new))
        gap = not place.certificate.exists()
        gaps += gap
        place.files.fence(2, OTHER_TOKEN)
        read = place.certificate.read_bytes(), place.key.read_bytes()
        whole = {(new.pem, new.key_pem), (old.pem, old.key_pem)}  # the old one: a switch was undone
        assert read in ({(damaged, new.key_pem)} if gap else {(damaged, new.key_pem), *whole}), point
        place.switch(new, 2, OTHER_TOKEN)
        assert place.serves(new), point
        assert not list((place.home / "releases").glob("*.*")), point
        if not killed:
            break
    assert gaps == 1
    assert point > 20


def test_the_list_of_calls_is_complete() -> None:
    """Whatever the node's code calls of `os` to change files is among the points."""
    harmless = {
        "chown", "close", "fdopen", "fstat", "fspath", "geteuid", "getxattr", "killpg", "listdir", "readlink", "stat",
        "umask",
    }  # fmt: skip
    called = {
        part.func.attr
        for module in (node_disk, node_reload, pair_files, pair_journal, pair_place, releases)
        for part in ast.walk(ast.parse(Path(str(module.__file__)).read_text()))
        if isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and isinstance(part.func.value, ast.Name)
        and part.func.value.id == "os"
    }
    assert called - harmless <= set(MUTATING)
    assert {"unlink", "rmdir", "open"} <= set(MUTATING)
