"""The collection: what lies on a node, what a node's module says, what a task is given."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles
from ansible_collections.renewctl.mdm.plugins.plugin_utils import agreement, worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.file_target import FileTarget, Said
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import observation_json
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC, Settings

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import Attention, NodeFault, RenewctlError
from renewctl.keys import keystore, unseal
from renewctl.servers.registry import connect
from tests.hostile.parser import Made, Parser
from tests.support.certs import NOW, TOPIC, apple_like

_TOKEN = "ab" * 16


def _home(*, state: bool) -> tuple[Path, PairFiles]:
    """A node whose two files are links into a release, and its journal where asked for."""
    folder = Path(mkdtemp())
    push = apple_like().push()
    (folder / "push.pem").write_bytes(push.pem)
    (folder / "push.key").write_bytes(push.key_pem)
    files = PairFiles([{"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")}])
    if state:
        files.fence(1, _TOKEN)
    return folder, files


def _asked(files: PairFiles, run: int = 1) -> None:
    """Every step, in the order of a roll-out that goes back."""
    files.look()
    with suppress(Fault):
        files.bundles(b"secret")
    files.carries(run, _TOKEN)
    files.fence(run, _TOKEN)
    files.revert(run, _TOKEN, "f" * 64)
    files.switch(run, _TOKEN, apple_like().push().pem, {"key.pem": b"0" * 64, "0.p12": b"0"})


def _journal() -> Made:
    folder, files = _home(state=True)
    path = folder / ".renewctl" / "push.pem" / "state.json"
    files.places[0].convert()
    name = files.places[0].releases.active()
    place = str(folder / "push.pem")
    good = [
        {
            **version,
            "run": 1,
            "token": _TOKEN,
            "phase": phase,
            "places": {place: {"active": name, "previous": name}},
        }
        for version in ({"v": 1}, {"v": 2, "step": 3})
        for phase in ("idle", "committed", "switching")
    ]

    def take(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(Fault, OSError):
            _asked(files, 2**31)
        path.write_bytes(data)
        files.look()

    return Made(take, [json.dumps(one).encode() for one in good])


def _pair_on_disk() -> Made:
    """Anything where a certificate and a key should be, in each layout."""
    push = apple_like().push()

    def take(data: bytes) -> None:
        folder = Path(mkdtemp())
        for name in ("push.pem", "push.key", "both.pem", "push.p12"):
            (folder / name).write_bytes(data)
        for kinds in (
            {"certificate": "push.pem", "key": "push.key"},
            {"pem": "both.pem"},
            {"pkcs12": "push.p12"},
        ):
            files = PairFiles([{kind: str(folder / name) for kind, name in kinds.items()}])
            with suppress(Fault):
                _asked(files)
        node_disk.certificate_fingerprint(data)
        node_disk.key_block(data)
        shutil.rmtree(folder)

    return Made(take, [push.pem, push.key_pem + push.pem, b"\x30\x82"])


class _Remote:
    """A node that says what it is told to, as an answer and as a complaint."""

    def __init__(self, printed: str, complained: str = "") -> None:
        self._said = Said(0, printed, complained)

    def python(self) -> str | None:
        return None

    def send(self, _command: str, _data: bytes, _seconds: float) -> Said:
        return self._said


def _answers() -> Made:
    arguments: dict[str, Any] = {name: spec.get("default") for name, spec in SPEC.items()}
    secret = Path(mkdtemp()) / "password"
    secret.write_text("x")
    paths = [
        {"certificate": "/etc/mdm/push.pem", "key": "/etc/mdm/push.key"},
        {"pkcs12": "/etc/mdm/push.p12", "password": {"file": str(secret)}},
    ]
    arguments |= {"state": "present", "base": "/", "topic": TOPIC, "run": 1, "token": _TOKEN}
    arguments["node"] = {"product": "files", "install": {"paths": paths}}
    settings = Settings.from_arguments(arguments, "f1", check=False)
    push = apple_like().push()
    pair = Pair(PushCertificate.from_der(push.der), push.key_pem)
    assert settings.node.install is not None
    install, server = settings.node.install, connect(settings.node)

    def take(data: bytes) -> None:
        printed = data.decode("utf-8", "surrogateescape")  # as Ansible hands it on
        target = FileTarget(server, install, settings, _Remote(f"renewctl-answer {printed}"))
        for step in (target.run, lambda: target.install(pair), lambda: target.fence(check=False)):
            with suppress(RenewctlError):
                step()
        with suppress(NodeFault):
            json.dumps(observation_json(target.server.observe(NOW)))
        with suppress(NodeFault):
            FileTarget(server, install, settings, _Remote("", printed)).run()

    place = {
        "path": "/etc/mdm/push.pem",
        "there": True,
        "certificate": push.pem.decode(),
        "together": True,
        "refused": False,
    }
    done = {
        "found": [place, {**place, "there": False, "certificate": None, "together": None}],
        "v": 1,
        "run": 3,
        "phase": "idle",
        "places": {},
    }
    return Made(
        take,
        [json.dumps({"done": done, "look": done}).encode()],
        [
            json.dumps({"reason": "node_file_missing", "values": {"path": "/x"}}).encode(),
            json.dumps({"done": [None, None]}).encode(),
            json.dumps({"done": [None, "MAAA"]}).encode(),
        ],
    )


def _reference() -> Made:
    """The files a pair is named by, in a play of anybody's."""
    folder = Path(mkdtemp())
    text, recipient = unseal.new_identity()
    (folder / "identity").write_text(text)
    push = apple_like().push()

    def take(data: bytes) -> None:
        (folder / "push.pem").write_bytes(data)
        (folder / "key.pem").write_bytes(data)
        with suppress(RenewctlError):
            PairReference.from_mapping({"certificate": "push.pem"}, folder)
        (folder / "push.pem").write_bytes(push.pem)
        for key in ({"file": "key.pem"}, {"sealed": "key.pem", "identity": {"file": "identity"}}):
            reference = PairReference.from_mapping({"certificate": "push.pem", "key": key}, folder)
            assert reference is not None
            with suppress(RenewctlError):
                reference.open()

    return Made(take, [push.pem, push.key_pem, keystore.sealed_to([recipient], push.key_pem)[1]])


def _permit() -> Made:
    """The file that tells how long changes may begin."""
    path = Path(mkdtemp()) / "permit"
    path.write_bytes(b"")
    os.environ[worker.PERMIT_FD] = str(os.open(path, os.O_RDONLY))

    def take(data: bytes) -> None:
        path.write_bytes(data)
        worker.require_watched()

    return Made(take, [b"\x00\x00\x00\x00\x00\x00\xf0\x7f"])


def _host_variables() -> Made:
    def take(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        agreement.require_one_answer(
            {"mdm": ["a", "b"]}, {"a": {"renewctl_pair": value}, "b": {"renewctl_pair": value}}
        )

    return Made(take, [json.dumps({"certificate": "push.pem", "key": {"file": "key.pem"}}).encode()])


_COLLECTION = "ansible_collections.renewctl.mdm.plugins"
_UTILS, _PLUGINS = f"{_COLLECTION}.module_utils", f"{_COLLECTION}.plugin_utils"

PARSERS = [
    Parser(
        "node.journal",
        _journal,
        [f"{_UTILS}.pair_files", f"{_UTILS}.pair_journal"],
        (Fault, OSError),
        json=True,
    ),
    Parser(
        "node.pair_on_disk",
        _pair_on_disk,
        [f"{_UTILS}.node_disk", f"{_UTILS}.pair_place", f"{_UTILS}.releases"],
        (Fault, OSError),
        examples=0.5,
    ),
    Parser(
        "node.answers",
        _answers,
        [f"{_PLUGINS}.{one}" for one in ("file_target", "link", "node_program", "results")],
        (RenewctlError,),
        json=True,
    ),
    Parser("node.reference", _reference, [f"{_PLUGINS}.pairs"], (RenewctlError,)),
    Parser("node.permit", _permit, [f"{_PLUGINS}.worker"], (Attention,), examples=0.3),
    Parser(
        "node.host_variables",
        _host_variables,
        [f"{_PLUGINS}.agreement"],
        (RenewctlError,),
        json=True,
        examples=0.5,
    ),
]
