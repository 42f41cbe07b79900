"""`init --from NODE`: which topics does a running node serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from renewctl.cli.init_options import as_options
from renewctl.errors import NodeFault, Refused, RenewctlError, Unusable
from renewctl.inventory import reading as inventory
from renewctl.observation import Failure
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.cli.context import Session
    from renewctl.cli.init_text import NodeAnswer
    from renewctl.inventory.reading import Node
    from renewctl.servers.protocol import Server


def found(session: Session, answer: NodeAnswer) -> list[str]:
    """The topics a node serves, or its devices are enrolled with; what it kept to itself is said.

    Raises:
        Unusable: an option, or a secret's file, cannot be used.
        NodeFault: the first of what kept the topics away, the rest in `.others`.
        Refused: `init_no_topics`: nothing failed, and nothing was told.
    """
    from renewctl.servers.registry import connect  # noqa: PLC0415 - HTTP and SQL

    node, output = _node(session, answer), session.output()
    with output.working("node.asking", count=1):
        server = connect(node)
        seen = server.observe(session.now())
        failures = list(seen.failures) + _access(server, node, up=bool(seen.up))
    topics = {served.topic for served in seen.certificates} | {count.topic for count in seen.devices or ()}
    if not topics:
        _nothing(answer, failures)
    for failure in failures:
        output.finding(failure.reason, failure.values)
    return sorted(topics)


def _node(session: Session, answer: NodeAnswer) -> Node:
    mapping: dict[str, object] = {"name": answer.name, "product": "nanomdm", "url": answer.url}
    if answer.user is not None:
        mapping["user"] = answer.user
    if answer.password is not None:
        mapping["password"] = answer.password
    if answer.devices is not None:
        mapping["devices"] = answer.devices
    try:
        return inventory.node_from_mapping(mapping, session.inventory_path.absolute().parent)
    except Unusable as error:
        raise as_options(error, source=True) from error


def _access(server: Server, node: Node, *, up: bool) -> list[Failure]:
    """Whether the password opens the API: otherwise a wrong one shows a year later."""
    if not up or node.password is None:
        return []
    try:
        server.require_access()
    except RenewctlError as error:
        return [Failure(error.reason, {name: str(value) for name, value in error.values.items()})]
    return []


def _nothing(answer: NodeAnswer, failures: list[Failure]) -> NoReturn:
    different = {(failure.reason, str(failure.values)): failure for failure in failures}
    faults = [_fault(failure) for failure in different.values()]
    if not faults:
        raise Refused(Reason.INIT_NO_TOPICS, node=answer.name)
    faults[0].others = tuple(faults[1:])
    raise faults[0]


def _fault(failure: Failure) -> RenewctlError:
    kind = Unusable if failure.reason.value.startswith("secret_") else NodeFault
    return kind(failure.reason, **failure.values)
