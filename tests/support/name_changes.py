"""What happens to the names in a folder while something runs, as the kernel tells it (inotify)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WORDS = {0x2: "written", 0x40: "moved away", 0x80: "moved to", 0x100: "created", 0x200: "removed"}
_NON_BLOCKING = 0o4000
_HEAD = struct.Struct("iIII")
"""`struct inotify_event` without its name: watch, mask, cookie, length of the name."""


@contextmanager
def name_changes(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """(name, what happened to it) in this folder itself, in order; filled in at the end of the block."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_NON_BLOCKING)
    watch = libc.inotify_add_watch(descriptor, os.fsencode(folder), sum(_WORDS))
    assert watch >= 0, os.strerror(ctypes.get_errno())
    told: list[tuple[str, str]] = []
    try:
        yield told
        told += _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> list[tuple[str, str]]:
    told = []
    while True:
        try:
            raw = os.read(descriptor, 65536)
        except BlockingIOError:
            return told
        while raw:
            _, mask, _, length = _HEAD.unpack_from(raw)
            name = raw[_HEAD.size : _HEAD.size + length].rstrip(b"\0").decode()
            told += [(name, word) for bit, word in _WORDS.items() if mask & bit]
            raw = raw[_HEAD.size + length :]
