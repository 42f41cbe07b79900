"""The disk with the store and the keys is lost in the middle of a real roll-out over file nodes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from renewctl.sandbox.worlds import world
from tests.support.operator import Operator, operator
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

NAMES = ("f1", "f2", "f3")


class FileNodes:
    """Three consumers of a pair in two files each, on this very host, reached by Ansible without SSH."""

    def __init__(self, person: Operator) -> None:
        self.folder, self._inventory = person.folder, person.world.inventory
        stage = person.world.stage
        for name in NAMES:
            (self.folder / name).mkdir()
            shutil.copy(stage.old_certificate, self.folder / name / "push.pem")
            shutil.copy(stage.old_key, self.folder / name / "push.key")
        told = yaml.safe_load(self._inventory.read_text())
        told["nodes"] = [self._node(name) for name in NAMES]
        self._inventory.write_text(yaml.safe_dump(told))

    def _node(self, name: str) -> dict[str, Any]:
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        paths = {kind: str(self.folder / name / f"push.{end}") for kind, end in _FILES.items()}
        return {"name": name, "product": "files", "install": {"paths": paths, "variables": here}}

    def serial(self, name: str) -> str:
        """Of the certificate the node has; its key belongs to it, or the test ends."""
        certificate = x509.load_pem_x509_certificate((self.folder / name / "push.pem").read_bytes())
        key = load_pem_private_key((self.folder / name / "push.key").read_bytes(), None)
        assert certificate.public_key() == key.public_key(), f"{name}: a mixed pair"
        return _hex(certificate)

    def lose_disk(self) -> None:
        """Of the host with the store: store and keys are gone, the inventory is in git."""
        shutil.rmtree(self._inventory.parent / "state")
        shutil.rmtree(self._inventory.parent / "keys")


_FILES = {"certificate": "pem", "key": "key"}


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Operator]:
    """At work in a world whose nodes are files."""
    with operator(replace(world("happy-year"), devices=6), tmp_path) as somebody:
        yield somebody


def _killed_after_the_first_node(person: Operator, nodes: FileNodes, old: str) -> None:
    """The controller dies as soon as one node has the new pair; its workers die with it."""
    with person.start("renewal", "roll-out") as rolling:
        eventually(lambda: _changed(nodes, "f1", old), seconds=120)
        rolling.kill()


def _changed(nodes: FileNodes, name: str, old: str) -> bool:
    pem = (nodes.folder / name / "push.pem").read_bytes()
    return _hex(x509.load_pem_x509_certificate(pem)) != old


def _hex(certificate: x509.Certificate) -> str:
    """Its serial number in whole bytes, as `renewctl` and openssl write it."""
    number = certificate.serial_number
    return number.to_bytes((number.bit_length() + 7) // 8).hex()


def test_the_roll_out_is_completed_after_the_disk_was_lost_in_its_middle(person: Operator) -> None:
    """Backup, roll-out, disk lost, restore: no mixed pair, no node refuses the new run, all is proven."""
    nodes = FileNodes(person)
    new = person.to_accepted()
    old = nodes.serial("f3")
    assert person.told("backup", "kept.tar")["counts"]["keys"] == 2
    _killed_after_the_first_node(person, nodes, old)
    assert nodes.serial("f3") == old
    nodes.lose_disk()
    told = person.told("restore", "kept.tar")
    assert {one["node"]: one["run"] for one in told["nodes"]} == dict.fromkeys(NAMES, 1)
    assert (told["run"], told["silent"], told["strangers"]) == (2, [], [])
    assert [one["serials"] for one in told["nodes"]][2] == [old]
    [topic] = person.told("status", code=4)["topics"]
    assert {node["name"]: node["state"] for node in topic["nodes"]} == dict.fromkeys(NAMES, "unknown")
    done = person.told("renewal", "roll-out")["renewal"]
    assert done["phase"] == "proven"
    assert {nodes.serial(name) for name in NAMES} == {new}
    assert {node["run"] for node in done["nodes"].values()} == {3}
    person.told("renewal", "close")
