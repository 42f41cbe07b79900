"""Somebody renewed a node's pair without renewctl, on a host that only Ansible reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from renewctl.certificate.pushcert import PushCertificate
from renewctl.sandbox.worlds import world
from tests.support.certs import Issued, apple_like
from tests.support.operator import operator
from tests.support.sandbox_parts import in_days
from tests.support.sshd import sshd

pytestmark = pytest.mark.slow

DRY = ("renewal", "roll-out", "--dry-run", "--json")


def test_the_dry_run_sees_a_newer_pair_over_ssh_and_lets_an_older_one_pass(tmp_path: Path) -> None:
    """With the real playbooks: shown as it is now, and refused, as a roll-back would not bring it back."""
    folder = tmp_path / "node"
    folder.mkdir()
    with (
        operator(replace(world("happy-year"), devices=3), tmp_path) as person,
        sshd(tmp_path / "ssh") as host,
    ):
        old = PushCertificate.from_pem(person.world.stage.old_certificate.read_bytes())
        install = {
            "paths": {"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")},
            "variables": dict(host.variables),
        }
        inventory = yaml.safe_load(person.world.inventory.read_text())
        inventory["nodes"].append({"name": "branch", "product": "files", "install": install})
        person.world.inventory.write_text(yaml.safe_dump(inventory))

        def put(pair: Issued) -> None:
            (folder / "push.pem").write_bytes(pair.pem)
            (folder / "push.key").write_bytes(pair.key_pem)

        by_hand = apple_like().push(old.topic, key="by hand", not_after=in_days(360))
        put(by_hand)
        person.to_accepted()
        refused = person.run(*DRY, more=host.environment)
        told = refused.document["refused"]
        assert (refused.code, told["reason"], told["values"]["node"]) == (1, "pair_not_on_record", "branch")
        assert {one["node"]: one["now"] for one in refused.document["nodes"]}["branch"][
            "serial"
        ] == by_hand.serial
        put(apple_like().push(old.topic, key="forgotten", not_after=in_days(3)))
        assert person.run(*DRY, more=host.environment).code == 0
