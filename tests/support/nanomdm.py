"""A real NanoMDM v0.9.0 for tests, led to a local push service, and devices that answer its commands.

::

    with push_service(tmp_path) as pushes, nanomdm(tmp_path / "a", pushes) as server, devices(pushes) as group:
        ids = group.enroll(server.mdm_url, topic, 2)
        server.inventory_entry()          # a node as the inventory writes it
        server.requests()                 # [("PUT", "/v1/pushcert"), …] that reached it

The program is built by `tests/peers/build.py` (`make peers`); a test that finds none builds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import plistlib
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import httpx

from renewctl.sandbox.authority import Issued
from renewctl.sandbox.device_messages import COMMAND_TYPE, Device, idle, signature
from renewctl.sandbox.devices import Devices, Group
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.sandbox_parts import Pushes

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_PORT_ATTEMPTS = 5
_REQUEST = re.compile(r"\bhandler=log\b.*?\bmethod=(\S+).*?\bpath=(\S+)")


def peers() -> ModuleType:
    """`tests/peers/build.py`, which is no package."""
    path = Path(__file__).resolve().parents[1] / "peers" / "build.py"
    spec = importlib.util.spec_from_file_location("renewctl_peers_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class NanoMDM:
    """One NanoMDM process.

    Attributes:
        folder: its own folder; file storages are `folder / "storage"`, its log is `folder / "log"`.
        storage: `filekv`, `file` or `pgsql`.
        dsn: of the storage; for `pgsql` a URL.
        api_key: password of user `nanomdm`.
    """

    folder: Path
    pushes: Pushes
    storage: str
    dsn: str
    api_key: str = field(repr=False)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL of its API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def mdm_url(self) -> str:
        """Where devices check in."""
        return f"{self.url}/mdm"

    @property
    def password_file(self) -> Path:
        """A file with the API key, mode 0600."""
        return self.folder / "api-key"

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "log").read_text(errors="replace")

    def requests(self) -> list[tuple[str, str]]:
        """Method and path of every request that reached it, from its own log."""
        return [(found[1], found[2].strip('"')) for found in _REQUEST.finditer(self.log())]

    def inventory_entry(self, name: str = "node", **more: object) -> dict[str, object]:
        """This node as the inventory writes it."""
        return {
            "name": name,
            "product": "nanomdm",
            "url": self.url,
            "password": {"file": str(self.password_file)},
            **more,
        }

    def start(self) -> None:
        """Start it, on the port of an earlier start where there was one."""
        for _ in range(_PORT_ATTEMPTS):
            port = self.port or free_port()
            if self._answers(port):
                self.port = port
                return
            self.stop()
        raise AssertionError(self.log())

    def _answers(self, port: int) -> bool:
        command = [str(peers().NANOMDM), "-listen", f"127.0.0.1:{port}", "-storage", self.storage]
        command += ["-ca", str(self.pushes.pki / "device-ca.pem")]
        if self.storage == "file":
            command += ["-storage-options", "enable_deprecated=1"]
        environment = {
            "PATH": os.environ["PATH"],
            "NANOMDM_API": self.api_key,
            "NANOMDM_STORAGE_DSN": self.dsn,
            "HTTPS_PROXY": f"http://127.0.0.1:{self.pushes.port}",
            "SSL_CERT_FILE": str(self.pushes.pki / "web-root.pem"),
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        ends = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"http://127.0.0.1:{port}/version", trust_env=False).status_code == 200
            time.sleep(0.02)
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by its pid."""
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(_STOP_SECONDS)
        self.process = None


@contextmanager
def nanomdm(
    folder: Path, pushes: Pushes, storage: str = "filekv", dsn: str | None = None
) -> Iterator[NanoMDM]:
    """A running NanoMDM; `dsn` is needed for `pgsql` alone, its schema must be there (`load_schema`)."""
    peers().build()
    folder.mkdir(parents=True, exist_ok=True)
    server = NanoMDM(folder, pushes, storage, dsn or str(folder / "storage"), secrets.token_hex(12))
    server.password_file.touch(mode=0o600)
    server.password_file.write_text(server.api_key)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def load_schema(database: Database) -> str:
    """Make NanoMDM's tables in an empty database; returns the DSN NanoMDM takes."""
    build = peers()
    build.build()
    with database.connect() as connection:
        connection.execute(build.NANOMDM_PGSQL.read_text())
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {database.owner}")
    return f"{database.url}?sslmode=disable"


class AnsweringDevices(Devices):
    """Simulated devices that also do what they are told: they acknowledge queued commands."""

    async def _wake(self, push: dict[str, str]) -> None:
        device = self._devices[push["token"]]
        if push["mdm"] != device.magic:
            return
        self._tell("woken", device)
        body = idle(device)
        while command := await self._talk(device, body):
            body = plistlib.dumps(
                {"UDID": device.udid, "Status": "Acknowledged", "CommandUUID": command["CommandUUID"]}
            )
        self._tell("checked_in", device)

    async def _talk(self, device: Device, body: bytes) -> dict[str, object]:
        signed = {
            "Content-Type": COMMAND_TYPE,
            "Mdm-Signature": signature(body, device.identity, self._key),
        }
        response = await self._client.put(device.url, content=body, headers=signed)
        response.raise_for_status()
        return plistlib.loads(response.content) if response.content else {}


class DeviceGroup:
    """Devices living in a thread of their own, so that tests need not be asynchronous."""

    def __init__(self, loop: asyncio.AbstractEventLoop, devices: AnsweringDevices) -> None:
        self._loop = loop
        self._devices = devices
        self.enrolled: dict[str, Device] = {}

    def enroll(self, mdm_url: str, topic: str, count: int = 1) -> Sequence[str]:
        """Enrol new devices; their enrollment ids."""
        work = self._devices.enroll(Group("node", mdm_url, topic, count))
        new = asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
        self.enrolled |= {device.udid: device for device in new}
        return [device.udid for device in new]

    def leave(self, udid: str) -> None:
        """Check a device out."""
        work = self._devices.leave(self.enrolled[udid])
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@contextmanager
def devices(pushes: Pushes) -> Iterator[DeviceGroup]:
    """Devices that wait at a push service's courier, and go offline at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    log = pushes.folder / "devices.jsonl"
    made = AnsweringDevices(Issued.read(pushes.pki, "device-ca"), pushes.courier, log)
    try:
        yield DeviceGroup(loop, made)
    finally:
        asyncio.run_coroutine_threadsafe(made.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
