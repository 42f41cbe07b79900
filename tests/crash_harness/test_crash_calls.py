"""What the kill harness reads out of a trace: nothing is overlooked, nothing is taken for something else."""

from __future__ import annotations

import pytest

from tests.crash.kills.calls import CHANGES, READS, SOMETIMES, Call, UnknownCallError, calls_in
from tests.crash.kills.office import UnknownFileError, kind_of

ROOT = "/office"
DB = "/office/state/renewctl.db"


def points(*lines: str) -> list[tuple[str, str, int]]:
    """Name, kind and number of each point."""
    return [(call.name, call.kind, call.nth) for call in calls_in(lines, ROOT, kind_of)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f'pwrite64(5<{DB}>, ""..., 4096, 0) = 4096', "store"),
        (f"fdatasync(6<{DB}-journal>) = 0", "store's journal"),
        (f"fcntl(5<{DB}>, F_SETLK, {{l_type=F_WRLCK, l_whence=SEEK_SET}}) = 0", "store"),
        (f"fcntl(5<{DB}>(deleted), F_OFD_SETLKW, {{l_type=F_WRLCK}}) = 0", "store"),
        (
            f'openat(AT_FDCWD</office>, "{DB}-journal", O_RDWR|O_CREAT, 0640) = 6<{DB}-journal>',
            "store's journal",
        ),
        (f'unlink("{DB}-journal") = 0', "store's journal"),
        ('rename("/office/out/.request.csr.7", "/office/out/request.csr") = 0', "request file"),
        ('unlinkat(3</office/tmp>, "x.pem", 0) = 0', "scratch"),
        ('mkdir("state", 0750) = 0', "store's folder"),
        ("fsync(4</office/keys>) = 0", "keys' folder"),
        (f"mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, 5<{DB}>, 0) = 0x7f", "store"),
        (f'pwrite64(5<{DB}>, ""..., 4096, 0) = ?', "store"),
        (f"fsync(5<{DB}>) = -1 EIO (Input/output error) (INJECTED)", "store"),
    ],
)
def test_what_changes_or_locks_is_a_point(line: str, kind: str) -> None:
    """Written, synced, locked, named, mapped: by path, by descriptor, relative to a folder, cut short by death."""
    assert points(line) == [(line.partition("(")[0], kind, 1)]


@pytest.mark.parametrize(
    "line",
    [
        f'pread64(5<{DB}>, ""..., 4096, 0) = 4096',
        f'openat(AT_FDCWD</office>, "{DB}", O_RDWR|O_NOFOLLOW|O_CLOEXEC) = 5<{DB}>',
        f"fcntl(5<{DB}>, F_GETFD) = 0",
        f"fcntl(5<{DB}>, F_GETLK, {{l_type=F_UNLCK}}) = 0",
        f"mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 5<{DB}>, 0) = 0x7f",
        f"close(5<{DB}>) = 0",
        'write(1</elsewhere/out>, ""..., 12) = 12',
        'getrandom(""..., 32, 0) = 32',
        'uname({sysname="Linux", nodename="office"}) = 0',
        'unlink("/office2/state/renewctl.db") = 0',
        'openat(AT_FDCWD</office>, "/elsewhere/x", O_RDWR|O_CREAT, 0600) = 5</elsewhere/x>',
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
        "+++ killed by SIGKILL +++",
    ],
)
def test_what_only_looks_or_happens_elsewhere_is_none(line: str) -> None:
    """Readers, private maps, other folders, and data that looks like a path."""
    assert points(line) == []


def test_calls_are_counted_as_strace_counts_them() -> None:
    """By name in the thread, elsewhere too: `when=` of an injection means this number."""
    elsewhere, here = 'write(1</dev/null>, ""..., 1) = 1', 'write(4</office/tmp/x>, ""..., 1) = 1'
    assert points(elsewhere, here, elsewhere, here, "exit_group(0) = ?") == [
        ("write", "scratch", 2),
        ("write", "scratch", 4),
        ("exit_group", "-", 1),
    ]


def test_a_call_nobody_classified_fails_the_run() -> None:
    """Once it touches a state folder; elsewhere it does not matter."""
    assert points("newcall(5</elsewhere>) = 0") == []
    with pytest.raises(UnknownCallError, match="newcall"):
        points(f"newcall(5<{DB}>) = 0")


def test_a_file_nobody_named_fails_the_run() -> None:
    """A new kind of file in a state folder has to be given a name first."""
    with pytest.raises(UnknownFileError, match=r"renewctl\.db-wal"):
        points(f'pwrite64(5<{DB}-wal>, ""..., 32, 0) = 32')


def test_no_call_is_classified_twice() -> None:
    """It changes always, sometimes, or never."""
    assert not CHANGES & READS
    assert not (CHANGES | READS) & set(SOMETIMES)
    assert Call("fsync", "key", 3).place == ("fsync", "key")
