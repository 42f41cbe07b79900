"""A server that answers what a test wrote down, a push service likewise, and a clock that only sleeping moves.

Shares no code with the product's servers; only the values of their protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Node, Product
from renewctl.observation import Observation, ServedCertificate, Source
from renewctl.pushanswer import PushResult
from renewctl.reasons import Reason
from renewctl.servers.protocol import PushAnswer, PushTarget
from renewctl.verification import Timing
from tests.support.certs import TOPIC, Issued

T = TypeVar("T")
OK = PushAnswer(accepted=True)
DOWN = NodeFault(Reason.DATABASE_UNREACHABLE, node="n1", got="connection refused")


def whole(issued: Issued, source: Source = Source.DATABASE) -> ServedCertificate:
    """All a source can tell of a certificate."""
    own = PushCertificate.from_der(issued.der)
    return ServedCertificate(
        str(own.topic), own.not_after, source, own.serial, own.fingerprint, own.key_fingerprint, own.issuer
    )


@dataclass
class FakeServer:
    """Answers from lists; the last of each stays. Devices in `awake` check in when pushed to."""

    shows: Sequence[Observation] = ()
    pushes: list[PushAnswer] = field(default_factory=lambda: [OK])
    names: Sequence[str] | NodeFault = ("A", "B", "C")
    awake: Iterable[str] = ("A", "B", "C")
    sees_check_ins: bool = True
    broken_looks: int = 0
    enrolled: dict[str, int] | NodeFault | None = field(default_factory=lambda: {TOPIC: 3})
    target: PushTarget | NodeFault | None = field(default_factory=lambda: PushTarget("ab", "m"))
    node: Node = field(
        default_factory=lambda: Node("n1", Product.NANOMDM, (), "n1", url="http://127.0.0.1:1")
    )
    asked: list[str] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _looks: int = 0

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:
        """The looks in turn; the last stays. A proof needs no more than certificates."""
        assert certificates_alone, "devices were counted for nothing"
        found = self.shows[min(self._looks, len(self.shows) - 1)]
        self._looks += 1
        return replace(found, at=now)

    def install(self, pair: Pair) -> None:
        """Never asked by a proof."""
        raise AssertionError(pair)

    def push(self, enrollment: str) -> PushAnswer:
        """The next answer; an accepted push wakes the device."""
        self.asked.append(enrollment)
        answer = self.pushes.pop(0) if len(self.pushes) > 1 else self.pushes[0]
        if answer.accepted:
            self.wake(enrollment)
        return answer

    def wake(self, enrollment: str) -> None:
        """A push arrived: an awake device checks in."""
        if enrollment in self.awake:
            self._seen[enrollment] = self._seen.get(enrollment, 0) + 1

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        """As given."""
        return tuple(_given(self.names)[:limit])

    def check_in(self, enrollment: str) -> str | None:
        """Moves with every check-in."""
        if self.broken_looks and self._seen:
            self.broken_looks -= 1
            raise DOWN
        return f"value {self._seen.get(enrollment, 0)}" if self.sees_check_ins else None

    def push_target(self, enrollment: str) -> PushTarget | None:  # noqa: ARG002 - the protocol's
        """As given."""
        return _given(self.target)

    def enrolled_topics(self) -> dict[str, int] | None:
        """As given."""
        return _given(self.enrolled)


def _given(value: T | NodeFault) -> T:
    if isinstance(value, NodeFault):
        raise value
    return value


@dataclass
class FakePushService:
    """Answers from a list; an accepted push wakes a device of the fake server."""

    server: FakeServer
    answers: list[PushResult]
    tokens: list[str] = field(default_factory=list)

    def push(self, pair: Pair, token: str, magic: str) -> PushResult:
        """The next answer; an accepted push wakes the device."""
        self.tokens.append(f"{token}/{magic}/{pair.certificate.serial}")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.accepted:
            self.server.wake("A")
        return answer


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds

    def timing(self) -> Timing:
        """Ten seconds a device, by this clock."""
        return Timing(check_in_timeout=10.0, clock=lambda: self.now, sleep=self.sleep)
