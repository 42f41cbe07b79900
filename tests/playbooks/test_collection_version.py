"""The collection and the renewctl it imports belong together, or nothing is done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.renewctl.mdm.plugins.plugin_utils import versions

import renewctl
from renewctl.errors import Refused
from tests.support.playbook_world import World

ROOT = Path(__file__).parents[2]
OURS = ROOT / "playbooks" / "collections" / "ansible_collections" / "renewctl" / "mdm"


def _older(folder: Path) -> Path:
    """A folder of collections with one of version 0.0.9."""
    place = folder / "ansible_collections" / "renewctl" / "mdm"
    shutil.copytree(OURS, place)
    file = place / "plugins" / "plugin_utils" / "versions.py"
    text = re.sub(r'^COLLECTION = ".*"$', 'COLLECTION = "0.0.9"', file.read_text(), flags=re.MULTILINE)
    file.write_text(text)
    return folder


def test_the_version_is_told_the_same_everywhere() -> None:
    """galaxy.yml, the plugins and the package name one version."""
    galaxy = yaml.safe_load((OURS / "galaxy.yml").read_text())
    assert galaxy["version"] == versions.COLLECTION == renewctl.__version__
    versions.require_match()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was found and what was expected."""
    monkeypatch.setattr(renewctl, "__version__", "0.2.0")
    with pytest.raises(Refused) as refused:
        versions.require_match()
    assert refused.value.reason.value == "collection_differs"
    assert refused.value.values == {"got": versions.COLLECTION, "expected": "0.2.0"}


@pytest.mark.slow
def test_a_collection_of_another_version_asks_and_changes_nothing(mdm: World) -> None:
    """By ansible-playbook alone: neither the push service nor a node is asked, and the sentence says what to do."""
    mdm.api_node("n1")
    inventory, variables = mdm.plain_inventory()
    before = len(mdm.pushes.log())
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *("renewctl.mdm.rollout", "-i", inventory, "-e", f"@{variables}"),
        ],
        cwd=mdm.folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(mdm.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(_older(mdm.folder / "older")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "collection_differs" in done.stdout or "is of version 0.0.9" in done.stdout, done.stdout
    assert renewctl.__version__ in done.stdout
    assert mdm.changes() == {"n1": []}
    assert len(mdm.pushes.log()) == before


@pytest.mark.slow
def test_renewctl_uses_its_own_collection(mdm: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one in the user's folder, where Ansible would look first, does not stand before it."""
    home = mdm.folder / "home"
    _older(home / ".ansible" / "collections")
    monkeypatch.setenv("HOME", str(home))
    mdm.api_node("n1")
    ended = mdm.run("observe")
    assert ended.results["n1"].outcome == "observed", json.dumps(ended.tail)
