"""Real playbook runs over a link that is cut and says nothing: they end, and the node has one pair or the other."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from renewctl.reasons import Reason
from tests.support.cable import Cable, cable
from tests.support.playbook_world import World
from tests.support.sandbox_parts import eventually
from tests.support.sshd import HOST, Sshd, sshd

pytestmark = pytest.mark.slow

NOTICED = 45.0
"""Seconds until a run has ended whose link was cut; ssh needs 20 of them."""


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for the module."""
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


class Node:
    """A file node at the other end of a cable."""

    def __init__(self, mdm: World, ssh: Sshd, laid: Cable) -> None:
        self.mdm, self.cable, folder = mdm, laid, mdm.folder / "f1"
        folder.mkdir()
        self.certificate, self.key = folder / "push.pem", folder / "push.key"
        self.certificate.write_bytes(mdm.old.pem)
        self.key.write_bytes(mdm.old.key.read_bytes())
        self.reloading, self.reload = folder / "reloading", folder / "reload"
        self.cut_at = 0.0
        waits = f"for _ in $(seq 200); do test -e {folder}/cut && break; sleep 0.1; done"
        self.reload.write_text(f"#!/bin/sh\ntouch {self.reloading}\n{waits}\n")
        self.reload.chmod(0o755)
        self.journal = folder / ".renewctl" / "push.pem" / "state.json"
        known = mdm.folder / "known_hosts"
        known.write_text(ssh.known_hosts.read_text().replace(f":{ssh.port} ", f":{laid.port} "))
        self.options = (
            f"-F none -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        )
        self.variables = {**ssh.variables, "ansible_port": laid.port}
        self.install = {
            "paths": {"certificate": str(self.certificate), "key": str(self.key)},
            "variables": self.variables,
        }
        mdm.hosts["f1"] = {"renewctl_node": {"name": "f1", "product": "files", "install": self.install}}

    def reloads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its consumer is told; the cable is cut while that happens."""
        allowed = self.mdm.folder / "allowed"
        allowed.write_text(f"{self.reload}\n")
        monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(allowed))
        self.install["reload"] = [str(self.reload)]

        def cut() -> None:
            eventually(self.reloading.exists, seconds=240)
            self.cable.cut()
            self.cut_at = time.monotonic()
            (self.reload.parent / "cut").touch()

        threading.Thread(target=cut, daemon=True).start()

    def settled(self) -> str:
        """Once its own program has ended: which pair it has."""
        eventually(lambda: json.loads(self.journal.read_text())["phase"] != "switching")
        read = self.certificate.read_bytes(), self.key.read_bytes()
        pairs = {"old": self.mdm.old, "new": self.mdm.new}
        return next(name for name, pair in pairs.items() if read == (pair.pem, pair.key.read_bytes()))


@pytest.fixture
def node(mdm: World, ssh: Sshd) -> Iterator[Node]:
    """Well, until the test says otherwise."""
    with cable(ssh.port) as laid:
        yield Node(mdm, ssh, laid)


def test_renewctl_ends_whatever_ssh_arguments_people_have(
    mdm: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut during the reload: unknown, with the command to try; the next run reads the node back."""
    monkeypatch.setenv("ANSIBLE_SSH_ARGS", f"{node.options} -o ControlMaster=no")
    node.reloads(monkeypatch)
    ended = mdm.run("rollout")
    assert time.monotonic() - node.cut_at < NOTICED
    told = ended.results["f1"]
    assert (told.outcome, told.reason) == ("unknown", Reason.NODE_SSH_FAILED)
    key = node.variables["ansible_ssh_private_key_file"]
    assert told.values["command"] == f"ssh -p {node.cable.port} -i {key} root@{HOST} true"
    assert node.settled() == "new"
    node.cable.lay_anew()
    assert mdm.run("rollout", renewctl_run=2).results["f1"].outcome == "unchanged"


def test_the_playbooks_alone_end_too(mdm: World, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ansible-playbook`, with Ansible's own ssh arguments: unreachable, nobody after it is touched; then it goes on."""
    node.reloads(monkeypatch)
    mdm.hosts["f1"].update(node.variables)
    command = mdm.typed_by_hand("rollout")
    environment = {**os.environ, "ANSIBLE_SSH_COMMON_ARGS": node.options}
    cut = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert time.monotonic() - node.cut_at < NOTICED
    assert cut.returncode == 4, cut.stdout
    assert "f1]: UNREACHABLE" in cut.stdout
    assert node.settled() == "new"
    node.cable.lay_anew()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_a_shared_connection_that_hides_the_cut(
    mdm: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before by somebody's own ssh, which waits for ever: our time limit ends the step, and drops it."""
    shared = f"{node.options} -o ControlMaster=auto -o ControlPath={mdm.folder / 'm'}"
    monkeypatch.setenv("ANSIBLE_SSH_ARGS", f"{shared} -o ControlPersist=60s")
    key = str(node.variables["ansible_ssh_private_key_file"])
    words = [*shared.split(), "-i", key, "-p", str(node.cable.port), f"root@{HOST}"]
    master = subprocess.Popen(["ssh", "-N", *words])
    try:
        eventually((mdm.folder / "m").exists)
        node.cable.cut()
        ended = mdm.run("fence")
        told = ended.results["f1"]
        assert (told.outcome, told.reason) == ("unknown", Reason.NODE_SSH_FAILED)
        assert told.values["got"] == "no answer within 55 s"
        assert not node.journal.exists()
        node.cable.lay_anew()
        assert mdm.run("rollout").results["f1"].outcome == "proven"
        assert node.settled() == "new"
    finally:
        master.kill()
        master.wait()
        subprocess.run(["ssh", "-O", "exit", *words], check=False, capture_output=True)
