"""Rights that only a POSIX ACL gives: whoever could read a file goes on reading it, and nobody else begins to.

They need root, and a temporary folder on a file system with POSIX ACLs (ext4, XFS, Btrfs).
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault

from tests.playbooks.test_pair_folders import SERVER as ACCOUNT
from tests.playbooks.test_pair_folders import as_the_server
from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import P12, PEM, TOKEN, TWO, Place, fingerprint

ACL, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
OWNER, USER, GROUP, MASK, OTHERS = 1, 2, 4, 0x10, 0x20
"""Kinds of entries (linux/posix_acl.h)."""

SERVER, STRANGER, GROUP_ID = 61001, 61002, 62001


def acl(*entries: tuple[int, int] | tuple[int, int, int]) -> bytes:
    """An ACL as the kernel takes it: version 2, then kind, rights and id of each entry."""
    whole = [(*entry, 0xFFFFFFFF)[:3] for entry in entries]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in whole)


SERVER_READS = acl((OWNER, 6), (USER, 4, SERVER), (GROUP, 0), (MASK, 4), (OTHERS, 0))


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder other users get into, on a file system that has ACLs."""
    with TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        try:
            os.setxattr(path, ACL, acl((OWNER, 7), (USER, 5, SERVER), (GROUP, 5), (MASK, 5), (OTHERS, 5)))
        except OSError as error:
            pytest.fail(f"{path}: these tests need a file system with POSIX ACLs (set TMPDIR): {error}")
        yield path


def reads(user: int, path: Path, group: int = 65534) -> bool:
    """Whether this user can really open a file."""
    command = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "head", "-c1", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def look(path: Path) -> tuple[int, bytes | None]:
    """Mode and ACL of a file."""
    try:
        rights = os.getxattr(path, ACL)
    except OSError:
        rights = None
    return stat.S_IMODE(path.stat().st_mode), rights


def test_who_reads_by_an_acl_goes_on_reading(folder: Path, pairs: tuple[Issued, Issued]) -> None:
    """Every layout, with the new pair, put back and again: mode and ACL of each file are what they were."""
    old, new = pairs
    place = Place(folder, old, layouts=(TWO, PEM, P12))
    files = (place.certificate, place.key, place.pem, place.p12)
    for path in files:
        path.chmod(0o600)
        os.setxattr(path, ACL, SERVER_READS)
    before = [look(path) for path in files]
    assert all(reads(SERVER, path) and not reads(STRANGER, path) for path in files)
    place.files.fence(1, TOKEN)
    for pair in (new, old, new):
        assert place.switch(pair) is True
        assert place.serves(pair)
        assert [look(path) for path in files] == before
        assert all(reads(SERVER, path) and not reads(STRANGER, path) for path in files)
    assert place.files.revert(1, TOKEN, fingerprint(old)) is True
    assert [look(path) for path in files] == before
    assert all(reads(SERVER, path) for path in files)


def test_a_key_everybody_could_read_is_for_whom_its_acl_names(
    folder: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Everybody else is taken out; the certificate, which is public, stays as it is."""
    old, new = pairs
    place = Place(folder, old)
    for path in (place.certificate, place.key):
        os.chown(path, 0, GROUP_ID)
        os.setxattr(path, ACL, acl((OWNER, 6), (USER, 7, SERVER), (GROUP, 4), (MASK, 7), (OTHERS, 4)))
    place.files.fence(1, TOKEN)
    place.switch(new)
    closed = acl((OWNER, 6), (USER, 7, SERVER), (GROUP, 4), (MASK, 6), (OTHERS, 0))
    assert look(place.key) == (0o660, closed)
    assert [reads(user, place.key) for user in (SERVER, STRANGER)] == [True, False]
    assert reads(STRANGER, place.key, GROUP_ID)
    assert all(reads(user, place.certificate) for user in (SERVER, STRANGER))


def test_what_a_folder_hands_down_gives_nobody_rights(folder: Path, pairs: tuple[Issued, Issued]) -> None:
    """A default ACL of the folder is for new files; the pair that replaces one has that one's rights, no more."""
    old, new = pairs
    place = Place(folder, old)
    os.chown(place.key, 0, GROUP_ID)
    place.key.chmod(0o640)
    handed = acl((OWNER, 7), (USER, 7, STRANGER), (GROUP, 7), (MASK, 7), (OTHERS, 5))
    os.setxattr(folder, DEFAULT, handed)
    place.files.fence(1, TOKEN)
    place.switch(new)
    assert look(place.key) == (0o640, None)
    assert not reads(STRANGER, place.key)
    assert reads(SERVER, place.key, GROUP_ID)


@pytest.mark.parametrize(
    "handed",
    [
        acl((OWNER, 7), (GROUP, 5), (OTHERS, 0)),
        acl((OWNER, 7), (USER, 0, SERVER), (GROUP, 5), (MASK, 5), (OTHERS, 5)),
    ],
    ids=["nothing for others", "nothing for the server"],
)
def test_what_a_folder_hands_down_shuts_nobody_out(
    folder: Path, pairs: tuple[Issued, Issued], handed: bytes
) -> None:
    """A default ACL counts in place of the umask; whoever could read goes on reading, there and back."""
    old, new = pairs
    place = Place(folder, old, layouts=(TWO, PEM))
    place.certificate.chmod(0o644)
    for path in (place.key, place.pem):
        path.chmod(0o600)
        os.setxattr(path, ACL, SERVER_READS)
    os.setxattr(folder, DEFAULT, handed)
    for step in (lambda: place.files.fence(1, TOKEN), lambda: place.switch(new), lambda: place.switch(old)):
        step()
        assert all(reads(SERVER, path) for path in (place.certificate, place.key, place.pem))
        assert reads(STRANGER, place.certificate)
    folders = [path for path in (folder / ".renewctl", *folder.rglob(".renewctl/**/")) if path.is_dir()]
    assert len(folders) > 2 * 3
    assert {(stat.S_IMODE(path.stat().st_mode), *os.listxattr(path)) for path in folders} == {(0o755,)}


@pytest.mark.parametrize("call", ["removexattr", "rename", "rmdir"])
def test_a_folder_whose_maker_was_killed_is_made_by_the_next(
    folder: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whether it was begun, finished beside or moved: it never stands there half made, and the next fence makes it."""
    place = Place(folder, pairs[0])
    place.certificate.chmod(0o644)
    os.setxattr(folder, DEFAULT, acl((OWNER, 7), (GROUP, 5), (OTHERS, 0)))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(node_disk.os, call, killed)
        with pytest.raises(KeyboardInterrupt):
            place.files.fence(1, TOKEN)
    assert (folder / ".renewctl").exists() == (call == "rmdir")
    place.files.fence(1, TOKEN)
    assert stat.S_IMODE((folder / ".renewctl").stat().st_mode) == 0o755
    assert not list(folder.rglob("*.new"))
    place.switch(pairs[1])
    assert reads(STRANGER, place.certificate)


def waiting(step: Callable[[], object]) -> tuple[int, int]:
    """A process that does a step once the pipe says so, and ends with 0 if it did not fail; it and the pipe.

    It is there beforehand: forked later it would hold whatever lock we hold.
    """
    reads_end, writes_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.read(reads_end, 1)
            step()
            code = 0
        finally:
            os._exit(code)
    os.close(reads_end)
    return pid, writes_end


class Begins:
    """Stands in for calls of `os`; before the nth of them the waiting process begins."""

    def __init__(self, left: int, pipe: int) -> None:
        self.left, self._pipe = left, pipe

    def __call__(self, real: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Begin the other where it is its turn; then do the call."""
        self.left -= 1
        if self.left == 0:
            os.write(self._pipe, b"x")
            time.sleep(0.1)  # done by then, or waiting for us
        return real(*args, **kwargs)


_flock = fcntl.flock


def files_alone(descriptor: int, how: int) -> None:
    """Locks no folder, as NFS."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EBADF, "Bad file descriptor")
    _flock(descriptor, how)


@pytest.mark.slow
@pytest.mark.parametrize("locks", [True, False], ids=["folders can be locked", "as on NFS"])
def test_two_nodes_in_one_folder_are_fenced_at_once(
    folder: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    """The other begins before each call with which the first one makes their folder: both come through."""
    for point in range(1, 100):
        home = folder / str(point)
        home.mkdir()
        place = Place(home, pairs[0], layouts=(TWO,))
        beside = Place(home, pairs[0], layouts=(PEM,))
        os.setxattr(home, DEFAULT, acl((OWNER, 7), (GROUP, 5), (OTHERS, 0)))
        with monkeypatch.context() as patch:
            if not locks:
                patch.setattr(fcntl, "flock", files_alone)
            other, pipe = waiting(functools.partial(beside.files.fence, 1, TOKEN))
            calls = Begins(point, pipe)
            for name in ("mkdir", "rename", "rmdir", "removexattr"):
                patch.setattr(os, name, functools.partial(calls, getattr(os, name)))
            place.files.fence(1, TOKEN)
        if calls.left > 0:  # there was no such call
            os.write(pipe, b"x")
        os.close(pipe)
        assert os.waitpid(other, 0)[1] == 0, point
        assert not list(home.rglob("*.new")), point
        assert (place.home.is_dir(), beside.home.is_dir()) == (True, True)
        if calls.left > 0:
            break
    assert point > 4


def test_an_acl_that_cannot_be_kept_is_a_refusal(
    folder: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it its consumer could not read the key: refused, and nothing is switched."""
    old, new = pairs
    place = Place(folder, old)
    os.setxattr(place.key, ACL, SERVER_READS)
    place.files.fence(1, TOKEN)

    def denied(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", denied)
    with pytest.raises(OSError, match="not supported"):
        place.switch(new)
    assert place.serves(old)
    assert not place.key.is_symlink()


@pytest.mark.parametrize("others", [5, 0], ids=["open", "closed"])
def test_a_group_is_handed_on_beside_an_acl(folder: Path, pairs: tuple[Issued, Issued], others: int) -> None:
    """An account outside the group of its files: any change of mode takes the setgid bit away, so none is made."""
    old, new = pairs
    mdm = folder / "mdm"
    mdm.mkdir()
    place = Place(mdm, old, layouts=(TWO, PEM))
    for path in mdm.iterdir():
        os.chown(path, ACCOUNT, GROUP_ID)
        path.chmod(0o640)
    os.chown(mdm, 0, GROUP_ID)
    mdm.chmod(0o2775)
    deploys = (OWNER, 7), (USER, 7, ACCOUNT), (GROUP, 5), (MASK, 7)
    os.setxattr(mdm, ACL, acl(*deploys, (OTHERS, 5)))
    os.setxattr(mdm, DEFAULT, acl(*deploys, (OTHERS, others)))
    assert as_the_server(lambda: place.files.fence(1, TOKEN)) == "False"
    assert as_the_server(lambda: place.switch(new)) == "True"
    assert place.serves(new)
    files = (place.certificate, place.key, place.pem)
    assert {(path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) for path in files} == {(GROUP_ID, 0o640)}
    assert as_the_server(lambda: place.files.revert(1, TOKEN, fingerprint(old))) == "True"
    homes = [mdm / ".renewctl", *(mdm / ".renewctl").iterdir(), *(mdm / ".renewctl").glob("*/releases")]
    assert {(stat.S_IMODE(path.stat().st_mode), *os.listxattr(path)) for path in homes} == {(0o2755,)}
    assert not list(mdm.glob("*.new"))


def test_a_folder_of_somebody_else_s_beside_ours_is_not_changed(
    folder: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Where a folder that is begun would lie: refused, and its own ACL is still there."""
    place = Place(folder, pairs[0])
    handed = acl((OWNER, 7), (GROUP, 5), (OTHERS, 0))
    os.setxattr(folder, DEFAULT, handed)
    (folder / ".renewctl.new").mkdir(0o700)
    with pytest.raises(Fault) as caught:
        place.files.fence(1, TOKEN)
    assert (caught.value.reason, caught.value.values["path"]) == (
        "node_folder_foreign",
        str(folder / ".renewctl.new"),
    )
    assert os.getxattr(folder / ".renewctl.new", DEFAULT) == handed
