"""A real sshd on loopback: its own host key, its own client key, a free port, ended by its process id.

::

    with sshd(tmp_path) as node:
        node.variables       # ansible_host, ansible_port, ansible_user, ansible_ssh_private_key_file
        node.environment     # ANSIBLE_SSH_ARGS with the known host key, for the controller

`sshd(folder, person=Person())` knows a user without rights, who may use sudo. Only this sshd and what it starts see
such a user: it runs in a mount namespace with account files of its own.

Needs `/usr/sbin/sshd` and `ssh-keygen` (apt: openssh-server), and root, as in CI.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Sshd:
    """A running sshd.

    Attributes:
        variables: Ansible's connection variables.
        environment: what the controller's environment needs besides.
        pid: of the listening process.
    """

    port: int
    client_key: Path
    known_hosts: Path
    pid: int

    user: str
    log: Path

    @property
    def variables(self) -> dict[str, str | int]:
        """Connection variables, as an inventory writes them."""
        return {
            "ansible_host": HOST,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.client_key),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    @property
    def environment(self) -> dict[str, str]:
        """The host key is known and checked; no shared connection outlives the test."""
        return {
            "ANSIBLE_SSH_ARGS": f"-F none -o ControlMaster=no -o UserKnownHostsFile={self.known_hosts} "
            "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o ConnectTimeout=5"
        }


@dataclass(frozen=True)
class Person:
    """A user without rights.

    Attributes:
        uid: user and group number; nobody else's.
        sudo: what the line in sudoers grants.
    """

    name: str = "mdmop"
    uid: int = 47_110
    sudo: str = "ALL=(ALL) NOPASSWD: ALL"

    def namespace(self, folder: Path) -> list[str]:
        """Command line before another one, which then sees this user; account files are made in `folder`."""
        home = folder / "home"
        home.mkdir()
        os.chown(home, self.uid, self.uid)
        lines = {
            "passwd": f"{self.name}:x:{self.uid}:{self.uid}::{home}:/bin/sh\n",
            "group": f"{self.name}:x:{self.uid}:\n",
            "shadow": f"{self.name}:*:19000:0:99999:7:::\n",
        }
        for name, line in lines.items():
            copy = folder / name
            copy.write_bytes(Path("/etc", name).read_bytes() + line.encode())
            copy.chmod(0o600 if name == "shadow" else 0o644)
        rights = folder / "sudoers.d"
        rights.mkdir()
        (rights / "test").write_text(f"{self.name} {self.sudo}\n")
        (rights / "test").chmod(0o440)
        binds = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in (*lines, "sudoers.d"))
        return ["unshare", "--mount", "/bin/sh", "-c", f'{binds} && exec "$@"', "sh"]


@contextmanager
def sshd(folder: Path, person: Person | None = None) -> Iterator[Sshd]:
    """Start one; stop it at the end, whatever happened."""
    Path("/run/sshd").mkdir(
        exist_ok=True
    )  # privilege separation; a package start-up script makes it elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    host_key, client_key = _key(folder / "host_key"), _key(folder / "client_key")
    (folder / "authorized_keys").write_bytes(client_key.with_suffix(".pub").read_bytes())
    port = free_port()
    public = host_key.with_suffix(".pub").read_text().split()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[{HOST}]:{port} {public[0]} {public[1]}\n")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {HOST}\nPort {port}\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f"Subsystem sftp internal-sftp\nMaxStartups 100\nLogLevel {'ERROR' if person is None else 'VERBOSE'}\n"
    )
    before = [] if person is None else person.namespace(folder)
    user = getpass.getuser() if person is None else person.name
    with (folder / "log").open("wb") as log, _running(config, port, log, before) as process:
        yield Sshd(port, client_key, known_hosts, process.pid, user, folder / "log")


@contextmanager
def _running(config: Path, port: int, log: object, before: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    # sshd re-executes itself, so it wants its absolute path.
    process = subprocess.Popen(
        [*before, "/usr/sbin/sshd", "-D", "-e", "-f", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=log,  # type: ignore[call-overload]
        stderr=log,
    )
    try:
        _wait(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, "sshd ended"
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.02)
        else:
            return


def _key(path: Path) -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", os.fspath(path)], check=True
    )
    return path
