"""NanoMDM's stores that are folders, as v0.9.0 lays them out."""

from __future__ import annotations

import os
import plistlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from renewctl.errors import NodeFault
from renewctl.inventory.reading import Devices, Node, Product
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.nanomdm_folder import (
    CHECK_IN_COMMAND,
    KeyValueFolder,
    PlainFolder,
    open_folder,
)
from tests.support.certs import NOW, OTHER_TOPIC, TOPIC, apple_like
from tests.support.cli import HEED_MODES
from tests.support.scripted_http import reply, scripted
from tests.support.unprivileged import python

DAY = timedelta(days=1)
A, B, C = (f"{letter * 8}-0000-4000-8000-{letter * 12}" for letter in "ABC")


def put(folder: Path, name: str, what: str, value: bytes | str) -> None:
    """One key of the enrollments bucket."""
    path = folder / "enrollments" / name[:2] / name[2:4] / f"{name}.{what}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else value.encode())


def enroll_kv(folder: Path, name: str, *, ago: timedelta = timedelta(0), topic: str = TOPIC) -> None:
    """What TokenUpdate leaves in filekv."""
    put(folder, name, "topic", topic)
    put(folder, name, "type", "Device")
    put(folder, name, "push_magic", f"magic-{name}")
    put(folder, name, "token", bytes.fromhex("00ff") * 16)
    put(folder, name, "last_seen_at", str(int((NOW - ago).timestamp() * 1_000_000)))


def enroll_plain(folder: Path, name: str, topic: str = TOPIC) -> Path:
    """What TokenUpdate leaves in the deprecated `file` store."""
    path = folder / name / "TokenUpdate.plist"
    path.parent.mkdir(parents=True)
    message = {"MessageType": "TokenUpdate", "UDID": name, "Topic": topic, "Token": b"\x01", "PushMagic": "m"}
    path.write_bytes(plistlib.dumps(message))
    return path


def certificate_kv(folder: Path, topic: str = TOPIC) -> str:
    """A stored pair; returns the serial."""
    issued = apple_like().push(topic)
    place = folder / "push_cert" / "11" / "11"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{topic}.pem").write_bytes(issued.pem)
    (place / f"{topic}.key").write_bytes(issued.key_pem)
    (place / f"{topic}.stale_token").write_text("3")
    return issued.serial


def test_filekv_counts_enabled_devices_by_topic(tmp_path: Path) -> None:
    """Who left and user channels do not count; windows are cumulative."""
    enroll_kv(tmp_path, A)
    enroll_kv(tmp_path, B, ago=8 * DAY)
    enroll_kv(tmp_path, C, topic=OTHER_TOPIC)
    enroll_kv(tmp_path, f"{A}:501")
    enroll_kv(tmp_path, "DDDDDDDD")
    put(tmp_path, "DDDDDDDD", "disabled", "1")
    counts, failures = KeyValueFolder("n1", tmp_path).devices(NOW)
    assert failures == []
    assert [(count.topic, count.enabled) for count in counts] == [(TOPIC, 2), (OTHER_TOPIC, 1)]
    assert list(counts[0].seen_within.values()) == [1, 1, 2, 2, 2, 2]


def test_filekv_ages_from_the_future_are_not_believed(tmp_path: Path) -> None:
    """The server runs on this machine: a check-in an hour ahead is a broken clock."""
    enroll_kv(tmp_path, A, ago=-timedelta(hours=1))
    counts, (failure,) = KeyValueFolder("n1", tmp_path).devices(NOW)
    assert (counts[0].enabled, counts[0].seen_within) == (1, {})
    assert (failure.reason, failure.values["got"]) == (Reason.DATABASE_ZONE, "-3600")


def test_filekv_canaries_check_ins_and_targets(tmp_path: Path) -> None:
    """Latest first; a check-in moves the value; the token is stored raw."""
    store = KeyValueFolder("n1", tmp_path)
    enroll_kv(tmp_path, A, ago=DAY)
    enroll_kv(tmp_path, B)
    assert store.canaries(TOPIC, 9) == (B, A)
    assert store.canaries(TOPIC, 1) == (B,)
    assert (store.enrolled(A, TOPIC), store.enrolled(A, OTHER_TOPIC), store.enrolled(C, TOPIC)) == (
        True,
        False,
        False,
    )
    before = store.check_in(A)
    put(tmp_path, A, "last_seen_at", "1795384168955212")
    assert store.check_in(A) == "1795384168955212" != before
    put(tmp_path, A, "last_seen_at", "")
    assert store.check_in(A) is None
    target = store.push_target(A)
    assert target is not None
    assert (target.token, target.magic) == ("00ff" * 16, f"magic-{A}")
    assert store.push_target(C) is None


def test_filekv_certificates_come_without_opening_any_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key lies beside the certificate, readable by everybody: we list it and never open it."""
    serials = {certificate_kv(tmp_path), certificate_kv(tmp_path, OTHER_TOPIC)}
    enroll_kv(tmp_path, A)
    (tmp_path / "push_cert" / "11" / "11" / "broken.pem").write_text("rubbish")
    opened: list[str] = []
    real = os.open

    def watched(path: str | Path, flags: int) -> int:
        opened.append(str(path))
        return real(path, flags)

    monkeypatch.setattr("renewctl.localfile.os.open", watched)
    node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(folder=tmp_path))
    seen = NanoMDM(node).observe(NOW)
    assert {found.serial for found in seen.certificates} == serials
    assert [failure.reason for failure in seen.failures] == [Reason.NODE_CERTIFICATE_UNREADABLE]
    assert seen.answered == (Source.FILE,)
    assert opened
    assert not [path for path in opened if path.endswith(".key")]


def test_the_layout_decides_and_an_empty_folder_has_none_yet(tmp_path: Path) -> None:
    """A server started on an empty folder makes its layout with the first pair or device."""
    node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(folder=tmp_path))
    nano = NanoMDM(node)
    assert nano.observe(NOW).certificates == ()
    assert isinstance(open_folder("n1", tmp_path), PlainFolder)
    serial = certificate_kv(tmp_path)
    assert isinstance(open_folder("n1", tmp_path), KeyValueFolder)
    assert [found.serial for found in nano.observe(NOW).certificates] == [serial]


def test_a_folder_that_cannot_be_read_is_a_failure_not_an_empty_store(tmp_path: Path) -> None:
    """Absent is never zero."""
    for folder in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(NodeFault) as caught:
            open_folder("n1", folder).certificates()
        assert (caught.value.reason, caught.value.values["path"]) == (Reason.FOLDER_UNREADABLE, str(folder))


LOOK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from renewctl.inventory.reading import Devices, Node, Product
from renewctl.servers.nanomdm import NanoMDM
node = Node("n1", Product.NANOMDM, (), "n1", devices=Devices(folder=Path(sys.argv[1])))
print(*{failure.reason.value for failure in NanoMDM(node).observe(datetime.now(UTC)).failures})
"""


def test_a_folder_behind_a_closed_door_is_a_failure_too(tmp_path: Path) -> None:
    """Where we may not even ask whether something is there, no error of the system comes through."""
    door = tmp_path / "door"
    (door / "store").mkdir(parents=True)
    door.chmod(0)
    try:
        assert python(LOOK, door / "store", prefix=HEED_MODES) == "folder_unreadable"
    finally:
        door.chmod(0o700)


def test_filekv_before_the_first_device_has_no_devices(tmp_path: Path) -> None:
    """A bucket that is not there yet is empty; a store that went away is a failure."""
    certificate_kv(tmp_path)
    assert KeyValueFolder("n1", tmp_path).devices(NOW) == ((), [])
    with pytest.raises(NodeFault):
        KeyValueFolder("n1", tmp_path / "gone").devices(NOW)


def test_plain_folders_tell_certificates_and_enrollments(tmp_path: Path) -> None:
    """`<topic>.pem` and one folder an enrollment; who left carries a mark; ages are unknown."""
    issued = apple_like().push()
    (tmp_path / f"{TOPIC}.pem").write_bytes(issued.pem)
    for name in (A, B, f"{A}:501", C):
        enroll_plain(tmp_path, name)
    enroll_plain(tmp_path, "OTHER", OTHER_TOPIC)
    (tmp_path / C / "Disabled").touch()
    (tmp_path / "HALF").mkdir()
    (tmp_path / "HALF" / "TokenUpdate.plist").write_text("<?xml")
    store = PlainFolder("n1", tmp_path)
    (found,), failures = store.certificates()
    assert (found.serial, failures) == (issued.serial, [])
    counts, _ = store.devices(NOW)
    assert {count.topic: (count.enabled, dict(count.seen_within)) for count in counts} == {
        TOPIC: (2, {}),
        OTHER_TOPIC: (1, {}),
    }
    assert set(store.canaries(TOPIC, 9)) == {A, B}
    assert (store.enrolled(A, TOPIC), store.enrolled(C, TOPIC)) == (True, False)
    assert store.push_target(A) is None


def test_plain_folders_show_a_check_in_by_the_answer_to_a_command(tmp_path: Path) -> None:
    """An idle check-in changes no file; the answer to our command does, as often as it is given."""
    path = enroll_plain(tmp_path, A)
    os.utime(path, (1, 1))
    store = PlainFolder("n1", tmp_path)
    values = [store.check_in(A)]
    for queue, moment in (("QueueNotNow", 5), ("QueueDone", 9), ("QueueDone", 12)):
        result = tmp_path / A / queue / f"{CHECK_IN_COMMAND}.result.plist"
        result.parent.mkdir(exist_ok=True)
        result.touch()
        os.utime(result, (moment, moment))
        values.append(store.check_in(A))
    assert len(set(values)) == 4
    assert store.check_in("NOBODY") is None
    assert store.canaries(TOPIC, 1) == (A,)


def test_on_a_plain_folder_the_push_brings_a_harmless_command(tmp_path: Path) -> None:
    """The device's name is asked for, always under the same id, so that nothing piles up in its queue."""
    enroll_plain(tmp_path, A)
    answer = b'{"status": {"%s": {"push_result": "x"}}, "command_uuid": "u"}' % A.encode()
    with scripted(reply(200, answer)) as server:
        node = Node("n1", Product.NANOMDM, (), "n1", url=server.url, devices=Devices(folder=tmp_path))
        assert NanoMDM(node).push(A).accepted
    (request,) = server.requests
    assert (request.method, request.target) == ("PUT", f"/v1/enqueue/{A}")
    assert plistlib.loads(request.body) == {
        "CommandUUID": CHECK_IN_COMMAND,
        "Command": {"RequestType": "DeviceInformation", "Queries": ["DeviceName"]},
    }


def test_times_are_ours_to_compare(tmp_path: Path) -> None:
    """A value that is no number (half written) counts as never seen, and ends no look."""
    enroll_kv(tmp_path, A)
    put(tmp_path, A, "last_seen_at", "")
    counts, failures = KeyValueFolder("n1", tmp_path).devices(datetime.now(UTC))
    assert (counts[0].enabled, set(counts[0].seen_within.values()), failures) == (1, {0}, [])
