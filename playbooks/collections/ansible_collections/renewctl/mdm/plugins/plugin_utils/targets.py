# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a pair goes: here through a node's API; as files, see file_target."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference

from renewctl.certificate.pushcert import Pair
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

    def install(self, pair: Pair) -> None:
        """Make the pair the node's."""

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

    def install(self, pair: Pair) -> None:
        """Send it."""
        self.server.install(pair)

    def restore(self, previous: PairReference) -> None:
        """Send the previous one."""
        self.server.install(previous.open())


def require_ready(server: Server) -> None:
    """Whoever does not answer now, or does not let us in, could not be given a pair later."""
    server.require_access()


def now() -> datetime:
    """The controller's clock, UTC."""
    return datetime.now(UTC)
