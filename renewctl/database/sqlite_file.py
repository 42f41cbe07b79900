"""The file and folder under a SQLite store: where it may lie, who may read it, how it comes to be.

Rules, and why: a network file system does not keep SQLite's locks (sqlite.org/howtocorrupt.html §2.1); the
folder is 0750 and the file 0640, so that the exporter reads as a member of the folder's group and nobody else
does; a store appears under its name whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pwd
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from renewctl.errors import NodeFault, RenewctlError, Unusable
from renewctl.reasons import Reason

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's lock."""

FOLDER_MODE, FILE_MODE = 0o750, 0o640

_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "ocfs2",
    "gfs",
    "glusterfs",
)
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs", "fuse.ceph")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

MOUNTS = Path("/proc/self/mountinfo")
"""What is mounted where (proc_pid_mountinfo(5))."""


def filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system a path lies (or would lie) on, as the kernel names it; "" unknown."""
    real, best, found = path.resolve(), -1, ""
    with contextlib.suppress(OSError):
        for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            before, _, after = line.partition(" - ")
            point = Path(before.split()[4].encode().decode("unicode_escape"))
            # The last of equals wins: it is mounted over the others.
            if real.is_relative_to(point) and len(point.parts) >= best:
                best, found = len(point.parts), after.split()[0]
    return found


@functools.lru_cache(maxsize=64)
def _filesystem_of(path: Path, device: int | None, mounts: Path) -> str:  # noqa: ARG001 - of the cache's key
    """As `filesystem`; kept, since every statement asks, until another device is there."""
    return filesystem(path, mounts)


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def require_local(path: Path, mounts: Path = MOUNTS) -> None:
    """Refuse a network file system.

    Raises:
        Unusable: `store_on_network` (`path`, `got`: the file system's type).
    """
    got = _filesystem_of(path, _device(path), mounts)
    if got.startswith((*_NETWORK, *_NETWORK_FUSE)):
        raise Unusable(Reason.STORE_ON_NETWORK, path=str(path), got=got)


def require_there(path: Path, *, writable: bool) -> None:
    """Look before SQLite does: its own errors do not tell a missing file from a forbidden one.

    Raises:
        Unusable: `store_missing`, `store_not_a_store` (a folder), `store_on_network`.
        NodeFault: `store_denied`, `store_read_only`.
    """
    try:
        is_file = path.is_file()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable(Reason.STORE_MISSING, store=str(path)) from None
    except OSError as error:
        raise denied(path, error) from None
    if not is_file:
        raise Unusable(Reason.STORE_NOT_A_STORE, store=str(path))
    if not os.access(path, os.R_OK):
        raise denied(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    require_local(path)
    # The journal is made beside the file: a writer needs the folder too.
    if writable and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise NodeFault(Reason.STORE_READ_ONLY, store=str(path))


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection that never creates the file; a writer's waits for the folder entry to be on disk.

    synchronous=EXTRA also syncs the folder after the journal is gone: without it a power cut can bring back
    the journal, and with it the state before a commit that was already told (sqlite.org/pragma.html).
    """
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    connection.text_factory = _text
    if not read_only:
        try:
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
            connection.execute("PRAGMA synchronous=EXTRA")
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def copy(path: Path, to: Path) -> None:
    """Copy a store by SQLite's backup API: one state, on disk when this returns, whoever else reads or waits.

    Args:
        to: an empty file.

    Raises:
        sqlite3.Error: as SQLite says.
    """
    with (
        contextlib.closing(connect(path, read_only=True)) as source,
        contextlib.closing(connect(to, read_only=False)) as target,
    ):
        source.backup(target)


def _text(value: bytes) -> str | bytes:
    """A cell's text; one that is no UTF-8 stays bytes, or it would hide every other row."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


@contextlib.contextmanager
def newborn(path: Path) -> Iterator[Path]:
    """A name beside `path` to build the store under; it takes its own name when the block has ended well.

    Somebody else may have been faster: then theirs stays and ours goes.

    Raises:
        NodeFault: `disk_full`, `store_read_only`, `store_denied`.
        Unusable: `store_on_network`.
    """
    require_local(path.parent)
    beside = name_beside(path)
    try:
        make_folder(path.parent, FOLDER_MODE)
        with _made(beside, FILE_MODE):
            yield beside
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        raise denied(path, error) from None


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with exactly this mode where there is none, and put its entry on disk.

    It appears under its name with that mode: killed between the two, a strict umask would shut the group out
    for good.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = name_beside(folder)
    beside.mkdir(mode)
    try:
        beside.chmod(mode)  # whatever the umask
        beside.rename(folder)
    except OSError as error:
        beside.rmdir()
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:  # somebody was quicker, and is at work in it
            raise
    sync_folder(folder.parent)


def name_beside(path: Path) -> Path:
    """A name of this call alone to build something under. What a killed writer left there nobody reads."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk (fsync(2): syncing a file does not sync its name)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def denied(path: Path, error: OSError) -> RenewctlError:
    """What an operating system's refusal means for the store at `path`."""
    if error.errno in _FULL:
        return NodeFault(Reason.DISK_FULL, path=str(path.parent))
    if error.errno == errno.EROFS:
        return NodeFault(Reason.STORE_READ_ONLY, store=str(path))
    return NodeFault(Reason.STORE_DENIED, store=str(path), detail=error.strerror or type(error).__name__)


def is_full(path: Path) -> bool:
    """Whether no block is left for us: SQLite calls some full disks an input/output error."""
    try:
        return os.statvfs(path.parent).f_bavail == 0
    except OSError:
        return False


@contextlib.contextmanager
def _made(path: Path, mode: int, remove: Callable[[Path], None] = Path.unlink) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            remove(path)


def account() -> str:
    """Who the operating system says we are: all a file knows of its writers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
