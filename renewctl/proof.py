"""What is known of a node after one climb of the ladder (`verification`). Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from renewctl.reasons import Reason


class Rung(StrEnum):
    """A step of the ladder.

    READ_BACK: the node holds a certificate that ends when ours does. SERIAL: it is ours. PUSH: the push
    service took a push that the node sent; which certificate it used cannot be seen from the node's answer.
    CHECK_IN: the device so woken was seen checking in.
    """

    READ_BACK = "read_back"
    SERIAL = "serial"
    PUSH = "push"
    CHECK_IN = "check_in"


class RungState(StrEnum):
    """What is known of a rung."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    NOT_AVAILABLE = "not_available"


class Verdict(StrEnum):
    """What the ladder as a whole says.

    PROVEN: every rung the product can give is YES (`verification` says what no rung can show). NOT_PROVEN:
    nothing speaks against the pair, yet no device checked in, or nothing can be told. WRONG: an answer says
    that the pair is wrong. UNKNOWN: an answer is missing.
    """

    PROVEN = "proven"
    NOT_PROVEN = "not_proven"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Proof:
    """The outcome of one climb.

    Attributes:
        verdict: the ladder as a whole.
        rungs: every rung and its state.
        reason: why the verdict is not PROVEN; None when it is.
        values: what the reason's sentence needs; never a device token.
        enrollment: the device that was woken last.
    """

    verdict: Verdict
    rungs: Mapping[Rung, RungState]
    reason: Reason | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    enrollment: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for events and task results."""
        return {
            "verdict": self.verdict.value,
            "rungs": {rung.value: state.value for rung, state in self.rungs.items()},
            "reason": None if self.reason is None else self.reason.value,
            "values": dict(self.values),
            "enrollment": self.enrollment,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Proof:
        """What `as_json` wrote.

        Raises:
            ValueError: written by something else.
        """
        try:
            enrollment = value["enrollment"]
            return cls(
                verdict=Verdict(value["verdict"]),
                rungs={Rung(rung): RungState(state) for rung, state in value["rungs"].items()},
                reason=None if value["reason"] is None else Reason(value["reason"]),
                values={str(name): str(text) for name, text in value["values"].items()},
                enrollment=None if enrollment is None else str(enrollment),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no proof of ours") from error
