"""Reading a small file of this machine, without being held up by what is there: a pipe, a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from renewctl.reasons import Reason

SMALL = 64 * 1024
"""Certificates, timestamps and check-in messages are a few kilobytes."""


class NotUsableError(OSError):
    """Something is there, and is not read.

    Attributes:
        reason: `file_not_regular`, `file_too_large`.
        status: of what is there.
    """

    def __init__(self, reason: Reason, words: str, status: os.stat_result) -> None:
        super().__init__(0, words)
        self.reason = reason
        self.status = status


def exists(path: Path) -> bool:
    """Whether something is there; False where we may not look (`Path.exists` would raise)."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def read(path: Path, limit: int = SMALL) -> bytes:
    """The whole file.

    Opened without waiting, so that a named pipe in its place blocks nobody.

    Raises:
        OSError: not there, not readable, not a regular file, or larger than `limit` bytes.
    """
    return read_with_status(path, limit)[0]


def read_with_status(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The whole file, and its status as it was before the first byte was read.

    Raises:
        NotUsableError: not a regular file, or larger than `limit` bytes.
        OSError: not there, not readable.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotUsableError(Reason.FILE_NOT_REGULAR, "not a regular file", status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = b"" if status.st_size > limit else file.read(limit + 1)
            if content is None:  # nothing to read yet: some files of the kernel's call themselves regular
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    finally:
        os.close(descriptor)  # a folder opens too, and no file object of it would have closed it
    if status.st_size > limit or len(content) > limit:
        raise NotUsableError(Reason.FILE_TOO_LARGE, f"larger than {limit} bytes", status)
    return content, status
