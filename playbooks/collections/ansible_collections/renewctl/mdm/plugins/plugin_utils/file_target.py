# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair as files on a node, over the connection Ansible has to it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ansible_collections.renewctl.mdm.plugins.module_utils import node_reload, pair_files, veil
from ansible_collections.renewctl.mdm.plugins.plugin_utils import link, node_program, pkcs12
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import plain
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import Settings
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import is_at, require_ready

from renewctl import secrets
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, Refused, Unusable
from renewctl.inventory.reading import FileInstall, Place
from renewctl.observation import Failure, Observation, Source
from renewctl.reasons import Reason
from renewctl.servers.certificate_files import served
from renewctl.servers.protocol import Server

_REASONS = frozenset(Reason)
_FINISHED = frozenset({"idle", "committed"})
"""What a node's journal says where the next fence would put nothing back."""

_TOKEN = re.compile(r"[0-9a-f]{8,64}")

# What the inner server says of files it looked for on this machine; the node's own look is better.
_SEEN_THERE = frozenset(
    {
        Reason.NODE_CERTIFICATE_ELSEWHERE,
        Reason.NODE_CERTIFICATE_LOCKED,
        Reason.NODE_CERTIFICATE_UNREADABLE,
        Reason.NODE_FILE_MISSING,
    }
)


class Said(NamedTuple):
    """What a command said: exit code, standard output, standard error."""

    code: int
    printed: str
    complained: str


class Remote(Protocol):
    """What the action plugin lends: the connection to the node."""

    def python(self) -> str | None:
        """The node's Python, where an inventory names one."""

    def send(self, command: str, data: bytes, seconds: float) -> Said:
        """Run a command with `data` on its standard input, which may take the node so many seconds."""


class FileTarget:
    """Installed as files. One command a step; the key travels with the order, on its standard input."""

    def __init__(self, server: Server, install: FileInstall, settings: Settings, remote: Remote) -> None:
        self._install = install
        self._settings = settings
        self._remote = remote
        self._api = server
        self._after: dict[str, Any] | None = None
        self._placed = PlacedServer(server, self._look)
        self.server: Server = self._placed

    def require_ready(self) -> None:
        """Its API, where it has one, answers and lets us in; reloads are allowed, its files can be made."""
        require_ready(self._api)
        self._reloads()
        self._require_openable()

    def fence(self, *, check: bool) -> tuple[bool, dict[str, Any]]:
        """Take the run on the node, and undo what an interrupted one left. Under check: would it change?"""
        if check:
            return not self._step("carries").get("done"), {}
        self._require_token()
        require_ready(self._api)
        done = self._step("fence", reloads=self._reloads()).get("done")
        values: dict[str, Any] = {"run": self._settings.run, "undone": done is True}
        if not done:  # what was undone must be told; before the switch the files are opened anyway
            self._require_openable()
            return False, values
        values["node"] = self._settings.node.name
        return True, {**values, **(self._back_to() if done is True else {"path": plain(done)})}

    def _back_to(self) -> dict[str, Any]:
        """What the node reads once something was undone; serial `-` where that cannot be told.

        Where its places hold different pairs since, the step is still cut off: then its first path.
        """
        try:
            look = self._look()
            if look["phase"] not in _FINISHED:
                return {"undone": False, "unfinished": True, "path": look["found"][0]["path"]}
            serials = {one.serial for one in self._placed.placed(look["found"])}
        except NodeFault:
            serials = set()
        serial = serials.pop() if len(serials) == 1 else "-"
        return {"serial": serial}

    def run(self) -> int:
        """The run the node carries."""
        run: int = self._look()["run"]
        return run

    def has(self, certificate: PushCertificate) -> bool:
        """The switch finds out by itself, under the node's lock; asked only where a device is woken first."""
        return self._settings.shared and is_at(self.server, certificate)

    def install(self, pair: Pair) -> bool:
        """One command: switch, reload, read back, commit; or leave it as it is, where it is this pair."""
        self._require_token()
        told = self._step(
            "switch",
            files={"key.pem": pair.key, **self._bundles(pair)},
            reloads=self._reloads(),
            certificate=pair.certificate.pem.decode("ascii"),
        )
        return bool(told.get("done"))

    def restore(self, previous: PairReference) -> None:
        """Back to the release that is still on the node; sent again only if it is not."""
        self._require_token()
        told = self._step("revert", reloads=self._reloads(), fingerprint=previous.certificate.fingerprint)
        if told.get("done") is None:
            self.install(previous.open())

    def _require_openable(self) -> None:
        """The pair that is to come can be put into each PKCS#12 file. A way back may need none made."""
        if self._settings.pair is not None:
            self._styles()

    def _bundles(self, pair: Pair) -> dict[str, bytes]:
        """A PKCS#12 file for each place that wants one; the node has no library that could make them."""
        return {f"{n}.p12": pkcs12.made(pair, *style) for n, style in self._styles().items()}

    def _styles(self) -> dict[int, tuple[str, pkcs12.Style]]:
        """Of each place that is a PKCS#12 file its password, and what the file that is there is like.

        Raises:
            Refused: the file that is there cannot be opened with the inventory's password, so its consumer
                could not open the new one.
        """
        wanted = {n: place for n, place in enumerate(self._install.places) if place.pkcs12 is not None}
        if not wanted:
            return {}
        before = self._bundles_before()
        return {n: self._style(place, before[n]) for n, place in wanted.items()}

    def _style(self, place: Place, before: bytes | None) -> tuple[str, pkcs12.Style]:
        assert place.password is not None  # noqa: S101 - the inventory asks for it
        try:
            password = secrets.read(place.password)
            return password, pkcs12.style_of(before, password, place.path)
        except Unusable as error:
            wrong = error.reason is Reason.PASSPHRASE_WRONG
            reason = Reason.NODE_PASSWORD_DIFFERS if wrong else error.reason
            raise Refused(reason, node=self._settings.node.name, **error.values) from None

    def _bundles_before(self) -> list[bytes | None]:
        """The PKCS#12 file found in each place; on its way only this order's secret tells what it is.

        Raises:
            NodeFault: `node_answer_unreadable`.
        """
        secret = os.urandom(veil.SECRET_BYTES)
        told = self._step("bundles", files={"secret": secret}).get("done")
        try:
            return _unveiled(told, secret, [place.path for place in self._install.places])
        except ValueError:
            name = self._settings.node.name
            raise NodeFault(Reason.NODE_ANSWER_UNREADABLE, node=name, got="bundles") from None

    def _look(self) -> dict[str, Any]:
        """What consumers read: a step that changed something has just said so.

        Raises:
            NodeFault: `node_answer_unreadable`: not what our program says; somebody else's Python, say.
        """
        seen, self._after = self._after, None
        look = self._step("look").get("done") if seen is None else seen
        if not _is_a_look(look, len(self._install.places)):
            raise NodeFault(Reason.NODE_ANSWER_UNREADABLE, node=self._settings.node.name, got="look")
        found: dict[str, Any] = look
        return found

    def _step(self, op: str, files: Mapping[str, bytes] | None = None, **more: Any) -> dict[str, Any]:
        order = {
            "op": op,
            "places": [dict(place.files) for place in self._install.places],
            "reloads": [],
            "run": self._settings.run,
            "token": self._settings.token,
            **more,
        }
        command = node_program.command(self._remote.python())
        sent = node_program.message(order, files or {})
        said = self._remote.send(command, sent, _longest(order["reloads"]))
        told = node_program.answer(said.printed)
        if told is not None and "reason" not in told:
            self._after = told.get("look")
            return told
        reason, values = Reason.NODE_STEP_FAILED, {"got": f"{op}, exit {said.code}"}
        # Whatever reads our order may repeat it: a shell, say, a line of the key.
        if told is None and not files:
            values["got"] += _complaint(said.complained)
        elif told is not None and str(told["reason"]) in _REASONS:
            why = told.get("values")
            reason = Reason(told["reason"])
            values = {name: plain(value) for name, value in why.items()} if isinstance(why, dict) else {}
        raise NodeFault(reason, **{"node": self._settings.node.name, **values})

    def _require_token(self) -> None:
        if self._settings.run < 1 or not _TOKEN.fullmatch(self._settings.token):
            raise Refused(
                Reason.RUN_NOT_FENCED,
                node=self._settings.node.name,
                got=self._settings.run,
                expected="fence.yml",
            )

    def _reloads(self) -> list[list[str]]:
        """The reload commands, if the controller's own list allows their programs.

        Whoever may merge to the inventory must not thereby run programs on nodes.
        """
        for program, *_ in self._install.reloads:
            if not secrets.is_allowed(program):
                path = str(secrets.allowed_commands())
                raise Refused(
                    Reason.RELOAD_NOT_ALLOWED, node=self._settings.node.name, program=program, path=path
                )
        return [list(command) for command in self._install.reloads]


def _unveiled(told: Any, secret: bytes, paths: list[str]) -> list[bytes | None]:
    """What `PairFiles.bundles` tells, as it was before the veil; ValueError where that is something else."""
    if not isinstance(told, list) or len(told) != len(paths):
        raise ValueError
    return [
        None if one is None else veil.veiled(base64.b64decode(str(one), validate=True), secret, path)
        for path, one in zip(paths, told, strict=True)
    ]


def _complaint(text: str) -> str:
    """What sudo or a shell said; of a Python error only its type, since its text may hold anything."""
    if "Traceback (most recent call last)" in text:
        return f": {link.last_words(text).partition(':')[0]}"
    said = link.last_words(text, lines=2)
    return f": {said}" if said else ""


def _longest(reloads: list[list[str]]) -> float:
    """Seconds a step may take a node: it waits for one before it, reloads, goes back, reloads again."""
    return 2 * (pair_files.STEP_SECONDS + 2 * node_reload.RELOAD_SECONDS * len(reloads))


def _is_a_look(done: Any, places: int) -> bool:
    """Whether this has the shape of what `PairFiles.look` tells; a node can say anything."""
    found = done.get("found") if isinstance(done, dict) else None
    return (
        isinstance(found, list)
        and len(found) == places
        and type(done.get("run")) is int
        and isinstance(done.get("phase"), str)
        and all(isinstance(one, dict) and _is_of_a_place(one) for one in found)
    )


def _is_of_a_place(one: dict[str, Any]) -> bool:
    return (
        isinstance(one.get("path"), str)
        and isinstance(one.get("there"), bool)
        and isinstance(one.get("certificate", ...), str | None)
        and isinstance(one.get("together", ...), bool | None)
        and isinstance(one.get("refused"), bool)
    )


class PlacedServer:
    """A server whose certificate lies in files on its node: asked as before, read back through the files."""

    def __init__(self, inner: Server, look: Callable[[], dict[str, Any]]) -> None:
        self._inner = inner
        self._look = look
        self.node = inner.node

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:
        """What the server says, and what its files say; one certificate where all places agree.

        A step that was cut off is a failure: the next fence puts back what was there before it, so whatever
        the files hold now is no proof.

        Raises:
            NodeFault: a file cannot be looked at, or holds no certificate and is nothing of ours.
        """
        seen = self._inner.observe(now, certificates_alone=certificates_alone)
        look = self._look()
        found = look["found"]
        placed = {one.fingerprint: served(one, Source.FILE) for one in self.placed(found)}
        failures = [failure for failure in seen.failures if failure.reason not in _SEEN_THERE]
        unseen = [one for one in found if one["certificate"] is None]
        failures += [
            _failure(self._why_unseen(one), self.node.name, one)
            for one in unseen
            if one["there"] or len(found) > 1
        ]
        failures += [
            _failure(Reason.NODE_PAIR_MISMATCHED, self.node.name, one)
            for one in found
            if one["together"] is False
        ]
        if look["phase"] not in _FINISHED:
            failures.append(_failure(Reason.NODE_STEP_UNFINISHED, self.node.name, found[0]))
        locked = any(one["there"] and self._is_locked(one["path"]) for one in unseen)
        return replace(
            seen,
            certificates=(
                *(one for one in seen.certificates if one.source is not Source.FILE),
                *placed.values(),
            ),
            failures=tuple(failures),
            answered=tuple({*seen.answered, *(() if locked else (Source.FILE,))}),
        )

    def placed(self, found: list[Mapping[str, Any]]) -> list[PushCertificate]:
        """The certificate of each place of a look, where it can be seen.

        Raises:
            NodeFault: a file holds no certificate, and the node would refuse a pair for it; where it would
                not, that is damage the next pair mends.
        """
        read = [
            self._parsed(one)
            for one in found
            if one["certificate"] is not None or (one["there"] and not self._is_locked(one["path"]))
        ]
        return [certificate for certificate in read if certificate is not None]

    def _is_locked(self, path: str) -> bool:
        install = self.node.install
        return install is not None and any(place.pkcs12 == path for place in install.places)

    def _parsed(self, found: Mapping[str, Any]) -> PushCertificate | None:
        try:
            return PushCertificate.from_pem((found["certificate"] or "").encode())
        except ValueError:  # anything may lie there: the key, DER, half a file
            if found["together"] is False and not found["refused"]:
                return None
            reason = Reason.NODE_FILE_NOT_CERTIFICATE
            raise NodeFault(reason, node=self.node.name, path=found["path"]) from None

    def _why_unseen(self, found: Mapping[str, Any]) -> Reason:
        if not found["there"]:
            return Reason.NODE_FILE_MISSING
        locked = self._is_locked(found["path"])
        return Reason.NODE_CERTIFICATE_LOCKED if locked else Reason.NODE_FILE_NOT_CERTIFICATE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _failure(reason: Reason, node: str, found: Mapping[str, Any]) -> Failure:
    return Failure(reason, {"node": node, "path": found["path"]})
