"""One look at one node, with no more rights than an exporter may have. Failure is data."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.poller import Change
from exporter.secrets_allowed import by_command
from exporter.snapshot import NodeFacts, Snapshot
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Node
from renewctl.observation import Failure, Observation
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.servers.protocol import Server

log = logging.getLogger("exporter")

_REFUSALS = frozenset({Reason.NODE_DENIED, Reason.DATABASE_DENIED})
"""A wrong password at every look is a way to be locked out; and secrets are read anew at a reload alone."""


class NodeLook:
    """Asks one node through whatever its product offers, with no more rights than an exporter may have.

    Args:
        node: as in the inventory.
        topics: UIDs it should serve.
    """

    least_seconds = 0.0

    def __init__(self, node: Node, topics: Sequence[str]) -> None:
        self.question = (node, tuple(topics))
        self._name = node.name
        self._topics = topics
        self._node, self._withheld = permitted(node)
        self._server: Server | None = None  # kept: it remembers that an API is closed to us

    def look(self) -> Change:
        """Observe; a fault of ours is a failure with reason `internal`, never a dead poller."""
        now, began = datetime.now(UTC), time.monotonic()
        try:
            seen = self._connected().observe(now)
        except RenewctlError as error:
            log.debug("node %s: %s", self._name, error)
            seen = Observation(self._name, now, up=False, failures=(Failure(error.reason),))
        except Exception as error:
            # Whatever one node causes stays with that node; no traceback, it may hold what the node sent.
            log.error("node %s: unexpected %s", self._name, type(error).__name__)  # noqa: TRY400
            log.debug("node %s", self._name, exc_info=error)
            seen = Observation(self._name, now, up=False, failures=(Failure(Reason.INTERNAL),))
        # The name and the time are ours to say, whatever came back.
        seen = replace(seen, node=self._name, at=now, failures=(*seen.failures, *self._withheld))
        seconds = time.monotonic() - began
        return lambda snapshot: self._publish(snapshot, snapshot.node(self._name).after(seen, seconds))

    def _connected(self) -> Server:
        if self._server is None:
            from renewctl.servers.registry import connect  # noqa: PLC0415 - HTTP and SQL only where used

            self._server = connect(self._node, self._topics)
        return self._server

    def overdue(self) -> Change:
        """The node is silent; its facts stay."""
        now = datetime.now(UTC)
        return lambda snapshot: self._publish(
            snapshot, snapshot.node(self._name).failing(now, Reason.NODE_TIMEOUT)
        )

    def silent(self, snapshot: Snapshot) -> bool:
        """The node did not answer, or refused what we said we are."""
        facts = snapshot.node(self._name)
        return facts.up is False or not _REFUSALS.isdisjoint(facts.failures)

    def _publish(self, snapshot: Snapshot, facts: NodeFacts) -> Snapshot:
        before = snapshot.node(self._name)
        if before.looked_at is None or set(before.failures) != set(facts.failures) or before.up != facts.up:
            level = logging.WARNING if facts.failures else logging.INFO
            words = ", ".join(sorted(set(facts.failures))) or "no failures"
            log.log(
                level,
                "node %s: %s, %s",
                self._name,
                {True: "up", False: "not up", None: "cannot be asked from here"}[facts.up],
                words,
            )
        return snapshot.with_node(self._name, facts)


def permitted(node: Node) -> tuple[Node, tuple[Failure, ...]]:
    """The node as an exporter may ask it, and what is missing because of that.

    MDM API credentials can wipe devices: without `allow_api_credential` they are dropped before
    anything connects, silently, for that is how it is meant. A secret that would have to be fetched by
    a command is never fetched: editing the inventory must not mean running programs here.
    """
    missing: list[Failure] = []
    if not node.allow_api_credential:
        node = replace(node, user=None, password=None)
    elif by_command(node.password):
        node = replace(node, user=None, password=None)
        missing.append(Failure(Reason.SECRET_COMMAND_NOT_ALLOWED))
    if node.devices is not None and by_command(node.devices.sql):
        node = replace(node, devices=replace(node.devices, sql=None))
        missing.append(Failure(Reason.SECRET_COMMAND_NOT_ALLOWED))
    return node, tuple(missing)
