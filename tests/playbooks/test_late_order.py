"""An order sent over SSH before its sender died, and carried out when another run has long taken over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.netns import Machine
from tests.crash.rollout_nodes import FileNode
from tests.support.playbook_world import World
from tests.support.sandbox_parts import eventually
from tests.support.sshd import HOST, sshd

pytestmark = pytest.mark.slow

CONTROLLER = """
import json, sys
from renewctl import playbook_run
hosts, variables = json.load(open(sys.argv[1]))
playbook_run.run("rollout", hosts, variables, on_event=lambda event: None)
"""
OTHER = "fedcba9876543210" * 2


def test_a_late_order_is_refused_by_its_run_and_token(
    mdm: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node took a higher run meanwhile: it says `run_superseded`, keeps its pair, and keeps the newer run."""
    with sshd(tmp_path / "sshd") as ssh:
        node = FileNode("f1", Machine("", HOST), tmp_path / "f1")
        node.ssh = {**ssh.variables, "ansible_python_interpreter": str(node.python)}
        node.folder.mkdir()
        node.give_files(mdm.old.pem, mdm.old.key.read_bytes())
        (node.folder / "hold").touch()
        for name, value in ssh.environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "allowed").write_text(f"{node.reload}\n")
        monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
        mdm.hosts["f1"] = {"renewctl_node": node.entry(tmp_path)}
        told = tmp_path / "told.json"
        told.write_text(json.dumps([mdm.hosts, mdm.variables()]))
        child = subprocess.Popen([sys.executable, "-c", CONTROLLER, str(told)], start_new_session=True)
        eventually((node.folder / "held").exists, 240)
        child.send_signal(signal.SIGKILL)
        child.wait()

        assert mdm.run("fence", renewctl_run=2, renewctl_token=OTHER).exit_code == 0
        (node.folder / "hold").unlink()
        said = node.folder
        eventually(lambda: any("run_superseded" in p.read_text() for p in said.glob("answer.*")), 120)
        assert node.certificate.read_bytes() == mdm.old.pem
        assert node.key.read_bytes() == mdm.old.key.read_bytes()
        assert node.run() == (2, OTHER)
        assert node.reloads("began") == 0
