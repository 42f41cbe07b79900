"""The inventory as Ansible sees it: one host a node, its settings under `renewctl_node`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from renewctl.inventory.reading import Node, Place
from renewctl.secrets import Kind, SecretRef


def reference(ref: SecretRef) -> dict[str, Any]:
    """A secret's reference the way the inventory file writes it."""
    return {ref.kind.value: list(ref.where) if ref.kind is Kind.COMMAND else ref.where[0]}


def node_mapping(node: Node) -> dict[str, Any]:
    """A node the way the inventory file writes it, paths absolute; absent parts left out."""
    mapping: dict[str, Any] = {
        "name": node.name,
        "product": node.product.value,
        "topics": list(node.topics),
        "storage": node.storage,
        "url": node.url,
        "user": node.user,
        "password": None if node.password is None else reference(node.password),
        "install": _install(node),
        "devices": _devices(node),
        "canary_enrollments": list(node.canary_enrollments) or None,
        "ca_file": None if node.ca_file is None else str(node.ca_file),
        "insecure_http": node.insecure_http or None,
    }
    return {key: value for key, value in mapping.items() if value is not None}


def host_variables(nodes: Sequence[Node], all_nodes: Sequence[Node]) -> dict[str, dict[str, Any]]:
    """Ansible host -> its variables, for `playbook_run.run`.

    Args:
        all_nodes: of the topic, also those left out of this run: their devices are reached all the same
            where storage is shared.
    """
    storages = Counter(node.storage for node in all_nodes)
    return {
        node.name: {
            "renewctl_node": node_mapping(node),
            "renewctl_storage_shared": storages[node.storage] > 1,
        }
        for node in nodes
    }


def _install(node: Node) -> dict[str, Any] | None:
    install = node.install
    if install is None:
        return None
    mapping: dict[str, Any] = {
        "host": install.host,
        "paths": [_place(place) for place in install.places],
        "reload": None if install.reload is None else list(install.reload),
        "variables": dict(install.variables) or None,
    }
    return {key: value for key, value in mapping.items() if value is not None}


def _place(place: Place) -> dict[str, Any]:
    mapping: dict[str, Any] = {
        **place.files,
        "password": None if place.password is None else reference(place.password),
        "reload": None if place.reload is None else list(place.reload),
    }
    return {key: value for key, value in mapping.items() if value is not None}


def _devices(node: Node) -> dict[str, Any] | None:
    if node.devices is None:
        return None
    if node.devices.folder is not None:
        return {"folder": str(node.devices.folder)}
    sql = node.devices.sql
    return None if sql is None else {"sql": reference(sql) if isinstance(sql, SecretRef) else sql}
