"""Real playbook runs over SSH as a user without rights: with sudo, without it, and through a jump host."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from renewctl.reasons import Reason
from tests.support.playbook_world import World
from tests.support.sshd import Person, Sshd, sshd

pytestmark = pytest.mark.slow
PERSON = Person()


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """Where a user without rights may go; pytest's own folders are root's alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def ssh(open_folder: Path) -> Iterator[Sshd]:
    """An sshd that knows such a user."""
    with sshd(open_folder / "node", PERSON) as running:
        yield running


def placed(mdm: World, folder: Path, owner: int, mode: int) -> Path:
    """A folder with the old pair in one PEM file, all of one owner."""
    place = folder / mdm.folder.name
    place.mkdir()
    both = place / "push.pem"
    both.write_bytes(mdm.old.key.read_bytes() + mdm.old.pem)
    both.chmod(mode)
    for path in (place, both):
        os.chown(path, owner, owner)
    return both


def node(mdm: World, both: Path, variables: dict[str, Any]) -> None:
    """A node of files, over SSH."""
    install = {"paths": [{"pem": str(both)}], "variables": variables}
    mdm.hosts["f1"] = {"renewctl_node": {"name": "f1", "product": "files", "install": install}}


def test_a_user_without_rights_needs_sudo_for_what_is_not_theirs(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a refusal that says what is missing, and nothing changed; with it there and back, owner kept."""
    for name, value in ssh.environment.items():
        monkeypatch.setenv(name, value)
    both = placed(mdm, open_folder, 0, 0o600)
    os.chown(both, 0, 47_111)
    node(mdm, both, ssh.variables)
    refused = mdm.run("fence").results["f1"]
    assert (refused.reason, refused.values["got"]) == (Reason.NODE_WRITE_FAILED, "EACCES")
    assert list(both.parent.iterdir()) == [both]

    node(mdm, both, {**ssh.variables, "ansible_become": True})
    done = mdm.run("rollout", renewctl_run=2)
    assert (done.exit_code, done.results["f1"].outcome) == (0, "proven")
    assert both.read_bytes() == mdm.new.key.read_bytes() + mdm.new.pem
    about = both.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (0o600, 0, 47_111)
    assert mdm.run("rollback", renewctl_run=3).results["f1"].outcome == "put_back"
    assert both.read_bytes() == mdm.old.key.read_bytes() + mdm.old.pem


def test_through_a_jump_host_to_files_of_ones_own(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own ssh configuration names the way; the user needs no rights but their own."""
    both = placed(mdm, open_folder, PERSON.uid, 0o640)
    with sshd(open_folder / "jump", PERSON) as jump:
        config = open_folder / "ssh_config"
        config.write_text(
            f"Host node.invalid\n  HostName 127.0.0.1\n  Port {ssh.port}\n  ProxyJump jump.invalid\n"
            f"  UserKnownHostsFile {ssh.known_hosts}\n  IdentityFile {ssh.client_key}\n"
            f"Host jump.invalid\n  HostName 127.0.0.1\n  Port {jump.port}\n"
            f"  UserKnownHostsFile {jump.known_hosts}\n  IdentityFile {jump.client_key}\n"
            f"Host *\n  User {PERSON.name}\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n"
            "  ConnectTimeout 30\n  ControlMaster no\n"
        )
        monkeypatch.setenv("ANSIBLE_SSH_ARGS", f"-F {config}")
        node(mdm, both, {"ansible_host": "node.invalid", "ansible_python_interpreter": "/usr/bin/python3"})
        done = mdm.run("rollout")
        assert (done.exit_code, done.results["f1"].outcome) == (0, "proven")
        assert f"Accepted publickey for {PERSON.name}" in jump.log.read_text(errors="replace")
    assert both.read_bytes() == mdm.new.key.read_bytes() + mdm.new.pem
    about = both.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o640, PERSON.uid)
