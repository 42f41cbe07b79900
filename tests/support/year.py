"""A real year: four real NanoMDM processes, devices, portal, push service, and an operator's folder.

::

    mdm-1, mdm-2   share one PostgreSQL
    mdm-3          its own file storage (filekv)
    mdm-4          the deprecated `file` storage: the pair arrives as files over SSH, pushes go through its API
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from renewctl.keys.unseal import new_identity
from renewctl.sandbox import launch
from renewctl.sandbox.authority import Issued, new_topic
from renewctl.sandbox.children import listen, port_of
from renewctl.sandbox.person import Deed, act
from tests.support.cli import Done, renewctl
from tests.support.nanomdm import DeviceGroup, NanoMDM, devices, load_schema, nanomdm
from tests.support.postgres import Cluster
from tests.support.sandbox_parts import READY_SECONDS, Pushes, in_days, push_service
from tests.support.sshd import Sshd, sshd

ACCOUNT = "apple-push@tokyo.example"
OTHER_ACCOUNT = "someone.new@tokyo.example"
TOPIC_ID = "tokyo"
_GRANTS = (
    "SELECT (id, device_id, user_id, type, topic, push_magic, token_hex, enabled, last_seen_at) ON enrollments",
    "SELECT (topic, cert_pem, stale_token, updated_at) ON push_certs",
)


@dataclass
class Year:
    """Everything a story needs; `renewctl` always runs as a child process in `folder`."""

    folder: Path
    topic: str
    pushes: Pushes
    portal: str
    old: Issued
    nodes: Mapping[str, NanoMDM]
    group: DeviceGroup
    environment: Mapping[str, str]
    enrolled: dict[str, list[str]] = field(default_factory=dict)

    @property
    def request(self) -> Path:
        """Where `renewal request` writes."""
        return self.folder / "request.plist"

    def run(self, *words: str | Path, seconds: float = 240) -> Done:
        """One command, as the operator types it."""
        return renewctl(*words, cwd=self.folder, env=self.environment, seconds=seconds)

    def told(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """One command's JSON; its exit code must be `code`."""
        done = self.run(*words, "--json")
        assert done.code == code, (done.code, done.out, done.err)
        document: dict[str, Any] = done.document
        return document

    def person(self, deed: Deed = Deed.RENEWS, account: str = ACCOUNT) -> Path:
        """The person takes the request to the portal; returns the download."""
        folder = self.folder / "downloads"
        folder.mkdir(exist_ok=True)
        return act(
            deed, portal=self.portal, account=account, topic=self.topic, request=self.request, folder=folder
        )

    def adopt(self) -> None:
        """Store, key store, and the pair in use."""
        self.told("init", "--existing")
        certificate, key = self.old.write(self.folder / "old", "old")
        self.told("adopt", "--certificate", certificate, "--key", key)

    def to_accepted(self) -> str:
        """From nothing to an accepted certificate; returns its serial."""
        self.adopt()
        self.told("renewal", "open")
        self.told("renewal", "request", "--out", self.request, code=3)
        accepted = self.told("renewal", "accept", self.person())
        return str(accepted["renewal"]["serial"])

    def changes(self) -> dict[str, list[tuple[str, str]]]:
        """Node -> requests in its own log that stored a pair or pushed."""
        return {name: [r for r in node.requests() if _changes(*r)] for name, node in self.nodes.items()}

    def checked_in(self) -> set[str]:
        """Devices that were woken by a push and checked in, as they themselves wrote down."""
        lines = (self.pushes.folder / "devices.jsonl").read_text().splitlines()
        return {str(line["device"]) for line in map(json.loads, lines) if line["event"] == "checked_in"}

    def serials_of(self, enrollment: str, since: int) -> list[str]:
        """Serials a device was woken with, in order, from the push service's log after `since` lines."""
        token = self.group.enrolled[enrollment].token.hex()
        lines = [line for line in self.pushes.log()[since:] if line["status"] == 200]
        return [str(line["serial"]) for line in lines if token.startswith(str(line["token"]))]


def _changes(method: str, path: str) -> bool:
    """Any method pushes; a GET of the pair is our look for newer versions, and carries no body."""
    return path.startswith(("/v1/push/", "/v1/enqueue/")) or (path == "/v1/pushcert" and method != "GET")


@contextmanager
def real_year(folder: Path, cluster: Cluster, store: str | None = None) -> Iterator[Year]:
    """Bring it up; every node has the old pair (42 days left), every device is enrolled.

    Args:
        folder: for everything.
        cluster: a PostgreSQL; NanoMDM gets a database of its own.
        store: `renewctl`'s store; None: SQLite in the operator's folder.
    """
    with ExitStack() as stack:
        pushes = stack.enter_context(push_service(folder / "apple"))
        database = cluster.create_database()
        dsn = load_schema(database)
        nodes = {
            "mdm-1": stack.enter_context(nanomdm(folder / "mdm-1", pushes, "pgsql", dsn)),
            "mdm-2": stack.enter_context(nanomdm(folder / "mdm-2", pushes, "pgsql", dsn)),
            "mdm-3": stack.enter_context(nanomdm(folder / "mdm-3", pushes)),
            "mdm-4": stack.enter_context(nanomdm(folder / "mdm-4", pushes, "file")),
        }
        host = stack.enter_context(sshd(folder / "sshd"))
        group = stack.enter_context(devices(pushes))
        topic = new_topic()
        old = pushes.apple.push_pair(topic, ends=in_days(42.5))
        operator = folder / "operator"
        operator.mkdir()
        year = Year(
            folder=operator,
            topic=topic,
            pushes=pushes,
            portal=stack.enter_context(_portal(folder, pushes, old)),
            old=old,
            nodes=nodes,
            group=group,
            environment={**host.environment, "NO_PROXY": "*"},
        )
        (operator / "mdm.dsn").write_text(database.role(*_GRANTS))
        for name in ("mdm-1", "mdm-3", "mdm-4"):
            _install(nodes[name], old)
        for name, node in nodes.items():
            year.enrolled[name] = list(group.enroll(node.mdm_url, topic, 2))
        _inventory(year, host, store)
        yield year


@contextmanager
def _portal(folder: Path, pushes: Pushes, old: Issued) -> Iterator[str]:
    accounts = folder / "accounts.json"
    mine = [{"vendor": "Example Corp", "certificate": old.certificate_pem.decode()}]
    accounts.write_text(json.dumps({ACCOUNT: mine, OTHER_ACCOUNT: []}))
    listener = listen()
    port = port_of(listener)
    child = launch.portal(pushes.pki, folder, accounts, listener)
    try:
        child.wait_ready(READY_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop()


def _install(node: NanoMDM, pair: Issued) -> None:
    """As somebody did a year ago."""
    body = pair.certificate_pem + pair.key_pem
    answer = httpx.put(
        f"{node.url}/v1/pushcert", content=body, auth=("nanomdm", node.api_key), trust_env=False
    )
    answer.raise_for_status()


def _inventory(year: Year, host: Sshd, store: str | None) -> None:
    pki, folder = year.pushes.pki, year.folder
    vendor = year.pushes.apple.vendor("Example Corp", ends=in_days(200))
    certificate, key = vendor.write(folder / "vendor", "vendor")
    identity, recipient = new_identity()
    secret = folder / "identity.txt"
    secret.touch(mode=0o600)
    secret.write_text(identity)
    key.chmod(0o600)
    storage = year.nodes["mdm-4"].folder / "storage"
    from_database = {"storage": "shared", "devices": {"sql": {"file": "mdm.dsn"}}}
    install = {
        "host": "127.0.0.1",
        "paths": {
            "certificate": str(storage / f"{year.topic}.pem"),
            "key": str(storage / f"{year.topic}.key"),
        },
        "variables": host.variables,
    }
    more: dict[str, dict[str, Any]] = {
        "mdm-1": from_database,
        "mdm-2": from_database,
        "mdm-3": {"devices": {"folder": str(year.nodes["mdm-3"].folder / "storage")}},
        "mdm-4": {"devices": {"folder": str(storage)}, "install": install},
    }
    document = {
        "version": 1,
        "store": "sqlite:///state/renewctl.db" if store is None else {"file": "store.url"},
        "keys": {"recipients": [recipient], "identity": {"file": str(secret)}},
        "apns": {"url": year.pushes.url, "ca_file": str(pki / "web-root.pem")},
        "vendor": {
            "certificate": str(certificate),
            "chain": [str(pki / "apple-wwdr.pem"), str(pki / "apple-root.pem")],
            "key": {"file": str(key)},
        },
        "trust": [str(pki / "apple-aai2.pem")],
        "topics": [
            {
                "id": TOPIC_ID,
                "topic": year.topic,
                "name": "Tokyo office",
                "account": {"alias": "tokyo-push", "address": ACCOUNT},
                "zone": "Asia/Tokyo",
            }
        ],
        "nodes": [
            node.inventory_entry(name, canary_enrollments=year.enrolled[name][:1], **more[name])
            for name, node in year.nodes.items()
        ],
    }
    if store is None:
        document["keys"]["folder"] = "keys"  # type: ignore[index]
    else:
        (folder / "store.url").write_text(store)
    (folder / "renewctl.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
