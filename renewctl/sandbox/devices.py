"""Simulated devices: each enrols over HTTP, waits at the courier, and checks in when it is woken.

They speak the MDM protocol and know nothing of the server behind it, so they enrol at a real NanoMDM (`-ca`
with the devices' authority) as well as at the sandbox's. Each event leaves a JSON line: `enrolled`, `woken`,
`checked_in`, `ignored` (a push with another PushMagic), `failed`; with the device, the node and the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa

from renewctl.sandbox.authority import Issued
from renewctl.sandbox.children import say_ready
from renewctl.sandbox.device_messages import (
    CHECK_IN_TYPE,
    COMMAND_TYPE,
    Device,
    authenticate,
    check_out,
    idle,
    signature,
    token_update,
)
from renewctl.sandbox.serving import JsonLines

_AT_ONCE = 12  # enrolments under way at the same time
_SECONDS = 30.0
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Group:
    """Devices that enrol at one place."""

    node: str
    url: str
    topic: str
    count: int


class Devices:
    """All simulated devices, in one event loop."""

    def __init__(self, issuer: Issued, courier: str, log: Path) -> None:
        self._issuer = issuer
        self._courier = courier
        self._log = JsonLines(log)
        self._key = rsa.generate_private_key(65537, 2048)  # one for all: making 200 takes too long
        self._devices: dict[str, Device] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._client = httpx.AsyncClient(timeout=_SECONDS, trust_env=False)

    async def close(self) -> None:
        """Go offline."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()
        self._log.close()

    async def enroll(self, group: Group) -> list[Device]:
        """Enrol new devices and let them wait for pushes.

        Raises:
            httpx.HTTPError: the server, or the courier, did not take one.
        """
        devices = [self._make(group) for _ in range(group.count)]
        self._devices |= {device.token.hex(): device for device in devices}
        await self._wait_at_courier(devices)
        await asyncio.gather(*(self._enroll_one(device) for device in devices))
        return devices

    async def leave(self, device: Device) -> None:
        """Check a device out; it goes on listening, as a wiped one would not."""
        await self._say(device, check_out(device), CHECK_IN_TYPE)

    async def _enroll_one(self, device: Device) -> None:
        async with self._limit:
            await self._say(device, authenticate(device), CHECK_IN_TYPE)
            await self._say(device, token_update(device), CHECK_IN_TYPE)
        self._tell("enrolled", device)

    def _make(self, group: Group) -> Device:
        udid = str(uuid.uuid4()).upper()
        return Device(
            udid=udid,
            serial_number=f"SBX{udid[:8]}",
            topic=group.topic,
            token=secrets.token_bytes(_TOKEN_BYTES),
            magic=str(uuid.uuid4()).upper(),
            identity=self._issuer.device_identity(udid, self._key, now=datetime.now(UTC)),
            url=group.url,
            node=group.node,
        )

    async def _say(self, device: Device, body: bytes, content_type: str) -> None:
        headers = {
            "Content-Type": content_type,
            "Mdm-Signature": signature(body, device.identity, self._key),
        }
        response = await self._client.put(device.url, content=body, headers=headers)
        response.raise_for_status()

    async def _wait_at_courier(self, devices: Iterable[Device]) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entries = [{"token": device.token.hex(), "topic": device.topic} for device in devices]
        self._spawn(self._listen(entries, ready))
        await ready

    async def _listen(self, entries: list[dict[str, str]], ready: asyncio.Future[None]) -> None:
        url = f"{self._courier}/courier"
        try:
            async with self._client.stream("POST", url, json=entries, timeout=None) as line:
                async for text in line.aiter_lines():
                    if ready.done():
                        self._spawn(self._wake(json.loads(text)))
                    else:
                        ready.set_result(None)
        except httpx.HTTPError as error:
            if not ready.done():
                ready.set_exception(error)

    async def _wake(self, push: dict[str, str]) -> None:
        device = self._devices[push["token"]]
        if push["mdm"] != device.magic:
            self._tell("ignored", device)
            return
        self._tell("woken", device)
        try:
            await self._say(device, idle(device), COMMAND_TYPE)
        except httpx.HTTPError as error:
            self._log.write(event="failed", device=device.udid, node=device.node, error=str(error))
        else:
            self._tell("checked_in", device)

    def _tell(self, event: str, device: Device) -> None:
        self._log.write(event=event, device=device.udid, node=device.node)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def enroll(
    url: str, topic: str, count: int, *, courier: str, issuer: Issued, log: Path, node: str = "node"
) -> tuple[Devices, list[Device]]:
    """Enrol devices at one server; for tests. `close` the first value when done.

    Args:
        url: the server's MDM endpoint.
        topic: the topic in the enrollment profile.
        count: how many.
        courier: URL of the push service's second port.
        issuer: the authority the server trusts for device identities.
        log: file for JSON lines.
        node: name in the log.
    """
    devices = Devices(issuer, courier, log)
    try:
        return devices, await devices.enroll(Group(node, url, topic, count))
    except BaseException:
        await devices.close()
        raise


async def _run(options: argparse.Namespace) -> None:
    groups = [Group(**entry) for entry in json.loads(options.plan.read_text())]
    devices = Devices(Issued.read(options.pki, "device-ca"), options.courier, options.log)
    try:
        await asyncio.gather(*(devices.enroll(group) for group in groups))
        say_ready(pid=os.getpid(), enrolled=sum(group.count for group in groups))
        await asyncio.Event().wait()
    finally:
        await devices.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Enrol as planned, then wait for pushes until a signal comes."""
    parser = argparse.ArgumentParser(description="Simulated devices, for the sandbox")
    parser.add_argument("--pki", type=Path, required=True, help="folder with device-ca.pem and .key")
    parser.add_argument("--courier", required=True, help="URL of the push service's courier")
    parser.add_argument("--plan", type=Path, required=True, help="JSON list of {node, url, topic, count}")
    parser.add_argument("--log", type=Path, required=True, help="one JSON line an event")
    asyncio.run(_run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
