"""A person plays the collection's playbooks: whose fault it was is read in Ansible's own account, host by host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.playbook_world import TOPIC, PairFiles, World
from tests.support.sandbox_parts import in_days
from tests.support.scripted_nanomdm import Script, new_store

pytestmark = pytest.mark.slow

PUT = ["/v1/pushcert"]
SILENT = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


def play(
    mdm: World, name: str, *words: str, groups: dict[str, list[str]] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook renewctl.mdm.NAME`; `groups` are the inventory's own beside `mdm`."""
    inventory, variables = mdm.plain_inventory()
    told = json.loads(inventory.read_text())
    for group, hosts in (groups or {}).items():
        told[group] = {"hosts": {host: {} for host in hosts}}
    inventory.write_text(json.dumps(told))
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [program, f"renewctl.mdm.{name}", "-i", inventory, "-e", f"@{variables}", *words],
        cwd=mdm.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(mdm.folder), "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def failed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Hosts that Ansible's last lines call failed or unreachable, in their order there."""
    recap = re.findall(r"^(\S+) +: ok=.* unreachable=(\d+) +failed=(\d+) ", done.stdout, flags=re.MULTILINE)
    assert recap, done.stdout + done.stderr
    return [host for host, unreachable, failures in recap if int(unreachable) + int(failures)]


def file_node(mdm: World, name: str, pair: PairFiles, **connection: object) -> Path:
    """A node of files on this machine, with this pair; the certificate's place."""
    folder = mdm.folder / name
    folder.mkdir()
    certificate, key = folder / "push.pem", folder / "push.key"
    certificate.write_bytes(pair.pem)
    key.write_bytes(pair.key.read_bytes())
    paths = {"certificate": str(certificate), "key": str(key)}
    mdm.hosts[name] = {
        "renewctl_node": {"product": "files", "install": {"paths": paths}},
        **connection,
    }
    return certificate


def new_api_node(mdm: World, name: str) -> None:
    """A node that has the new pair."""
    mdm.api_node(name, store=new_store(mdm.folder / f"{name}-new.sqlite", TOPIC, mdm.new.pem))


def down(mdm: World, name: str) -> None:
    """Nobody answers there."""
    mdm.api_node(name).server.server_close()


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_the_node_that_is_down_is_the_one_that_failed(mdm: World, words: tuple[str, ...]) -> None:
    """One task asks all API nodes for all of them; the last lines blame n3, not the host it ran for."""
    mdm.api_node("n1")
    mdm.api_node("n2")
    down(mdm, "n3")
    done = play(mdm, "rollout", *words)
    assert (done.returncode, failed(done)) == (2, ["n3"])
    assert "fatal: [n3]" in done.stdout
    assert "fatal: [n1]" not in done.stdout
    assert "n3 cannot be reached" in done.stdout
    assert mdm.changes() == {"n1": [], "n2": [], "n3": []}


def test_the_node_with_the_wrong_pair_is_the_one_that_failed(mdm: World) -> None:
    """In the second wave: it stops the third, and neither the canary nor the others of its wave are blamed."""
    for name in ("n1", "n2", "n3", "n4"):
        mdm.api_node(name, Script(refuse={mdm.new.serial}) if name == "n3" else None)
    done = play(mdm, "rollout", "-e", '{"renewctl_waves": [1, 2, 1]}')
    assert (done.returncode, failed(done)) == (2, ["n3"])
    assert mdm.changes() == {"n1": PUT, "n2": PUT, "n3": PUT * 2, "n4": []}


def test_a_node_with_a_mistake_in_its_variables_is_the_one_that_failed(mdm: World) -> None:
    """An undefined variable in n2's settings is told of n2, before any node is touched."""
    for name in ("n1", "n2"):
        mdm.api_node(name)
    mdm.hosts["n2"]["renewctl_node"]["password"] = {"file": "{{ nowhere }}"}
    done = play(mdm, "rollout")
    assert (done.returncode, failed(done)) == (2, ["n2"])
    assert "'nowhere' is undefined" in done.stdout
    assert mdm.changes() == {"n1": [], "n2": []}


def test_a_storage_that_is_not_well_is_given_the_pair_once(mdm: World) -> None:
    """Three nodes of one storage: wrong at the first and put back; the others are told of, not tried."""
    store = mdm.api_node("n1", Script(refuse={mdm.new.serial})).store
    for name in ("n2", "n3"):
        mdm.api_node(name, store=store)
    for host in mdm.hosts.values():
        host["renewctl_node"]["storage"] = "main"
        host["renewctl_storage_shared"] = False  # no device is woken first, who would find it out
    done = play(mdm, "rollout", "-e", '{"renewctl_waves": ["100%"]}')
    assert (done.returncode, failed(done)) == (2, ["n1", "n2", "n3"])
    assert mdm.changes() == {"n1": PUT * 2, "n2": [], "n3": []}
    assert "n2: not tried, since n1, which shares its storage, is not well" in done.stdout


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ({"renewctl_api": ["n1"]}, "f1 (renewctl_files)"),
        ({"renewctl_files": ["f1"], "renewctl_api": ["n1", "f1"]}, "f1 (renewctl_files)"),
    ],
)
@pytest.mark.parametrize("playbook", ["rollout", "rollback"])
def test_groups_of_an_inventory_that_leave_a_node_out_are_refused(
    mdm: World, playbook: str, groups: dict[str, list[str]], named: str
) -> None:
    """Whoever brings the groups has to sort every node; otherwise nothing begins, and the node is named."""
    mdm.api_node("n1")
    file_node(mdm, "f1", mdm.old)
    done = play(mdm, playbook, groups=groups)
    assert done.returncode == 2
    assert f"hosts are in other groups than their nodes need: {named}" in done.stdout
    assert mdm.nodes["n1"].requests == []
    assert not (mdm.folder / "f1" / ".renewctl").exists()


def test_the_operator_s_strategy_does_not_count(mdm: World) -> None:
    """Under ANSIBLE_STRATEGY=free the one task for all nodes would be played by each of them."""
    mdm.api_node("n1")
    mdm.api_node("n2")
    done = play(mdm, "rollout", "-e", '{"renewctl_waves": ["100%"]}', ANSIBLE_STRATEGY="free")
    assert (done.returncode, failed(done)) == (0, [])
    assert [done.stdout.count(f"\n{name}: proven") for name in mdm.nodes] == [1, 1]
    assert "run_once" not in done.stderr


def test_every_play_names_its_strategy() -> None:
    """Gates, waves and run_once mean what they say under `linear` alone."""
    plays = [
        one for path in PLAYBOOKS.glob("*.yml") for one in yaml.safe_load(path.read_text()) if "hosts" in one
    ]
    assert len(plays) > 10
    assert [one["name"] for one in plays if one.get("strategy") != "ansible.builtin.linear"] == []


def order(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Hosts as they were put back."""
    part = done.stdout.partition("TASK [Put the previous pair back and prove it]")[2]
    return re.findall(r"^changed: \[(\S+)\]", part, flags=re.MULTILINE)


def test_files_go_back_before_api_nodes(mdm: World) -> None:
    """A roll-out by itself takes API nodes first, wherever they stand in the inventory: files are the newest."""
    files = [file_node(mdm, "f1", mdm.new)]
    new_api_node(mdm, "n1")
    files.append(file_node(mdm, "f2", mdm.new))
    new_api_node(mdm, "n2")
    done = play(mdm, "rollback")
    assert (done.returncode, order(done)) == (0, ["f2", "f1", "n2", "n1"])
    assert {path.read_bytes() for path in files} == {mdm.old.pem}


def test_renewctl_names_the_order_itself(mdm: World) -> None:
    """It knows in which order nodes had their turn over all its waves; the newest goes back first."""
    file_node(mdm, "f1", mdm.new)
    new_api_node(mdm, "n1")
    file_node(mdm, "f2", mdm.new)
    local: dict[str, Any] = {"variables": {"ansible_connection": "local"}}
    for name in ("f1", "f2"):
        mdm.hosts[name]["renewctl_node"]["install"] |= local
    mdm.run("rollback", renewctl_shown=True)
    assert mdm.told("put_back") == [("f2", "put_back"), ("n1", "put_back"), ("f1", "put_back")]


def test_no_node_that_is_down_keeps_the_others_from_going_back(mdm: World) -> None:
    """All nodes of files and an API node are down: each is reported, every other one goes back."""
    left = [file_node(mdm, name, mdm.new, **SILENT) for name in ("f1", "f2")]
    new_api_node(mdm, "n1")
    down(mdm, "n2")
    new_api_node(mdm, "n3")
    done = play(mdm, "rollback")
    assert (order(done), sorted(failed(done))) == (["n3", "n1"], ["f1", "f2", "n2"])
    assert done.returncode in {2, 4}
    assert {path.read_bytes() for path in left} == {mdm.new.pem}
    assert {mdm.nodes[name].serial() for name in ("n1", "n3")} == {mdm.old.serial}


@pytest.mark.parametrize("words", [(), ("--check",), ("--limit", "n2")])
def test_nobody_goes_back_to_an_expired_pair_unasked(mdm: World, words: tuple[str, ...]) -> None:
    """Refused with what it means and the variable that says so, before any node is asked; with it, every node goes."""
    old = mdm.pushes.apple.push_pair(TOPIC, ends=in_days(-1))
    mdm.old.certificate.write_bytes(old.certificate_pem)
    mdm.old.key.write_bytes(old.key_pem)
    for name in ("n1", "n2"):
        new_api_node(mdm, name)
    done = play(mdm, "rollback", *words)
    assert done.returncode == 2
    assert f"the previous push certificate {mdm.old.serial} has expired" in done.stdout
    assert "renewctl_previous_expired: true" in done.stdout
    assert [node.requests for node in mdm.nodes.values()] == [[], []]
    done = play(mdm, "rollback", *words, "-e", "renewctl_previous_expired=true")
    went = {(): ["n2", "n1"], ("--check",): ["n2", "n1"], ("--limit", "n2"): ["n2"]}
    assert (done.returncode, order(done)) == (0, went[words])
