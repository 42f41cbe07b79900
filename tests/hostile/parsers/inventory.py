"""The inventory, Ansible's host variables, database URLs: text that people and their tools write."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import yaml

from renewctl.database import sql_url
from renewctl.errors import RenewctlError, Unusable
from renewctl.inventory import reading, yaml_lines
from tests.hostile.parser import Made, Parser
from tests.support.inventories import RIGHT

_HERE = Path("/srv/renewctl/renewctl.yaml")
_FILES_NODE = {
    "name": "f2",
    "product": "nanomdm",
    "url": "https://mdm.example.com",
    "topics": ["tokyo"],
    "devices": {"sql": "postgresql://reader@db/mdm"},
    "install": {
        "host": "h",
        "paths": [
            {"pem": "/etc/mdm/both.pem"},
            {"pkcs12": "/etc/mdm/push.p12", "password": {"credential": "p12"}, "reload": ["/bin/true"]},
        ],
        "variables": {"ansible_user": "mdm", "ansible_port": 22},
    },
}
_WHOLE = {
    **RIGHT,
    "nodes": [*RIGHT["nodes"], _FILES_NODE],
    "apns": {"url": "https://api.push.apple.com"},
    "vendor": {"certificate": "v.pem", "chain": ["w.pem"], "key": {"command": ["/bin/key", "a"]}},
}


def _whole() -> Made:
    good = [
        yaml.safe_dump(RIGHT, allow_unicode=True).encode(),
        yaml.safe_dump(_WHOLE, default_flow_style=True).encode(),
        json.dumps(_WHOLE).encode(),
    ]
    return Made(lambda data: reading.from_bytes(data, _HERE), good)


def _values() -> Made:
    """The same, its values exchanged."""
    return Made(lambda data: reading.from_bytes(data, _HERE), [json.dumps(_WHOLE).encode()])


def _yaml() -> Made:
    return Made(
        lambda data: yaml_lines.parse(data, "file"), [b"a: &x [1, 0x1f, 1.5, ~]\nb: *x\n", b"- 2026-01-01\n"]
    )


def _mapping(data: bytes) -> dict[str, object]:
    """As Ansible hands it over: its own reader has refused whatever is no mapping."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _host_variables() -> Made:
    def take(data: bytes) -> None:
        value = _mapping(data)
        with suppress(Unusable):
            reading.apns_from_mapping(value, _HERE.parent)
        with suppress(Unusable):
            reading.secret_from_value(value.get("password"), "secret", _HERE.parent)
        reading.node_from_mapping(value, _HERE.parent)

    return Made(take, [json.dumps(_FILES_NODE).encode(), json.dumps(RIGHT["nodes"][0]).encode()])


def _url() -> Made:
    def take(data: bytes) -> None:
        text = data.decode("utf-8", "replace")  # what YAML and secrets hand out is real text
        sql_url.shown(sql_url.resolve(text, Path("/srv")))
        sql_url.is_postgresql(text)

    good = [
        b"sqlite:///store.db",
        b"postgresql://renewctl:pass%40word@db.example.com:5432/renewctl?sslmode=require",
    ]
    return Made(take, good)


PARSERS = [
    Parser(
        "inventory.whole",
        _whole,
        ["renewctl.inventory.reading", "renewctl.inventory.fields", "renewctl.inventory.yaml_lines"],
        (Unusable,),
    ),
    Parser("inventory.values", _values, ["renewctl.inventory.reading"], (Unusable,), json=True),
    Parser("inventory.yaml", _yaml, ["renewctl.inventory.yaml_lines"], (Unusable,)),
    Parser(
        "inventory.host_variables", _host_variables, ["renewctl.inventory.reading"], (Unusable,), json=True
    ),
    Parser("inventory.url", _url, ["renewctl.database.sql_url"], (RenewctlError,)),
]
