"""What this host must have before it may change nodes: known before anything is written down or touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from renewctl import secrets
from renewctl.errors import Refused, RenewctlError
from renewctl.inventory.reading import Node
from renewctl.reasons import Reason


def require_equipped(nodes: Sequence[Node]) -> None:
    """Check that this host may reload with what these nodes name, and can read the passwords they want.

    A node that only turns out on its turn that its pair cannot be given from here would leave half of the
    nodes with the one pair, half with the other.

    Raises:
        Refused: `reload_not_allowed`.
        Unusable: a password, as `secrets.read` raises. Whatever else is missing comes with the first.
    """
    lacking: list[RenewctlError] = [*_not_allowed(nodes), *_unreadable(nodes)]
    if lacking:
        lacking[0].others = tuple(lacking[1:])
        raise lacking[0]


def _not_allowed(nodes: Sequence[Node]) -> Iterator[RenewctlError]:
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
    for reference in dict.fromkeys(references):
        try:
            if reference is not None:
                secrets.read(reference)
        except RenewctlError as error:
            yield error
