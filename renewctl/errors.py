"""The tree of errors, by whose turn it is to act.

::

    RenewctlError          a reason and values; `messages` turns them into a sentence and a hint
    ├── Unusable           exit 2: command line, inventory or input file cannot be used
    ├── Refused            exit 1: a check said no, or what was tried failed
    │   └── NodeFault      exit 1: a node, the push service or the store did not do what was asked
    ├── PersonsTurn        exit 3: nothing is wrong; a person has to act
    └── Attention          exit 4: held by somebody else; unknown, owed, not proven, expiring

Errors carry a reason from the closed list in `reasons` and plain values, never prose: the same
error is a line on a terminal, a field in JSON, a label value and an event.
"""

from __future__ import annotations

from enum import IntEnum

from renewctl.reasons import Reason


class ExitCode(IntEnum):
    """What a process says when it ends; documented in the README."""

    DONE = 0
    REFUSED = 1
    UNUSABLE = 2
    PERSONS_TURN = 3
    ATTENTION = 4


class RenewctlError(Exception):
    """Anything that ends a command in an orderly way.

    Args:
        reason: why, from the closed list.
        values: what the sentence for that reason needs: `got`, `expected`, `path`, `node`, ….
            Values are shown to people and stored in events, so they never hold a secret.

    Attributes:
        others: further faults of the same input, so that a person mends them in one go.
    """

    exit_code = ExitCode.REFUSED
    others: tuple[RenewctlError, ...] = ()

    def __init__(self, reason: Reason, **values: object) -> None:
        self.reason = reason
        self.values = values
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        super().__init__(f"{reason.value}: {shown}" if shown else reason.value)


class Unusable(RenewctlError):
    """The command line, the inventory or an input file cannot be used (exit 2)."""

    exit_code = ExitCode.UNUSABLE


class Refused(RenewctlError):
    """A check refused, or what was tried failed (exit 1)."""


class NodeFault(Refused):
    """A node, the push service or the store did not do what was asked (exit 1)."""


class PersonsTurn(RenewctlError):
    """Nothing is wrong; the next step is a person's (exit 3)."""

    exit_code = ExitCode.PERSONS_TURN


class Attention(RenewctlError):
    """Somebody must look: held, unknown, owed, not proven, expiring (exit 4)."""

    exit_code = ExitCode.ATTENTION
