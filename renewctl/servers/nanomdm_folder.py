"""NanoMDM's stores that are folders, read on their own machine: `filekv` (the default), deprecated `file`.

Layouts from NanoMDM v0.9.0's storage/diskv, storage/kv and storage/file. Private keys lie beside the
certificates (`*.key`): nothing here ever opens one.
"""

from __future__ import annotations

import plistlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl import localfile
from renewctl.errors import NodeFault
from renewctl.observation import WINDOWS, DeviceCounts, Failure, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.servers.files import read_certificate
from renewctl.servers.protocol import PushTarget, Records, failure_of

CHECK_IN_COMMAND = "renewctl-check-in"
"""CommandUUID of the one command we queue on a `file` store: always the same, so that none pile up."""

_MICROSECONDS = re.compile(r"[0-9]{1,17}")  # Unix time; of a thousand digits none is a time
_ZONE_FAULT_SECONDS = -60.0
_USER_MARK = ":"  # service/nanomdm/service.go, normalize: a user channel's id is `<device>:<user>`


def open_folder(node: str, folder: Path) -> Records:
    """The store in a folder, by its layout."""
    filekv = any(localfile.exists(folder / bucket) for bucket in ("enrollments", "push_cert"))
    return KeyValueFolder(node, folder) if filekv else PlainFolder(node, folder)


class KeyValueFolder:
    """`-storage filekv`: `enrollments/<2>/<2>/<id>.<what>`, `push_cert/<2>/<2>/<topic>.pem`."""

    source = Source.FILE
    needs_command = False

    def __init__(self, node: str, folder: Path) -> None:
        self._node = node
        self._folder = folder

    def certificates(self) -> tuple[list[ServedCertificate], list[Failure]]:
        """Every stored certificate, whole."""
        paths = _listed(self._node, self._folder / "push_cert", "*/*/*.pem", missing_is_empty=True)
        return _certificates(self._node, paths)

    def devices(self, now: datetime) -> tuple[tuple[DeviceCounts, ...], list[Failure]]:
        """Enabled devices, their ages by our clock: the server's own, since it runs on this machine."""
        ages: dict[str, list[float]] = {}
        for enrollment, topic in self._enabled():
            ages.setdefault(topic, []).append(now.timestamp() - self._seen(enrollment))
        return _count(self._node, ages)

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled devices of a topic, most recently seen first."""
        found = [enrollment for enrollment, of in self._enabled() if of == topic]
        return tuple(sorted(found, key=lambda name: (-self._seen(name), name))[:limit])

    def enrolled(self, enrollment: str, topic: str) -> bool:
        """Whether this enrollment is enabled, for this topic."""
        return self._text(enrollment, "topic") == topic and not localfile.exists(
            self._path(enrollment, "disabled")
        )

    def check_in(self, enrollment: str) -> str | None:
        """Unix time in microseconds; the file is rewritten in place, so it may be empty for a moment."""
        return self._text(enrollment, "last_seen_at") or None

    def push_target(self, enrollment: str) -> PushTarget | None:
        """Token (stored raw) and push magic of one device."""
        magic = self._text(enrollment, "push_magic")
        try:
            token = localfile.read(self._path(enrollment, "token"))
        except OSError:
            return None
        return PushTarget(token.hex(), magic) if magic and token else None

    def _enabled(self) -> Iterator[tuple[str, str]]:
        """Enrollment and topic of every enabled device."""
        for path in _listed(self._node, self._folder / "enrollments", "*/*/*.topic", missing_is_empty=True):
            enrollment = path.name.removesuffix(".topic")
            if _USER_MARK in enrollment or localfile.exists(path.with_name(f"{enrollment}.disabled")):
                continue
            yield enrollment, self._text(enrollment, "topic")

    def _seen(self, enrollment: str) -> float:
        text = self._text(enrollment, "last_seen_at")
        return int(text) / 1_000_000 if _MICROSECONDS.fullmatch(text) else 0.0

    def _path(self, enrollment: str, what: str) -> Path:
        key = f"{enrollment}.{what}"  # storage/diskv: Split2X2Transform; our keys are never shorter than four
        return self._folder / "enrollments" / key[:2] / key[2:4] / key

    def _text(self, enrollment: str, what: str) -> str:
        try:
            return localfile.read(self._path(enrollment, what)).decode(errors="replace").strip()
        except OSError:
            return ""


class PlainFolder:
    """`-storage file`: `<topic>.pem`, and `<id>/TokenUpdate.plist` for each enrollment.

    An idle check-in changes nothing in it. Only the answer to a command leaves a trace, the result's file
    (storage/file/queue.go), so check-ins here are shown by a queued `DeviceInformation`.
    """

    source = Source.FILE
    needs_command = True

    def __init__(self, node: str, folder: Path) -> None:
        self._node = node
        self._folder = folder

    def certificates(self) -> tuple[list[ServedCertificate], list[Failure]]:
        """Every stored certificate, whole."""
        return _certificates(self._node, _listed(self._node, self._folder, "*.pem"))

    def devices(self, now: datetime) -> tuple[tuple[DeviceCounts, ...], list[Failure]]:  # noqa: ARG002
        """Enabled devices; this store does not keep when it last saw them."""
        topics = Counter(topic for _, topic in self._enabled())
        return tuple(DeviceCounts(topic, count) for topic, count in sorted(topics.items())), []

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled devices of a topic, those with the latest trace first."""
        found = [name for name, of in self._enabled() if of == topic]
        return tuple(sorted(found, key=lambda name: (-self._latest_trace(name), name))[:limit])

    def enrolled(self, enrollment: str, topic: str) -> bool:
        """Whether this enrollment is enabled, for this topic."""
        return (enrollment, topic) in self._enabled()

    def check_in(self, enrollment: str) -> str | None:
        """When the newest trace was written, nanoseconds."""
        known = localfile.exists(self._folder / enrollment / "TokenUpdate.plist")
        return str(self._latest_trace(enrollment)) if known else None

    def push_target(self, enrollment: str) -> PushTarget | None:  # noqa: ARG002 - the protocol's signature
        """None: a device woken from here would have no command to answer; nobody would see it check in."""
        return None

    def _enabled(self) -> Iterator[tuple[str, str]]:
        """Enrollment and topic of every enabled device."""
        for path in _listed(self._node, self._folder, "*/TokenUpdate.plist"):
            topic = _plist(path).get("Topic")
            enabled = _USER_MARK not in path.parent.name and not localfile.exists(path.parent / "Disabled")
            # Ten arrays within ten within ten … are small until they are written out.
            if enabled and isinstance(topic, str):
                yield path.parent.name, topic

    def _latest_trace(self, enrollment: str) -> int:
        folder = self._folder / enrollment
        traces = [
            folder / "TokenUpdate.plist",
            *(folder / queue / f"{CHECK_IN_COMMAND}.result.plist" for queue in ("QueueDone", "QueueNotNow")),
        ]
        return max(_modified(path) for path in traces)


def _certificates(node: str, paths: list[Path]) -> tuple[list[ServedCertificate], list[Failure]]:
    found: list[ServedCertificate] = []
    failures: list[Failure] = []
    for path in paths:
        try:
            found.append(read_certificate(path, node))
        except NodeFault as fault:
            failures.append(failure_of(fault.reason, fault.values))
    return found, failures


def _listed(node: str, folder: Path, pattern: str, *, missing_is_empty: bool = False) -> list[Path]:
    """Paths below a folder; `Path.glob` alone would take one it may not read for an empty one."""
    try:
        with_entries = next(folder.iterdir(), None) is not None
        return sorted(folder.glob(pattern)) if with_entries else []
    except OSError as error:
        if missing_is_empty and isinstance(error, FileNotFoundError) and folder.parent.is_dir():
            return []
        raise NodeFault(Reason.FOLDER_UNREADABLE, node=node, path=str(folder), got=error.strerror) from None


def _count(node: str, ages: Mapping[str, list[float]]) -> tuple[tuple[DeviceCounts, ...], list[Failure]]:
    youngest = min((age for found in ages.values() for age in found), default=0.0)
    known = youngest >= _ZONE_FAULT_SECONDS
    counts = tuple(
        DeviceCounts(
            topic,
            len(found),
            {window: sum(age <= window for age in found) for window in WINDOWS} if known else {},
        )
        for topic, found in sorted(ages.items())
    )
    if known:
        return counts, []
    return counts, [Failure(Reason.DATABASE_ZONE, {"node": node, "got": f"{youngest:.0f}"})]


def _plist(path: Path) -> Mapping[str, Any]:
    """A property list's dictionary; an empty one where it cannot be read (half written, gone)."""
    try:
        value = plistlib.loads(localfile.read(path))
    except Exception:  # noqa: BLE001 - plistlib lets expat's and struct's errors through
        return {}
    return value if isinstance(value, dict) else {}


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
