"""Nodes of the crash world: what each really holds, read from its own disk or storage."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from renewctl.sandbox.authority import Issued
from tests.crash.netns import Machine
from tests.support import scripted_nanomdm
from tests.support.scripted_nanomdm import Script

MIXED, MISSING, FOREIGN = "mixed", "missing", "foreign"
_INFO = PublicFormat.SubjectPublicKeyInfo
_SSH_SECONDS = 30.0
_ORPHAN_SECONDS = 90.0

_RELOAD = """#!/bin/sh
# What a consumer does: it reads the pair, certificate first. It tells which one, and may take its time.
cd {folder} || exit 1
cat push.pem push.key > consumed.$$ && mv consumed.$$ consumed-$(date +%s%N)
echo began >> reloads
sleep "$(cat slow 2>/dev/null || echo 0)"
echo ended >> reloads
"""

# Holds back one step that switches while `hold` is there: an order that was sent long ago and arrives late.
_PYTHON = """#!/bin/sh
cd {folder} || exit 1
cat > order.$$
if [ -e hold ] && grep -q '"op": "switch"' order.$$ && mkdir held 2>/dev/null; then
    while [ -e hold ]; do sleep 0.05; done
fi
/usr/bin/python3 "$@" < order.$$ > answer.$$
code=$?
cat answer.$$
rm order.$$
exit $code
"""


def pair_of(certificate: bytes, key: bytes, names: Mapping[int, str]) -> str:
    """Which pair this is, by `names` (serial -> name); `mixed` where key and certificate do not belong together."""
    if not certificate or not key:
        return MISSING
    found = x509.load_pem_x509_certificate(certificate)
    private = load_pem_private_key(key, None)
    ours, theirs = (
        public.public_bytes(Encoding.DER, _INFO) for public in (private.public_key(), found.public_key())
    )
    return names.get(found.serial_number, FOREIGN) if ours == theirs else MIXED


@dataclass
class ApiNode:
    """A NanoMDM-like server that listens in its own namespace.

    Attributes:
        server: its log, its storage, its faults.
        puts: how far each PUT came: `taken`, `stored`, `answered`.
    """

    name: str
    machine: Machine
    server: scripted_nanomdm.Node
    topic: str
    puts: list[str] = field(default_factory=list)

    def entry(self, folder: Path) -> dict[str, Any]:
        """This node as an inventory writes it."""
        return self.server.mapping(self.name, folder, insecure_http=True)

    def give(self, pair: Issued) -> None:
        """As on the day before: this pair, no faults, an empty log."""
        self.behave()
        self.puts.clear()
        self.server.requests.clear()
        self.server.arrivals.clear()
        scripted_nanomdm.install(self.server.store, self.topic, pair.certificate_pem, pair.key_pem)

    def holds(self, names: Mapping[int, str]) -> str:
        """What its storage holds."""
        rows = scripted_nanomdm.ask(self.server.store, "SELECT cert_pem, key_pem FROM push_certs")
        return pair_of(rows[0][0].encode(), rows[0][1].encode(), names)

    def behave(self, **faults: Any) -> None:
        """With these faults (`Script`), and none else."""
        self.server.script = Script(**{"on_put": self.puts.append, **faults})

    def settle(self) -> None:
        """Wait until it has answered what it took, whoever still listens."""
        ends = time.monotonic() + _ORPHAN_SECONDS
        while self.puts.count("taken") != self.puts.count("answered"):
            if time.monotonic() > ends:
                raise AssertionError(f"{self.name}: never answered: {self.puts}")
            time.sleep(0.05)


@dataclass
class FileNode:
    """A machine with sshd and two files.

    Attributes:
        folder: its disk.
        ssh: Ansible's connection variables.
    """

    name: str
    machine: Machine
    folder: Path
    ssh: Mapping[str, Any] = field(default_factory=dict)

    @property
    def certificate(self) -> Path:
        """What the consumer reads."""
        return self.folder / "push.pem"

    @property
    def key(self) -> Path:
        """And its key."""
        return self.folder / "push.key"

    @property
    def reload(self) -> Path:
        """The consumer's reload program."""
        return self.folder / "reload"

    @property
    def python(self) -> Path:
        """The node's Python, which can be told to hold an order back."""
        return self.folder / "python"

    def entry(self, _folder: Path) -> dict[str, Any]:
        """This node as an inventory writes it."""
        install = {
            "paths": {"certificate": str(self.certificate), "key": str(self.key)},
            "reload": [str(self.reload)],
            "variables": dict(self.ssh),
        }
        return {"name": self.name, "product": "files", "install": install}

    def give(self, pair: Issued) -> None:
        """As on the day before: two plain files, and nothing of ours beside them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.give_files(pair.certificate_pem, pair.key_pem)

    def give_files(self, certificate: bytes, key: bytes) -> None:
        """Two files, the consumer, and a Python that may be held back."""
        self.certificate.write_bytes(certificate)
        self.key.touch(mode=0o600)
        self.key.write_bytes(key)
        for path, text in ((self.reload, _RELOAD), (self.python, _PYTHON)):
            path.write_text(text.format(folder=self.folder))
            path.chmod(0o755)

    def slow(self, seconds: float) -> None:
        """The next reloads take so long."""
        (self.folder / "slow").write_text(f"{seconds}\n")

    def reloads(self, word: str) -> int:
        """How many reloads `began`, or `ended`."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "reloads").read_text().split().count(word)
        return 0

    def holds(self, names: Mapping[int, str]) -> str:
        """What the files hold; and `mixed` where a consumer was ever handed a mixed pair."""
        for path in self.folder.glob("consumed-*"):
            blob = path.read_bytes()
            split = blob.index(b"-----END CERTIFICATE-----") + 26
            if pair_of(blob[:split], blob[split:], names) in {MIXED, MISSING, FOREIGN}:
                return MIXED
        while True:
            before = self._current()
            seen = (_bytes(self.certificate), _bytes(self.key))
            if before == self._current():
                return pair_of(*seen, names)

    def run(self) -> tuple[int, str]:
        """Number and token of the run it carries; 0 where there is none."""
        with contextlib.suppress(FileNotFoundError):
            known = json.loads((self._home / "state.json").read_text())
            return int(known["run"]), str(known["token"])
        return 0, ""

    def refuses(self, run: int, token: str, pair: Issued) -> bool:
        """Whether a late order of that run is refused: to switch, and to go back."""
        files = PairFiles([{"certificate": str(self.certificate), "key": str(self.key)}])
        for late in (
            lambda: files.switch(run, token, pair.certificate_pem, {"key.pem": pair.key_pem}),
            lambda: files.revert(run, token, "00" * 32),
            lambda: files.fence(run, token),
        ):
            try:
                late()
            except Fault as fault:
                if fault.reason == "run_superseded":
                    continue
            return False
        return True

    def settle(self) -> None:
        """Wait until nothing but sshd runs on this machine: orphans go on to their end."""
        ends = time.monotonic() + _ORPHAN_SECONDS
        while orphans := {p: n for p, n in self.machine.processes().items() if not n.startswith("sshd")}:
            if time.monotonic() > ends:
                raise AssertionError(f"{self.name}: still at work: {orphans}")
            time.sleep(0.05)

    @property
    def _home(self) -> Path:
        """What the collection keeps on the node."""
        return self.folder / ".renewctl" / self.certificate.name

    def _current(self) -> str:
        with contextlib.suppress(OSError):
            return str((self._home / "current").readlink())
        return ""


def _bytes(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


@dataclass(frozen=True)
class Keys:
    """One host key, one client key, for all machines of a world."""

    folder: Path

    @property
    def arguments(self) -> str:
        """What ssh needs: hosts are known and checked. A cut cable is for the collection itself to notice."""
        return (
            f"-F none -o UserKnownHostsFile={self.folder / 'known_hosts'} -o StrictHostKeyChecking=yes"
            " -o IdentitiesOnly=yes -o ConnectTimeout=10 -o ControlMaster=auto -o ControlPersist=60s"
        )

    def variables(self, machine: Machine, python: Path) -> dict[str, str]:
        """Ansible's connection variables."""
        return {
            "ansible_host": machine.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "client"),
            "ansible_python_interpreter": str(python),
        }

    @classmethod
    def make(cls, folder: Path, machines: list[Machine]) -> Keys:
        """Make both, and know every machine."""
        folder.mkdir()
        for name in ("host", "client"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        public = " ".join((folder / "host.pub").read_text().split()[:2])
        lines = [f"{machine.address} {public}\n" for machine in machines]
        (folder / "known_hosts").write_text("".join(lines))
        return cls(folder)


@contextmanager
def sshd(machine: Machine, keys: Keys) -> Iterator[None]:
    """A real sshd on a machine; it ends with the block, and with us."""
    Path("/run/sshd").mkdir(exist_ok=True)  # a package's start-up script makes it elsewhere
    config = keys.folder / f"{machine.name}.conf"
    config.write_text(
        f"ListenAddress {machine.address}\nHostKey {keys.folder / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {keys.folder / 'client.pub'}\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\nLogLevel ERROR\n"
    )
    command = ["setpriv", "--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    with (keys.folder / f"{machine.name}.log").open("wb") as log:
        process = subprocess.Popen([*machine.exec, *command], stdin=subprocess.DEVNULL, stderr=log)
    try:
        ends = time.monotonic() + _SSH_SECONDS
        while b":0016 " not in Path(f"/proc/{process.pid}/net/tcp").read_bytes():
            assert process.poll() is None, "sshd ended"
            assert time.monotonic() < ends, "sshd does not listen"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)
