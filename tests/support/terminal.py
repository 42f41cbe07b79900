"""The real CLI on a terminal: a pseudo terminal of its own, a person who types ahead."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def on_terminal(
    words: Sequence[str], typed: Sequence[str], *, cwd: Path, language: str = "C.UTF-8", seconds: float = 60
) -> tuple[int, str]:
    """Run `python -m renewctl WORDS` on a terminal; its exit code and all that was to be seen.

    Args:
        typed: lines, one an answer.
        cwd: the folder to run in; the home folder is in it.
        language: `LANG`.
    """
    ours, theirs = pty.openpty()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RENEWCTL_", "LC_", "LANG", "XDG_"))
    }
    environment |= {"LANG": language, "HOME": str(cwd / "home"), "TERM": "dumb"}
    child = subprocess.Popen(
        [sys.executable, "-m", "renewctl", *words],
        cwd=cwd,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, "".join(f"{line}\n" for line in typed).encode())
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return child.wait(seconds), shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """What came; nothing once the other side is closed."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: Linux says so of a terminal nobody holds open
        return b""
