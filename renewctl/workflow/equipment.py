"""What this host must have before it may change nodes: known before anything is written down or touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from renewctl import secrets
from renewctl.errors import Refused, RenewctlError
from renewctl.inventory.reading import Node
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef

_AT_ONCE = 16
"""Passwords read side by side: each `{command:}` may take its ten seconds."""


def require_equipped(nodes: Sequence[Node]) -> None:
    """Check that this host may reload with what these nodes name, and can read the passwords they want.

    A node that only turns out on its turn that its pair cannot be given from here would leave half of the
    nodes with the one pair, half with the other.

    Raises:
        Refused: `reload_not_allowed`.
        Unusable: a password, as `secrets.read` raises. Whatever else is missing comes with the first.
    """
    lacking = [*reloads_not_allowed(nodes), *_unreadable(nodes)]
    if lacking:
        lacking[0].others = tuple(lacking[1:])
        raise lacking[0]


def reloads_not_allowed(nodes: Sequence[Node]) -> Iterator[RenewctlError]:
    """`reload_not_allowed` for each command of theirs that this host's list does not name."""
    for node in nodes:
        for program, *_ in () if node.install is None else node.install.reloads:
            if not secrets.is_allowed(program):
                path = str(secrets.allowed_commands())
                yield Refused(Reason.RELOAD_NOT_ALLOWED, node=node.name, program=program, path=path)


def _unreadable(nodes: Sequence[Node]) -> Iterator[RenewctlError]:
    references = [node.password for node in nodes]
    references += [
        place.password for node in nodes if node.install is not None for place in node.install.places
    ]
    wanted = [reference for reference in dict.fromkeys(references) if reference is not None]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a vault that is down takes each its time
        yield from (error for error in pool.map(_fault_of, wanted) if error is not None)


def _fault_of(reference: SecretRef) -> RenewctlError | None:
    try:
        secrets.read(reference)
    except RenewctlError as error:
        return error
    return None
