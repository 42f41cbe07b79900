"""The inventory of a world, written as a person would write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from renewctl.sandbox.stage import Stage
from renewctl.sandbox.worlds import OWNER_ACCOUNT, WorldSpec

TOPIC_ID = "tokyo"
"""What the topic is called in the inventory."""

_HEAD = """\
# The inventory of the sandbox world "{world}". Look around, change it, break it.
version: 1
store: sqlite:///state/renewctl.db
keys:
  folder: keys
  recipients: [{recipient}]
  identity: {{file: {identity}}}
apns: {{url: "{push_service}", ca_file: pki/web-root.pem}}
vendor:
  certificate: vendor/vendor.pem
  chain: [pki/apple-wwdr.pem, pki/apple-root.pem]
  key: {{file: vendor/vendor.key}}
trust: [pki/apple-aai2.pem]
topics:
  - id: {topic_id}
    topic: {topic}
    name: Tokyo office
    owner: The MDM team
    account: {{alias: tokyo-push, address: {account}}}
    window: 60d
    zone: Asia/Tokyo
nodes:
"""

_NODE = """\
  - name: {name}
    product: nanomdm
    url: {url}
    topics: [{topic_id}]
    user: nanomdm
    password: {{file: {password}}}
    storage: {storage}
    devices: {{sql: {sql}}}
"""


def write(spec: WorldSpec, stage: Stage, urls: Mapping[str, str], push_service: str) -> Path:
    """Write `inventory.yaml` into the world's folder; paths inside are relative to it.

    Args:
        spec: the world.
        stage: its folder.
        urls: node -> base URL.
        push_service: URL of the push service.
    """
    folder = stage.folder
    text = _HEAD.format(
        world=spec.name,
        recipient=stage.recipient,
        identity=stage.identity.relative_to(folder),
        push_service=push_service,
        topic_id=TOPIC_ID,
        topic=stage.topic,
        account=OWNER_ACCOUNT,
    )
    for name, url in urls.items():
        storage = spec.storages[name]
        text += _NODE.format(
            name=name,
            url=url,
            topic_id=TOPIC_ID,
            password=stage.password_file(name).relative_to(folder),
            storage=storage,
            sql=json.dumps(f"sqlite:///{stage.database(storage)}"),
        )
    path = folder / "inventory.yaml"
    path.write_text(text, encoding="utf-8")
    return path
