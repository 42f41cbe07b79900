# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Durable steps on a node's disk. Standard library alone: this runs on the node's own Python (3.8 or newer).

Every step leaves either the old or the new thing behind, whenever the power goes: written beside, synced,
renamed, and the folder synced.

What we keep on a node lies in folders that are held open while something is done in them (`held`): `at` is
such a folder's descriptor, and of `path` only the last part counts then; the whole of it is for messages.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import re
import stat
import time

#: Mode of the folders on the way to a consumer's files: it must get through, whoever it is.
FOLDER = 0o755

#: Where the kernel keeps a file's SELinux label.
LABEL = "security.selinux"

#: Where it keeps the rights of further users and groups (a POSIX ACL); a change of mode changes them, too.
ACL = "system.posix_acl_access"

#: What a folder hands down to whatever is made in it; there it counts in place of the umask.
DEFAULT_ACL = "system.posix_acl_default"

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


def read(path, at=None):
    """The bytes of a file, or None where there is no file. Neither a pipe nor a large file holds it up."""
    how = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if at is None else os.O_NOFOLLOW)
    try:
        with os.fdopen(os.open(name_in(path, at), how, dir_fd=at), "rb") as handle:
            regular = stat.S_ISREG(os.fstat(handle.fileno()).st_mode)
            content = handle.read(LARGEST + 1) if regular else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("node_file_unreadable", path=path, got=errno.errorcode.get(error.errno, "")) from None
    if not regular or len(content) > LARGEST:
        raise Fault("node_file_unreadable", path=path, got="EFBIG" if regular else "EINVAL")
    return content


@contextlib.contextmanager
def telling(path):
    """An error of the system in here tells the whole path, where it told none or a part of one."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str) or not os.path.isabs(error.filename):
            error.filename = path
        raise


def open_up(folder):
    """Give an open folder of ours exactly the mode `FOLDER`, whatever the one around it hands down."""
    for acl in (ACL, DEFAULT_ACL):
        if attribute(folder, acl) is not None:
            os.removexattr(folder, acl)
    os.fchmod(folder, FOLDER)


@contextlib.contextmanager
def held(path, *below, at=None):
    """The descriptor of a folder of ours, so that no name can lead us elsewhere while we work in it.

    The rule: each of these folders is a folder and no link, belongs to the account we run as or to root, and
    nobody else may write in it. In the folder around the first, others may write (the server's own account,
    say): what they put there in place of ours is refused, neither followed nor changed, since we may be root.

    Args:
        path: the first folder.
        below: names of folders from there on, each in the one before.
        at: the descriptor of the folder around the first; None: it is looked up by the whole of `path`.

    Raises:
        Fault: `node_folder_foreign`, `node_file_unreadable`.
        FileNotFoundError: one of them is not there.
    """
    with contextlib.ExitStack() as stack:
        at = _opened(path, at)
        stack.callback(os.close, at)
        for name in below:
            path = os.path.join(path, name)
            at = _opened(path, at)
            stack.callback(os.close, at)
        yield at


def _opened(path, at):
    name, how = name_in(path, at), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with telling(path):
            descriptor = os.open(name, how, dir_fd=at)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):  # which of them a link gives, differs by system
            raise foreign(path, os.stat(name, dir_fd=at, follow_symlinks=False), at) from None
        raise Fault("node_file_unreadable", path=path, got=errno.errorcode.get(error.errno, "")) from None
    about = os.fstat(descriptor)
    if about.st_uid not in (0, os.geteuid()) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(descriptor)
        raise foreign(path, about, at)
    return descriptor


def foreign(path, about, at):
    """The fault: what lies in the place of a folder of ours, and what should, both as `ls -l` shows them."""
    leads = " -> " + os.readlink(name_in(path, at), dir_fd=at) if stat.S_ISLNK(about.st_mode) else ""
    return Fault(
        "node_folder_foreign",
        path=path,
        got="%s %s%s" % (stat.filemode(about.st_mode), _account(about.st_uid), leads),
        expected="%s %s" % (stat.filemode(stat.S_IFDIR | FOLDER), _account(os.geteuid())),
    )


def _account(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def name_in(path, at):
    """What a path is called in the folder around it, where that is open; else the path."""
    return path if at is None else os.path.basename(path)


class Look:
    """How a file looks to those who may read it.

    Attributes:
        mode: its permissions; where there is an ACL, those of the group are the most it lets anybody do.
        owner: uid and gid; None: whoever writes.
        label: its SELinux label; None: the folder's.
        acl: its POSIX ACL, as the kernel writes it; None: it has none, whatever its folder hands down.
    """

    def __init__(self, mode, owner=None, label=None, acl=None):
        self.mode = mode
        self.owner = owner
        self.label = label
        self.acl = acl


def look_of(path):
    """How a file that is there looks; None where there is none."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    owner = (about.st_uid, about.st_gid)
    return Look(stat.S_IMODE(about.st_mode), owner, attribute(path, LABEL), attribute(path, ACL))


def closed_to_others(acl):
    """The same ACL without any right for everybody else: it is the last entry (linux/posix_acl_xattr.h)."""
    return None if acl is None else acl[:-6] + b"\0\0" + acl[-4:]


def dress(descriptor, look):
    """Give an open file this look. What cannot be given is an error: its reader could not read it."""
    about = os.fstat(descriptor)
    if look.owner is not None and (about.st_uid, about.st_gid) != look.owner:
        os.fchown(descriptor, look.owner[0], look.owner[1])
    if look.label is not None and attribute(descriptor, LABEL) != look.label:
        os.setxattr(descriptor, LABEL, look.label)
    acl = attribute(descriptor, ACL)
    if look.acl is None and acl is not None:
        os.removexattr(descriptor, ACL)
    elif look.acl != acl:
        os.setxattr(descriptor, ACL, look.acl)
    os.fchmod(descriptor, look.mode)


def attribute(file, name):
    """An extended attribute of a file; None where it has none, or the system knows no such thing."""
    try:
        return os.getxattr(file, name)
    except (OSError, AttributeError):
        return None


def create(path, data, look, at=None):
    """A new file, synced; nobody else may read it before it looks right. The folder is not synced."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with telling(path):
        descriptor = os.open(name_in(path, at), how, 0o600, dir_fd=at)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            dress(descriptor, look)
            handle.flush()
            os.fsync(descriptor)


def write(path, data, mode, at):
    """Replace a file's content in one step."""
    beside = path + ".new"
    with telling(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name_in(beside, at), dir_fd=at)
        create(beside, data, Look(mode), at)
        _rename(beside, path, at)


def point(link, target, at=None):
    """Make `link` a symbolic link to `target`, whatever it was before, by one rename."""
    beside = link + ".new"
    with telling(link):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name_in(beside, at), dir_fd=at)
        os.symlink(target, name_in(beside, at), dir_fd=at)
        _rename(beside, link, at)


def _rename(beside, path, at):
    os.replace(name_in(beside, at), name_in(path, at), src_dir_fd=at, dst_dir_fd=at)
    sync_around(path, at)


def sync_around(path, at):
    """Make the names in a folder durable."""
    around = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY) if at is None else at
    try:
        os.fsync(around)
    finally:
        if at is None:
            os.close(around)


def remove_folder(name, at):
    """Remove a folder, if there is one. What cannot be removed stays: nothing of it is used."""
    with contextlib.suppress(OSError, Fault):
        with held(name, at=at) as folder:
            for leaf in os.listdir(folder):
                if stat.S_ISDIR(os.stat(leaf, dir_fd=folder, follow_symlinks=False).st_mode):
                    remove_folder(leaf, folder)
                else:
                    os.unlink(leaf, dir_fd=folder)
        os.rmdir(name, dir_fd=at)


@contextlib.contextmanager
def locked(path, seconds, at=None):
    """Hold a lock file; released here and not by the end of the process, which some tools keep alive."""
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(name_in(path, at), how, 0o600, dir_fd=at)
    try:
        take(descriptor, path, time.monotonic() + seconds)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def take(descriptor, path, deadline):
    """Lock an open file, or folder; wait for whoever has it until `deadline`, on the monotonic clock.

    Raises:
        Fault: `node_locked`.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Fault("node_locked", path=path) from None
            time.sleep(0.1)
        else:
            return
