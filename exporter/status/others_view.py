"""What the status page tells beside topics, as values: what else expires, and watched folders. Pure.

What else expires are the inventory's entries and, as in MdmCertificateFileExpiryDue, what ends in a node's
file before the push certificate that the file is there for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest

from exporter.collectors.certificates import shown
from exporter.expiry_look import expiring, key_of
from exporter.snapshot import ExpiryFacts, NodeFacts, Snapshot
from exporter.status.view import CRITICAL, OURS, Level
from renewctl.certificate.pushcert import TOPIC_PREFIX
from renewctl.inventory.reading import DEFAULT_WINDOW, Inventory, Node
from renewctl.observation import SeenFile
from renewctl.reasons import Reason

OTHER_DUE = timedelta(days=30)
OTHER_CRITICAL = timedelta(days=7)
"""From here on a date is due, or critical: the thresholds of MdmOtherExpiryDue and MdmOtherExpiryCritical."""

BEHIND = "certificate_file"
"""The kind of a row that is about a file; the metrics tell of it by its path."""

_PushDates = Mapping[tuple[str, str], datetime]
"""Node and topic -> when the push certificate ends there."""

_OF_FILES = frozenset(
    {Reason.NODE_CERTIFICATE_UNREADABLE, Reason.NODE_CERTIFICATE_LOCKED, Reason.NODE_FILE_MISSING}
)
"""Failures of a look that are told file by file."""

_RANKS = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True)
class OtherStatus:
    """One thing that expires beside push certificates; kind, name, node as in its metrics, a file by path."""

    kind: str
    name: str
    node: str
    facts: ExpiryFacts
    level: Level


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file of a watched folder; from `window` before its end on it is due."""

    node: str
    file: SeenFile
    window: timedelta
    level: Level


@dataclass(frozen=True)
class FolderStatus:
    """One watched folder.

    Attributes:
        files: all of them, those that are gone among them for a while.
        faults: what is wrong with the folder itself.
        counts: files of each level that has any, the most urgent first.
    """

    node: Node
    facts: NodeFacts
    files: tuple[FileStatus, ...]
    faults: tuple[Reason, ...]
    counts: Mapping[Level, int]
    level: Level

    @property
    def ends(self) -> FileStatus | None:
        """The file whose date comes first."""
        return next(iter(soonest(self.files, 1)), None)


@dataclass(frozen=True)
class Others:
    """All of that, the most urgent first."""

    expiring: tuple[OtherStatus, ...]
    folders: tuple[FolderStatus, ...]

    @property
    def files(self) -> list[FileStatus]:
        """Of all folders."""
        return [file for folder in self.folders for file in folder.files]

    @property
    def wrong(self) -> int:
        """How many things need somebody: what else expires, files, and folders without one to blame."""
        folders = (sum(folder.counts.values()) - folder.counts.get(Level.OK, 0) for folder in self.folders)
        blameless = sum(
            folder.level is not Level.OK and folder.counts.keys() <= {Level.OK} for folder in self.folders
        )
        return sum(one.level is not Level.OK for one in self.expiring) + sum(folders) + blameless


def others_status(inventory: Inventory, snapshot: Snapshot, now: datetime) -> Others:
    """What is known of everything beside topics."""
    windows = {topic.topic: topic.window for topic in inventory.topics}
    push = _push_dates(inventory, snapshot)
    found = [_other(key_of(one), snapshot, now) for one in expiring(inventory)]
    found += _behind(inventory, snapshot, push, now)
    folders = (
        _folder(node, snapshot.node(node.name), windows, push, now)
        for node in inventory.nodes
        if node.folder is not None
    )
    return Others(
        tuple(sorted(found, key=lambda one: _urgency(one.level, one.facts.not_after))),
        tuple(
            sorted(
                folders, key=lambda one: _urgency(one.level, one.ends.file.not_after if one.ends else None)
            )
        ),
    )


def soonest(files: Iterable[FileStatus], count: int) -> list[FileStatus]:
    """The files that expire first, or did."""
    return nsmallest(
        count, (file for file in files if file.file.not_after is not None), key=lambda file: _end(file.file)
    )


def faulty(files: Iterable[FileStatus]) -> list[FileStatus]:
    """The files that could not be read when last looked at, the most urgent first."""
    found = (file for file in files if file.file.reason is not None)
    return sorted(found, key=lambda file: _urgency(file.level, file.file.not_after))


def _other(key: tuple[str, str, str], snapshot: Snapshot, now: datetime) -> OtherStatus:
    facts = snapshot.expiries.get(key, ExpiryFacts())
    level = _level(facts.not_after, now, OTHER_DUE, OTHER_CRITICAL, read=facts.reason is None)
    return OtherStatus(*key, facts, level)


def _push_dates(inventory: Inventory, snapshot: Snapshot) -> _PushDates:
    """As nodes themselves tell them, the first where their sources differ."""
    push: dict[tuple[str, str], datetime] = {}
    for name, known in shown(inventory, snapshot):
        if known.served.source not in OURS:
            key = name, known.served.topic
            push[key] = min(known.served.not_after, push.get(key, known.served.not_after))
    return push


def _behind(
    inventory: Inventory, snapshot: Snapshot, push: _PushDates, now: datetime
) -> Iterator[OtherStatus]:
    """Files of nodes, not of folders, that end before the push certificate in them, or hold none first."""
    for node in inventory.nodes:
        facts = snapshot.node(node.name)
        for file in () if node.folder is not None else facts.files:
            if _ends_first(file, push.get((node.name, file.topic))):
                read = facts.looked_at if file.reason is None else facts.last_success
                level = _level(file.not_after, now, OTHER_DUE, OTHER_CRITICAL, read=file.reason is None)
                told = ExpiryFacts(file.not_after, file.reason, read)
                yield OtherStatus(BEHIND, file.path, node.name, told, level)


def _ends_first(file: SeenFile, push: datetime | None) -> bool:
    """As the alerts see it: not where a push certificate's date is but the last one known."""
    if file.not_after is None or not file.topic.startswith(TOPIC_PREFIX):
        return file.not_after is not None
    return file.reason is None and push is not None and file.not_after < push


def _folder(
    node: Node, facts: NodeFacts, windows: Mapping[str, timedelta], push: _PushDates, now: datetime
) -> FolderStatus:

    def window(file: SeenFile) -> timedelta | None:
        """As in the alerts, also of a topic that is not in the inventory."""
        other = not file.topic.startswith(TOPIC_PREFIX)
        first = other or _ends_first(file, push.get((node.name, file.topic)))
        return None if first else windows.get(file.topic, DEFAULT_WINDOW)

    files = tuple(_file(node.name, file, window(file), now) for file in facts.files)
    counts = Counter(file.level for file in files)
    faults = tuple(dict.fromkeys(reason for reason in facts.failures if reason not in _OF_FILES))
    if files:
        level = min(counts, key=_RANKS.__getitem__)
        level = Level.ATTENTION if faults and level is Level.OK else level
    else:  # nothing is known, or nothing is there: not what anybody watches a folder for
        level = Level.UNKNOWN
    return FolderStatus(
        node, facts, files, faults, {one: counts[one] for one in Level if one in counts}, level
    )


def _file(node: str, file: SeenFile, window: timedelta | None, now: datetime) -> FileStatus:
    """A push certificate has its topic's window, any other file that of all that expires."""
    due, critical = (OTHER_DUE, OTHER_CRITICAL) if window is None else (window, CRITICAL)
    return FileStatus(node, file, due, _level(file.not_after, now, due, critical, read=file.reason is None))


def _level(
    not_after: datetime | None, now: datetime, due: timedelta, critical: timedelta, *, read: bool
) -> Level:
    if not_after is None:
        return Level.UNKNOWN
    left = not_after - now
    if left <= timedelta(0):
        return Level.EXPIRED
    if left < critical:
        return Level.CRITICAL
    if left <= due:
        return Level.DUE
    return Level.OK if read else Level.ATTENTION


def _urgency(level: Level, not_after: datetime | None) -> tuple[int, float]:
    return _RANKS[level], 0 if not_after is None else not_after.timestamp()


def _end(file: SeenFile) -> float:
    return 0 if file.not_after is None else file.not_after.timestamp()
