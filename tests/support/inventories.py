"""Inventories to test with: one that is right, and ways to spoil it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
RECIPIENT = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"

RIGHT: dict[str, Any] = {
    "version": 1,
    "store": "sqlite:///state/renewctl.db",
    "keys": {"folder": "keys", "recipients": [RECIPIENT], "identity": {"file": "identity.txt"}},
    "topics": [
        {
            "id": "tokyo",
            "topic": TOPIC,
            "name": "東京の学校",
            "zone": "Asia/Tokyo",
            "account": {"alias": "mdm-tokyo", "address": "mdm@example.com"},
        },
    ],
    "nodes": [
        {"name": "n1", "product": "nanomdm", "url": "http://127.0.0.1:9000", "password": {"file": "pw"}},
        {
            "name": "f1",
            "product": "files",
            "install": {"paths": {"certificate": "/etc/mdm/push.pem", "key": "/etc/mdm/push.key"}},
        },
    ],
}


def right(**changes: Any) -> dict[str, Any]:
    """A right inventory; `changes` replace top-level keys, None takes one away."""
    whole = copy.deepcopy(RIGHT) | changes
    return {key: value for key, value in whole.items() if value is not None}


def spoilt(path: str, value: Any) -> dict[str, Any]:
    """The right inventory with one field set (`nodes.0.url`); `...` takes it away."""
    whole = right()
    here: Any = whole
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    for step in way:
        here = here[step]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return whole


def write(folder: Path, mapping: dict[str, Any], name: str = "renewctl.yaml") -> Path:
    """Write one as YAML."""
    path = folder / name
    path.write_text(yaml.safe_dump(mapping, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def with_files_node(folder: Path, certificate: bytes, recipient: str = RECIPIENT) -> Path:
    """An inventory whose one node is files on this very machine, so that it can be observed."""
    (folder / "push.pem").write_bytes(certificate)
    node = {
        "name": "here",
        "product": "files",
        "install": {
            "paths": {"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")},
            "variables": {"ansible_connection": "local"},
        },
    }
    keys = {"folder": "keys", "recipients": [recipient], "identity": {"file": "identity.txt"}}
    return write(folder, right(nodes=[node], keys=keys))
