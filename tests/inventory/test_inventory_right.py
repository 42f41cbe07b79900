"""What a right inventory becomes."""

from __future__ import annotations

import hashlib
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest

from renewctl.errors import Unusable
from renewctl.inventory import reading as inventory
from renewctl.inventory.reading import (
    AccountKind,
    FileInstall,
    Language,
    Place,
    Product,
)
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from tests.support.inventories import TOPIC, right, spoilt, write

FULL = f"""\
version: 1
store: {{file: store-url}}
keys: {{folder: keys, recipients: [ssh-ed25519 AAAA me], shared: true}}
apns: {{url: "https://localhost:2197/", ca_file: ca.pem}}
vendor: {{certificate: v.pem, chain: [a.pem, /b.pem], key: {{command: [/bin/hsm, sign]}}}}
trust: [ca.pem]
topics:
  - id: tokyo
    topic: {TOPIC}
    name: 東京
    owner: Aoki
    deputy: Baba
    window: 36h
    zone: Asia/Tokyo
    language: ja
    labels: {{site: tokyo}}
    account: {{alias: mdm, address: m@example.com, kind: managed, second_factor: phone}}
  - {{id: osaka, topic: com.apple.mgmt.External.2, name: 大阪, account: {{alias: mdm}}}}
nodes:
  - name: n1
    product: nanomdm
    url: http://127.0.0.1:9000/
    install: api
    user: nanomdm
    password: {{credential: n1}}
    devices: {{sql: "postgresql://reader@db/nanomdm"}}
    storage: shared
    topics: [tokyo]
    canary_enrollments: [A, B]
  - name: f1
    product: files
    devices: none
    install:
      host: f1.example.com
      paths: {{certificate: /etc/p.pem, key: /etc/p.key}}
      reload: [systemctl, reload, mdm]
      variables: {{ansible_port: 2222, ansible_user: mdm}}
"""


def test_an_escrow_is_a_recipient_whose_identity_lies_elsewhere(tmp_path: Path) -> None:
    """Keys are sealed to it too, once; how long superseded keys are kept may be many years."""
    one, other = "age1" + "q" * 30, "age1" + "p" * 30
    keys = {"recipients": [one], "escrow": [other, one], "destroy_after": "1200d"}
    found = inventory.load(write(tmp_path, right(keys=keys))).keys
    assert (found.recipients, found.escrow) == ((one, other), (other, one))
    assert found.destroy_after == timedelta(days=1200)
    assert inventory.load(write(tmp_path, right())).keys.destroy_after is None
    for wrong in ({"escrow": ["hello"]}, {"escrow": ["AGE-SECRET-KEY-1"]}, {"destroy_after": "soon"}):
        with pytest.raises(Unusable):
            inventory.load(write(tmp_path, right(keys=keys | wrong)))


def test_every_key_is_read(tmp_path: Path) -> None:
    """Each key of DESIGN.md §3 arrives as a value; relative paths are meant from the file's folder."""
    path = tmp_path / "renewctl.yaml"
    path.write_text(FULL, encoding="utf-8")
    found = inventory.load(path)
    tokyo, osaka = found.topics
    n1, f1 = found.nodes
    assert found.store == SecretRef(Kind.FILE, (str(tmp_path / "store-url"),))
    assert (found.keys.folder, found.keys.shared) == (tmp_path / "keys", True)
    assert (found.apns.url, found.apns.ca_file) == ("https://localhost:2197", tmp_path / "ca.pem")
    assert found.vendor is not None
    assert found.vendor.chain == (tmp_path / "a.pem", Path("/b.pem"))
    assert found.vendor.key == SecretRef(Kind.COMMAND, ("/bin/hsm", "sign"))
    assert found.trust == (tmp_path / "ca.pem",)
    assert (tokyo.window, tokyo.zone, tokyo.language) == (timedelta(hours=36), "Asia/Tokyo", Language.JA)
    assert (tokyo.account.kind, tokyo.labels) == (AccountKind.MANAGED, {"site": "tokyo"})
    assert (n1.url, n1.storage, n1.topics) == ("http://127.0.0.1:9000", "shared", ("tokyo",))
    assert n1.devices is not None
    assert n1.devices.sql == "postgresql://reader@db/nanomdm"
    assert n1.canary_enrollments == ("A", "B")
    assert f1.product is Product.FILES
    assert f1.install == FileInstall(
        places=(Place(certificate="/etc/p.pem", key="/etc/p.key"),),
        host="f1.example.com",
        reload=("systemctl", "reload", "mdm"),
        variables={"ansible_port": 2222, "ansible_user": "mdm"},
    )
    assert f1.devices is None
    assert found.folder == tmp_path
    assert osaka.account.alias == "mdm"


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    """A node serves every topic and has storage of its own; a topic has 60 days, UTC, the inventory's vendor."""
    vendor = {"certificate": "v.pem", "chain": ["a.pem"]}
    found = inventory.load(write(tmp_path, right(vendor=vendor)))
    assert [node.topics for node in found.nodes] == [("tokyo",), ("tokyo",)]
    assert [node.storage for node in found.nodes] == ["n1", "f1"]
    assert found.topics[0].window == timedelta(days=60)
    assert found.topics[0].vendor == found.vendor
    assert found.apns.url == "https://api.push.apple.com"
    assert found.nodes_of("tokyo") == found.nodes
    assert found.nodes_of("osaka") == ()


def test_a_topics_own_vendor_stays(tmp_path: Path) -> None:
    """The inventory's vendor is for topics that name none."""
    own = spoilt("topics.0.vendor", {"certificate": "own.pem", "chain": ["a.pem"]})
    found = inventory.load(write(tmp_path, own | {"vendor": {"certificate": "v.pem", "chain": ["a.pem"]}}))
    assert found.topics[0].vendor is not None
    assert found.topics[0].vendor.certificate == tmp_path / "own.pem"


def test_a_folder_is_one_inventory(tmp_path: Path) -> None:
    """A file a customer: lists add up; what is no YAML, or hidden, is not looked at."""
    write(tmp_path, right(topics=None, nodes=None), "10-base.yaml")
    write(tmp_path, {"version": 1, "topics": right()["topics"]}, "20-topics.yml")
    write(tmp_path, {"version": 1, "nodes": right()["nodes"]}, "30-nodes.yaml")
    (tmp_path / "README.md").write_text("not YAML: [")
    (tmp_path / ".hidden.yaml").write_text("not YAML: [")
    found = inventory.load(tmp_path)
    assert [node.name for node in found.nodes] == ["n1", "f1"]
    assert found.folder == tmp_path


def test_in_a_folder_only_one_file_may_name_the_store(tmp_path: Path) -> None:
    """Two stores would be two truths."""
    write(tmp_path, right(), "a.yaml")
    write(tmp_path, {"version": 1, "store": "sqlite:///b.db"}, "b.yaml")
    with pytest.raises(Unusable) as caught:
        inventory.load(tmp_path)
    assert caught.value.reason is Reason.INVENTORY_DUPLICATE
    assert str(caught.value.values["file"]).endswith("b.yaml")


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    """The same bytes give the same digest, one changed comment another: events record what was acted upon."""
    path = write(tmp_path, right())
    first = inventory.load(path).digest
    assert first == inventory.load(path).digest
    assert first == hashlib.sha256(hashlib.sha256(path.read_bytes()).digest()).hexdigest()
    path.write_text(path.read_text() + "# changed\n")
    assert inventory.load(path).digest != first


def test_aliases_are_allowed_in_measure(tmp_path: Path) -> None:
    """An anchor for what many nodes share is fine."""
    text = textwrap.dedent("""
        - {name: a, product: nanomdm, url: "https://a", password: &pw {file: pw}}
        - {name: b, product: nanomdm, url: "https://b", password: *pw}
        """)
    path = write(tmp_path, right(nodes=None))
    path.write_text(path.read_text() + "nodes:" + text.replace("\n", "\n  "))
    assert len({node.password for node in inventory.load(path).nodes}) == 1


def test_a_node_from_an_ansible_host_variable(tmp_path: Path) -> None:
    """`renewctl_node` is read like a node of the inventory; it may name no topics."""
    node = inventory.node_from_mapping(right()["nodes"][0], tmp_path)
    assert (node.name, node.topics) == ("n1", ())
    assert node.password == SecretRef(Kind.FILE, (str(tmp_path / "pw"),))
    with pytest.raises(Unusable) as caught:
        inventory.node_from_mapping({"name": "n1", "product": "nanomdm", "color": "red"}, tmp_path)
    assert caught.value.values["where"] == "renewctl_node"
    reasons = {caught.value.reason, *(other.reason for other in caught.value.others)}
    assert reasons == {Reason.INVENTORY_MISSING_KEY, Reason.INVENTORY_UNKNOWN_KEY}


def test_the_push_service_from_an_ansible_variable(tmp_path: Path) -> None:
    """`renewctl_apns` is read like `apns`; empty means Apple's."""
    assert inventory.apns_from_mapping({}, tmp_path).url == "https://api.push.apple.com"
    with pytest.raises(Unusable):
        inventory.apns_from_mapping({"url": "http://localhost"}, tmp_path)


def test_a_secret_reference_on_its_own(tmp_path: Path) -> None:
    """One reference from a plain value; anything else is explained."""
    assert inventory.secret_from_value({"env": "X"}, "here", tmp_path) == SecretRef(Kind.ENV, ("X",))
    with pytest.raises(Unusable) as caught:
        inventory.secret_from_value(None, "here", tmp_path)
    assert caught.value.reason is Reason.INVENTORY_MISSING_KEY


def test_bytes_are_read_like_the_file_they_would_be(tmp_path: Path) -> None:
    """`init` checks what it is about to write."""
    path = write(tmp_path, right())
    assert inventory.from_bytes(path.read_bytes(), path) == inventory.load(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = write(tmp_path, right())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert inventory.load(path).topics[0].id == "tokyo"


def test_thousands_of_nodes_are_no_bomb(tmp_path: Path) -> None:
    """A large inventory is within every limit."""
    nodes = [{"name": f"n{n}", "product": "nanomdm", "url": f"https://n{n}"} for n in range(2_000)]
    assert len(inventory.load(write(tmp_path, right(nodes=nodes))).nodes) == 2_000


def test_a_place_in_every_layout(tmp_path: Path) -> None:
    """Two files, one PEM, PKCS#12 under a password by reference; each with its reload, every command once, in order."""
    inventory_file = right()
    inventory_file["nodes"][1]["install"] = {
        "paths": [
            {"certificate": "/a.pem", "key": "/a.key", "reload": ["/bin/a"]},
            {"pem": "/b.pem", "reload": ["/bin/b", "x"]},
            {"pkcs12": "/c.p12", "password": {"file": "pw"}, "reload": ["/bin/a"]},
        ],
        "reload": ["/bin/last"],
        "variables": {"ansible_become": True},
    }
    install = inventory.load(write(tmp_path, inventory_file)).nodes[1].install
    assert install is not None
    two, pem, p12 = install.places
    assert two.files == {"certificate": "/a.pem", "key": "/a.key"}
    assert (pem.files, pem.path, pem.password) == ({"pem": "/b.pem"}, "/b.pem", None)
    assert (p12.path, p12.password) == ("/c.p12", SecretRef(Kind.FILE, (str(tmp_path / "pw"),)))
    assert install.reloads == (("/bin/a",), ("/bin/b", "x"), ("/bin/last",))
    assert install.variables == {"ansible_become": True}
