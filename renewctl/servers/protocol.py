"""What every MDM server product can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from renewctl.certificate.pushcert import Pair
from renewctl.inventory.reading import Node
from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason

#: After these a change may or may not have happened: unknown until read back, neither done nor failed.
OUTCOME_UNKNOWN: frozenset[Reason] = frozenset(
    {Reason.NODE_TIMEOUT, Reason.NODE_NO_ANSWER, Reason.NODE_ANSWER_UNREADABLE}
)


@dataclass(frozen=True)
class PushTarget:
    """What the push service needs to wake one device (token: lower-case hex). Secret: never shown."""

    token: str = field(repr=False)
    magic: str = field(repr=False)


@dataclass(frozen=True)
class PushAnswer:
    """A node's answer to "push to this enrollment".

    Attributes:
        accepted: True: no `push_error`; False: an answer that says why not; None: no answer, unknown.
        reason: None when accepted; otherwise from the closed list.
        says_wrong_pair: the answer proves the pair itself wrong (TLS refusal, BadCertificate, topic).
        detail: the server's words, device tokens redacted.
    """

    accepted: bool | None
    reason: Reason | None = None
    says_wrong_pair: bool = False
    detail: str = ""


class Server(Protocol):
    """One node, asked through whatever its product offers.

    A node without `url` cannot be asked to push. What "cannot tell" means below is that the product, as
    configured, has no such knowledge; a source that has it but does not answer now raises NodeFault.
    """

    node: Node

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:
        """Look once. Never raises for a node's fault.

        Args:
            now: goes with what is seen.
            certificates_alone: ask for nothing else: counting a million devices takes a database a while.
        """

    def install(self, pair: Pair) -> None:
        """Store the pair; a push sent after this has returned is sent with it.

        Raises:
            NodeFault: refused (reason says why), or no usable answer (`OUTCOME_UNKNOWN`).
            Refused: `node_takes_no_pair`: this node is installed in another way.
        """

    def require_access(self) -> None:
        """Show the credential and change nothing, so that a wrong one is found before any node is touched.

        Raises:
            NodeFault: `node_denied`, or the source did not answer.
            Unusable: the password cannot be read.
        """

    def push(self, enrollment: str) -> PushAnswer:
        """Ask the node to wake one device. Never raises for a node's fault."""

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled enrollments of a topic, those a person named first, then most recently seen.

        Empty where it cannot tell.

        Raises:
            NodeFault: the source did not answer.
        """

    def check_in(self, enrollment: str) -> str | None:
        """An opaque value that changes whenever this device checks in; None where it cannot tell.

        Raises:
            NodeFault: the source did not answer.
        """

    def push_target(self, enrollment: str) -> PushTarget | None:
        """What a push to this device takes; None where it cannot tell.

        Raises:
            NodeFault: the source did not answer, or does not let us read it (`database_denied`).
        """

    def enrolled_topics(self) -> dict[str, int] | None:
        """Topic -> enabled devices, None where it cannot tell.

        Raises:
            NodeFault: the source did not answer.
        """


class Records(Protocol):
    """A server's own store of certificates and devices, read behind its back.

    Every method may raise NodeFault.
    """

    source: Source

    #: A check-in shows only where the device had a command to answer (NanoMDM's deprecated `file` store).
    needs_command: bool

    def certificates(self) -> tuple[list[ServedCertificate], list[Failure]]:
        """What is stored, and what of it could not be read."""

    def devices(self, now: datetime) -> tuple[tuple[DeviceCounts, ...], list[Failure]]:
        """Enabled devices by topic, and why their ages are unknown where they are."""

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled enrollments of a topic, most recently seen first."""

    def enrolled(self, enrollment: str, topic: str) -> bool:
        """Whether this enrollment is enabled, for this topic."""

    def check_in(self, enrollment: str) -> str | None:
        """A value that changes with each check-in; None for an enrollment it does not know."""

    def push_target(self, enrollment: str) -> PushTarget | None:
        """Token and push magic; None for an enrollment it does not know."""


def failure_of(reason: Reason, values: dict[str, object]) -> Failure:
    """An error as part of an observation."""
    return Failure(reason, {name: str(value) for name, value in values.items()})
