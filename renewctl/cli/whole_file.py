"""Writes a file whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from renewctl.errors import Refused
from renewctl.reasons import Reason

READABLE = 0o644
"""For files that go to somebody else: a request, a report."""


def check_folder(path: Path) -> None:
    """Before anything is made: the folder takes files.

    Raises:
        Refused: `write_failed`.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        why = "no such folder" if not path.parent.exists() else "no permission"
        raise Refused(Reason.WRITE_FAILED, path=str(path), got=why)


def replace(path: Path, content: bytes) -> None:
    """Put the content where the path is, or leave what is there.

    Raises:
        Refused: `write_failed`.
    """
    beside = path
    try:
        descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # where no link waits
        beside = Path(name)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), READABLE)
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if beside != path:
            with suppress(OSError):
                beside.unlink()
        why = os.strerror(error.errno or 0)
        raise Refused(Reason.WRITE_FAILED, path=str(path), got=why) from None
