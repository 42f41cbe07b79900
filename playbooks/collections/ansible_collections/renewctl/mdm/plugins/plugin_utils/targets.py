# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a pair goes: through a node's API, or as files over the connection Ansible has to the node."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import Settings

from renewctl import secrets
from renewctl.errors import NodeFault, Refused
from renewctl.inventory import FileInstall
from renewctl.observation import Observation, Source
from renewctl.pushcert import Pair, PushCertificate
from renewctl.reasons import Reason
from renewctl.servers.files import served
from renewctl.servers.protocol import Server

_TOKEN = re.compile(r"[0-9a-f]{8,64}")


class Remote(Protocol):
    """What the action plugin lends: the connection to the node."""

    def module(self, **arguments: Any) -> dict[str, Any]:
        """Run `renewctl.mdm.node_files` on the node; its result."""

    def send(self, command: str, data: bytes) -> int:
        """Run a command with `data` on its standard input; its exit code."""

    def require_quiet(self) -> None:
        """Refuse settings under which Ansible leaves files on the node, or prints what it sends."""


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
        _require_ready(self.server)

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


class FileTarget:
    """Installed as two files. The key travels on standard input; the module sees fingerprints alone."""

    def __init__(self, server: Server, install: FileInstall, settings: Settings, remote: Remote) -> None:
        self._install = install
        self._settings = settings
        self._remote = remote
        self._api = server
        self.server: Server = PlacedServer(server, self._look)

    def require_ready(self) -> None:
        """Its connection leaves no traces; its API, where it has one, answers and lets us in."""
        self._remote.require_quiet()
        _require_ready(self._api)

    def fence(self, *, check: bool) -> tuple[bool, dict[str, Any]]:
        """Take the run on the node, and undo what an interrupted one left. Under check: would it change?"""
        if check:
            self._remote.require_quiet()
            return not self._step("carries")["done"], {}
        self._require_token()
        self.require_ready()
        undone = bool(self._step("fence", reload=self._reload())["done"])
        return undone, {"run": self._settings.run, "undone": undone}

    def run(self) -> int:
        """The run the node carries."""
        return int(self._look()["run"])

    def install(self, pair: Pair) -> None:
        """Stage the key, then one call: switch, reload, read back, commit."""
        self._remote.require_quiet()
        self._require_token()
        reload = self._reload()
        self._stage(pair.key)
        self._step(
            "switch",
            reload=reload,
            certificate_pem=pair.certificate.pem.decode("ascii"),
            key_digest=hashlib.sha256(pair.key).hexdigest(),
        )

    def restore(self, previous: PairReference) -> None:
        """Back to the release that is still on the node; sent again only if it is not."""
        self._require_token()
        done = self._step("revert", reload=self._reload(), fingerprint=previous.certificate.fingerprint)[
            "done"
        ]
        if done is None:
            self.install(previous.open())

    def _look(self) -> dict[str, Any]:
        done: dict[str, Any] = self._step("look")["done"]
        return done

    def _step(self, op: str, **more: Any) -> dict[str, Any]:
        told = self._remote.module(
            op=op,
            certificate=self._install.certificate,
            key=self._install.key,
            run=self._settings.run,
            token=self._settings.token,
            **more,
        )
        if not told.get("failed"):
            return told
        values = dict(told.get("values") or {})
        try:
            reason = Reason(str(told.get("reason")))
        except ValueError:  # the module itself broke; its text may hold anything
            reason, values = Reason.NODE_STEP_FAILED, {"got": op}
        raise NodeFault(reason, **{"node": self._settings.node.name, **values})

    def _stage(self, key: bytes) -> None:
        folder = os.path.join(
            os.path.dirname(self._install.certificate), ".renewctl", f"staged-{self._settings.token}"
        )
        place, file = shlex.quote(folder), shlex.quote(os.path.join(folder, "key.pem"))
        code = self._remote.send(f"umask 077 && mkdir -p {place} && cat > {file}", key)
        if code != 0:
            raise NodeFault(
                Reason.NODE_WRITE_FAILED, node=self._settings.node.name, path=folder, got=f"exit {code}"
            )

    def _require_token(self) -> None:
        if self._settings.run < 1 or not _TOKEN.fullmatch(self._settings.token):
            raise Refused(
                Reason.RUN_NOT_FENCED,
                node=self._settings.node.name,
                got=self._settings.run,
                expected="fence.yml",
            )

    def _reload(self) -> list[str] | None:
        """The reload command, if the controller's own list allows its program.

        Whoever may merge to the inventory must not thereby run programs on nodes.
        """
        if not self._install.reload:
            return None
        path = secrets.allowed_commands()
        try:
            allowed = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            allowed = []
        program = self._install.reload[0]
        if not program.startswith("/") or program not in {line.strip() for line in allowed}:
            raise Refused(
                Reason.RELOAD_NOT_ALLOWED, node=self._settings.node.name, program=program, path=str(path)
            )
        return list(self._install.reload)


class PlacedServer:
    """A server whose certificate lies in a file on its node: asked as before, read back through the file."""

    def __init__(self, inner: Server, look: Callable[[], dict[str, Any]]) -> None:
        self._inner = inner
        self._look = look
        self.node = inner.node

    def observe(self, now: datetime) -> Observation:
        """What the server says, and what its file says.

        Raises:
            NodeFault: the file cannot be looked at, or holds no certificate.
        """
        seen = self._inner.observe(now)
        pem = self._look()["certificate"]
        others = tuple(found for found in seen.certificates if found.source is not Source.FILE)
        failures = tuple(
            failure
            for failure in seen.failures
            if failure.reason not in {Reason.NODE_CERTIFICATE_ELSEWHERE, Reason.NODE_CERTIFICATE_UNREADABLE}
        )
        placed = () if pem is None else (served(self._parsed(pem), Source.FILE),)
        answered = tuple({*seen.answered, Source.FILE})
        return replace(seen, certificates=others + placed, failures=failures, answered=answered)

    def _parsed(self, pem: str) -> PushCertificate:
        try:
            return PushCertificate.from_pem(pem.encode())
        except ValueError:  # anything may lie there: the key, DER, half a file
            path = "-" if self.node.install is None else self.node.install.certificate
            raise NodeFault(Reason.NODE_FILE_NOT_CERTIFICATE, node=self.node.name, path=path) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _require_ready(server: Server) -> None:
    """Whoever cannot be asked now could not be proven later; a node without an API is not asked."""
    seen = server.observe(now())
    if seen.up is False:
        failure = next(iter(seen.failures), None)
        reason = failure.reason if failure else Reason.NODE_UNREACHABLE
        raise NodeFault(reason, **{"node": seen.node, **(dict(failure.values) if failure else {})})
    if seen.up:
        server.require_access()


def now() -> datetime:
    """The controller's clock, UTC."""
    return datetime.now(UTC)
