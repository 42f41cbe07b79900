# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durable steps on a node's disk. Standard library alone: this runs on the node's own Python (3.8 or newer).

Every step leaves either the old or the new thing behind, whenever the power goes: written beside, synced,
renamed, and the folder synced.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import time

#: Mode of the folders on the way to a consumer's files: it must get through, whoever it is.
FOLDER = 0o755

#: Where the kernel keeps a file's SELinux label.
LABEL = "security.selinux"

#: Bytes of the largest file that is read: a pair with its chain has some thousand.
LARGEST = 1024 * 1024

# Neither goes over a text twice, whatever somebody has put there.
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(\s[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z ]{0,20}PRIVATE KEY)-----")


class Fault(Exception):
    """Something the operator must hear of: a reason code of renewctl, and plain values."""

    def __init__(self, reason, **values):
        super().__init__(reason)
        self.reason = reason
        self.values = values


def certificate_fingerprint(pem):
    """SHA-256 of the first certificate of a PEM text, lower-case hex; None where there is none."""
    found = _CERTIFICATE.search(pem)
    if found is None:
        return None
    try:
        return hashlib.sha256(base64.b64decode(b"".join(found.group(1).split()))).hexdigest()
    except ValueError:  # base64 cut short
        return None


def certificate_block(pem):
    """The first certificate of a PEM text alone, with its line end; None where there is none."""
    found = _CERTIFICATE.search(pem)
    return None if found is None else found.group(0) + b"\n"


def key_block(pem):
    """The first private key of a PEM text alone, with its line end; None where there is none."""
    begin = _KEY.search(pem)
    if begin is None:
        return None
    ending = b"-----END " + begin.group(1) + b"-----"
    end = pem.find(ending, begin.end())
    return None if end < 0 else pem[begin.start() : end] + ending + b"\n"


def digest(data):
    """SHA-256 of bytes, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def read(path):
    """The bytes of a file, or None where there is no file. Neither a pipe nor a large file holds it up."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as handle:
            regular = stat.S_ISREG(os.fstat(handle.fileno()).st_mode)
            content = handle.read(LARGEST + 1) if regular else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("node_file_unreadable", path=path, got=errno.errorcode.get(error.errno, "")) from None
    if not regular or len(content) > LARGEST:
        raise Fault("node_file_unreadable", path=path, got="EFBIG" if regular else "EINVAL")
    return content


def sync_folder(path):
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path):
    """A folder with exactly the mode `FOLDER`, durable; an existing one gets the mode."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, FOLDER)
        sync_folder(os.path.dirname(path))
    if stat.S_IMODE(os.stat(path).st_mode) != FOLDER:
        os.chmod(path, FOLDER)


class Look:
    """Mode, owner (uid, gid; None: whoever writes) and SELinux label (None: the folder's) of a file."""

    def __init__(self, mode, owner=None, label=None):
        self.mode = mode
        self.owner = owner
        self.label = label


def look_of(path):
    """How a file that is there looks; None where there is none."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    return Look(stat.S_IMODE(about.st_mode), (about.st_uid, about.st_gid), _label(path))


def dress(descriptor, look):
    """Give an open file this look. What cannot be given is an error: its reader could not read it."""
    about = os.fstat(descriptor)
    if look.owner is not None and (about.st_uid, about.st_gid) != look.owner:
        os.fchown(descriptor, look.owner[0], look.owner[1])
    if look.label is not None and _label(descriptor) != look.label:
        os.setxattr(descriptor, LABEL, look.label)
    os.fchmod(descriptor, look.mode)


def _label(file):
    try:
        return os.getxattr(file, LABEL)
    except (OSError, AttributeError):  # no SELinux, no label, or a system that has no such thing
        return None


def create(path, data, look):
    """A new file, synced; nobody else may read it before it looks right. The folder is not synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        dress(descriptor, look)
        handle.flush()
        os.fsync(descriptor)


def write(path, data, mode):
    """Replace a file's content in one step."""
    beside = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    create(beside, data, Look(mode))
    os.replace(beside, path)
    sync_folder(os.path.dirname(path))


def point(link, target):
    """Make `link` a symbolic link to `target`, whatever it was before, by one rename."""
    beside = link + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    os.symlink(target, beside)
    os.replace(beside, link)
    sync_folder(os.path.dirname(link))


@contextlib.contextmanager
def locked(path, seconds):
    """Hold a lock file; released here and not by the end of the process, which some tools keep alive."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _take(descriptor, path, time.monotonic() + seconds)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _take(descriptor, path, deadline):
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Fault("node_locked", path=path) from None
            time.sleep(0.1)
        else:
            return
