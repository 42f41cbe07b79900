"""What the operating system says, as an error of ours: the hint fits the number, never "report this"."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from renewctl.errors import Refused, RenewctlError
from renewctl.reasons import Reason, Word

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISSING = {errno.ENOENT, errno.ENOTDIR}
_UNNAMED = Word("word.some_file")


def of_system(error: OSError, path: Path | None = None) -> RenewctlError:
    """An error for a person, by the system's error number.

    Args:
        error: as it was raised; its own file name counts where `path` is None.
        path: what was being read or written.
    """
    named = path or _named(error)
    got = error.strerror or type(error).__name__
    shown = _UNNAMED if named is None else str(named)
    if error.errno in _FULL:
        return Refused(Reason.DISK_FULL, path=shown)
    if error.errno in _DENIED:
        return Refused(Reason.WRITE_DENIED, path=shown, got=got)
    if named is None:
        return Refused(Reason.SYSTEM_FAILED, got=got)
    if error.errno in _MISSING:
        return _missing(named)
    reason = Reason.FILE_NOT_REGULAR if error.errno == errno.EISDIR else Reason.WRITE_FAILED
    return Refused(reason, path=shown, got=got)


def _missing(named: Path) -> RenewctlError:
    if named.parent.is_dir():
        return Refused(Reason.FILE_NOT_FOUND, path=str(named))
    return Refused(Reason.FOLDER_MISSING, path=str(named.parent))


def _named(error: OSError) -> Path | None:
    """The file's name, where the system gave one: a number is a descriptor and tells a person nothing."""
    name = error.filename
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else None
