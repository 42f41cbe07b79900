"""Nodes, pairs and a push service for tests that run real playbooks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from renewctl import playbook_run
from renewctl.playbook_run import Ended, NodeDone, PlaybookEvent
from tests.support.sandbox_parts import Pushes, in_days
from tests.support.scripted_nanomdm import Node, Script, new_store, running, serial_of

TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
TOKEN = "0123456789abcdef" * 2


@dataclass(frozen=True)
class PairFiles:
    """A pair as files, and how a playbook is told of it."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.read_bytes()

    @property
    def serial(self) -> str:
        """Its serial number, hex."""
        return serial_of(self.pem)

    @property
    def reference(self) -> dict[str, Any]:
        """The variable's value."""
        return {"certificate": str(self.certificate), "key": {"file": str(self.key)}}


@dataclass
class World:
    """Everything one test needs."""

    folder: Path
    pushes: Pushes
    old: PairFiles
    new: PairFiles
    nodes: dict[str, Node] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[PlaybookEvent] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def api_node(
        self, name: str, script: Script | None = None, store: Path | None = None, **more: object
    ) -> Node:
        """A node with the old pair; `store` is shared with another one."""
        store = store or new_store(self.folder / f"{name}.sqlite", TOPIC, self.old.pem)
        node = self.stack.enter_context(running(store, script))
        self.nodes[name] = node
        self.hosts[name] = {"renewctl_node": node.mapping(name, self.folder, **more)}
        return node

    def variables(self, **more: object) -> dict[str, Any]:
        """The collection's variables."""
        return {
            "renewctl_topic": TOPIC,
            "renewctl_pair": self.new.reference,
            "renewctl_previous": self.old.reference,
            "renewctl_apns": {
                "url": self.pushes.url,
                "ca_file": str(self.pushes.pki / "web-root.pem"),
            },
            "renewctl_run": 1,
            "renewctl_token": TOKEN,
            "renewctl_check_in_timeout": 1,
            "renewctl_canaries": 1,
            **more,
        }

    def run(
        self,
        name: str,
        *,
        limit: Sequence[str] | None = None,
        check: bool = False,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        **more: object,
    ) -> Ended:
        """Run one playbook through `renewctl`."""
        self.events.clear()
        return playbook_run.run(
            name,
            self.hosts if hosts is None else hosts,
            self.variables(**more),
            limit=limit,
            check=check,
            on_event=self.events.append,
        )

    def told(self, state: str) -> list[tuple[str, str]]:
        """(node, outcome) of each step of a state, in order."""
        done = [event for event in self.events if isinstance(event, NodeDone)]
        return [(event.node, event.result.outcome) for event in done if event.state == state]

    def changes(self) -> dict[str, list[str]]:
        """Node -> paths of its changing requests."""
        return {name: node.changes for name, node in self.nodes.items()}

    def plain_inventory(self) -> tuple[Path, Path]:
        """Inventory and variables as a person without `renewctl` writes them."""
        inventory, variables = self.folder / "hosts.yml", self.folder / "variables.yml"
        hosts = {
            name: {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                **own,
            }
            for name, own in self.hosts.items()
        }
        inventory.write_text(json.dumps({"mdm": {"hosts": hosts}}))
        told = self.variables()
        del told["renewctl_run"], told["renewctl_token"]
        variables.write_text(json.dumps(told))
        return inventory, variables

    def typed_by_hand(self, playbook: str) -> list[str]:
        """How that person plays it, over each node's own connection."""
        inventory, variables = self.plain_inventory()
        told = json.loads(inventory.read_text())
        for own in told["mdm"]["hosts"].values():
            if "ansible_port" in own:
                del own["ansible_connection"]
        inventory.write_text(json.dumps(told))
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return [program, f"renewctl.mdm.{playbook}", "-i", str(inventory), "-e", f"@{variables}"]


@contextmanager
def world(folder: Path, pushes: Pushes) -> Iterator[World]:
    """A world whose nodes end with the block."""
    files = []
    for name, days in (("old", 42), ("new", 365)):
        pair = pushes.apple.push_pair(TOPIC, ends=in_days(days))
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        files.append(PairFiles(certificate, key))
    with ExitStack() as stack:
        yield World(folder, pushes, files[0], files[1], stack=stack)
