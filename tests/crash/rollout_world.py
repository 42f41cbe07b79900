"""A world to kill roll-outs in: a controller, nodes of both kinds, a push service; and a renewal that is accepted.

The controller's commands run in its namespace, everything it reaches lies behind a cable. What is set up once is
kept: `reset` brings back the day before the roll-out.
"""

from __future__ import annotations

import base64
import json
import os
import plistlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from renewctl.certificate.pushcert import PushCertificate
from renewctl.keys.unseal import new_identity
from renewctl.sandbox import launch
from renewctl.sandbox.authority import Apple, Issued, new_topic
from renewctl.sandbox.children import port_of
from renewctl.sandbox.stage import write_pki
from tests.crash.command import Command
from tests.crash.netns import Machine, Network, network
from tests.crash.rollout_nodes import ApiNode, FileNode, Keys, sshd
from tests.support.sandbox_parts import READY_SECONDS, in_days, now
from tests.support.scripted_nanomdm import new_store, running

API, FILES = ("api-1", "api-2", "api-3"), ("file-1", "file-2")
"""Two with an API in one wave are asked by one worker."""

ROOT = Path(__file__).parents[2]
WAVES = "1,100%"
QUICK = ("--canaries", "1", "--check-in-timeout", "5", "--waves", WAVES)
_LONGEST = 300.0

Node = ApiNode | FileNode


@dataclass
class World:
    """All of it.

    Attributes:
        home: the operator's folder: inventory, store, keys.
        names: serial number -> which pair it is of.
    """

    folder: Path
    net: Network
    topic: str
    old: Issued
    apns: Mapping[str, str]
    nodes: dict[str, Node]
    keys: Keys
    names: dict[int, str]

    @property
    def home(self) -> Path:
        """Where the operator works."""
        return self.folder / "home"

    @property
    def apis(self) -> list[ApiNode]:
        """The nodes that cannot be fenced."""
        return [node for node in self.nodes.values() if isinstance(node, ApiNode)]

    @property
    def files(self) -> list[FileNode]:
        """The nodes that can."""
        return [node for node in self.nodes.values() if isinstance(node, FileNode)]

    @property
    def environment(self) -> dict[str, str]:
        """What a controller's command gets."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "NO_PROXY": "*",
            "PYTHONPATH": str(ROOT),
            "RENEWCTL_ALLOWED_COMMANDS": str(self.folder / "allowed"),
            "ANSIBLE_SSH_ARGS": self.keys.arguments,
        }

    def start(self, *words: str) -> Command:
        """`renewctl WORDS`, in the controller's namespace, in a process group of its own."""
        command = [*self.net.controller.exec, sys.executable, "-m", "tests.crash.quick", *words]
        return Command(command, self.home, self.environment)

    def told(self, *words: str) -> tuple[int, dict[str, Any]]:
        """One command to its end: exit code and document."""
        command = self.start(*words, "--json")
        code = command.wait(_LONGEST)
        assert "Traceback" not in command.talk, command.talk
        return code, json.loads(command.out)

    def roll_out(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The roll-out, undisturbed."""
        return self.told("renewal", "roll-out", *QUICK, *words)

    def holds(self) -> dict[str, str]:
        """Node -> the pair it holds now."""
        return {name: node.holds(self.names) for name, node in self.nodes.items()}

    def settle(self) -> dict[str, str]:
        """After every orphan has ended: node -> the pair it holds."""
        for node in self.nodes.values():
            node.settle()
        return self.holds()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and body of what the store says, from the roll-out on."""
        with closing(sqlite3.connect(self.home / "state" / "renewctl.db")) as store:
            rows = store.execute("SELECT kind, body FROM events WHERE renewal = 'tokyo-1' ORDER BY seq")
            told = [(str(kind), dict(json.loads(body))) for kind, body in rows]
        kinds = [kind for kind, _ in told]
        return told[kinds.index("accepted") + 1 :]

    def reset(self) -> None:
        """The day before the roll-out, everywhere."""
        for node in self.nodes.values():
            node.machine.mend()
            node.give(self.old)
        for path in (self.home / "state", self.folder / "tmp"):
            shutil.rmtree(path, ignore_errors=True)
        (self.folder / "tmp").mkdir()
        shutil.copytree(self.folder / "saved", self.home / "state")

    def plain(self, playbook: str) -> tuple[str, ...]:
        """The words of `ansible-playbook renewctl.mdm.PLAYBOOK`, on an inventory nobody but a person wrote."""
        hosts: dict[str, dict[str, Any]] = {}
        for node in self.nodes.values():
            entry = node.entry(self.home)
            variables = entry.get("install", {}).get("variables") or {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            }
            hosts[node.name] = {**variables, "renewctl_node": entry}
        (self.home / "hosts.yml").write_text(json.dumps({"mdm": {"hosts": hosts}}))
        new, old = self.home / "new", self.home / "old"
        variables = {
            "renewctl_topic": self.topic,
            "renewctl_apns": dict(self.apns),
            "renewctl_pair": {"certificate": f"{new}.pem", "key": {"file": f"{new}.key"}},
            "renewctl_previous": {"certificate": f"{old}.pem", "key": {"file": f"{old}.key"}},
            "renewctl_waves": [1, "100%"],
            "renewctl_check_in_timeout": 5,
            "renewctl_canaries": 1,
        }
        (self.home / "variables.yml").write_text(json.dumps(variables))
        return (f"renewctl.mdm.{playbook}", "-i", "hosts.yml", "-e", "@variables.yml")

    def start_plain(self, playbook: str = "rollout") -> Command:
        """The playbook alone, as a person starts it."""
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [*self.net.controller.exec, str(program), *self.plain(playbook)]
        return Command(command, self.home, self.environment, talks_on_stdout=True)


@contextmanager
def world() -> Iterator[World]:
    """Bring it up and take it down, whatever happened."""
    with ExitStack() as stack:
        # A short name: ssh's sockets lie below it, and their names have a limit.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rk")))
        net = stack.enter_context(network(len(API) + len(FILES)))
        for name in ("home", "tmp", "logs"):
            (folder / name).mkdir()
        apple = write_pki(folder / "pki", now())
        topic = new_topic()
        old = apple.push_pair(topic, ends=in_days(42.5))
        old.write(folder / "home", "old")
        apns = {
            "url": stack.enter_context(_push_service(folder, net.controller)),
            "ca_file": str(folder / "pki" / "web-root.pem"),
        }
        keys = Keys.make(folder / "ssh", [*net.nodes])
        nodes = _nodes(stack, folder, net, topic, old, keys)
        built = World(folder, net, topic, old, apns, nodes, keys, {old.certificate.serial_number: "old"})
        _accepted(built, apple)
        built.reset()
        yield built


@contextmanager
def _push_service(folder: Path, controller: Machine) -> Iterator[str]:
    pushes, courier = controller.listen(), controller.listen()
    port = port_of(pushes)
    child = launch.push_service(folder / "pki", folder / "logs", pushes, courier)
    try:
        child.wait_ready(READY_SECONDS)
        yield f"https://127.0.0.1:{port}"
    finally:
        child.stop()


def _nodes(
    stack: ExitStack, folder: Path, net: Network, topic: str, old: Issued, keys: Keys
) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for name, machine in zip(API, net.nodes, strict=False):
        store = new_store(folder / f"{name}.sqlite", topic, old.certificate_pem)
        server = stack.enter_context(running(store, listener=machine.listen()))
        nodes[name] = ApiNode(name, machine, server, topic)
    for name, machine in zip(FILES, net.nodes[len(API) :], strict=True):
        stack.enter_context(sshd(machine, keys))
        node = FileNode(name, machine, folder / name)
        node.ssh = keys.variables(machine, node.python)
        nodes[name] = node
    (folder / "allowed").write_text("".join(f"{folder / name / 'reload'}\n" for name in FILES))
    return nodes


def _accepted(built: World, apple: Apple) -> None:
    """Everything up to the roll-out, by the real commands; Apple's part is done here."""
    home = built.home
    _inventory(built, apple)
    for node in built.nodes.values():
        node.give(built.old)
    steps: list[tuple[int, Sequence[str]]] = [
        (0, ("init", "--existing")),
        (0, ("adopt", "--certificate", "old.pem", "--key", "old.key")),
        (0, ("renewal", "open")),
        (3, ("renewal", "request", "--out", "request.plist")),
    ]
    for expected, words in steps:
        code, told = built.told(*words)
        assert code == expected, (words, told)
    request = plistlib.loads(base64.b64decode((home / "request.plist").read_bytes()))
    csr = x509.load_der_x509_csr(base64.b64decode(request["PushCertRequestCSR"]))
    public = csr.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    new = Issued(apple.push_certificate(public, built.topic, ends=in_days(365)), built.old.key)
    (home / "new.pem").write_bytes(new.certificate_pem)
    code, told = built.told("renewal", "accept", "new.pem")
    assert code == 0, told
    built.names[new.certificate.serial_number] = "new"
    _opened(built)
    shutil.copytree(home / "state", built.folder / "saved")


def _opened(built: World) -> None:
    """The new key in a file as well, opened by `age -d`, for the playbooks alone."""
    new = PushCertificate.from_pem((built.home / "new.pem").read_bytes())
    sealed = built.home / "keys" / f"{new.key_fingerprint}.age"
    command = ["age", "-d", "-i", str(built.home / "identity.txt"), str(sealed)]
    key = built.home / "new.key"
    key.touch(mode=0o600)
    key.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)


def _inventory(built: World, apple: Apple) -> None:
    pki, home = built.folder / "pki", built.home
    certificate, key = apple.vendor("Example Corp", ends=in_days(200)).write(home, "vendor")
    key.chmod(0o600)
    identity, recipient = new_identity()
    (home / "identity.txt").touch(mode=0o600)
    (home / "identity.txt").write_text(identity + "\n")
    document = {
        "version": 1,
        "store": "sqlite:///state/renewctl.db",
        "keys": {"folder": "keys", "recipients": [recipient], "identity": {"file": "identity.txt"}},
        "apns": dict(built.apns),
        "vendor": {
            "certificate": str(certificate),
            "chain": [str(pki / "apple-wwdr.pem"), str(pki / "apple-root.pem")],
            "key": {"file": str(key)},
        },
        "trust": [str(pki / "apple-aai2.pem")],
        "topics": [
            {
                "id": "tokyo",
                "topic": built.topic,
                "name": "Tokyo office",
                "account": {"alias": "tokyo-push", "address": "apple-push@tokyo.example"},
                "zone": "Asia/Tokyo",
            }
        ],
        "nodes": [node.entry(home) for node in built.nodes.values()],
    }
    (home / "renewctl.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
