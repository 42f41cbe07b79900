# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a folder of ours is made on a node, whatever the one around it hands down. Standard library alone."""

from __future__ import annotations

import contextlib
import os
import stat
import time

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk as disk

#: The folder in which we make another carries this bit, and is known by it from any other of its name.
_OURS = stat.S_ISVTX

#: The longest a folder's making is waited for, seconds: it is a few calls.
_MOVED_SECONDS = 5.0


def make(path, at=None):
    """A folder with the mode `node_disk.FOLDER` and no ACL, durable, unless something of that name is there.

    Where the folder around it hands down its group (setgid), so does it: an account outside that group could
    not give it to the files in here. Such an account loses the bit by any change of mode, so none is made.

    Raises:
        Fault: as `node_disk.held`. If meanwhile the name was given to another folder, that stays as it is.
    """
    before = os.umask(0o777 & ~disk.FOLDER)
    try:
        with disk.telling(path):
            if not _is_there(path, at):
                _make(path, at)
                disk.sync_around(path, at)
            _remove_left(path + ".new", at)
    finally:
        os.umask(before)
    with disk.held(path, at=at):
        pass


def _make(path, at):
    try:
        if disk.attribute(os.path.dirname(path) if at is None else at, disk.DEFAULT_ACL) is None:
            os.mkdir(disk.name_in(path, at), disk.FOLDER, dir_fd=at)
        else:
            _make_beside(path, at)
    except OSError:
        if not _is_there(path, at):  # another node in this folder makes the same ones
            raise


def _make_beside(path, at):
    """A folder where an ACL would be handed down: made in one beside it that hands none down, and moved."""
    beside, name = path + ".new", os.path.basename(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(disk.name_in(beside, at), stat.S_IRWXU | _OURS, dir_fd=at)
    with disk.held(beside, at=at) as folder:
        about = os.fstat(folder)
        if not about.st_mode & _OURS:
            raise disk.foreign(beside, about, at)
        with contextlib.suppress(OSError):  # NFS locks no folder
            disk.take(folder, beside, time.monotonic() + _MOVED_SECONDS)
        if _is_there(path, at):  # moving ours there would replace it while it is empty
            return
        if disk.attribute(folder, disk.DEFAULT_ACL) is not None:
            os.removexattr(folder, disk.DEFAULT_ACL)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, disk.FOLDER, dir_fd=folder)
        os.rename(name, disk.name_in(path, at), src_dir_fd=folder, dst_dir_fd=at)


def _remove_left(beside, at):
    """The folder in which another was made; one of somebody else's stays."""
    with contextlib.suppress(OSError):
        about = os.stat(disk.name_in(beside, at), dir_fd=at, follow_symlinks=False)
        if about.st_mode & _OURS and about.st_uid in (0, os.geteuid()):
            os.rmdir(disk.name_in(beside, at), dir_fd=at)


def _is_there(path, at):
    try:
        os.stat(disk.name_in(path, at), dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
