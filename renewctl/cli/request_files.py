"""The files `renewal request` leaves for a person: the CSR, and the file for the portal."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renewctl.workflow.prepare import RequestMade

_READABLE = 0o644  # both are public: they go to a vendor, or to Apple


@dataclass(frozen=True)
class RequestFiles:
    """Where they are."""

    csr: Path
    request: Path | None


def write(made: RequestMade, out: Path | None) -> RequestFiles:
    """Write them whole or not at all: `<renewal>.csr`, `<renewal>.plist`, or beside `out`.

    Args:
        out: the portal's file; the CSR goes beside it.

    Raises:
        OSError: the folder is missing, read-only or full.
    """
    request = out or Path(f"{made.renewal.name}.plist")
    csr = request.with_suffix(".csr")
    _replace(csr, made.csr)
    if made.signed is None:
        return RequestFiles(csr, None)
    _replace(request, made.signed)
    return RequestFiles(csr, request)


def _replace(path: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as beside:
        try:
            beside.write(content)
            beside.flush()
            os.fchmod(beside.fileno(), _READABLE)
            os.fsync(beside.fileno())
            Path(beside.name).replace(path)
        except OSError:
            Path(beside.name).unlink(missing_ok=True)
            raise
