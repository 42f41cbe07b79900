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
import time

#: How long a second call waits for the first one on the same node, seconds. A reload may take 30.
LOCK_SECONDS = 45.0

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


class Fault(Exception):
    """Something the operator must hear of: a reason code of renewctl, and plain values."""

    def __init__(self, reason, **values):
        super().__init__(reason)
        self.reason = reason
        self.values = values


def certificate_fingerprint(pem):
    """SHA-256 of the first certificate of a PEM text, lower-case hex; None where there is none."""
    found = _BLOCK.search(pem)
    if found is None:
        return None
    return hashlib.sha256(base64.b64decode(b"".join(found.group(1).split()))).hexdigest()


def digest(data):
    """SHA-256 of bytes, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def read(path):
    """The bytes of a file, or None where there is no file."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("node_file_unreadable", path=path, got=errno.errorcode.get(error.errno, "")) from None


def sync_folder(path):
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path, mode):
    """A folder with exactly this mode, durable; an existing one gets the mode."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        sync_folder(os.path.dirname(path))
    os.chmod(path, mode)


def write(path, data, mode, owner=None):
    """Replace a file's content in one step. `owner` is (uid, gid), kept only where we may give files away."""
    beside = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        if owner is not None and os.geteuid() == 0:
            os.fchown(descriptor, owner[0], owner[1])
        os.fchmod(descriptor, mode)
        handle.flush()
        os.fsync(descriptor)
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
def locked(path, seconds=LOCK_SECONDS):
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
