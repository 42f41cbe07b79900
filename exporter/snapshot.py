"""What is known now: one frozen value, swapped whole. Pure; `snapshot_file` keeps it on disk.

A look that fails takes nothing away: what an earlier look learned stays, with its own time, until a
look without failures says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from renewctl.observation import DeviceCounts, Observation, ServedCertificate
from renewctl.reasons import Reason
from renewctl.renewal.history import TopicHistory


@dataclass(frozen=True)
class Known:
    """A certificate, and when a node told of it."""

    served: ServedCertificate
    at: datetime


@dataclass(frozen=True)
class NodeFacts:
    """What is known of one node.

    Attributes:
        looked_at: when the last finished look began; None: never looked.
        up: the node answered at that look; None: nothing could be asked of it from here.
        failures: why parts could not be learned at that look, one entry a failure.
        last_success: the last look without any failure.
        certificates: newest known, each with the time of the look that told of it.
        devices: newest known counts; None: never told.
        devices_at: the look that told of them.
    """

    looked_at: datetime | None = None
    up: bool | None = False
    failures: tuple[Reason, ...] = ()
    last_success: datetime | None = None
    certificates: tuple[Known, ...] = ()
    devices: tuple[DeviceCounts, ...] | None = None
    devices_at: datetime | None = None

    def after(self, seen: Observation) -> NodeFacts:
        """These facts after one more look."""
        failed = bool(seen.failures) or seen.up is False
        kept = seen.devices is None and failed
        return NodeFacts(
            looked_at=seen.at,
            up=_answered(seen),
            failures=tuple(failure.reason for failure in seen.failures),
            last_success=self.last_success if failed else seen.at,
            certificates=self._certificates(seen, keep=failed),
            devices=self.devices if kept else seen.devices,
            devices_at=self.devices_at if kept else seen.at,
        )

    def failing(self, at: datetime, reason: Reason) -> NodeFacts:
        """These facts after a look that gave nothing at all."""
        return replace(self, looked_at=at, up=False, failures=(reason,))

    def _certificates(self, seen: Observation, *, keep: bool) -> tuple[Known, ...]:
        known = {(k.served.topic, k.served.source): k for k in self.certificates} if keep else {}
        # At most one a topic and source is promised; of a lying node's two, the one that ends first.
        for served in sorted(seen.certificates, key=lambda served: served.not_after, reverse=True):
            known[served.topic, served.source] = Known(served, seen.at)
        return tuple(known.values())


def _answered(seen: Observation) -> bool | None:
    """What the node says of itself; a node without a process to ask: whether its files could be read."""
    if seen.up is not None:
        return seen.up
    reasons = {failure.reason for failure in seen.failures}
    if not seen.certificates and reasons == {Reason.NODE_CERTIFICATE_ELSEWHERE}:
        return None
    return bool(seen.certificates) or not reasons


@dataclass(frozen=True)
class RenewalFacts:
    """What the store says of one topic's renewals.

    Attributes:
        topic_id: the topic in the inventory.
        renewal, phase: the newest renewal.
        accepted_at: of the newest renewal that accepted a certificate.
        owed: nodes owed a pair.
        recorded: node -> the certificate installed by us and read back there, and when.
    """

    topic_id: str
    renewal: str
    phase: str
    accepted_at: datetime | None = None
    owed: tuple[str, ...] = ()
    recorded: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """Everything there is to publish.

    Attributes:
        nodes: node name -> facts; a node never looked at may be missing.
        renewals: one a topic that has a renewal; the last ones read while the store is down.
        adopted: topic id -> the pair a person said is in use, until a node or a roll-out says more.
        store_up: the last read succeeded; None: no store is configured.
        store_head: the head of the store at the last read that succeeded; "" while it is empty or unread.
        store_read: when the last read that succeeded began; None: never.
        histories: topic id -> its renewals as last read; None: not read since the start (not kept on disk).
    """

    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    renewals: tuple[RenewalFacts, ...] = ()
    adopted: Mapping[str, Known] = field(default_factory=dict)
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
