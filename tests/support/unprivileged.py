"""Running code as another account: root ignores file modes, so tests of modes need somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
"""The account without rights, and its group, on every Linux."""


def as_nobody() -> list[str]:
    """Words before a command that make file modes count; none where we are not root anyway.

    Raises:
        AssertionError: a folder above this checkout is closed to other accounts.
    """
    if os.geteuid() != 0:
        return []
    closed = [str(folder) for folder in Path(__file__).resolve().parents if not folder.stat().st_mode & 0o001]
    assert not closed, f"other accounts cannot enter {closed[-1]}: run the tests from a clone outside of it"
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def python(code: str, *arguments: object, prefix: Sequence[str] = (), stdin: bytes | None = None) -> str:
    """What a child prints; it must not complain.

    Coverage is not taken in a child with a prefix: it could not write its data there.
    """
    command = [*prefix, sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not (prefix and k.startswith("COVERAGE"))}
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=100, check=False, env=environment
    )
    assert done.stderr == b"", done.stderr.decode()
    return done.stdout.decode().strip()
