"""Every world of the list comes up as it says, and goes without leaving anything behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from renewctl.sandbox import launch, up
from renewctl.sandbox.authority import Apple, Issued, serial_of, topic_of
from renewctl.sandbox.children import Child, WorldBroken, listen
from renewctl.sandbox.person import Deed
from renewctl.sandbox.up import World
from renewctl.sandbox.worlds import NODES, OWNER_ACCOUNT, WORLDS, WorldSpec, world
from tests.support import sandbox_parts as parts
from tests.support.cli import validate


def small(name: str, devices: int = 4) -> WorldSpec:
    """A world with fewer devices."""
    return replace(world(name), devices=devices)


@pytest.fixture(scope="module")
def happy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The happy year, with few devices, for the claims that change nothing."""
    with World.start(small("happy-year"), tmp_path_factory.mktemp("happy") / "world") as running:
        yield running


def some_device(running: World, storage: str) -> str:
    """An enrolled device of a storage."""
    with closing(sqlite3.connect(running.stage.database(storage))) as database:
        return str(database.execute("SELECT id FROM enrollments").fetchone()[0])


def push(running: World, node: str, udid: str) -> int:
    """Push through a node."""
    password = running.stage.password_file(node).read_text().strip()
    url = f"{running.addresses.nodes[node]}/v1/push/{udid}"
    return httpx.get(url, auth=("nanomdm", password), timeout=60).status_code


def request_file(running: World) -> Path:
    """A good request, made without the product."""
    path = running.stage.folder / "request"
    apple = Apple.load(running.stage.pki)
    path.write_bytes(parts.request(apple, running.stage.vendor).file())
    return path


def ports(running: World) -> list[int]:
    """Every port the world listens on."""
    told = running.addresses
    urls = [told.portal, told.push_service, told.courier, *told.nodes.values()]
    return [int(url.rsplit(":", 1)[1]) for url in urls]


def refused(port: int) -> bool:
    """Whether nobody listens on a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0


def test_names_are_those_of_the_issue() -> None:
    """The list holds the eight worlds, each once, each with a sentence."""
    assert [spec.name for spec in WORLDS] == [
        "happy-year",
        "wrong-apple-account",
        "wrong-file",
        "expired-yesterday",
        "vendor-expired",
        "node-down",
        "no-old-key",
        "shared-database",
    ]
    assert all(spec.claim.endswith(".") and len(spec.storages) == len(NODES) for spec in WORLDS)
    with pytest.raises(KeyError):
        world("no such world")


def test_a_push_wakes_a_device_that_checks_in(happy: World) -> None:
    """Each step is in a log: the node's request, the push with its serial, the device woken and back."""
    udid = some_device(happy, "storage-1")
    began = parts.now()
    assert push(happy, "node-1", udid) == 200
    parts.eventually(lambda: udid in happy.devices("checked_in", began))
    assert happy.devices("woken", began) == {udid}
    (line,) = happy.pushes(began)
    assert (line["serial"], line["topic"]) == (serial_of(happy.stage.old.certificate), happy.stage.topic)
    assert [line["path"] for line in happy.changing_requests("node-1", began)] == [f"/v1/push/{udid}"]
    assert happy.changing_requests("node-2", began) == []
    assert {line["path"] for line in happy.requests("node-2")} == {"/mdm"}
    assert happy.pushes(parts.now() + timedelta(minutes=1)) == []


def test_what_counts_as_changing() -> None:
    """A look changes nothing; a stored body, a push and a queued command do."""
    looked = [("GET", "/v1/pushcert", 400), ("GET", "/version", 200), ("PUT", "/mdm", 200)]
    changed = [("GET", "/v1/pushcert", 200), ("PUT", "/v1/pushcert", 400), ("GET", "/v1/push/X", 500)]
    for expected, lines in ((False, looked), (True, changed)):
        for method, path, status in lines:
            assert up._changes({"method": method, "path": path, "status": status}) is expected


def test_the_inventory_names_what_is_there(happy: World) -> None:
    """Every file it names exists, but for the store and the key store, which are the product's to make."""
    text = happy.inventory.read_text()
    named = ["vendor/vendor.pem", "vendor/vendor.key", "pki/apple-wwdr.pem", "pki/apple-root.pem"]
    named += ["pki/apple-aai2.pem", "pki/web-root.pem", "secrets/age-identity.txt", "secrets/node-1.password"]
    for name in named:
        assert name in text
        assert (happy.stage.folder / name).is_file()
    assert happy.stage.topic in text
    assert OWNER_ACCOUNT in text


def test_world_json_says_where_all_is(happy: World) -> None:
    """URLs, process ids and paths, for people and programs."""
    facts = json.loads((happy.stage.folder / "world.json").read_text())
    assert set(facts["pids"]) == {*NODES, "portal", "push-service", "devices"}
    assert Path(facts["paths"]["inventory"]) == happy.inventory
    assert facts["urls"]["portal"] == happy.addresses.portal
    assert facts["parent"] == os.getpid()


def test_the_person_brings_a_certificate_back(happy: World) -> None:
    """The happy year's person renews: same topic, later end, from this world's Apple."""
    leaf = x509.load_pem_x509_certificate(happy.person(request_file(happy)).read_bytes())
    assert topic_of(leaf) == happy.stage.topic
    leaf.verify_directly_issued_by(Issued.read(happy.stage.pki, "apple-aai2").certificate)
    assert leaf.not_valid_after_utc > happy.stage.old.certificate.not_valid_after_utc


@pytest.mark.slow
def test_a_power_cut_is_told_from_a_plan(tmp_path: Path) -> None:
    """A node taken down on purpose is no alarm and can come back with its devices; one that dies is."""
    with World.start(small("happy-year"), tmp_path / "world") as running:
        udid = some_device(running, "storage-2")
        running.take_down("node-2")
        running.check_alive()
        with pytest.raises(httpx.ConnectError):
            push(running, "node-2", udid)
        running.bring_back("node-2")
        assert push(running, "node-2", udid) == 200
        running.switch("push-service", answer="403 BadCertificate")
        running.switch("node-2", slow_seconds=0.01)
        assert push(running, "node-2", udid) == 500
        running.children["node-2"].kill()
        with pytest.raises(WorldBroken, match="node-2: died"):
            running.check_alive()
        taken = ports(running)
    parts.eventually(lambda: all(refused(port) for port in taken))


@pytest.mark.slow
def test_what_fails_on_the_way_up_is_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the devices cannot enrol, everything started before is ended again."""
    started: list[Child] = []
    real = Child.start.__func__  # type: ignore[attr-defined]

    def watched(cls: type[Child], name: str, module: str, /, *more: object, **named: object) -> Child:
        module = "renewctl.no_such_module" if name == "devices" else module
        started.append(real(cls, name, module, *more, **named))
        return started[-1]

    monkeypatch.setattr(Child, "start", classmethod(watched))
    with pytest.raises(WorldBroken, match="devices"):
        World.start(small("happy-year"), tmp_path / "world")
    assert len(started) == len(NODES) + 3
    assert not any(child.alive for child in started)


@pytest.mark.slow
@pytest.mark.parametrize("spec", WORLDS, ids=lambda spec: spec.name)
def test_every_world_comes_up_whole(spec: WorldSpec, tmp_path: Path) -> None:
    """All devices enrol over HTTP; dates, storages, keys and silent nodes are as the world says."""
    if spec is not WORLDS[0]:
        spec = replace(spec, devices=10)  # two hundred once is enough
    with World.start(spec, tmp_path / "world") as running:
        running.check_alive()
        assert len(running.devices("enrolled")) == spec.devices
        left = running.stage.old.certificate.not_valid_after_utc - parts.now()
        assert left.days == spec.old_days_left
        assert (
            running.stage.vendor.certificate.not_valid_after_utc - parts.now()
        ).days == spec.vendor_days_left
        assert running.stage.old_key.exists() is spec.old_key_at_hand
        for node in NODES:
            silent = refused(int(running.addresses.nodes[node].rsplit(":", 1)[1]))
            assert silent is (node in spec.down)
        databases = {running.stage.database(storage) for storage in spec.storages.values()}
        assert set((running.stage.folder / "databases").glob("*.db")) == databases
        taken = ports(running)
    parts.eventually(lambda: all(refused(port) for port in taken))


@pytest.mark.slow
@pytest.mark.parametrize("deed", [Deed.CREATES, Deed.TAKES_LAST_YEARS_FILE])
def test_a_person_may_do_the_wrong_thing(deed: Deed, tmp_path: Path) -> None:
    """Another topic's certificate, or last year's, comes back as if all were well."""
    spec = next(spec for spec in WORLDS if spec.deed is deed)
    with World.start(small(spec.name), tmp_path / "world") as running:
        leaf = x509.load_pem_x509_certificate(running.person(request_file(running)).read_bytes())
        same = topic_of(leaf) == running.stage.topic
        assert same is (deed is Deed.TAKES_LAST_YEARS_FILE)
        assert (leaf == running.stage.old.certificate) is same


@pytest.mark.slow
def test_it_stays_up_until_told_to_stop(tmp_path: Path) -> None:
    """The program prints world.json when all is up, ends with 0 on SIGTERM, and nothing stays."""
    command = [sys.executable, "-m", "renewctl.sandbox.up", "--world", "happy-year"]
    command += ["--folder", str(tmp_path / "world")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        facts = _world_json(process)
        validate("sandbox", facts)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in facts["pids"].values())


@pytest.mark.slow
def test_it_ends_when_a_part_dies(tmp_path: Path) -> None:
    """The program says which part died, ends with 1, and nothing stays."""
    command = [sys.executable, "-m", "renewctl.sandbox.up", "--folder", str(tmp_path / "world")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        facts = _world_json(process)
        os.kill(facts["pids"]["portal"], signal.SIGKILL)
        assert process.wait(120) == 1
        assert process.stderr
        assert b"portal: died" in process.stderr.read()
    assert not any(Path(f"/proc/{pid}").exists() for pid in facts["pids"].values())


def _world_json(process: subprocess.Popen[bytes]) -> dict[str, dict[str, int]]:
    text = ""
    assert process.stdout
    for line in process.stdout:
        text += line.decode()
        if line == b"}\n":
            break
    facts: dict[str, dict[str, int]] = json.loads(text)
    return facts


@pytest.mark.slow
def test_the_exporter_may_live_there_too(tmp_path: Path) -> None:
    """Started on the world's inventory as an operator starts it, it publishes the date of the old certificate."""
    with World.start(small("happy-year"), tmp_path / "world", exporter=True) as running:
        ends = int(running.stage.old.certificate.not_valid_after_utc.timestamp())
        deadline = time.monotonic() + 60
        while ends not in _expiries(running):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _expiries(running: World) -> list[float]:
    lines = httpx.get(f"{running.addresses.exporter}/metrics").text.splitlines()
    return [
        float(line.split()[-1]) for line in lines if line.startswith("mdm_push_certificate_expiry_timestamp")
    ]


@pytest.mark.slow
def test_an_exporter_that_is_never_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the exporter does not come up the world says so, with its last words."""
    monkeypatch.setattr(
        launch,
        "exporter",
        lambda logs, *_: Child.start("exporter", "renewctl.no_such_module", [], logs=logs),
    )
    with pytest.raises(WorldBroken, match="exporter: not ready"):
        World.start(small("happy-year", 0), tmp_path / "world", exporter=True)


def test_a_listener_has_a_port_of_its_own() -> None:
    """Two listeners never share a port."""
    with listen() as one, listen() as two:
        assert one.getsockname() != two.getsockname()
