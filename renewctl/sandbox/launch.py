"""How each process of a world is started; also for tests that need one part alone.

::

    pushes, courier = listen(), listen()
    child = launch.push_service(pki, logs, pushes, courier)
    child.wait_ready(30)

Sockets are bound before anything starts, so all parts know each other's address and start side by side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import socket

from renewctl.sandbox.children import Child

_EXPORTER_POLL = "5s"  # a story lasts a minute


def push_service(pki: Path, logs: Path, pushes: socket, courier: socket) -> Child:
    """Apple's push service; its log is `logs/pushes.jsonl`.

    Args:
        pki: folder written by `stage.write_pki`.
        logs: an existing folder.
        pushes: where pushes arrive: TLS, or CONNECT from clients that use it as a proxy.
        courier: where devices wait, and switches are set.
    """
    arguments = ["--pki", str(pki), "--log", str(logs / "pushes.jsonl")]
    arguments += ["--fd", str(pushes.fileno()), "--admin-fd", str(courier.fileno())]
    return Child.start(
        "push-service", "renewctl.sandbox.push_service", arguments, logs=logs, sockets=[pushes, courier]
    )


def portal(pki: Path, logs: Path, accounts: Path, listener: socket) -> Child:
    """Apple's portal, with accounts as `portal.read_accounts` reads them."""
    arguments = ["--pki", str(pki), "--accounts", str(accounts), "--fd", str(listener.fileno())]
    return Child.start("portal", "renewctl.sandbox.portal", arguments, logs=logs, sockets=[listener])


def node(
    name: str,
    *,
    pki: Path,
    logs: Path,
    database: Path,
    password_file: Path,
    push_service_url: str,
    listener: socket,
) -> Child:
    """An MDM server; its log is `logs/<name>.requests.jsonl`."""
    arguments = ["--fd", str(listener.fileno()), "--database", str(database)]
    arguments += ["--push-service", push_service_url, "--push-ca", str(pki / "web-root.pem")]
    arguments += ["--password-file", str(password_file), "--device-ca", str(pki / "device-ca.pem")]
    arguments += ["--log", str(logs / f"{name}.requests.jsonl")]
    return Child.start(name, "renewctl.sandbox.mdm_server", arguments, logs=logs, sockets=[listener])


def devices(pki: Path, logs: Path, courier: str, plan: Sequence[Mapping[str, object]]) -> Child:
    """Simulated devices; ready once all are enrolled; their log is `logs/devices.jsonl`.

    Args:
        pki: folder with the devices' authority, `device-ca.pem` and `.key`.
        logs: an existing folder.
        courier: URL of the push service's second port.
        plan: `{"node", "url", "topic", "count"}` for each place they enrol at.
    """
    plan_file = logs / "devices.plan.json"
    plan_file.write_text(json.dumps(plan))
    arguments = ["--pki", str(pki), "--courier", courier, "--plan", str(plan_file)]
    arguments += ["--log", str(logs / "devices.jsonl")]
    return Child.start("devices", "renewctl.sandbox.devices", arguments, logs=logs)


def exporter(logs: Path, inventory: Path, port: int) -> Child:
    """The real exporter, as an operator starts it."""
    arguments = ["--config.file", str(inventory), "--web.listen-address", f"127.0.0.1:{port}"]
    arguments += ["--poll.interval", _EXPORTER_POLL]
    return Child.start("exporter", "exporter.main", arguments, logs=logs)
