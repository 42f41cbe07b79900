"""What an inventory names to be watched alone: folders of certificates, and what else expires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from renewctl.errors import Unusable
from renewctl.inventory import reading as inventory
from renewctl.inventory.reading import Expiring, ExpiryKind
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from tests.support.inventories import right, spoilt, write

SPOILT: list[tuple[str, Any, Reason, str]] = [
    ("expires", [{"kind": "milk", "name": "m", "file": "x"}], Reason.INVENTORY_BAD_VALUE, "expires[0].kind"),
    ("expires", [{"kind": "ade_token", "file": "x"}], Reason.INVENTORY_MISSING_KEY, "expires[0].name"),
    ("expires", [{"kind": "ade_token", "name": "d"}], Reason.INVENTORY_BAD_VALUE, "expires[0].file"),
    (
        "expires",
        [{"kind": "ade_token", "name": "d", "file": "x", "url": "https://d"}],
        Reason.INVENTORY_BAD_VALUE,
        "expires[0].file",
    ),
    (
        "expires",
        [{"kind": "ade_token", "name": "d", "url": "http://dep.example"}],
        Reason.INVENTORY_INSECURE_HTTP,
        "expires[0].url",
    ),
    (
        "expires",
        [{"kind": "tls_certificate", "name": "d", "url": "http://127.0.0.1"}],
        Reason.INVENTORY_BAD_VALUE,
        "expires[0].url",
    ),
    (
        "expires",
        [{"kind": "vendor_certificate", "name": "d", "url": "https://d"}],
        Reason.INVENTORY_BAD_VALUE,
        "expires[0].url",
    ),
    (
        "expires",
        [{"kind": "ade_token", "name": "d", "url": "https://d", "password": "hunter2"}],
        Reason.INVENTORY_SECRET_IN_CLEAR,
        "expires[0].password",
    ),
    (
        "expires",
        [{"kind": "ade_token", "name": "d", "file": "x", "node": "none"}],
        Reason.INVENTORY_DANGLING,
        "expires[0].node",
    ),
    (
        "expires",
        [{"kind": "ade_token", "name": "d", "file": "x"}] * 2,
        Reason.INVENTORY_DUPLICATE,
        "expires[1].name",
    ),
]


@pytest.mark.parametrize(("path", "value", "reason", "at"), SPOILT)
def test_each_fault_names_its_field(tmp_path: Path, path: str, value: Any, reason: Reason, at: str) -> None:
    """One thing wrong gives that reason at that path, and never a secret."""
    with pytest.raises(Unusable) as caught:
        inventory.load(write(tmp_path, spoilt(path, value)))
    found = [(fault.reason, fault.values["path"]) for fault in (caught.value, *caught.value.others)]
    assert (reason, at) in found
    assert "hunter2" not in f"{caught.value!r} {caught.value.values}"


def test_a_folder_that_is_watched_serves_no_topic(tmp_path: Path) -> None:
    """It takes no pair, so no topic may count on it: neither its own nor "every topic"."""
    whole = right()
    whole["nodes"].append({"name": "pki", "product": "files", "folder": "certificates"})
    read = inventory.load(write(tmp_path, whole))
    assert (read.nodes[-1].folder, read.nodes[-1].topics) == (tmp_path / "certificates", ())
    assert read.nodes[-1] not in read.nodes_of("tokyo")
    alone = right(nodes=[{"name": "pki", "product": "files", "folder": "certificates"}])
    with pytest.raises(Unusable) as caught:
        inventory.load(write(tmp_path, alone))
    assert caught.value.reason is Reason.INVENTORY_TOPIC_WITHOUT_NODES


def test_an_inventory_to_watch_with_alone(tmp_path: Path) -> None:
    """Nothing is renewed with it: no store, no keys, and no topic where all it names are folders."""
    folders = {
        "version": 1,
        "store": "none",
        "nodes": [{"name": "pki", "product": "files", "folder": "/pki"}],
    }
    read = inventory.load(write(tmp_path, folders))
    assert (read.store, read.keys.recipients, read.topics) == ("", (), ())
    whole = right(store="none")
    del whole["keys"]
    assert inventory.load(write(tmp_path, whole)).topics


def test_what_else_expires(tmp_path: Path) -> None:
    """From a file below the inventory's folder, or from a server with a credential by reference."""
    asked = {
        "kind": "ade_token", "name": "dep", "node": "n1", "url": "https://dep.example/v1/tokens/x", "user": "depserver",
        "password": {"file": "dep.key"}, "ca_file": "ca.pem", "allow_api_credential": True,
    }  # fmt: skip
    whole = right(expires=[{"kind": "vpp_token", "name": "apps", "file": "apps.vpptoken"}, asked])
    assert inventory.load(write(tmp_path, whole)).expires == (
        Expiring(ExpiryKind.VPP_TOKEN, "apps", file=tmp_path / "apps.vpptoken"),
        Expiring(
            ExpiryKind.ADE_TOKEN, "dep", "n1", url=asked["url"], user="depserver",
            password=SecretRef(Kind.FILE, (str(tmp_path / "dep.key"),)), ca_file=tmp_path / "ca.pem",
            allow_api_credential=True,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("whole", "missing"),
    [
        ({"store": "none"}, ["nodes"]),
        ({"store": "none", "nodes": []}, ["nodes"]),
        ({"store": "none", "expires": [{"kind": "ade_token", "name": "d", "file": "x"}]}, ["nodes"]),
        ({"store": "none", "nodes": [{"name": "a", "product": "nanomdm", "url": "https://a"}]}, ["topics"]),
        ({"store": "sqlite:///s.db", "keys": right()["keys"]}, ["topics", "nodes"]),
    ],
)
def test_without_nodes_it_is_nodes_that_are_missing(
    tmp_path: Path, whole: dict[str, Any], missing: list[str]
) -> None:
    """Topics only where they are needed: an exporter's own inventory may be folders alone."""
    with pytest.raises(Unusable) as caught:
        inventory.load(write(tmp_path, {"version": 1, **whole}))
    found = [(fault.reason, fault.values["path"]) for fault in (caught.value, *caught.value.others)]
    assert found == [(Reason.INVENTORY_MISSING_KEY, key) for key in missing]
