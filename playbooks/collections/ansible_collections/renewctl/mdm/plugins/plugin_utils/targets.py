# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a pair goes: here through a node's API; as files, see file_target."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault
from renewctl.observation import Observation
from renewctl.reasons import Reason
from renewctl.servers.protocol import Server


class Target(Protocol):
    """One node, as the steps see it."""

    server: Server

    def require_ready(self) -> None:
        """The server answers and takes our credential; nothing is changed.

        Raises:
            NodeFault, Unusable: why not.
        """

    def fence(self, *, check: bool) -> tuple[bool, dict[str, Any]]:
        """Take the run. Whether something changed, and what to tell."""

    def run(self) -> int:
        """The run the node carries; 0 where there is none."""

    def has(self, certificate: PushCertificate) -> bool:
        """Whether it is known, before anything is sent, that the node has this certificate's pair."""

    def install(self, pair: Pair) -> bool:
        """Make the pair the node's. False: it was the node's already."""

    def restore(self, previous: PairReference) -> None:
        """Make the previous pair the node's again."""


class ApiTarget:
    """Installed through the API; cannot be fenced, so its workers die with their parent."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def require_ready(self) -> None:
        """It answers, and lets us in."""
        require_ready(self.server)

    def fence(self, *, check: bool) -> tuple[bool, dict[str, Any]]:
        """Nothing to take; but the node must answer and let us in before anything is changed anywhere."""
        if not check:
            self.require_ready()
        return False, {}

    def run(self) -> int:
        """API nodes carry none."""
        return 0

    def has(self, certificate: PushCertificate) -> bool:
        """By what the node says."""
        return is_at(self.server, certificate)

    def install(self, pair: Pair) -> bool:
        """Send it."""
        self.server.install(pair)
        return True

    def restore(self, previous: PairReference) -> None:
        """Send the previous one."""
        self.server.install(previous.open())


def require_ready(server: Server) -> None:
    """Whoever does not answer now, or does not let us in, could not be given a pair later."""
    server.require_access()


def is_at(server: Server, certificate: PushCertificate) -> bool:
    """Whether a server has exactly this certificate, now. Where a file holds none at all, it has not.

    Raises:
        NodeFault: it cannot be asked.
    """
    try:
        return holds(server.observe(now(), certificates_alone=True), certificate)
    except NodeFault as fault:
        if fault.reason is not Reason.NODE_FILE_NOT_CERTIFICATE:
            raise
        return False  # damaged, or somebody else's: the step on the node tells these apart, under its lock


def holds(seen: Observation, certificate: PushCertificate) -> bool:
    """The node was read back with exactly this certificate. A date alone is no proof of that."""
    told = named(seen, certificate)
    return (
        bool(told)
        and seen.unseen is None
        and all(name in {certificate.fingerprint, certificate.serial} for name in told)
    )


def named(seen: Observation, certificate: PushCertificate) -> list[str]:
    """Fingerprint, or else serial, of what each source says the node serves for this topic."""
    found = [served for served in seen.certificates if served.topic == certificate.topic]
    return [name for served in found if (name := served.fingerprint or served.serial) is not None]


def now() -> datetime:
    """The controller's clock, UTC."""
    return datetime.now(UTC)
