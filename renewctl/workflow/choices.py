"""What an operator may choose about a roll-out, a roll-back or a verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from renewctl.renewal.rollout import DEFAULT_WAVES


@dataclass(frozen=True)
class Options:
    """What was chosen.

    Attributes:
        waves: sizes, counted in storages.
        left_out: node -> why it is left out; it stays owed.
        forward_only: go without a way back.
        without_push: go back although no push may go through with the previous pair.
        unproven_ok: installed is enough; do not wait for a person where no device checks in.
        canaries: devices tried a node before giving up on a check-in.
        check_in_timeout: seconds to wait for each device.
    """

    waves: Sequence[int | str] = DEFAULT_WAVES
    left_out: Mapping[str, str] = field(default_factory=dict)
    forward_only: bool = False
    without_push: bool = False
    unproven_ok: bool = False
    canaries: int = 3
    check_in_timeout: float = 20.0


def proof_variables(options: Options) -> dict[str, Any]:
    """How nodes are proven, as the playbooks are told."""
    return {
        "renewctl_waves": ["100%"],  # renewctl counts the waves itself: one playbook run is one wave
        "renewctl_canaries": options.canaries,
        "renewctl_check_in_timeout": options.check_in_timeout,
    }
