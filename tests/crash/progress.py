"""Talk of a long run, on stderr; standard output is for the table."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """One line, with the minutes and seconds since the run began."""
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    sys.stderr.write(f"{minutes:3}:{seconds:02} {line}\n")
    sys.stderr.flush()
