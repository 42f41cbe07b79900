"""The inventory `init` writes, as text: every key explained in the reader's language. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeAnswer:
    """One node as it was told; `password` and `devices` are mappings as the inventory takes them."""

    name: str
    url: str
    user: str | None = None
    password: Mapping[str, object] | None = None
    devices: Mapping[str, object] | None = None


@dataclass(frozen=True)
class TopicAnswer:
    """One topic as it was told, or found on a node."""

    id: str
    topic: str
    name: str


@dataclass(frozen=True)
class Answers:
    """All that is needed to write an inventory.

    Attributes:
        store: URL; a relative SQLite path is meant from the inventory's folder.
        keys_folder, identity: paths as they are written.
        account, account_address: of the Apple Account.
    """

    store: str
    keys_folder: str
    recipients: tuple[str, ...]
    identity: str | None
    topics: tuple[TopicAnswer, ...]
    account: str
    account_address: str | None
    zone: str
    language: str
    nodes: tuple[NodeAnswer, ...]


def render(answers: Answers, say: Callable[[str], str]) -> str:
    """The whole file; `say` gives the sentence of a key."""
    lines = [
        *_comment(say("init.comment.head")),
        "version: 1",
        "",
        *_comment(say("init.comment.store")),
        f"store: {_quoted(answers.store)}",
        "",
        *_comment(say("init.comment.keys")),
        "keys:",
        f"  folder: {_quoted(answers.keys_folder)}",
        f"  recipients: [{', '.join(map(_quoted, answers.recipients))}]",
    ]
    if answers.identity is not None:
        lines += _comment(say("init.comment.identity"), "  ")
        lines.append(f"  identity: {{file: {_quoted(answers.identity)}}}")
    lines += ["", *_comment(say("init.comment.vendor"))]
    lines.append("# vendor: {certificate: vendor.pem, chain: [wwdr.pem, root.pem], key: {file: vendor.key}}")
    lines += ["", *_comment(say("init.comment.apns")), "# apns: {ca_file: /etc/…}", "# trust: [/etc/…]"]
    lines += ["", *_comment(say("init.comment.topics")), "topics:"]
    for topic in answers.topics:
        lines += _topic(topic, answers, say)
    lines += ["", *_comment(say("init.comment.nodes")), *_comment(say("init.comment.node_keys")), "nodes:"]
    for node in answers.nodes:
        lines += _node(node, say)
    lines += ["", *_comment(say("init.comment.files"))]
    lines.append("#  - {name: mdm9, product: files, install: {paths: {certificate: /etc/…, key: /etc/…}}}")
    lines += _comment(say("init.comment.layouts"))
    lines.append("#    paths: {pem: /etc/…}")
    lines.append("#    paths: {pkcs12: /etc/…, password: {file: /etc/…}}")
    lines.append("#    paths: [{certificate: /etc/…, key: /etc/…, reload: [/usr/bin/…]}, {pem: /etc/…}]")
    return "\n".join(lines) + "\n"


def _topic(topic: TopicAnswer, answers: Answers, say: Callable[[str], str]) -> Iterator[str]:
    yield f"  - id: {_quoted(topic.id)}"
    yield from _comment(say("init.comment.topic"), "    ")
    yield f"    topic: {_quoted(topic.topic)}"
    yield f"    name: {_quoted(topic.name)}"
    yield from _comment(say("init.comment.account"), "    ")
    yield from _comment(say("init.comment.address"), "    ")
    yield "    account:"
    yield f"      alias: {_quoted(answers.account)}"
    if answers.account_address is not None:
        yield f"      address: {_quoted(answers.account_address)}"
    yield from _comment(say("init.comment.window"), "    ")
    yield "    window: 60d"
    yield f"    zone: {_quoted(answers.zone)}"
    yield f"    language: {answers.language}"


def _node(node: NodeAnswer, say: Callable[[str], str]) -> Iterator[str]:
    yield f"  - name: {_quoted(node.name)}"
    yield "    product: nanomdm"
    yield f"    url: {_quoted(node.url)}"
    yield "    install: api"
    if node.user is not None:
        yield f"    user: {_quoted(node.user)}"
    if node.password is not None:
        yield from _comment(say("init.comment.password"), "    ")
        yield f"    password: {_flow(node.password)}"
    if node.devices is not None:
        yield f"    devices: {_flow(node.devices)}"


def _comment(text: str, indent: str = "") -> list[str]:
    return [f"{indent}# {line}" for line in text.split("\n")]


def _flow(value: object) -> str:
    """A mapping on one line, `{sql: {file: "dsn"}}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(below)}" for key, below in value.items()) + "}"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar: JSON's is one."""
    return json.dumps(text, ensure_ascii=False)
