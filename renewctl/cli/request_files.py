"""The files `renewal request` leaves for a person: the CSR, and the file for the portal."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from renewctl.certificate import intake
from renewctl.cli.whole_file import check_folder, replace
from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason, Word


@dataclass(frozen=True)
class RequestFiles:
    """Where they go: the portal's file, and the CSR beside it."""

    request: Path
    csr: Path

    @classmethod
    def at(cls, request: Path, *, csr_only: bool = False) -> Self:
        """The portal's file, and the CSR under the same name with `.csr`.

        Args:
            csr_only: the CSR alone is going to be written, so its own name may be given as well.

        Raises:
            Unusable: `option_invalid`: a name the CSR needs.
        """
        if csr_only and request.suffix == ".csr":
            return cls(request.with_suffix(".plist"), request)
        if request.suffix == ".csr" or not request.name:
            raise Unusable(Reason.OPTION_INVALID, got=f"--out {request}", expected="--out NAME.plist")
        return cls(request, request.with_suffix(".csr"))

    def check(self, written: Collection[str]) -> None:
        """Before anything is made: the folder takes files, and nothing else is in the way.

        A symbolic link is neither followed nor replaced, wherever it leads.

        Args:
            written: SHA-256 (hex) of what this renewal made before; a file with just these bytes is its own.

        Raises:
            Refused: `file_in_the_way`: something this renewal did not write; `write_failed`.
        """
        for path in (self.request, self.csr):
            if path.is_symlink():
                raise Refused(Reason.FILE_IN_THE_WAY, path=str(path), got=Word("word.symbolic_link"))
            if path.exists() and not _is_one_of(path, written):
                raise Refused(Reason.FILE_IN_THE_WAY, path=str(path))
            check_folder(path)

    def write(self, csr: bytes, signed: bytes | None) -> None:
        """Write them, each whole or not at all.

        Raises:
            Refused: `write_failed`.
        """
        replace(self.csr, csr)
        if signed is not None:
            replace(self.request, signed)


def _is_one_of(path: Path, written: Collection[str]) -> bool:
    try:
        return hashlib.sha256(intake.read_bytes(path)).hexdigest() in written
    except Unusable:
        return False
