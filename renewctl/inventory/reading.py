"""The inventory: YAML in, one frozen value out. Errors name the field's path and line, all at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from renewctl.errors import Unusable
from renewctl.inventory.expires import expiring_from
from renewctl.inventory.fields import Fields, Problems, is_loopback, raise_first
from renewctl.inventory.install import read_folder, read_install
from renewctl.inventory.keys import keys_from
from renewctl.inventory.model import (
    DEFAULT_WINDOW,
    Account,
    AccountKind,
    Apns,
    Devices,
    Expiring,
    ExpiryKind,
    FileInstall,
    Inventory,
    Keys,
    Language,
    Node,
    Place,
    Product,
    Topic,
    Vendor,
)
from renewctl.inventory.yaml_lines import parse, read_bytes
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef

__all__ = [
    "DEFAULT_WINDOW",
    "Account",
    "AccountKind",
    "Apns",
    "Devices",
    "Expiring",
    "ExpiryKind",
    "FileInstall",
    "Inventory",
    "Keys",
    "Language",
    "Node",
    "Place",
    "Product",
    "Topic",
    "Vendor",
    "apns_from_mapping",
    "from_bytes",
    "load",
    "node_from_mapping",
    "secret_from_value",
]

VERSION = 1
STORE_SCHEMES = ("sqlite", "postgresql", "postgres")
MOST_SERIES = 10_000
"""Series of single devices a node may have: Prometheus's own guide calls a hundred thousand in all fine."""
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgres", "mysql")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # also an Ansible host name and a label value
_NAME_SAID = "A-Z a-z 0-9 . _ - (<= 63)"
_TOPIC = re.compile(r"com\.apple\.mgmt\.[!-~]{1,200}")  # as pushcert.TOPIC_PREFIX; no spaces

_Made = TypeVar("_Made")


def load(path: Path) -> Inventory:
    """Read an inventory: one file, or a folder of `*.yaml` and `*.yml` (a file a customer, say).

    Raises:
        Unusable: with the first fault found and all further ones in `.others`.
    """
    return _read(path, [(file, read_bytes(file)) for file in _files(path)])


def from_bytes(data: bytes, path: Path) -> Inventory:
    """The inventory a file would be, before it is written.

    Raises:
        Unusable: as `load`.
    """
    return _read(path, [(path, data)])


def node_from_mapping(mapping: Mapping[str, object], base: Path) -> Node:
    """A node from a mapping like one entry of `nodes` (Ansible's host variable `renewctl_node`).

    Args:
        mapping: plain values.
        base: the folder relative paths are meant from.

    Raises:
        Unusable: with all faults.
    """
    return _alone(mapping, "renewctl_node", base, _node)


def apns_from_mapping(mapping: Mapping[str, object], base: Path) -> Apns:
    """The push service from a mapping like `apns` (Ansible's variable `renewctl_apns`).

    Raises:
        Unusable: with all faults.
    """
    return _alone(mapping, "renewctl_apns", base, _apns)


def secret_from_value(value: object, place: str, base: Path) -> SecretRef:
    """A secret reference from a plain value (a host variable, a command line option).

    Raises:
        Unusable: not a reference.
    """
    reference = _alone({"secret": value}, place, base, lambda fields: fields.must_secret("secret"))
    assert reference is not None  # noqa: S101 - otherwise a problem was noted
    return reference


def _alone(mapping: Mapping[str, object], place: str, base: Path, make: Callable[[Fields], _Made]) -> _Made:
    problems = Problems(place)
    made = make(Fields(mapping, "", problems, base))
    raise_first(problems.found)
    return made


def _read(path: Path, sources: list[tuple[Path, bytes]]) -> Inventory:
    problems: list[Problems] = []
    found: list[Unusable] = []
    documents: list[Fields] = []
    for file, data in sources:
        try:
            value, noted = parse(data, str(file))
        except Unusable as error:
            found.append(error)
            continue
        problems.append(noted)
        documents.append(Fields(value, "", noted, file.parent.absolute()))
    inventory = _inventory(path, _digest(sources), documents) if documents else None
    raise_first(found + [fault for noted in problems for fault in noted.found])
    assert inventory is not None  # noqa: S101 - without a document something was raised
    return inventory


def _files(path: Path) -> list[Path]:
    try:
        names = sorted(path.iterdir()) if path.is_dir() else None
    except OSError as error:  # it, or a folder above it, may not be entered
        raise Unusable(Reason.FILE_UNREADABLE, path=str(path), got=error.strerror) from error
    if names is None:
        return [path]
    files = [file for file in names if file.suffix in {".yaml", ".yml"} and not file.name.startswith(".")]
    if not files:
        raise Unusable(Reason.INVENTORY_NOT_FOUND, path=str(path / "*.yaml"))
    return files


def _digest(sources: Iterable[tuple[Path, bytes]]) -> str:
    digest = hashlib.sha256()
    for _, data in sources:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Entry:
    """One entry of `topics` or `nodes`, and where it stands."""

    value: object
    document: Fields
    path: str

    def fields(self) -> Fields:
        return Fields(self.value, self.path, self.document.problems, self.document.base)


def _inventory(path: Path, digest: str, documents: list[Fields]) -> Inventory:
    """Merge the documents: lists add up, everything else may stand in one file only."""
    for document in documents:
        _check_version(document)
    topic_entries, node_entries = _entries(documents, "topics"), _entries(documents, "nodes")
    store, trust = _only(documents, "store"), _only(documents, "trust")
    keys, apns, vendor = (_only(documents, key).mapping(key) for key in ("keys", "apns", "vendor"))
    watched_only = store.raw("store") == "none"  # an exporter's own inventory: nothing is renewed with it
    inventory = Inventory(
        path=path,
        digest=digest,
        store="" if watched_only else store.database("store", STORE_SCHEMES) or "",
        keys=Keys(()) if keys is None else keys_from(keys),
        topics=tuple(_topic(entry.fields()) for entry in topic_entries),
        nodes=tuple(_node(entry.fields()) for entry in node_entries),
        apns=Apns() if apns is None else _apns(apns),
        vendor=None if vendor is None else _vendor(vendor),
        trust=trust.files("trust"),
        expires=tuple(one for document in documents for one in document.items("expires", expiring_from)),
    )
    store.need("store", None)
    if not watched_only:
        documents[0].need("keys", keys)
    _need_topics_and_nodes(inventory, documents, watched_only=watched_only)
    for document in documents:
        document.done()
    _check_topics(inventory, topic_entries)
    _check_expires(inventory, _entries(documents, "expires"))
    topics = tuple(replace(topic, vendor=topic.vendor or inventory.vendor) for topic in inventory.topics)
    inventory = replace(inventory, topics=topics)
    return _check_nodes(inventory, node_entries)


def _need_topics_and_nodes(inventory: Inventory, documents: list[Fields], *, watched_only: bool) -> None:
    """Nodes always; topics where a node serves them, or a renewal is to be made."""
    folders_only = bool(inventory.nodes) and all(node.folder for node in inventory.nodes)
    named = {key: any(document.raw(key) for document in documents) for key in ("topics", "nodes")}
    if not named["topics"] and not folders_only and (named["nodes"] or not watched_only):
        documents[0].problem(Reason.INVENTORY_MISSING_KEY, "topics", expected="topics")
    if not named["nodes"]:
        documents[0].problem(Reason.INVENTORY_MISSING_KEY, "nodes", expected="nodes")


def _check_version(document: Fields) -> None:
    version = document.raw("version")
    document.need("version", version)
    if version is True or (version is not None and version != VERSION):
        document.problem(Reason.INVENTORY_VERSION, "version", got=version, expected=VERSION)


def _entries(documents: list[Fields], key: str) -> list[_Entry]:
    return [
        _Entry(value, document, f"{key}[{index}]")
        for document in documents
        for index, value in document.entries(key)
    ]


def _only(documents: list[Fields], key: str) -> Fields:
    """The one document that has a key; the first where none has."""
    having = [document for document in documents if document.raw(key) is not None]
    for document in having[1:]:
        document.problem(Reason.INVENTORY_DUPLICATE, key, got=key, expected=having[0].problems.where(key))
    return (having or documents)[0]


def _check_topics(inventory: Inventory, entries: list[_Entry]) -> None:
    """Ids and UIDs are unique; every topic has a node."""
    _refuse_duplicates([topic.id for topic in inventory.topics], entries, "id")
    _refuse_duplicates([topic.topic for topic in inventory.topics], entries, "topic")
    serves_all = any(not node.topics and node.folder is None for node in inventory.nodes)
    served = {name for node in inventory.nodes for name in node.topics}
    for topic, entry in zip(inventory.topics, entries, strict=True):
        if topic.id and not serves_all and topic.id not in served:
            problems = entry.document.problems
            problems.add(Reason.INVENTORY_TOPIC_WITHOUT_NODES, entry.path, topic=topic.id)


def _check_nodes(inventory: Inventory, entries: list[_Entry]) -> Inventory:
    """Names are unique, topics exist; a node that names no topic serves all."""
    _refuse_duplicates([node.name for node in inventory.nodes], entries, "name")
    ids = tuple(topic.id for topic in inventory.topics)
    known = frozenset(ids)
    for node, entry in zip(inventory.nodes, entries, strict=True):
        for index, name in enumerate(node.topics):
            if name not in known:
                at = f"{entry.path}.topics[{index}]"
                entry.document.problems.add(
                    Reason.INVENTORY_DANGLING, at, got=name, expected=", ".join(ids) or "-"
                )
    return replace(
        inventory,
        nodes=tuple(
            node if node.folder else replace(node, topics=node.topics or ids) for node in inventory.nodes
        ),
    )


def _check_expires(inventory: Inventory, entries: list[_Entry]) -> None:
    """One series each; a node that is named exists."""
    _refuse_duplicates(
        [f"{one.kind} {one.name} {one.node}".strip() for one in inventory.expires], entries, "name"
    )
    names = [node.name for node in inventory.nodes]
    for one, entry in zip(inventory.expires, entries, strict=True):
        if one.node and one.node not in names:
            entry.document.problems.add(
                Reason.INVENTORY_DANGLING, f"{entry.path}.node", got=one.node, expected=", ".join(names)[:200]
            )


def _refuse_duplicates(values: list[str], entries: list[_Entry], key: str) -> None:
    seen: dict[str, str] = {}
    for value, entry in zip(values, entries, strict=True):
        problems, path = entry.document.problems, f"{entry.path}.{key}"
        if value and value in seen:
            problems.add(Reason.INVENTORY_DUPLICATE, path, got=value, expected=seen[value])
        seen.setdefault(value, problems.where(path))


def _topic(fields: Fields) -> Topic:
    account, vendor = fields.mapping("account"), fields.mapping("vendor")
    fields.need("account", account)
    topic = Topic(
        id=fields.matching("id", _NAME, _NAME_SAID),
        topic=fields.matching("topic", _TOPIC, "com.apple.mgmt.…"),
        name=fields.must_text("name"),
        account=Account("") if account is None else _account(account),
        owner=fields.text("owner"),
        deputy=fields.text("deputy"),
        window=fields.duration("window", DEFAULT_WINDOW),
        zone=fields.zone("zone"),
        language=fields.choice("language", Language),
        labels=fields.labels("labels"),
        vendor=None if vendor is None else _vendor(vendor),
    )
    fields.done()
    return topic


def _account(fields: Fields) -> Account:
    account = Account(
        alias=fields.must_text("alias"),
        address=fields.text("address"),
        kind=fields.choice("kind", AccountKind),
        second_factor=fields.text("second_factor"),
    )
    fields.done()
    return account


def _vendor(fields: Fields) -> Vendor:
    certificate, chain = fields.file("certificate"), fields.files("chain")
    fields.need("certificate", certificate)
    fields.need("chain", chain or None)
    vendor = Vendor(certificate or Path(), chain, fields.secret("key"))
    fields.done()
    return vendor


def _apns(fields: Fields) -> Apns:
    # https alone: the pair is shown in the TLS handshake
    url = fields.url("url", ("https",))
    apns = Apns(url.geturl().rstrip("/") if url else Apns.url, fields.file("ca_file"))
    fields.done()
    return apns


def _node(fields: Fields) -> Node:
    product = fields.choice("product", Product)
    fields.need("product", product)
    folder = read_folder(fields, product)
    install = None if folder is not None else read_install(fields, product)
    url = fields.url("url", ("http", "https"))
    if product is not Product.FILES:
        fields.need("url", url)
    name = fields.matching("name", _NAME, _NAME_SAID)
    node = Node(
        name=name,
        product=product or Product.FILES,
        topics=fields.texts("topics"),
        storage=fields.text("storage") or name,
        url=None if url is None else url.geturl().rstrip("/"),
        install=install,
        folder=folder,
        user=fields.text("user"),
        password=fields.secret("password"),
        devices=_devices(fields),
        canary_enrollments=fields.texts("canary_enrollments"),
        ca_file=fields.file("ca_file"),
        insecure_http=fields.flag("insecure_http"),
        allow_api_credential=fields.flag("allow_api_credential"),
    )
    if url and url.scheme == "http" and not node.insecure_http and not is_loopback(url.hostname or ""):
        fields.problem(Reason.INVENTORY_INSECURE_HTTP, "url", got=url.geturl(), expected="https://…")
    fields.done()
    return node


def _devices(fields: Fields) -> Devices | None:
    if fields.raw("devices") == "none":
        return None
    below = fields.mapping("devices")
    if below is None:
        return None
    devices = Devices(
        below.database("sql", DATABASE_SCHEMES), below.file("folder"), below.count("series", MOST_SERIES)
    )
    if (devices.sql is None) == (devices.folder is None) or (devices.folder and devices.series):
        expected = "{sql: …, series: 0} | {folder: …} | none"
        fields.problem(
            Reason.INVENTORY_BAD_VALUE, "devices", got=", ".join(below.keys()) or "-", expected=expected
        )
    below.done()
    return devices
