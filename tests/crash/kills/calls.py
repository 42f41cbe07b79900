"""What strace wrote down, as calls; and which of them change or lock something in a state folder.

Every call name that ever touches a state folder is classified here. A name that is not is an error: a harness
that overlooks a call would prove nothing about it.
"""

from __future__ import annotations

import os.path
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

CHANGES = frozenset(
    {
        "chmod",
        "chown",
        "copy_file_range",
        "fallocate",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "fchownat",
        "fdatasync",
        "flock",
        "fremovexattr",
        "fsetxattr",
        "fsync",
        "ftruncate",
        "lchown",
        "link",
        "linkat",
        "lremovexattr",
        "lsetxattr",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "msync",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "removexattr",
        "rename",
        "renameat",
        "renameat2",
        "rmdir",
        "sendfile",
        "setxattr",
        "splice",
        "symlink",
        "symlinkat",
        "sync_file_range",
        "syncfs",
        "truncate",
        "unlink",
        "unlinkat",
        "utime",
        "utimensat",
        "utimes",
        "futimesat",
        "write",
        "writev",
    }
)
"""Calls that always change or lock what they touch."""

READS = frozenset(
    {
        "access",
        "chdir",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "execve",
        "execveat",
        "faccessat",
        "faccessat2",
        "fadvise64",
        "fchdir",
        "fgetxattr",
        "flistxattr",
        "fstat",
        "fstatfs",
        "getcwd",
        "getdents64",
        "getxattr",
        "ioctl",
        "lgetxattr",
        "listxattr",
        "llistxattr",
        "lseek",
        "lstat",
        "newfstatat",
        "pread64",
        "preadv",
        "preadv2",
        "read",
        "readahead",
        "readlink",
        "readlinkat",
        "readv",
        "stat",
        "statfs",
        "statx",
    }
)
"""Calls that only look, or let go. SQLite unlocks by fcntl before it closes."""

ELSEWHERE = frozenset({"prctl", "sethostname", "uname"})
"""Calls whose text is no path."""

_OPENS = re.compile(r"\bO_(CREAT|TRUNC|TMPFILE)\b")
_LOCKS = re.compile(r"\bF_(OFD_)?SETLKW?\b|\bF_SETLEASE\b")
_SHARED = re.compile(r"PROT_WRITE.*MAP_SHARED")

SOMETIMES: Mapping[str, re.Pattern[str]] = {
    "creat": re.compile(""),
    "fcntl": _LOCKS,
    "mmap": _SHARED,
    "open": _OPENS,
    "openat": _OPENS,
    "openat2": _OPENS,
}
"""Calls that change or lock when their arguments say so."""

END = "exit_group"
"""The last point of every command: all is done, and nobody was told."""

_NEEDS_ROOM = frozenset(
    {
        "copy_file_range",
        "fallocate",
        "ftruncate",
        "link",
        "linkat",
        "mkdir",
        "mkdirat",
        "pwrite64",
        "pwritev",
        "rename",
        "renameat",
        "renameat2",
        "sendfile",
        "symlink",
        "symlinkat",
        "write",
    }
)
"""Of those that change: what a full disk refuses. `writev` is what forks talk by (`forkserver`)."""

STAYS: Mapping[str, frozenset[str]] = {"ENOSPC": _NEEDS_ROOM, "EROFS": CHANGES - {"flock", "writev"}}
"""An error that stays -> the calls it meets from then on. Not opening: strace cannot tell an open that writes
from one that reads, which such a disk still allows."""

TRACED = (*sorted(CHANGES), *sorted(SOMETIMES), END)
"""What a kill's own trace has to show, so that it can be compared with the untouched one."""

_LINE = re.compile(r"(\w+)\((.*)")
_WORD = re.compile(
    r'(?:AT_FDCWD|\d+)<(?P<held>[^>]*)>(?:\(deleted\))?|"(?P<quoted>(?:[^"\\]|\\.)*)"(?!\.\.\.)'
)


class UnknownCallError(Exception):
    """A call touches a state folder, and nobody has said whether it changes anything."""


@dataclass(frozen=True)
class Call:
    """One system call that changes or locks something in a state folder.

    Attributes:
        name: of the call.
        kind: of the file, as the folder's owner calls it.
        nth: which call of that name it was in its thread, from 1: how strace counts (strace(1), `when=`).
        before: how many calls of each name of `STAYS` came before it in its thread.
    """

    name: str
    kind: str
    nth: int
    before: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def place(self) -> tuple[str, str]:
        """What an error is injected at, once each."""
        return self.name, self.kind


def calls_in(lines: Iterable[str], root: str, kind_of: Callable[[str], str]) -> list[Call]:
    """The changing and locking calls of one thread, in order, its end among them.

    Args:
        lines: what strace wrote of that thread (`-y`, `-s 0`).
        root: the folder that holds all state folders, absolute.
        kind_of: a path below `root`, relative to it -> the kind of file.

    Raises:
        UnknownCallError: a call of a name nobody classified touches the folder.
    """
    seen: Counter[str] = Counter()
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        name, rest = match[1], match[2]
        if name in ELSEWHERE:
            continue
        before = {each: count for each, count in seen.items() if each in CHANGES}
        seen[name] += 1
        if name == END:
            found.append(Call(END, "-", seen[name], before))
            continue
        below = [path for path in _paths(rest, root) if _is_below(path, root)]
        if below and _changes(name, rest, line):
            found.append(Call(name, kind_of(os.path.relpath(below[-1], root)), seen[name], before))
    return found


def _changes(name: str, rest: str, line: str) -> bool:
    if name in CHANGES:
        return True
    if name in SOMETIMES:
        return SOMETIMES[name].search(rest) is not None
    if name not in READS:
        raise UnknownCallError(line.strip())
    return False


def _paths(rest: str, working_folder: str) -> list[str]:
    """Every path a call names, absolute; a quoted one begins at the descriptor before it.

    What is quoted and cut short (`""...`) is data, not a path: strace never cuts paths.
    """
    base, alone, found = working_folder, "", []
    for word in _WORD.finditer(rest.rpartition(" = ")[0] or rest):
        if word["held"] is not None:
            found.append(alone)
            base = alone = word["held"]
        else:
            found.append(os.path.normpath(os.path.join(base, word["quoted"])))  # noqa: PTH118 - text, not files
            alone = ""
    return [path for path in (*found, alone) if path]


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
