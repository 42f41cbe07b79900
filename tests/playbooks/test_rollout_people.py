"""Real playbook runs over SSH as a user without rights: with sudo, without it, and through a jump host."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from renewctl.playbook_run import NodeResult
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


def test_ssh_or_sudo_that_lets_nobody_in(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port, a key that is not accepted, an unknown user of sudo, no Python: each in its own words."""
    for name, value in ssh.environment.items():
        monkeypatch.setenv(name, value)
    both = placed(mdm, open_folder, 0, 0o600)

    def fence(**variables: object) -> NodeResult:
        node(mdm, both, {**ssh.variables, **variables})
        return mdm.run("fence").results["f1"]

    closed, denied = fence(ansible_port=1), fence(ansible_user="somebody")
    assert closed.outcome == denied.outcome == "unknown"
    assert closed.reason is denied.reason is Reason.NODE_SSH_FAILED
    assert closed.values["got"] == "ssh: connect to host 127.0.0.1 port 1: Connection refused"
    assert closed.values["command"] == f"ssh -p 1 -i {ssh.client_key} {PERSON.name}@127.0.0.1 true"
    assert denied.values["got"] == "somebody@127.0.0.1: Permission denied (publickey)."
    nobody = fence(ansible_become=True, ansible_become_user="nosuch")
    assert (nobody.outcome, nobody.reason) == ("failed", Reason.NODE_STEP_FAILED)
    assert str(nobody.values["got"]).startswith("fence, exit 1: sudo: unknown user")
    snakeless = fence(ansible_python_interpreter="/usr/bin/nopython")
    assert str(snakeless.values["got"]).startswith("fence, exit 127: ")
    assert str(snakeless.values["got"]).endswith("/usr/bin/nopython: not found")


def test_a_password_sudo_asks_for_is_told(
    mdm: World, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can give it one; the step ends at once and says so."""
    with sshd(open_folder / "asking", Person(sudo="ALL=(ALL) ALL")) as asking:
        for name, value in asking.environment.items():
            monkeypatch.setenv(name, value)
        both = placed(mdm, open_folder, 0, 0o600)
        node(mdm, both, {**asking.variables, "ansible_become": True})
        told = mdm.run("fence").results["f1"]
    assert (told.outcome, told.reason) == ("failed", Reason.NODE_STEP_FAILED)
    assert "password" in str(told.values["got"])


def test_a_home_that_nothing_can_be_written_to(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: there is no place for the socket of a shared connection, so none is shared."""
    for name, value in ssh.environment.items():
        monkeypatch.setenv(
            name, value.replace("ControlMaster=no", "ControlMaster=auto -o ControlPersist=60s")
        )
    home = open_folder / "read-only"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)], check=True)
    try:
        monkeypatch.setenv("HOME", str(home))
        both = placed(mdm, open_folder, PERSON.uid, 0o600)
        node(mdm, both, ssh.variables)
        assert mdm.run("rollout").results["f1"].outcome == "proven"
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def through(ssh: Sshd, jump: Sshd, config: Path) -> None:
    """An operator's ssh configuration that knows `jump.invalid`, and `node.invalid` behind it by key and port."""
    config.write_text(
        f"Host node.invalid\n  HostName 127.0.0.1\n  Port {ssh.port}\n"
        f"  UserKnownHostsFile {ssh.known_hosts}\n  IdentityFile {ssh.client_key}\n"
        f"Host jump.invalid\n  HostName 127.0.0.1\n  Port {jump.port}\n"
        f"  UserKnownHostsFile {jump.known_hosts}\n  IdentityFile {jump.client_key}\n"
        f"Host *\n  User {PERSON.name}\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n"
        "  ConnectTimeout 30\n"
    )


def test_through_a_jump_host_with_sudo(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the README says: `-J` in ANSIBLE_SSH_COMMON_ARGS, Ansible's own ssh arguments besides; there and back."""
    both = placed(mdm, open_folder, 0, 0o600)
    with sshd(open_folder / "jump-sudo", PERSON) as jump:
        config = open_folder / "ssh_config_sudo"
        through(ssh, jump, config)
        monkeypatch.delenv("ANSIBLE_SSH_ARGS", raising=False)
        monkeypatch.setenv("ANSIBLE_SSH_COMMON_ARGS", f"-F {config} -J jump.invalid -o ControlPersist=5s")
        variables = {"ansible_host": "node.invalid", "ansible_python_interpreter": "/usr/bin/python3"}
        node(mdm, both, {**variables, "ansible_become": True})
        done = mdm.run("rollout")
        assert (done.exit_code, done.results["f1"].outcome) == (0, "proven")
        assert both.read_bytes() == mdm.new.key.read_bytes() + mdm.new.pem
        assert mdm.run("rollback", renewctl_run=2).results["f1"].outcome == "put_back"
        assert f"Accepted publickey for {PERSON.name}" in jump.log.read_text(errors="replace")
    assert both.read_bytes() == mdm.old.key.read_bytes() + mdm.old.pem


def test_through_a_jump_host_to_files_of_ones_own(
    mdm: World, ssh: Sshd, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own ssh configuration names the way; the user needs no rights but their own."""
    both = placed(mdm, open_folder, PERSON.uid, 0o640)
    with sshd(open_folder / "jump", PERSON) as jump:
        config = open_folder / "ssh_config"
        through(ssh, jump, config)
        with config.open("a") as more:
            more.write("  ControlMaster no\nHost node.invalid\n  ProxyJump jump.invalid\n")
        monkeypatch.setenv("ANSIBLE_SSH_ARGS", f"-F {config}")
        node(mdm, both, {"ansible_host": "node.invalid", "ansible_python_interpreter": "/usr/bin/python3"})
        done = mdm.run("rollout")
        assert (done.exit_code, done.results["f1"].outcome) == (0, "proven")
        assert f"Accepted publickey for {PERSON.name}" in jump.log.read_text(errors="replace")
    assert both.read_bytes() == mdm.new.key.read_bytes() + mdm.new.pem
    about = both.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o640, PERSON.uid)
