"""What every MDM server product can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from renewctl.inventory import Node
from renewctl.observation import Observation
from renewctl.pushcert import Pair
from renewctl.reasons import Reason


@dataclass(frozen=True)
class PushTarget:
    """What the push service needs to wake one device. Secret: never shown."""

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
    """One node, asked through whatever its product offers."""

    node: Node

    def observe(self, now: datetime) -> Observation:
        """Look once. Never raises for a node's fault."""

    def install(self, pair: Pair) -> None:
        """Store the pair.

        Raises:
            NodeFault: refused (reason says why) or no answer (`node_timeout`: unknown).
        """

    def push(self, enrollment: str) -> PushAnswer:
        """Ask the node to wake one device. Never raises for a node's fault."""

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:
        """Enabled enrollments of a topic, most recently seen first; empty where it cannot tell."""

    def check_in(self, enrollment: str) -> str | None:
        """An opaque value that changes whenever this device checks in; None where it cannot tell."""

    def push_target(self, enrollment: str) -> PushTarget | None:
        """What a push to this device takes; None where it cannot tell."""

    def enrolled_topics(self) -> dict[str, int] | None:
        """Topic -> enabled devices, None where it cannot tell."""
