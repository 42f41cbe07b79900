"""What is known now: one frozen value, swapped whole. Pure; `snapshot_file` keeps it on disk.

A look that fails takes nothing away: what an earlier look learned stays, with its own time, until a
look without failures says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from renewctl.observation import DeviceCounts, Observation, SeenDevice, SeenFile, ServedCertificate
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, PairRef
from renewctl.renewal.history import TopicHistory

FORGET_AFTER = timedelta(days=7)
"""A file gone from a watched folder is told of for so long, counted while somebody looks; one that the
inventory names, for ever."""

_MOST_COUNTED = timedelta(days=1)
"""Of the time between two looks no more counts: if it was longer, the clock may have been set."""


def not_later(at: datetime | None, now: datetime) -> datetime | None:
    """An instant that a clock running ahead may have told."""
    return at if at is None else min(at, now)


@dataclass(frozen=True, slots=True)
class Known:
    """A certificate, and when a node told of it."""

    served: ServedCertificate
    at: datetime


def not_overtaken(told: Sequence[Known]) -> list[Known]:
    """Leave out what a later look contradicts, topic by topic.

    A source that has fallen silent keeps its last word only as long as no other source says
    something else later: else a renewal made meanwhile would look as if it had not been.
    """
    latest: dict[str, datetime] = {}
    for known in told:
        latest[known.served.topic] = max(known.at, latest.get(known.served.topic, known.at))
    said = {(k.served.topic, k.served.not_after) for k in told if k.at == latest[k.served.topic]}
    return [known for known in told if (known.served.topic, known.served.not_after) in said]


@dataclass(frozen=True)
class NodeFacts:
    """What is known of one node.

    Attributes:
        looked_at: when the last finished look began; None: never looked.
        up: the node answered at that look; None: nothing could be asked of it from here.
        failures: why parts could not be learned at that look, one entry a failure.
        last_success: the last look without any failure.
        told, told_at: what the last look that told anything told, one a topic and source.
        kept: what earlier looks told and no later one contradicts.
        devices: newest known counts; None: never told.
        devices_at: the look that told of them.
        silent: the devices silent for longest, as far as they are watched one by one (not kept on disk).
        files: its certificate files, each with the last topic and date known and what is wrong with it now.
        gone: paths of those that are not in their folder any more -> the first look without them.
        seconds: how long the last finished look took; None: none since the exporter started.
        looks, failed_looks: finished ones since then.
        seen_files: the observation's, to know it again.
    """

    looked_at: datetime | None = None
    up: bool | None = False
    failures: tuple[Reason, ...] = ()
    last_success: datetime | None = None
    told: tuple[ServedCertificate, ...] = ()
    told_at: datetime | None = None
    kept: tuple[Known, ...] = ()
    devices: tuple[DeviceCounts, ...] | None = None
    devices_at: datetime | None = None
    silent: tuple[SeenDevice, ...] | None = field(default=None, compare=False)
    files: tuple[SeenFile, ...] = ()
    gone: Mapping[str, datetime] = field(default_factory=dict)
    seconds: float | None = field(default=None, compare=False)
    looks: int = field(default=0, compare=False)
    failed_looks: int = field(default=0, compare=False)
    seen_files: tuple[SeenFile, ...] | None = field(default=None, repr=False, compare=False)

    @property
    def certificates(self) -> tuple[Known, ...]:
        """Newest known, each with the time of the look that told of it."""
        if self.told_at is None:
            return self.kept
        return (*(Known(served, self.told_at) for served in self.told), *self.kept)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of the certificates shown was told of."""
        times = [known.at for known in self.kept]
        if self.told and self.told_at is not None:
            times.append(self.told_at)
        return min(times, default=None)

    def after(self, seen: Observation, seconds: float = 0) -> NodeFacts:
        """These facts after one more look, which took so long."""
        known = self.as_of(seen.at)
        if known is not self:
            return known.after(seen, seconds)
        files, gone = self._files(seen)
        failures = (*(failure.reason for failure in seen.failures), *(Reason.NODE_FILE_MISSING,) * len(gone))
        failed = bool(failures) or seen.up is False
        kept_devices = seen.devices is None and failed
        told = self.told if seen.certificates == self.told else _one_each(seen.certificates)
        return NodeFacts(
            looked_at=seen.at,
            up=_answered(seen),
            failures=failures,
            last_success=self.last_success if failed else seen.at,
            told=told,
            told_at=seen.at if told else None,
            kept=self._kept(told) if failed else (),
            devices=self.devices if kept_devices else seen.devices,
            devices_at=self.devices_at if kept_devices else seen.at,
            silent=self.silent if seen.silent is None and failed else seen.silent,
            files=files,
            gone=gone,
            seconds=seconds,
            looks=self.looks + 1,
            failed_looks=self.failed_looks + failed,
            seen_files=seen.files,
        )

    def failing(self, at: datetime, reason: Reason) -> NodeFacts:
        """These facts while a look has given nothing for long."""
        return replace(self.as_of(at), looked_at=at, up=False, failures=(reason,))

    def as_of(self, now: datetime) -> NodeFacts:
        """These facts at a look, before which the clock may have jumped.

        What was seen while it ran ahead was seen now at the latest: else it would outrank, for years, what is
        seen from here on. Times cut to one instant tell no order any more, so what was overtaken goes.
        """
        gone = self._gone_as_of(now)
        times = (self.looked_at, self.last_success, self.told_at, self.devices_at, *(k.at for k in self.kept))
        if gone is self.gone and all(at is None or at <= now for at in times):
            return self
        lasting = not_overtaken(self.certificates)
        return replace(
            self,
            looked_at=None if self.looked_at is None else now,
            last_success=not_later(self.last_success, now),
            told_at=not_later(self.told_at, now),
            devices_at=not_later(self.devices_at, now),
            kept=tuple(Known(k.served, min(k.at, now)) for k in self.kept if k in lasting),
            gone=gone,
        )

    def _gone_as_of(self, now: datetime) -> Mapping[str, datetime]:
        """Since when files are gone; since the last look that is a day longer at most, and never shorter."""
        if not self.gone or self.looked_at is None:
            return self.gone
        passed, nothing = now - self.looked_at, timedelta(0)
        if nothing <= passed <= _MOST_COUNTED:
            return self.gone
        counted = _MOST_COUNTED if passed > nothing else nothing
        before = {path: max(self.looked_at - at, nothing) for path, at in self.gone.items()}
        return {path: now - min(so_far, FORGET_AFTER) - counted for path, so_far in before.items()}

    def _kept(self, told: tuple[ServedCertificate, ...]) -> tuple[Known, ...]:
        if told is self.told:
            return self.kept
        anew = {(served.topic, served.source) for served in told}
        return tuple(k for k in self.certificates if (k.served.topic, k.served.source) not in anew)

    def _files(self, seen: Observation) -> tuple[tuple[SeenFile, ...], Mapping[str, datetime]]:
        """Files and those gone; the very same where nothing changed, as they may be ten thousand."""
        if seen.files is None:
            return self._unlisted(seen), self.gone
        if seen.files is self.seen_files and not self.gone:
            return self.files, self.gone
        before = {file.path: file for file in self.files}
        there = [_with_last_known(file, before.pop(file.path, None)) for file in seen.files]
        since = {path: self.gone.get(path, seen.at) for path in before}
        gone = {path: at for path, at in since.items() if seen.at - at < FORGET_AFTER}
        files = (*there, *(replace(before[path], reason=Reason.FILE_NOT_FOUND) for path in gone))
        return self.files if files == self.files else files, gone

    def _unlisted(self, seen: Observation) -> tuple[SeenFile, ...]:
        """Files of a folder that cannot be listed now: whatever they hold, nobody here can read it."""
        if all(failure.reason is not Reason.FOLDER_UNREADABLE for failure in seen.failures):
            return self.files
        hidden = Reason.FOLDER_UNREADABLE
        files = tuple(f if f.path in self.gone else replace(f, reason=hidden) for f in self.files)
        return self.files if files == self.files else files


def _one_each(certificates: Sequence[ServedCertificate]) -> tuple[ServedCertificate, ...]:
    """One a topic and source, as promised; of a lying node's two, the one that ends first."""
    latest_first = sorted(certificates, key=lambda served: served.not_after, reverse=True)
    return tuple({(served.topic, served.source): served for served in latest_first}.values())


def _with_last_known(file: SeenFile, before: SeenFile | None) -> SeenFile:
    if file.not_after is not None or before is None:
        return file
    return SeenFile(file.path, before.topic, before.not_after, file.reason)


_HIDDEN_FROM_HERE = {Reason.NODE_CERTIFICATE_ELSEWHERE, Reason.NODE_CERTIFICATE_LOCKED}
"""A look cannot tell it: a roll-out makes both known, and until then nobody can mend it."""


def _answered(seen: Observation) -> bool | None:
    """What the node says of itself; a node without a process to ask: whether its files could be read."""
    if seen.up is not None:
        return seen.up
    reasons = {failure.reason for failure in seen.failures}
    if not seen.certificates and reasons and reasons <= _HIDDEN_FROM_HERE:
        return None
    # A folder may hold other certificates than push certificates; a bad file beside them is no silent node.
    read = bool(seen.certificates) or any(file.not_after is not None for file in seen.files or ())
    return read or not reasons


@dataclass(frozen=True)
class RenewalFacts:
    """What the store says of one topic's renewals.

    Attributes:
        topic: its UID, which stays where the inventory changes an id.
        renewal, phase: the newest renewal.
        accepted_at: of the newest renewal that accepted a certificate.
        owed: nodes owed a pair; from a roll-back on, those too that left the inventory before they were back.
        recorded: node -> the certificate installed by us and read back there, and when.
        bound_for: which pair it is that they are owed.
        ahead: node -> when the controller says it recorded that, where our clock was not that far when it was
            first read; then it counts as of that reading.
        left: the pair that was put back from, after a roll-back: who is seen with it is owed again.
    """

    topic: str
    renewal: str
    phase: str
    accepted_at: datetime | None = None
    owed: tuple[str, ...] = ()
    recorded: Mapping[str, Known] = field(default_factory=dict)
    bound_for: Direction = Direction.NEW
    ahead: Mapping[str, datetime] = field(default_factory=dict)
    left: PairRef | None = None


@dataclass(frozen=True, slots=True)
class ExpiryFacts:
    """What is known of one thing that expires.

    Attributes:
        not_after: the last date known; None: never told.
        reason: why the last look told none; None: it did.
        last_success: the last look that told one.
    """

    not_after: datetime | None = None
    reason: Reason | None = None
    last_success: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything there is to publish.

    Attributes:
        nodes: node name -> facts; a node never looked at may be missing.
        renewals: one a topic that has a renewal; the last ones read while the store is down.
        adopted: UID -> the pair a person said is in use, until a node or a roll-out says more.
        expiries: kind, name, node -> what is known of what else expires; one never looked at may be missing.
        store_up: the last read succeeded; None: no store is configured.
        store_head: the head of the store at the last read that succeeded; "" while it is empty or unread.
        store_read: when the last read that succeeded began; None: never.
        histories: topic id -> its renewals as last read; None: not read since the start (not kept on disk).
    """

    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    renewals: tuple[RenewalFacts, ...] = ()
    adopted: Mapping[str, Known] = field(default_factory=dict)
    expiries: Mapping[tuple[str, str, str], ExpiryFacts] = field(default_factory=dict)
    store_up: bool | None = None
    store_head: str = ""
    store_read: datetime | None = None
    histories: Mapping[str, TopicHistory] | None = None

    def node(self, name: str) -> NodeFacts:
        """The facts of a node, empty ones if there are none yet."""
        return self.nodes.get(name, NodeFacts())

    def with_node(self, name: str, facts: NodeFacts) -> Snapshot:
        """This snapshot with one node's facts replaced."""
        return replace(self, nodes={**self.nodes, name: facts})
