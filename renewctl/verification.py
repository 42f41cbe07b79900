"""The ladder: is this pair what a node really uses? Proof, not answers.

::

    READ_BACK  the node holds a certificate of the topic that ends when ours does
    SERIAL     it is ours: fingerprint, or serial
    PUSH       the push service takes a push that the node sends
    CHECK_IN   the device so woken checks in, seen by a change of value, by no clock

A rung that the product cannot give, as configured, is NOT_AVAILABLE. Servers say 200 to pairs that cannot
work, and some switch a moment later (facts/lab.md §0): what speaks against the pair is judged on a second
try. That what speaks for it comes too early, is for the server's adapter to prevent: its `install` returns
when the node uses the pair.

What no rung shows: *which* certificate the node pushed with. No server tells it in its answer, so one that
stores the new pair and goes on pushing with the old one passes all four until the old one expires. Only the
push service sees that, at the TLS handshake. (The device canary pushes from here: there it is known.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, RenewctlError
from renewctl.observation import Observation, ServedCertificate
from renewctl.proof import Proof, Rung, RungState, Verdict
from renewctl.pushanswer import ONE_DEVICE, PushResult
from renewctl.reasons import Reason
from renewctl.servers.protocol import PushAnswer, Server, failure_of

__all__ = ["Proof", "Pusher", "Rung", "RungState", "Timing", "Verdict", "device_canary", "verify"]

CANARIES = 3
CHECK_IN_TIMEOUT = 60.0
"""Seconds we wait for one device; an iPad in a drawer takes hours, hence several canaries."""

SECOND_TRY_AFTER = 1.5
"""Seconds. A server that switches late took up to a second (facts/lab.md §0, 2)."""

_POLL_EVERY = 0.5
_TRIES = 3
# The alert of a refusal may have been overtaken by the end of the connection (facts/lab.md §0, 15).
_TRY_AGAIN = frozenset({Reason.PUSH_CONNECTION_RESET, Reason.PUSH_ANSWER_UNKNOWN})


class Pusher(Protocol):
    """Whoever pushes with a pair from here: `apns.PushService`."""

    def push(self, pair: Pair, token: str, magic: str) -> PushResult:
        """Wake one device."""


@dataclass(frozen=True)
class Timing:
    """How long things take, and who tells the time (tests bring their own).

    Attributes:
        check_in_timeout: seconds we wait for each device.
        second_try_after: seconds between an answer that speaks against the pair and the next try.
        poll_every: seconds between two looks for a check-in.
        clock: monotonic seconds.
        sleep: waits.
    """

    check_in_timeout: float = CHECK_IN_TIMEOUT
    second_try_after: float = SECOND_TRY_AFTER
    poll_every: float = _POLL_EVERY
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def verify(
    server: Server,
    expected: PushCertificate,
    *,
    canaries: int = CANARIES,
    check_in_timeout: float = CHECK_IN_TIMEOUT,
    timing: Timing | None = None,
) -> Proof:
    """Climb the whole ladder on one node. Never raises for a node's fault.

    Args:
        server: the node.
        expected: the certificate it should use.
        canaries: how many devices are woken, one after another, until one checks in.
        check_in_timeout: seconds we wait for each.
        timing: replaces all waiting; `check_in_timeout` is then taken from it.
    """
    climb = _Climb(server, expected, timing or Timing(check_in_timeout=check_in_timeout))
    if climb.read_back() and server.node.url is not None:
        climb.wake(canaries, server.push)
    return climb.proof()


def device_canary(
    server: Server,
    pair: Pair,
    push_service: Pusher,
    *,
    canaries: int = CANARIES,
    check_in_timeout: float = CHECK_IN_TIMEOUT,
    timing: Timing | None = None,
) -> Proof:
    """Before a pair is installed on shared storage: wake a device with it from here, and see it check in.

    Every rung is NOT_AVAILABLE where no device can be woken from here (no device is known, or no role that
    may read its token and push magic).

    Args:
        server: a node that knows the devices; nothing is installed on it.
        pair: the new pair.
        push_service: Apple's.
        canaries: how many devices are woken, one after another, until one checks in.
        check_in_timeout: seconds we wait for each.
        timing: replaces all waiting; `check_in_timeout` is then taken from it.
    """
    climb = _Climb(server, pair.certificate, timing or Timing(check_in_timeout=check_in_timeout))

    def push(enrollment: str) -> PushAnswer | None:
        target = server.push_target(enrollment)
        if target is None:
            return None
        told = push_service.push(pair, target.token, target.magic)
        return PushAnswer(told.accepted, told.reason, told.says_wrong_pair, told.detail)

    climb.wake(canaries, push)
    return climb.proof(needs_check_in=True)


class _Climb:
    """One climb: the state of the rungs, and the first reason that spoke against each verdict."""

    def __init__(self, server: Server, expected: PushCertificate, timing: Timing) -> None:
        self._server = server
        self._expected = expected
        self._timing = timing
        self._rungs = dict.fromkeys(Rung, RungState.NOT_AVAILABLE)
        self._reason: Reason | None = None
        self._values: dict[str, str] = {}
        self._enrollment: str | None = None
        self._wrong = False
        self._watched: dict[str, str] = {}

    def read_back(self) -> bool:
        """READ_BACK and SERIAL; False when what is read speaks against the pair, or a step was cut off."""
        seen = self._look()
        if not self._matches(seen):
            self._timing.sleep(self._timing.second_try_after)
            seen = self._look()
        if self._whatever_certificate(seen):
            return False
        found = _of_topic(seen, self._expected)
        if not found:
            return self._nothing_read(seen)
        self._rungs[Rung.READ_BACK] = RungState.YES
        if any(_name(served) for served in found):
            self._rungs[Rung.SERIAL] = RungState.YES
        for served in found:
            if served.not_after != self._expected.not_after:
                self._rungs[Rung.READ_BACK] = RungState.NO
            if _name(served) not in {None, self._expected.fingerprint, self._expected.serial}:
                self._rungs[Rung.SERIAL] = RungState.NO
        if (unseen := seen.unseen) is not None:
            self._rungs[Rung.READ_BACK] = RungState.UNKNOWN
            self._note(unseen.reason, **unseen.values)
        differing = [served for served in found if not _same(served, self._expected)]
        if differing:
            self._say_wrong(
                Reason.PROOF_CERTIFICATE_DIFFERS,
                got=_shown(differing[0].serial, differing[0].not_after),
                expected=_shown(self._expected.serial, self._expected.not_after),
                source=differing[0].source.value,
            )
        return not differing

    def _whatever_certificate(self, seen: Observation) -> bool:
        """Its files say enough without the certificate: a step was cut off, or the key is another one's."""
        if (cut_off := seen.cut_off) is not None:  # neither for the pair nor against it
            self._rungs[Rung.READ_BACK] = RungState.UNKNOWN
            self._note(cut_off.reason, **cut_off.values)
            return True
        if (mismatched := seen.mismatched) is not None:
            self._rungs[Rung.READ_BACK] = RungState.NO
            self._say_wrong(mismatched.reason, **mismatched.values)
            return True
        return False

    def wake(self, canaries: int, push: Callable[[str], PushAnswer | None]) -> None:
        """PUSH and CHECK_IN: one device after another, until one checks in or an answer ends it."""
        try:
            names = self._server.canaries(self._expected.topic or "", canaries)
            # Devices, but none of this topic: no reason to call the pair proven.
            none_to_wake = not names and self._server.enrolled_topics() != {}
        except RenewctlError as error:
            self._unknown(Rung.PUSH, error)
            return
        if none_to_wake:
            self._note(Reason.PROOF_NO_CANARY)
        for enrollment in names:
            try:
                if self._wake_one(enrollment, push):
                    return
            except RenewctlError as error:
                if (
                    error.reason is Reason.DATABASE_DENIED
                    and self._rungs[Rung.PUSH] is RungState.NOT_AVAILABLE
                ):
                    return  # a role that may not read what a push takes: this way is closed, not broken
                rung = Rung.CHECK_IN if self._rungs[Rung.PUSH] is RungState.YES else Rung.PUSH
                self._unknown(rung, error)
                return

    def _wake_one(self, enrollment: str, push: Callable[[str], PushAnswer | None]) -> bool:
        """Push to one device and wait for it; True when nothing is to be gained from another one."""
        before = self._server.check_in(enrollment)
        answer = self._judged(enrollment, push)
        self._enrollment = enrollment
        if answer is None:
            return True
        if not answer.accepted:
            return self._not_accepted(enrollment, answer)
        self._rungs[Rung.PUSH] = RungState.YES
        if before is None:
            return True
        self._watched[enrollment] = before
        if self._sees_check_in():
            self._rungs[Rung.CHECK_IN] = RungState.YES
            return True
        self._rungs[Rung.CHECK_IN] = RungState.NO
        self._reason, self._values = Reason.PROOF_NO_CHECK_IN, self._check_in_values()
        return False

    def _judged(self, enrollment: str, push: Callable[[str], PushAnswer | None]) -> PushAnswer | None:
        answer = push(enrollment)
        for _ in range(_TRIES - 1):
            if answer is None or not (answer.says_wrong_pair or answer.reason in _TRY_AGAIN):
                break
            self._timing.sleep(self._timing.second_try_after)
            answer = push(enrollment)
        return answer

    def _not_accepted(self, enrollment: str, answer: PushAnswer) -> bool:
        reason = answer.reason or Reason.PUSH_ANSWER_UNKNOWN
        if answer.says_wrong_pair or reason is Reason.PUSH_CONNECTION_RESET:
            self._rungs[Rung.PUSH] = RungState.NO
            self._say_wrong(reason, got=answer.detail, enrollment=enrollment)
            return True
        if self._rungs[Rung.PUSH] is not RungState.YES:
            self._rungs[Rung.PUSH] = RungState.UNKNOWN
            self._reason = reason
            self._values = {"got": answer.detail, "enrollment": enrollment}
        # Another device may have a valid token; a push service that is away is away for all of them.
        return reason not in ONE_DEVICE

    def _sees_check_in(self) -> bool:
        """Whether any device woken so far checks in before the time is up."""
        ends = self._timing.clock() + self._timing.check_in_timeout
        while True:
            last = self._timing.clock() >= ends
            try:
                moved = [one for one, before in self._watched.items() if self._moved(one, before)]
            except RenewctlError:
                if last:  # until then it may come back
                    raise
                moved = []
            if moved:
                self._enrollment = moved[0]
                return True
            if last:
                return False
            self._timing.sleep(self._timing.poll_every)

    def _moved(self, enrollment: str, before: str) -> bool:
        return self._server.check_in(enrollment) not in {None, before}

    def proof(self, *, needs_check_in: bool = False) -> Proof:
        """The verdict over all rungs."""
        verdict = self._verdict(needs_check_in=needs_check_in)
        proven = verdict is Verdict.PROVEN
        if not proven and self._reason is None:
            self._note(Reason.PROOF_NOTHING_TO_TELL)
        return Proof(
            verdict=verdict,
            rungs=self._rungs,
            reason=None if proven else self._reason,
            values={} if proven else {"node": self._server.node.name, **self._values},
            enrollment=self._enrollment,
        )

    def _verdict(self, *, needs_check_in: bool) -> Verdict:
        states = set(self._rungs.values())
        if self._wrong:
            return Verdict.WRONG
        if RungState.UNKNOWN in states:
            only_devices = self._reason in ONE_DEVICE
            return Verdict.NOT_PROVEN if only_devices else Verdict.UNKNOWN
        checked_in = self._rungs[Rung.CHECK_IN]
        missing = needs_check_in and checked_in is not RungState.YES
        if RungState.NO in states or RungState.YES not in states or missing:
            return Verdict.NOT_PROVEN
        if self._reason is Reason.PROOF_NO_CANARY:
            return Verdict.NOT_PROVEN
        if not needs_check_in and not self._was_read_back():
            # A device that wakes up proves that *a* pair works; without the node's word, perhaps the old one.
            self._note(Reason.PROOF_NOT_READ_BACK)
            return Verdict.NOT_PROVEN
        return Verdict.PROVEN

    def _was_read_back(self) -> bool:
        return RungState.YES in {self._rungs[Rung.READ_BACK], self._rungs[Rung.SERIAL]}

    def _nothing_read(self, seen: Observation) -> bool:
        """No certificate of the topic: not there, not told, or not to be learned now."""
        if seen.answered:
            self._rungs[Rung.READ_BACK] = RungState.NO
            self._say_wrong(Reason.PROOF_CERTIFICATE_ABSENT, topic=self._expected.topic or "-")
            return False
        missing = [f for f in seen.failures if f.reason is not Reason.NODE_CERTIFICATE_ELSEWHERE]
        if missing:
            failure = missing[0]
            self._rungs[Rung.READ_BACK] = RungState.UNKNOWN
            self._note(failure.reason, **failure.values)
        return True

    def _look(self) -> Observation:
        now = datetime.now(UTC)
        try:
            return self._server.observe(now, certificates_alone=True)
        except NodeFault as fault:  # a file on another host, read over a connection of its own
            return Observation(
                self._server.node.name, now, failures=(failure_of(fault.reason, fault.values),)
            )

    def _matches(self, seen: Observation) -> bool:
        found = _of_topic(seen, self._expected)
        told = bool(found) or not seen.answered
        return told and all(_same(served, self._expected) for served in found)

    def _check_in_values(self) -> dict[str, str]:
        seconds = f"{self._timing.check_in_timeout:g}"
        return {
            "devices": str(len(self._watched)),
            "seconds": seconds,
            "enrollment": ", ".join(self._watched),
        }

    def _unknown(self, rung: Rung, error: RenewctlError) -> None:
        self._rungs[rung] = RungState.UNKNOWN
        self._reason = error.reason
        self._values = {name: str(value) for name, value in error.values.items()}

    def _note(self, reason: Reason, **values: str) -> None:
        """Remember why, unless something was said before."""
        if self._reason is None:
            self._reason, self._values = reason, values

    def _say_wrong(self, reason: Reason, **values: str) -> None:
        self._wrong, self._reason, self._values = True, reason, values


def _of_topic(seen: Observation, expected: PushCertificate) -> list[ServedCertificate]:
    return [served for served in seen.certificates if served.topic == expected.topic]


def _name(served: ServedCertificate) -> str | None:
    return served.fingerprint or served.serial


def _same(served: ServedCertificate, expected: PushCertificate) -> bool:
    named = _name(served) in {None, expected.fingerprint, expected.serial}
    return named and served.not_after == expected.not_after


def _shown(serial: str | None, not_after: datetime) -> str:
    """Serial and end; whoever shows it shows the instant in the topic's zone (`messages.readable`)."""
    return f"{serial or '-'} ({not_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"
