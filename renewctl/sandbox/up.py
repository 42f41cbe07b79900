"""Bring a world up: portal, push service, three MDM servers, devices, and the exporter if wanted.

::

    with World.start(world("happy-year"), folder) as happy:
        ...                      # run renewctl with happy.inventory, as a child process
        happy.check_alive()

Everything listens on the loopback, on free ports, and ends with this process, whatever ends it.
`world.json` in the folder says what is where. `python -m renewctl.sandbox.up --world NAME --folder DIR` stays
up until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from renewctl.sandbox import inventory_file, launch, person
from renewctl.sandbox.children import Child, WorldBroken, listen, port_of
from renewctl.sandbox.serving import read_lines
from renewctl.sandbox.stage import Stage, build
from renewctl.sandbox.worlds import NODES, WORLDS, WorldSpec, world

_READY_SECONDS = 60.0  # for a loaded CI machine; on an idle one all are up in a few seconds
_HTTP_SECONDS = 10.0
_POLL_SECONDS = 0.1
_OK = 200

_direct = build_opener(ProxyHandler({}))  # the loopback needs no proxy


@dataclass(frozen=True)
class Addresses:
    """Where everything listens.

    Attributes:
        portal: what a person opens in a browser.
        push_service: `https://…`, for pushes; the same port is a proxy for real servers.
        courier: the push service's second port: devices, switches, `/pushes`.
        nodes: node -> base URL.
        exporter: its base URL, or None without one.
    """

    portal: str
    push_service: str
    courier: str
    nodes: Mapping[str, str]
    exporter: str | None = None


@dataclass
class World:
    """A running world."""

    spec: WorldSpec
    stage: Stage
    addresses: Addresses
    inventory: Path
    children: dict[str, Child] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, spec: WorldSpec, folder: Path, *, exporter: bool = False) -> World:
        """Bring a world up in an empty or missing folder, and wait until it is ready.

        Raises:
            WorldBroken: a part did not come up; everything started is ended again.
        """
        stage = build(spec, folder.resolve(), NODES)
        sockets = {name: listen() for name in _PARTS}
        addresses = _addresses({name: port_of(one) for name, one in sockets.items()}, exporter=exporter)
        inventory = inventory_file.write(spec, stage, addresses.nodes, addresses.push_service)
        running = cls(spec, stage, addresses, inventory)
        try:
            running._populate(sockets)
        except BaseException:
            running.stop()
            raise
        finally:
            for one in sockets.values():
                one.close()
        return running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every child, devices first."""
        last_first = list(reversed(self.children.values()))
        for child in last_first:
            child.ask_to_end()
        for child in last_first:
            child.stop()
        self.children.clear()

    def check_alive(self) -> None:
        """All is as it should be.

        Raises:
            WorldBroken: a child died that was not taken down on purpose.
        """
        for name, child in self.children.items():
            if name not in self.down and not child.alive:
                raise WorldBroken(name, f"died ({child.process.returncode}) {child.last_words()}")

    # What a story does

    def person(self, request: Path) -> Path:
        """The person takes a request to the portal, as this world has it; returns the file handed over.

        Raises:
            PortalSaidNo: the portal refused.
        """
        downloaded = person.act(
            self.spec.deed,
            portal=self.addresses.portal,
            account=self.spec.account,
            topic=self.stage.topic,
            request=request,
            folder=self.stage.folder / "downloads",
        )
        last_year = self.spec.deed is person.Deed.TAKES_LAST_YEARS_FILE
        return self.stage.old_certificate if last_year else downloaded

    def take_down(self, node: str) -> None:
        """Kill a node's process, as a power cut would."""
        self.down.add(node)
        self.children[node].kill()

    def bring_back(self, node: str) -> None:
        """Start a node again on its port, with its database."""
        self._start_node(node, listen(int(self.addresses.nodes[node].rsplit(":", 1)[1])))
        self.children[node].wait_ready(_READY_SECONDS)
        self.down.discard(node)

    def switch(self, part: str, **faults: object) -> None:
        """Set fault switches of a node, or of `push-service`."""
        path = "/faults" if part == "push-service" else "/sandbox/faults"
        base = self.addresses.courier if part == "push-service" else self.addresses.nodes[part]
        request = Request(base + path, json.dumps(faults).encode(), method="PUT")  # noqa: S310 - http, our own
        with _direct.open(request, timeout=_HTTP_SECONDS):
            pass

    # What a story sees

    def pushes(self, since: datetime | None = None) -> list[dict[str, object]]:
        """The push service's log: time, token, serial, topic, status, reason, woken."""
        return list(read_lines(self.stage.logs / "pushes.jsonl", since))

    def requests(self, node: str, since: datetime | None = None) -> list[dict[str, object]]:
        """A node's request log: time, method, path, status."""
        return list(read_lines(self.stage.logs / f"{node}.requests.jsonl", since))

    def changing_requests(self, node: str, since: datetime | None = None) -> list[dict[str, object]]:
        """The API requests that changed something or pushed; devices' own traffic is left out.

        On v0.9.0 every method on `/v1/push/…` pushes, and `/v1/pushcert` stores on any method with a body.
        """
        return [line for line in self.requests(node, since) if _changes(line)]

    def devices(self, event: str, since: datetime | None = None) -> set[str]:
        """UDIDs with an event (`enrolled`, `woken`, `checked_in`, `ignored`, `failed`) since an instant."""
        lines = read_lines(self.stage.logs / "devices.jsonl", since)
        return {str(line["device"]) for line in lines if line["event"] == event}

    # Bringing up

    def _populate(self, sockets: Mapping[str, socket.socket]) -> None:
        """Start everything side by side, wait until the devices are enrolled, then what comes after."""
        pki, logs = self.stage.pki, self.stage.logs
        for name in NODES:
            self._start_node(name, sockets[name])
        self._add(launch.push_service(pki, logs, sockets["push-service"], sockets["courier"]))
        self._add(launch.portal(pki, logs, self.stage.accounts, sockets["portal"]))
        self._add(launch.devices(pki, logs, self.addresses.courier, self._plan()))
        for child in self.children.values():
            child.wait_ready(_READY_SECONDS)
        for name in self.spec.down:
            self.take_down(name)
        if self.addresses.exporter:
            self._start_exporter(self.addresses.exporter, sockets["exporter"])
        self._write_world()

    def _add(self, child: Child) -> None:
        self.children[child.name] = child

    def _start_node(self, name: str, listener: socket.socket) -> None:
        self._add(
            launch.node(
                name,
                pki=self.stage.pki,
                logs=self.stage.logs,
                database=self.stage.database(self.spec.storages[name]),
                password_file=self.stage.password_file(name),
                push_service_url=self.addresses.push_service,
                listener=listener,
            )
        )

    def _plan(self) -> list[dict[str, object]]:
        """Devices spread over the nodes as evenly as they go."""
        share, rest = divmod(self.spec.devices, len(NODES))
        return [
            {
                "node": name,
                "url": f"{self.addresses.nodes[name]}/mdm",
                "topic": self.stage.topic,
                "count": share + (index < rest),
            }
            for index, name in enumerate(NODES)
        ]

    def _start_exporter(self, url: str, placeholder: socket.socket) -> None:
        port = port_of(placeholder)
        placeholder.close()  # the exporter binds for itself
        child = launch.exporter(self.stage.logs, self.inventory, port)
        self._add(child)
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(f"{url}/-/ready"):
            if not child.alive or time.monotonic() > deadline:
                raise WorldBroken("exporter", f"not ready {child.last_words()}")
            time.sleep(_POLL_SECONDS)

    def _write_world(self) -> None:
        facts = {
            "world": self.spec.name,
            "claim": self.spec.claim,
            "topic": self.stage.topic,
            "urls": {
                "portal": self.addresses.portal,
                "push_service": self.addresses.push_service,
                "courier": self.addresses.courier,
                "exporter": self.addresses.exporter,
                **self.addresses.nodes,
            },
            "nodes": {
                name: {
                    "url": url,
                    "database": str(self.stage.database(self.spec.storages[name])),
                    "password_file": str(self.stage.password_file(name)),
                }
                for name, url in self.addresses.nodes.items()
            },
            "pids": {name: child.process.pid for name, child in self.children.items()},
            "parent": os.getpid(),
            "paths": {
                "inventory": str(self.inventory),
                "old_certificate": str(self.stage.old_certificate),
                "old_key": str(self.stage.old_key) if self.spec.old_key_at_hand else None,
                "logs": str(self.stage.logs),
            },
        }
        (self.stage.folder / "world.json").write_text(json.dumps(facts, indent=2) + "\n")


_PARTS = ("portal", "push-service", "courier", "exporter", *NODES)


def _addresses(ports: Mapping[str, int], *, exporter: bool) -> Addresses:
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return Addresses(
        portal=urls["portal"],
        push_service=f"https://127.0.0.1:{ports['push-service']}",
        courier=urls["courier"],
        nodes=MappingProxyType({name: urls[name] for name in NODES}),
        exporter=urls["exporter"] if exporter else None,
    )


def _changes(line: Mapping[str, object]) -> bool:
    path, method = str(line["path"]), line["method"]
    if path.startswith(("/v1/push/", "/v1/enqueue/")):
        return True
    return path == "/v1/pushcert" and (method not in {"GET", "HEAD"} or line["status"] == _OK)


def _answers(url: str) -> bool:
    try:
        with _direct.open(url, timeout=_HTTP_SECONDS):
            return True
    except (URLError, OSError):
        return False


def _end(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring a world up and keep it until SIGINT or SIGTERM; 1 when a part of it died."""
    parser = argparse.ArgumentParser(description="Bring a sandbox world up and keep it")
    parser.add_argument("--world", choices=[spec.name for spec in WORLDS], default=WORLDS[0].name)
    parser.add_argument("--folder", type=Path, required=True, help="empty or missing folder")
    parser.add_argument("--exporter", action="store_true", help="run the exporter as well")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        with World.start(world(options.world), options.folder, exporter=options.exporter) as running:
            sys.stdout.write((running.stage.folder / "world.json").read_text())
            sys.stdout.flush()
            while True:
                running.check_alive()
                time.sleep(_POLL_SECONDS)
    except WorldBroken as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
