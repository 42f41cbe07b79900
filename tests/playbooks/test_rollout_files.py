"""Real playbook runs over SSH: a pair as files, fenced, switched, never shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from renewctl import playbook_run
from renewctl.reasons import Reason
from tests.support.playbook_world import TOPIC, World
from tests.support.scripted_nanomdm import Script
from tests.support.sshd import Sshd, sshd

pytestmark = pytest.mark.slow


class Files:
    """A file node: its two files and its place in the inventory."""

    def __init__(self, mdm: World, ssh: Sshd, name: str = "f1", reload: list[str] | None = None) -> None:
        self.folder = mdm.folder / name
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "push.pem", self.folder / "push.key"
        self.certificate.write_bytes(mdm.old.pem)
        self.key.write_bytes(mdm.old.key.read_bytes())
        self.key.chmod(0o600)
        self.log = self.folder / "reloads"
        install: dict[str, Any] = {
            "paths": {"certificate": str(self.certificate), "key": str(self.key)},
            "variables": ssh.variables,
        }
        if reload is not None:
            install["reload"] = reload
        mdm.hosts[name] = {"renewctl_node": {"name": name, "product": "files", "install": install}}

    @property
    def home(self) -> Path:
        """What the collection keeps on the node."""
        return self.folder / ".renewctl" / "push.pem"


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for the module."""
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(autouse=True)
def reachable(ssh: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's own way to reach hosts."""
    for name, value in ssh.environment.items():
        monkeypatch.setenv(name, value)


def allow(mdm: World, monkeypatch: pytest.MonkeyPatch, program: Path, script: str) -> list[str]:
    """A reload program that the controller's own list allows."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    allowed = mdm.folder / "allowed"
    allowed.write_text(f"{program}\n")
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(allowed))
    return [str(program)]


def test_a_pair_is_rolled_out_as_files_and_back(
    mdm: World, ssh: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fence, install, nothing the second time, an older run refused, back again: over SSH, consumer reloaded."""
    count = mdm.folder / "count"
    node = Files(mdm, ssh, reload=allow(mdm, monkeypatch, mdm.folder / "reload", f"echo x >> {count}"))
    first = mdm.run("rollout", renewctl_run=7)
    assert (first.exit_code, first.results["f1"].outcome, first.results["f1"].changed) == (0, "proven", True)
    assert node.certificate.read_bytes() == mdm.new.pem
    assert node.key.read_bytes() == mdm.new.key.read_bytes()
    assert count.read_text() == "x\n"

    second = mdm.run("rollout", renewctl_run=8)
    assert (second.results["f1"].outcome, second.results["f1"].changed) == ("unchanged", False)
    assert count.read_text() == "x\n"

    older = mdm.run("fence", renewctl_run=7, renewctl_token="ff" * 16)
    assert older.results["f1"].reason is Reason.RUN_SUPERSEDED

    told = {name: value for name, value in mdm.variables().items() if name != "renewctl_run"}
    dry = playbook_run.run("rollback", mdm.hosts, told, check=True, on_event=lambda _event: None)
    assert (dry.exit_code, dry.results["f1"].outcome) == (0, "would_put_back")
    assert node.certificate.read_bytes() == mdm.new.pem

    back = mdm.run("rollback", renewctl_run=9)
    assert back.results["f1"].outcome == "put_back"
    assert node.certificate.read_bytes() == mdm.old.pem
    assert count.read_text() == "x\nx\n"


def test_a_date_is_no_run(mdm: World, ssh: Sshd) -> None:
    """Refused with its reason before the node is touched: `renewctl` would not believe such a node."""
    node = Files(mdm, ssh)
    done = mdm.run("rollout", renewctl_run=202_611_301_200)
    assert done.exit_code != 0
    assert done.results["f1"].reason is Reason.RUN_TOO_HIGH
    assert (node.home.exists(), node.certificate.read_bytes()) == (False, mdm.old.pem)


def test_observe_alone_prints_what_each_node_serves(mdm: World, ssh: Sshd) -> None:
    """`ansible-playbook renewctl.mdm.observe`: serial, end, topic, source of each node; no key, no password."""
    Files(mdm, ssh)
    mdm.hosts["f1"].update(ssh.variables)
    mdm.api_node("n1")
    inventory, _ = mdm.plain_inventory()
    inventory.write_text(inventory.read_text().replace('"ansible_connection": "local", ', "", 1))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "renewctl.mdm.observe"]
    environment = {**os.environ, **ssh.environment}
    done = subprocess.run(
        [*command, "-i", str(inventory)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if f"serial {mdm.old.serial}" in line]
    assert len(lines) == 2
    for node, source in (("f1", "file"), ("n1", "database")):
        [line] = [line for line in lines if f'"{node}: ' in line]
        assert f"topic {TOPIC}" in line
        assert line.rstrip().endswith(f'source: {source}"')
        assert "until 20" in line
    assert (mdm.folder / "api-password").read_text().strip() not in done.stdout
    assert "PRIVATE" not in done.stdout


def test_a_wave_without_its_fence_is_refused(mdm: World, ssh: Sshd) -> None:
    """Under --limit every file node, in the wave or not, must carry this run; then the wave goes on."""
    Files(mdm, ssh)
    other = Files(mdm, ssh, "f2")
    ended = mdm.run("rollout", limit=["f1"], renewctl_run=3)
    assert ended.exit_code != 0
    assert "present" not in {getattr(event, "state", "") for event in mdm.events}
    assert mdm.run("fence", renewctl_run=3).exit_code == 0
    ended = mdm.run("rollout", limit=["f1"], renewctl_run=3)
    assert (ended.exit_code, ended.results["f1"].outcome) == (0, "proven")
    assert other.certificate.read_bytes() == mdm.old.pem


def test_a_consumer_that_refuses_gets_its_old_pair_back(
    mdm: World, ssh: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing reload: the node is back on the old pair within the step, the others are untouched."""
    script = f"test -e {mdm.folder}/once || {{ touch {mdm.folder}/once; exit 1; }}"
    node = Files(mdm, ssh, reload=allow(mdm, monkeypatch, mdm.folder / "reload", script))
    other = Files(mdm, ssh, "f2")
    ended = mdm.run("rollout")
    result = ended.results["f1"]
    assert (result.outcome, result.reason, result.values["put_back"]) == (
        "failed",
        Reason.RELOAD_FAILED,
        True,
    )
    assert node.certificate.read_bytes() == mdm.old.pem
    assert other.certificate.read_bytes() == mdm.old.pem


def test_a_reload_the_controller_does_not_allow(mdm: World, ssh: Sshd) -> None:
    """An inventory alone can run nothing: the program must be on the controller's own list, as a dry run says too."""
    node = Files(mdm, ssh, reload=["/bin/touch", str(mdm.folder / "touched")])
    for playbook, check in (("fence", False), ("rollout", True), ("rollback", True)):
        ended = mdm.run(playbook, check=check)
        told = ended.results["f1"]
        assert (ended.exit_code != 0, told.outcome, told.reason) == (
            True,
            "failed",
            Reason.RELOAD_NOT_ALLOWED,
        )
    assert not node.home.exists()


def test_a_way_back_goes_on_past_a_reload_the_controller_does_not_allow(
    mdm: World, ssh: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line was taken from the list meanwhile: that node keeps what it has, unchanged, and the other is back."""
    mdm.api_node("n1")
    node = Files(mdm, ssh, reload=allow(mdm, monkeypatch, mdm.folder / "reload", "true"))
    mdm.run("rollout", renewctl_run=7)
    (mdm.folder / "allowed").write_text("")
    ended = mdm.run("rollback", renewctl_run=8)
    told = {name: (result.outcome, result.reason) for name, result in ended.results.items()}
    assert told["n1"][0] == "put_back"
    assert told["f1"] == ("failed", Reason.RELOAD_NOT_ALLOWED)
    assert ended.exit_code != 0
    assert (node.certificate.read_bytes(), node.key.read_bytes()) == (
        mdm.new.pem,
        mdm.new.key.read_bytes(),
    )


def test_an_unreachable_host_changes_nothing_anywhere(mdm: World, ssh: Sshd) -> None:
    """SSH refused: unknown, not failed; the pre-flight is a barrier for all."""
    mdm.api_node("n1")
    Files(mdm, ssh)
    mdm.hosts["f1"]["renewctl_node"]["install"]["variables"] = {**ssh.variables, "ansible_port": 1}
    ended = mdm.run("rollout")
    assert (ended.results["f1"].outcome, ended.results["f1"].reason) == ("unknown", Reason.NODE_SSH_FAILED)
    assert mdm.changes() == {"n1": []}
    dry = mdm.run("rollout", check=True)
    assert (dry.results["f1"].outcome, dry.results["f1"].reason) == ("unknown", Reason.NODE_SSH_FAILED)
    assert dry.results["n1"].outcome == "would_install"


def test_files_come_after_nodes_with_an_api_and_only_when_those_are_well(mdm: World, ssh: Sshd) -> None:
    """A refused push on the API node, in its wave: the file node, whose play would come next, keeps its pair."""
    node = Files(mdm, ssh)
    mdm.api_node("n1", Script(refuse={mdm.new.serial}))
    ended = mdm.run("rollout")
    assert ended.exit_code != 0
    assert ended.results["n1"].outcome == "put_back"
    assert ended.results["f1"].outcome == "fenced"
    assert node.certificate.read_bytes() == mdm.old.pem


def test_a_plain_inventory_is_sorted_by_how_nodes_are_installed(mdm: World, ssh: Sshd) -> None:
    """Nobody named the groups: both kinds have their waves, each node its pair, and a dry run first says so."""
    node = Files(mdm, ssh)
    mdm.api_node("n1")
    mdm.hosts["f1"].update(ssh.variables)
    command = mdm.typed_by_hand("rollout")
    environment = {**os.environ, **ssh.environment}
    dry = subprocess.run([*command, "--check"], env=environment, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stdout
    assert "n1: would_install" in dry.stdout
    assert (node.certificate.read_bytes(), mdm.changes()) == (mdm.old.pem, {"n1": []})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "n1: proven" in done.stdout
    assert node.certificate.read_bytes() == mdm.new.pem
    assert mdm.nodes["n1"].serial() == mdm.new.serial


def forms(pem: bytes) -> list[bytes]:
    """A key in the forms a leak would have: its lines, its base64 again, its DER."""
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    der = base64.b64decode(body)
    return [*pem.splitlines()[1:-1], base64.b64encode(pem)[:60], der[:64], der[-64:], der[:32].hex().encode()]


def sample(stop: threading.Event, seen: set[bytes]) -> None:
    """Arguments and environments of every process, over and over."""
    while not stop.is_set():
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and int(process.name) != os.getpid():
                for part in ("cmdline", "environ"):
                    try:
                        seen.add((process / part).read_bytes())
                    except OSError:
                        continue


@pytest.mark.parametrize("setting", [{}, {"ANSIBLE_DEBUG": "1", "ANSIBLE_KEEP_REMOTE_FILES": "1"}])
def test_no_key_anywhere_at_the_highest_verbosity(mdm: World, ssh: Sshd, setting: dict[str, str]) -> None:
    """-vvvvv and debug, every layout: output, arguments, environments, folders hold no key and no password."""
    node = Files(mdm, ssh)
    both, bundle, password = node.folder / "both.pem", node.folder / "push.p12", "p12-Passwort-geheim"
    both.write_bytes(mdm.old.key.read_bytes() + mdm.old.pem)
    (mdm.folder / "password").write_text(password)
    install = mdm.hosts["f1"]["renewctl_node"]["install"]
    install["paths"] = [
        install["paths"],
        {"pem": str(both)},
        {"pkcs12": str(bundle), "password": {"file": str(mdm.folder / "password")}},
    ]
    identity = pyrage.x25519.Identity.generate()
    sealed, secret = mdm.folder / "new.age", mdm.folder / "identity"
    sealed.write_bytes(pyrage.encrypt(mdm.new.key.read_bytes(), [identity.to_public()]))
    secret.write_text(str(identity))
    mdm.hosts["f1"].update(ssh.variables)
    inventory, variables = mdm.plain_inventory()
    text = variables.read_text()
    variables.write_text(
        text.replace(
            f'{{"file": "{mdm.new.key}"}}', f'{{"sealed": "{sealed}", "identity": {{"file": "{secret}"}}}}'
        )
    )
    inventory.write_text(inventory.read_text().replace('"ansible_connection": "local", ', ""))
    keys = [mdm.new.key.read_bytes(), mdm.old.key.read_bytes()]
    mdm.new.key.unlink()
    home = mdm.folder / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCAL_TEMP": str(home / "local"),
        "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
        **ssh.environment,
        **setting,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "renewctl.mdm.rollout", "-vvvvv"]
    command += ["-i", str(inventory), "-e", f"@{variables}"]
    stop, seen = threading.Event(), set[bytes]()
    sampler = threading.Thread(target=sample, args=(stop, seen))
    sampler.start()
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, check=False)
    stop.set()
    sampler.join()
    assert done.returncode == 0, done.stdout[-3000:].decode() + done.stderr.decode()
    assert node.key.read_bytes() == keys[0]
    left = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    whole = b"\n".join([done.stdout, done.stderr, *seen, *left])
    for key in keys:
        assert [form for form in forms(key) if form in whole] == []
    assert str(identity).encode() not in whole
    assert password.encode() not in whole
    assert both.read_bytes() == keys[0] + mdm.new.pem
    opened = ["openssl", "pkcs12", "-in", str(bundle), "-passin", "stdin", "-nodes"]
    shown = subprocess.run(opened, input=password.encode(), capture_output=True, check=True).stdout
    assert mdm.new.pem.splitlines()[1] in shown
    assert {found.name for found in node.home.iterdir()} == {"current", "lock", "releases", "state.json"}
