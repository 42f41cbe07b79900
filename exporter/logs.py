"""Log lines as the field writes them: logfmt, or a JSON object a line.

Never a line break inside, never a traceback but at `debug`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_PLAIN = re.compile(r'[^\s"=\\\x00-\x1f\x7f]+')


def logfmt(fields: Mapping[str, str]) -> str:
    """`key=value` pairs; a value with anything but plain characters in quotes, escaped."""
    return " ".join(
        f"{key}={text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)}"
        for key, text in fields.items()
    )


def as_json(fields: Mapping[str, str]) -> str:
    """One JSON object."""
    return json.dumps(fields, ensure_ascii=False)


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {"logfmt": logfmt, "json": as_json}


class Formatter(logging.Formatter):
    """A record as one line.

    Args:
        write: one of `FORMATS`.
        verbose: whether tracebacks are told, as one escaped field.
    """

    def __init__(self, write: Callable[[Mapping[str, str]], str], *, verbose: bool) -> None:
        super().__init__()
        self._write = write
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, message; for an error also its type and where it arose."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level = "warn" if record.levelno == logging.WARNING else record.levelname.lower()
        fields = {"time": at.replace("+00:00", "Z"), "level": level, "msg": record.getMessage()}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            frames = traceback.extract_tb(error.__traceback__)
            place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
            fields["error"] = f"{type(error).__name__}{place}"
            if self._verbose:
                fields["traceback"] = "".join(traceback.format_exception(error))
        return self._write(fields)


def to_stderr(level: str, format_: str) -> None:
    """Send every log line to standard error.

    Args:
        level: of `LEVELS`.
        format_: of `FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(FORMATS[format_], verbose=level == "debug"))
    logging.basicConfig(handlers=[handler], level=LEVELS[level])
