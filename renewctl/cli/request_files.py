"""The files `renewal request` leaves for a person: the CSR, and the file for the portal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from renewctl import intake
from renewctl.cli.whole_file import check_folder, replace
from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason
from renewctl.recognise import What


@dataclass(frozen=True)
class RequestFiles:
    """Where they go: the portal's file, and the CSR beside it."""

    request: Path
    csr: Path

    @classmethod
    def at(cls, request: Path) -> Self:
        """The portal's file, and the CSR under the same name with `.csr`.

        Raises:
            Unusable: `option_invalid`: a name the CSR needs.
        """
        if request.suffix == ".csr" or not request.name:
            raise Unusable(Reason.OPTION_INVALID, got=f"--out {request}", expected="--out NAME.plist")
        return cls(request, request.with_suffix(".csr"))

    def check(self) -> None:
        """Before anything is made: the folder takes files, and nothing else is in the way.

        Raises:
            Refused: `file_in_the_way`: something that is neither a request nor a CSR; `write_failed`.
        """
        for path in (self.request, self.csr):
            if path.exists() and not _ours(path):
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


def _ours(path: Path) -> bool:
    """A request or a CSR, of an earlier try, may be replaced; a certificate, a key, an inventory never."""
    try:
        return intake.read(path).what in {What.REQUEST, What.CSR}
    except Unusable:
        return False
