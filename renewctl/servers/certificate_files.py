"""Certificate files that are looked at again and again, and read only when they changed."""

from __future__ import annotations

import errno
import os
import struct
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from renewctl import localfile
from renewctl.certificate.pushcert import TOPIC_PREFIX, PushCertificate, end_of_validity, ends_of_validity
from renewctl.observation import SeenFile, ServedCertificate, Source
from renewctl.reasons import Reason

LIMIT = 1 << 20
"""Bytes of a certificate file: the longest chains have a few hundred kilobytes."""

SUFFIXES = (".pem", ".crt", ".cer", ".der")
"""Of the files of a folder that are certificates."""

_SETTLED_NS = 2_000_000_000
"""Changed more recently than this, a file may change again without a trace: clocks of file systems tick."""

_REASONS = {
    errno.ENOENT: Reason.FILE_NOT_FOUND,
    errno.ENOTDIR: Reason.FILE_NOT_FOUND,
    errno.ELOOP: Reason.FILE_LINK_LOOP,
    errno.ENXIO: Reason.FILE_NOT_REGULAR,  # a socket
}

_Key = bytes

_pack = struct.Struct("<QQqqq").pack
"""Five numbers in a quarter of the memory a tuple takes."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file told: for a watcher, as a certificate, and why it could not be read, for people."""

    seen: SeenFile
    served: ServedCertificate | None = None
    words: str = "no certificate in it"


class CertificateFolder:
    """Remembers what the files of a folder told, as long as they stay the same.

    Two looks at the same, unchanged files give the very same tuple. Of each certificate only what is shown
    is kept, no fingerprints: there may be ten thousand.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._known: dict[str, tuple[_Key | None, Read]] = {}
        self._told: tuple[Read, ...] = ()
        self._listed: tuple[_Key | None, tuple[str, ...]] = (None, ())

    def look(self) -> tuple[Read, ...]:
        """What each of its certificate files holds, by their names; hidden ones are left aside.

        Raises:
            OSError: the folder cannot be listed.
        """
        told = tuple(map(self._look_at, self._paths()))
        if told != self._told:
            self._told = told
            self._known = {read.seen.path: self._known[read.seen.path] for read in told}
        return self._told

    def _look_at(self, path: str) -> Read:
        before = self._known.get(path)
        if before is None or before[0] is None or _key_at(path) != before[0]:
            before = self._known[path] = _read(path, whole=False)
        return before[1]

    def _paths(self) -> tuple[str, ...]:
        key = _settled(os.stat(self._folder))  # noqa: PTH116 - ten thousand Paths a look would be a second
        if key is None or key != self._listed[0]:
            names = sorted(
                entry.name
                for entry in os.scandir(self._folder)
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".")
            )
            self._listed = key, tuple(f"{self._folder}/{name}" for name in names)
        return self._listed[1]


def read_file(path: str) -> Read:
    """Read one file, remembering nothing."""
    return _read(path, whole=True)[1]


def served(certificate: PushCertificate, source: Source) -> ServedCertificate:
    """A whole certificate as what a node serves."""
    return ServedCertificate(
        topic=certificate.topic or "",
        not_after=certificate.not_after,
        source=source,
        serial=certificate.serial,
        fingerprint=certificate.fingerprint,
        key_fingerprint=certificate.key_fingerprint,
        issuer=certificate.issuer,
    )


def is_push_certificate(served: ServedCertificate) -> bool:
    """Whether it is of an MDM topic at all: a folder may hold other certificates too."""
    return served.topic.startswith(TOPIC_PREFIX)


def reason_of(error: OSError) -> Reason:
    """Why a file could not be read."""
    if isinstance(error, localfile.NotUsableError):
        return error.reason
    return _REASONS.get(error.errno or 0, Reason.FILE_UNREADABLE)


def _read(path: str, *, whole: bool) -> tuple[_Key | None, Read]:
    """The file, and what it is recognised by next time; None: to be read again at the next look."""
    try:
        content, status = localfile.read_with_status(Path(path), LIMIT)
    except localfile.NotUsableError as error:
        return _settled(error.status), Read(SeenFile(path, reason=error.reason), None, str(error.strerror))
    except OSError as error:
        return None, Read(SeenFile(path, reason=reason_of(error)), None, str(error.strerror))
    return _settled(status), _parsed(path, content, whole=whole)


def _parsed(path: str, content: bytes, *, whole: bool) -> Read:
    if not content.strip():
        return Read(SeenFile(path, reason=Reason.FILE_EMPTY))
    try:
        certificate = (
            PushCertificate.from_pem(content)
            if b"-----BEGIN" in content
            else PushCertificate.from_der(content)
        )
    except ValueError:
        return Read(_dated(path, content))
    told = served(certificate, Source.FILE)
    if not whole:
        told = replace(told, fingerprint=None, key_fingerprint=None)
    try:
        return Read(SeenFile(path, told.topic, _earliest(content, told.not_after)), told)
    except ValueError:
        words = "one of its certificates is broken"
        return Read(SeenFile(path, told.topic, reason=Reason.CERTIFICATE_UNREADABLE), told, words)


def _earliest(content: bytes, first: datetime) -> datetime:
    """The end of a file is that of whatever in it ends first: a chain is as good as its weakest link.

    Raises:
        ValueError: one of its certificates is broken.
    """
    return min(ends_of_validity(content)) if content.count(b"-----BEGIN") > 1 else first


def _dated(path: str, content: bytes) -> SeenFile:
    """A certificate that is not whole: its date, or why there is none."""
    try:
        ends = _earliest(content, end_of_validity(content))
        return SeenFile(path, not_after=ends, reason=Reason.CERTIFICATE_NAME_UNREADABLE)
    except ValueError:
        pass
    if b"-----BEGIN CERTIFICATE-----" in content:
        return SeenFile(path, reason=Reason.CERTIFICATE_UNREADABLE)
    if b"PRIVATE KEY-----" in content:
        return SeenFile(path, reason=Reason.FILE_IS_PRIVATE_KEY)
    return SeenFile(path, reason=Reason.FILE_NOT_RECOGNISED)


def _key_at(path: str) -> _Key | None:
    """What a file is recognised by; None where there is none.

    Inode and time of change are part of it: `cp -p`, `rsync -t` and configuration management put a new
    file in place with the size and time of the old one.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - see `_paths`
    except OSError:
        return None
    return _pack(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def _settled(status: os.stat_result) -> _Key | None:
    if time.time_ns() - status.st_ctime_ns <= _SETTLED_NS:
        return None
    return _pack(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
