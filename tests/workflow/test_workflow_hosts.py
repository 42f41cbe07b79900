"""The inventory as Ansible is told of it, and what nodes can tell of their devices."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from renewctl.errors import Refused
from renewctl.inventory.reading import Inventory, load, node_from_mapping
from renewctl.renewal.events import Kind
from renewctl.renewal.rules import fold
from renewctl.workflow.enrolled import enrolled_topics
from renewctl.workflow.hosts import host_variables, node_mapping
from renewctl.workflow.pairs import accepted
from tests.support.certs import OTHER_TOPIC, TOPIC, apple_like
from tests.support.history import events
from tests.support.inventories import right
from tests.support.scripted_nanomdm import new_store

API = {"product": "nanomdm", "url": "http://127.0.0.1:1", "password": {"file": "pw"}}


def inventory_of(folder: Path, *nodes: dict[str, object]) -> Inventory:
    """An inventory of these."""
    path = folder / "renewctl.yaml"
    path.write_text(yaml.safe_dump(right(nodes=list(nodes))))
    return load(path)


def test_a_node_survives_the_way_through_ansible(tmp_path: Path) -> None:
    """Whatever a node says in the inventory, the playbooks read back the same node; secrets stay references."""
    inventory = inventory_of(
        tmp_path,
        {
            "name": "n1",
            **API,
            "user": "other",
            "storage": "shared",
            "devices": {"sql": {"file": "mdm.dsn"}},
            "canary_enrollments": ["A", "B"],
            "ca_file": "ca.pem",
        },
        {"name": "n2", **API, "devices": {"sql": "sqlite:////var/mdm.db"}},
        {"name": "n3", **API, "password": {"command": ["/usr/bin/pass", "x"]}, "devices": {"folder": "dbkv"}},
        {"name": "n4", **API, "url": "http://192.0.2.1", "insecure_http": True},
        {
            "name": "f1",
            "product": "files",
            "install": {
                "host": "h1",
                "paths": {"certificate": "/etc/push.pem", "key": "/etc/push.key"},
                "reload": ["systemctl", "reload", "mdm"],
                "variables": {"ansible_port": 2222},
            },
        },
        {
            "name": "f2",
            "product": "files",
            "install": {
                "paths": [
                    {"certificate": "/etc/push.pem", "key": "/etc/push.key", "reload": ["/bin/a"]},
                    {"pem": "/etc/both.pem"},
                    {"pkcs12": "/etc/push.p12", "password": {"env": "P12_PASSWORD"}},
                ],
                "variables": {"ansible_become": True},
            },
        },
    )
    for node in inventory.nodes:
        assert node_from_mapping(node_mapping(node), Path("/elsewhere")) == node
    hosts = host_variables(inventory.nodes, inventory.nodes)
    alone = host_variables(inventory.nodes[:1], inventory.nodes[:1])
    assert alone["n1"]["renewctl_storage_shared"] is False
    assert list(hosts) == ["n1", "n2", "n3", "n4", "f1", "f2"]
    assert hosts["n3"]["renewctl_node"]["password"] == {"command": ["/usr/bin/pass", "x"]}


def test_devices_are_counted_once_a_storage_and_silent_nodes_cannot_tell(tmp_path: Path) -> None:
    """Two nodes of one storage count once; another storage adds; a node without its database is left out."""
    pem = apple_like().push().pem
    (tmp_path / "pw").write_text("x")
    new_store(tmp_path / "shared.db", TOPIC, pem, 2)
    new_store(tmp_path / "other.db", OTHER_TOPIC, pem, 3)
    shared = {"storage": "s", "devices": {"sql": f"sqlite:///{tmp_path}/shared.db"}}
    inventory = inventory_of(
        tmp_path,
        {"name": "n1", **API, **shared},
        {"name": "n2", **API, **shared},
        {"name": "n3", **API, "devices": {"sql": f"sqlite:///{tmp_path}/other.db"}},
        {"name": "n4", **API, "devices": {"sql": f"sqlite:///{tmp_path}/missing.db"}},
        {"name": "n5", **API},
    )
    assert enrolled_topics(inventory.nodes) == {TOPIC: 2, OTHER_TOPIC: 3}
    assert enrolled_topics(inventory.nodes[3:]) is None
    assert enrolled_topics(()) is None


def test_nothing_was_accepted_yet() -> None:
    """Asking for the accepted pair too early is out of order, never None."""
    renewal = fold(events(Kind.OPENED))
    assert renewal is not None
    with pytest.raises(Refused):
        accepted(renewal)
