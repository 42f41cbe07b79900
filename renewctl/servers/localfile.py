"""Reading a small file of a server that runs on this machine, without being held up by what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SMALL = 64 * 1024
"""Certificates, timestamps and check-in messages are a few kilobytes."""


def exists(path: Path) -> bool:
    """Whether something is there; False where we may not look (`Path.exists` would raise)."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def read(path: Path, limit: int = SMALL) -> bytes:
    """The whole file.

    Opened without waiting, so that a named pipe in its place blocks nobody.

    Raises:
        OSError: not there, not readable, not a regular file, or larger than `limit` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(0, f"larger than {limit} bytes")
    return content
