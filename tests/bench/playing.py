"""Playbooks of stock modules, the rivals, played by the same ansible-playbook with the same settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STOCK = Path(__file__).parent / "stock"


def hosts_file(folder: Path, hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """A plain inventory: local connection where a host says nothing else."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    path = folder / "stock-hosts.yml"
    path.write_text(json.dumps({"mdm": {"hosts": {name: {**local, **own} for name, own in hosts.items()}}}))
    return path


def stock(playbook: str, inventory: Path, variables: Mapping[str, Any]) -> None:
    """Play one to its end.

    Raises:
        SystemExit: it did not end well: no figure is better than a wrong one.
    """
    told = inventory.parent / "stock-variables.yml"
    told.write_text(json.dumps(variables))
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "-i",
            inventory,
            "-e",
            f"@{told}",
            STOCK / playbook,
        ],
        env=os.environ | {"ANSIBLE_PIPELINING": "1", "ANSIBLE_HOST_KEY_CHECKING": "1", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"the rival failed: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")
