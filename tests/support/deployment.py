"""The exporter's wheel in several versions, the libraries it needs as files, and its playbook run against a host.

Hosts get no network for packages: pip is told to take everything from one folder. The folder is filled once and
kept in `.cache/exporter-wheels`, by the very file of hashes that the role installs from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.host import ROOT, Host
from tests.support.ports import free_port

ROLE = ROOT / "playbooks" / "collections" / "ansible_collections" / "renewctl" / "mdm" / "roles" / "exporter"
REQUIREMENTS = ROLE / "files" / "requirements.txt"
WHEELS = ROOT / ".cache" / "exporter-wheels"
HOME = "/opt/renewctl-exporter"
PIP_CONF = "[global]\nno-index = true\nfind-links = /srv/wheels\n[install]\nno-compile = true\n"
"""Compiling would be most of the time an installation takes, and proves nothing."""

NEVER_READY = (
    "\n\ndef run(*_given: object, **_named: object) -> None:\n    import time\n    time.sleep(3600)\n"
)
"""Appended to `exporter/running.py`: takes its inventory, then answers nobody."""


def libraries() -> Path:
    """A folder with every library the exporter needs, for Debian's Python; downloaded once."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    stamp, wanted = WHEELS / "stamp", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    with (WHEELS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _run("/usr/bin/python3", "-m", "venv", str(WHEELS / "downloader"))
            _run(
                *(str(WHEELS / "downloader" / "bin" / "pip"), "download", "--quiet", "--require-hashes"),
                *("--only-binary", ":all:", "--dest", str(WHEELS), "--requirement", str(REQUIREMENTS)),
            )
            stamp.write_text(wanted)
    return WHEELS


def wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    [built] = folder.glob("renewctl-*.whl")
    return built


def another(built: Path, version: str, folder: Path, **more: str) -> Path:
    """The same wheel called another version.

    Args:
        more: module of `exporter` -> code to put at its end.
    """
    old = built.name.split("-")[1]
    path = folder / built.name.replace(f"-{old}-", f"-{version}-")
    with zipfile.ZipFile(built) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(("METADATA", "RECORD", "renewctl/__init__.py")):
                content = content.replace(old.encode(), version.encode())
            if name.startswith("exporter/"):
                content += more.get(Path(name).stem, "").encode()
            made.writestr(name.replace(f"renewctl-{old}.dist-info", f"renewctl-{version}.dist-info"), content)
    return path


def free_address() -> str:
    """A loopback address nobody listens on."""
    return f"127.0.0.1:{free_port()}"


@dataclass
class Played:
    """How a run of the playbook ended."""

    code: int
    text: str

    @property
    def changed(self) -> int:
        """Tasks that changed something."""
        return int(re.search(r"changed=(\d+)", self.text)[1])  # type: ignore[index]


@dataclass
class Site:
    """One monitoring host, and what its inventory says of it."""

    folder: Path
    host: Host
    address: str
    variables: dict[str, Any] = field(default_factory=dict)

    def play(self, *flags: str, code: int = 0, **more: object) -> Played:
        """Run the playbook, as a person would."""
        hosts = {"mon1": {**self.host.variables, "exporter_listen": [self.address], **self.variables, **more}}
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"monitoring": {"hosts": hosts}}))
        words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), *flags]
        done = subprocess.run(
            [*words, str(ROOT / "playbooks" / "exporter.yml")],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        played = Played(done.returncode, done.stdout + done.stderr)
        assert played.code == code, played.text
        return played

    def keep(self) -> None:
        """Put what the playbook made into a file of the shared folder /srv/kept."""
        self.host.run("tar", "--create", "--file=/srv/kept/host.tar", *_MADE)

    def restore(self) -> None:
        """The same on another host, and started."""
        self.host.run("tar", "--extract", "--directory=/", "--file=/srv/kept/host.tar")
        self.host.run("systemctl", "daemon-reload")
        self.host.run("systemctl", "start", "renewctl-exporter.service", "renewctl-exporter-shown.timer")

    def forget(self) -> None:
        """The same as on a host that never had an exporter, but for the environment and the account."""
        self.host.run(
            "systemctl", "disable", "--now", "renewctl-exporter.service", "renewctl-exporter-shown.timer"
        )
        self.host.run(
            "sh", "-c", f"rm -r {HOME}/current {HOME}/releases /etc/systemd/system/renewctl-exporter*"
        )
        self.host.run("systemctl", "daemon-reload")

    def belongings(self) -> set[str]:
        """Every file and folder a playbook could have left on the host, accounts, and what systemd remembers as failed.

        Without what a running exporter keeps in its own folder, and when.
        """
        found = self.host.run("find", "/opt", "/etc", "/var/lib", "/home", "-not", "-name", "*-")
        accounts = self.host.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
        failed = self.host.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "renewctl-*")
        kept = {line for line in found.splitlines() if not line.startswith("/var/lib/renewctl-exporter/")}
        return {*kept, *accounts.splitlines(), *failed.splitlines()}

    def environment(self) -> Path:
        """The environment of the release in use, as seen from here."""
        link = self.host.path(f"{HOME}/releases/{self.release()}/environment")
        return self.host.path(f"{HOME}/environments/{link.readlink().name}")

    def release(self, link: str = "current") -> str:
        """The release a link leads to; "" where there is none."""
        path = self.host.path(f"{HOME}/{link}")
        return os.readlink(path).removeprefix("releases/") if path.is_symlink() else ""  # noqa: PTH115 - its text

    def versions(self) -> tuple[str, str]:
        """Version in use, version to go back to."""
        return self.release("current").split("-")[0], self.release("previous").split("-")[0]

    def property(self, name: str) -> str:
        """What systemd says of the exporter."""
        return self.host.run(
            "systemctl", "show", f"--property={name}", "--value", "renewctl-exporter"
        ).strip()

    def as_exporter(self, *words: str, shown_only: bool = True) -> str:
        """What a command prints (errors too) that runs with the exporter's account.

        Args:
            shown_only: in what the unit lets the exporter see; or else in the whole host.
        """
        inside = (
            ["nsenter", f"--target={self.property('MainPID')}", "--mount", "--root", "--"]
            if shown_only
            else []
        )
        account = ["setpriv", "--reuid=renewctl-exporter", "--regid=renewctl-exporter", "--clear-groups"]
        return self.host.run(*inside, *account, *words, check=False)

    def series(self, name: str) -> set[float]:
        """Values of a metric, of all its series; none while the exporter is starting."""
        try:
            lines = self.page().splitlines()
        except OSError:
            return set()
        return {float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{")}

    def page(self, path: str = "/metrics") -> str:
        """What the exporter answers."""
        with urllib.request.urlopen(
            f"http://{self.address}{path}", timeout=60
        ) as answer:  # our network is its
            return str(answer.read().decode())

    def running_version(self) -> str:
        """The version that the running exporter tells."""
        found = re.search(r'mdm_exporter_build_info\{.*version="([^"]+)"', self.page())
        assert found is not None
        return found[1]


_MADE = (
    "/opt/renewctl-exporter",
    "/etc/systemd/system",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
)


def _run(*words: str) -> None:
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=600)
