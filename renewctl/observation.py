"""What a node says of itself, and when. Pure values; every part is optional, absent is never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from renewctl.reasons import Reason

#: Edges of the cumulative windows of last check-in, seconds: 1, 7, 14, 30, 60, 90 days.
WINDOWS: tuple[int, ...] = (86_400, 604_800, 1_209_600, 2_592_000, 5_184_000, 7_776_000)


class Source(StrEnum):
    """Where a fact about a served certificate comes from, best first."""

    API = "api"
    DATABASE = "database"
    FILE = "file"
    RECORDED = "recorded"  # installed by us and read back, never merely accepted
    ADOPTED = "adopted"  # told by a person who adopted the pair in use; read from no node


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """One push certificate as a node tells of it. Serial and fingerprints where the source knows them."""

    topic: str
    not_after: datetime
    source: Source
    serial: str | None = None
    fingerprint: str | None = None
    key_fingerprint: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class SeenFile:
    """One certificate file a node reads, at one look.

    Attributes:
        path: as the inventory names it, or below the folder it names.
        topic: UID of the certificate in it; "" where it has none or the file tells nothing.
        not_after: None where the file tells no date.
        reason: what is wrong with it; None: nothing. A date may be known all the same.
    """

    path: str
    topic: str = ""
    not_after: datetime | None = None
    reason: Reason | None = None


@dataclass(frozen=True)
class DeviceCounts:
    """Enrolled devices of one topic.

    Attributes:
        enabled: devices enrolled now (device channel only).
        seen_within: window in seconds (see `WINDOWS`) -> devices whose last check-in is at most that
            long ago. Cumulative.
    """

    topic: str
    enabled: int
    seen_within: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenDevice:
    """One enrolled device, and when it last checked in."""

    enrollment: str
    topic: str
    at: datetime


@dataclass(frozen=True)
class Failure:
    """One thing that could not be learned from a node; values never hold a secret or a device token."""

    reason: Reason
    values: Mapping[str, str] = field(default_factory=dict)


_UNSEEN = frozenset(
    {
        Reason.NODE_CERTIFICATE_LOCKED,
        Reason.NODE_FILE_MISSING,
        Reason.NODE_FILE_NOT_CERTIFICATE,
        Reason.NODE_PAIR_MISMATCHED,
        Reason.NODE_STEP_UNFINISHED,
    }
)


@dataclass(frozen=True)
class Observation:
    """Everything one look at one node gave.

    Attributes:
        node: the node's name in the inventory.
        at: when we looked, aware UTC, our clock.
        up: the MDM server process answered; None where nothing was asked of it.
        certificates: what it serves, one a topic and source; more only where its files differ.
        devices: None where the node cannot tell; an empty tuple means none enrolled.
        silent: the devices silent for longest, as many as the inventory asks for; None: it asks for none.
        version: as the server tells it; never used to decide anything.
        failures: what could not be learned.
        answered: sources of certificates that answered: what they do not name, the node does not have.
        files: every file looked at, the very same tuple while none of them changed; None: none could be.
    """

    node: str
    at: datetime
    up: bool | None = None
    certificates: tuple[ServedCertificate, ...] = ()
    devices: tuple[DeviceCounts, ...] | None = None
    silent: tuple[SeenDevice, ...] | None = None
    version: str | None = None
    failures: tuple[Failure, ...] = ()
    answered: tuple[Source, ...] = ()
    files: tuple[SeenFile, ...] | None = None

    @property
    def unseen(self) -> Failure | None:
        """Why its files prove nothing, whatever certificate they hold: see `_UNSEEN`."""
        return next((failure for failure in self.failures if failure.reason in _UNSEEN), None)

    @property
    def cut_off(self) -> Failure | None:
        """The last step on its files was cut off: the next fence puts back what was there before."""
        return next((one for one in self.failures if one.reason is Reason.NODE_STEP_UNFINISHED), None)

    @property
    def mismatched(self) -> Failure | None:
        """A certificate and a key that do not belong together: nobody can use them, whichever they are."""
        return next((one for one in self.failures if one.reason is Reason.NODE_PAIR_MISMATCHED), None)

    def serving(self, topic: str) -> ServedCertificate | None:
        """The best-sourced certificate of a topic, or None."""
        order = list(Source)
        found = [c for c in self.certificates if c.topic == topic]
        return min(found, key=lambda c: order.index(c.source)) if found else None
