"""A process that holds a secret leaves no core file, and no other process of its user reads its memory."""

from __future__ import annotations

import ctypes
import functools
import resource

_PR_SET_DUMPABLE = 4
"""linux/prctl.h; a limit of 0 alone does not stop a core that is piped to a program (core(5))."""


@functools.cache
def keep_to_ourselves() -> None:
    """From here on; called wherever a secret comes into memory, done once. Children inherit the limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
