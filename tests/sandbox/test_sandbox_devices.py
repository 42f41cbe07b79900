"""Devices enrol, are woken by a push, and check in: the whole loop, here and at a real NanoMDM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from renewctl.sandbox.authority import Issued, new_topic, serial_of
from renewctl.sandbox.children import listen, port_of
from renewctl.sandbox.device_messages import Device
from renewctl.sandbox.devices import Devices, enroll
from tests.peers import build
from tests.support import sandbox_parts as parts
from tests.support.ports import free_port

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

TOPIC = new_topic()


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Pushes]:
    """A push service."""
    with parts.push_service(tmp_path_factory.mktemp("pushes")) as running:
        yield running


@contextlib.asynccontextmanager
async def enrolled(
    pushes: parts.Pushes, url: str, log: Path, count: int
) -> AsyncIterator[tuple[Devices, list[Device]]]:
    """Some enrolled devices, offline again at the end."""
    issuer = Issued.read(pushes.pki, "device-ca")
    devices, each = await enroll(f"{url}/mdm", TOPIC, count, courier=pushes.courier, issuer=issuer, log=log)
    try:
        yield devices, each
    finally:
        await devices.close()


def events(log: Path) -> list[tuple[str, str]]:
    """Event and device of each line."""
    return [(line["event"], line["device"]) for line in map(json.loads, log.read_text().splitlines())]


async def happened(log: Path, event: str, device: Device) -> None:
    """Wait for an event of a device."""
    async with asyncio.timeout(60):
        while (event, device.udid) not in events(log):  # noqa: ASYNC110 - another loop writes the log
            await asyncio.sleep(0.02)


async def push(url: str, udid: str) -> int:
    """Ask a server to push; returns the status."""
    async with httpx.AsyncClient(auth=("nanomdm", "secret")) as client:
        return (await client.get(f"{url}/v1/push/{udid}")).status_code


def test_enrol_push_check_in(pushes: parts.Pushes, tmp_path: Path) -> None:
    """The device woken is the one pushed to, and its last_seen_at moves; nobody else's does."""
    pair = pushes.apple.push_pair(TOPIC, ends=parts.in_days(42))
    log = tmp_path / "devices.jsonl"
    query = "SELECT id, last_seen_at FROM enrollments WHERE enabled AND user_id IS NULL"

    async def story(node: parts.Node) -> None:
        async with enrolled(pushes, node.url, log, 3) as (_, (one, *_others)):
            before = {row[0]: row[1] for row in node.rows(query)}
            assert await push(node.url, one.udid) == 200
            await happened(log, "checked_in", one)
            after = {row[0]: row[1] for row in node.rows(query)}
            assert {udid for udid in after if after[udid] != before[udid]} == {one.udid}
            assert len(after) == 3

    with parts.node(pushes, tmp_path) as node:
        node.put(pair.certificate_pem + pair.key_pem)
        asyncio.run(story(node))
    assert [event for event, _ in events(log)] == ["enrolled"] * 3 + ["woken", "checked_in"]


def test_a_device_minds_its_magic(pushes: parts.Pushes, tmp_path: Path) -> None:
    """A push with another PushMagic is ignored; a server that does not answer is a failed check-in."""
    log = tmp_path / "devices.jsonl"
    pair = pushes.apple.push_pair(TOPIC, ends=parts.in_days(42))

    async def story(node: parts.Node) -> None:
        async with enrolled(pushes, node.url, log, 1) as (_, (one,)):
            for magic in ("another", one.magic):
                with pushes.client(pair) as client:
                    client.post(f"/3/device/{one.token.hex()}", content=json.dumps({"mdm": magic}))
                await happened(log, "ignored", one)
                node.child.stop()
            await happened(log, "failed", one)

    with parts.node(pushes, tmp_path) as node:
        asyncio.run(story(node))


def test_a_device_can_leave(pushes: parts.Pushes, tmp_path: Path) -> None:
    """CheckOut disables its enrollment."""

    async def story(node: parts.Node) -> None:
        async with enrolled(pushes, node.url, tmp_path / "log", 1) as (devices, (one,)):
            assert isinstance(devices, Devices)
            await devices.leave(one)
            assert node.rows("SELECT enabled FROM enrollments") == [(0,)]

    with parts.node(pushes, tmp_path) as node:
        asyncio.run(story(node))


def test_nobody_enrols_without_a_courier(pushes: parts.Pushes, tmp_path: Path) -> None:
    """A courier that cannot be reached is an error at once, not a device that is never woken."""
    with listen() as dead:
        nowhere = f"http://127.0.0.1:{port_of(dead)}"
    issuer = Issued.read(pushes.pki, "device-ca")
    with pytest.raises(httpx.ConnectError):
        asyncio.run(enroll(f"{nowhere}/mdm", TOPIC, 1, courier=nowhere, issuer=issuer, log=tmp_path / "log"))


@pytest.fixture
def nanomdm(pushes: parts.Pushes, tmp_path: Path) -> Iterator[str]:
    """A real NanoMDM v0.9.0, led to our push service by a proxy variable and a root file."""
    build.build()
    address = f"127.0.0.1:{free_port()}"
    command = [str(build.NANOMDM), "-api", "secret", "-listen", address]
    command += ["-ca", str(pushes.pki / "device-ca.pem")]
    command += ["-storage", "filekv", "-storage-dsn", str(tmp_path / "db")]
    environment = os.environ | {
        "HTTPS_PROXY": f"http://127.0.0.1:{pushes.port}",
        "SSL_CERT_FILE": str(pushes.pki / "web-root.pem"),
    }
    with (tmp_path / "nanomdm.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        parts.eventually(lambda: _answers(f"http://{address}/version"))
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


@pytest.mark.slow
def test_the_loop_at_a_real_nanomdm(nanomdm: str, pushes: parts.Pushes, tmp_path: Path) -> None:
    """Devices enrol at a real server, its push arrives with the new serial, the device checks in."""
    log = tmp_path / "devices.jsonl"
    pair = pushes.apple.push_pair(TOPIC, ends=parts.in_days(42))

    async def story() -> None:
        async with enrolled(pushes, nanomdm, log, 5) as (_, (one, *_others)):
            assert await push(nanomdm, one.udid) == 200
            await happened(log, "checked_in", one)

    stored = httpx.put(
        f"{nanomdm}/v1/pushcert", content=pair.certificate_pem + pair.key_pem, auth=("nanomdm", "secret")
    )
    assert stored.status_code == 200
    asyncio.run(story())
    assert pushes.log()[-1]["serial"] == serial_of(pair.certificate)


@pytest.mark.slow
def test_the_look_alike_speaks_like_the_real_one(nanomdm: str, pushes: parts.Pushes, tmp_path: Path) -> None:
    """The same uploads and pushes give the same status and the same body at both, tokens and ids aside."""
    good = pushes.apple.push_pair(TOPIC, ends=parts.in_days(42))
    expired = pushes.apple.push_pair(TOPIC, ends=parts.in_days(-1))
    other = pushes.apple.push_pair(TOPIC, ends=parts.in_days(9))
    uploads = [
        good.certificate_pem,
        b"",
        good.certificate_pem + other.key_pem,
        expired.certificate_pem + expired.key_pem,
        pushes.apple.push_issuer.certificate_pem + good.certificate_pem + good.key_pem,
        good.certificate_pem + pushes.apple.push_issuer.certificate_pem + good.key_pem,
    ]

    async def told(url: str) -> list[object]:
        answers: list[object] = []
        async with enrolled(pushes, url, tmp_path / "log", 1) as (_, (one,)):
            for upload in uploads:
                async with httpx.AsyncClient(auth=("nanomdm", "secret")) as client:
                    response = await client.put(f"{url}/v1/pushcert", content=upload)
                    pushed = await client.get(f"{url}/v1/push/{one.udid},NOBODY")
                    while _overtaken(pushed.text):
                        pushed = await client.get(f"{url}/v1/push/{one.udid},NOBODY")
                answers.append((response.status_code, response.text))
                answers.append((pushed.status_code, _without_ids(pushed.text, one)))
        return answers

    with parts.node(pushes, tmp_path) as node:
        ours = asyncio.run(told(node.url))
    assert asyncio.run(told(nanomdm)) == ours


def _overtaken(text: str) -> bool:
    """Go sometimes learns that the connection is closed before it reads why."""
    words = ("http2: client conn could not be established", "connection reset by peer", "broken pipe")
    return any(word in text for word in words)


def _without_ids(text: str, device: Device) -> object:
    told = json.loads(text.replace(device.udid, "ID").replace(device.token.hex(), "TOKEN"))
    if "push_error" in told:
        told["push_error"] = told["push_error"].partition('": ')[0]  # what follows is the storage's own text
    for answer in told["status"].values():
        if "push_result" in answer:
            answer["push_result"] = "…"
    return told
