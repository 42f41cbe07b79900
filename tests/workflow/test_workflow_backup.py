"""`renewctl backup`: one file that holds everything, and nothing in clear."""

from __future__ import annotations

import json
import stat
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from renewctl.renewal.events import KEY_STORE
from renewctl.store.write import Store
from renewctl.upkeep import backup, backup_file
from tests.support.desk import Desk

pytestmark = pytest.mark.slow


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {about.name: tar.extractfile(about).read() for about in tar}  # type: ignore[union-attr]


def test_a_backup_holds_store_and_keys(desk: Desk) -> None:
    """Every event, document, run and sealed key, under a manifest of versions and sums; no secret in clear."""
    desk.to_proven()
    told = desk.told("backup", "b.tar")
    path = desk.folder / "b.tar"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Store(desk.store) as store:
        renewals = store.renewals()
    members = _members(path)
    manifest = json.loads(members["manifest.json"])
    assert manifest["counts"] == told["counts"]
    assert told["counts"] == {
        "events": sum(len(events) for events in renewals.values()),
        "documents": 4,
        "runs": 1,
        "keys": 2,
    }
    assert manifest["renewals"] == {
        name: {"events": len(events), "hash": events[-1].hash} for name, events in renewals.items()
    }
    assert {name.partition("/")[2].removesuffix(".age") for name in members if name.startswith("keys/")} == {
        str(event.body["key_fingerprint"]) for event in renewals["tokyo-1"] if event.kind == "key_made"
    } | {renewals["tokyo-0"][0].body["pair"]["key_fingerprint"]}
    ids = [json.loads(line)["id"] for line in members["events.jsonl"].splitlines()]
    assert ids == [event.id for name in sorted(renewals) for event in renewals[name]]
    assert (manifest["schema"], manifest["format"], manifest["renewctl"]) == (1, 1, "0.1.0")
    assert told["keys_missing"] == told["events_damaged"] == []
    _holds_no_secret(path, desk.store)


def _holds_no_secret(path: Path, store: str) -> None:
    """Neither a private key nor the identity nor a database password."""
    whole = path.read_bytes()
    assert b"PRIVATE KEY" not in whole
    assert b"AGE-SECRET-KEY" not in whole
    if store.startswith("postgresql"):
        assert store.split(":")[2].partition("@")[0].encode() not in whole
    for name, content in _members(path).items():
        assert not name.startswith("keys/") or content.startswith(b"age-encryption.org/v1\n")


def test_a_backup_never_overwrites(sqlite_desk: Desk) -> None:
    """A file that is there stays; a folder gets a file named by the time; nothing is left beside."""
    desk = sqlite_desk
    for name in ("b.tar", "b", "nas.local"):  # whatever its name ends in
        kept = desk.file(name, b"mine")
        for words in ((), ("--dry-run",)):
            assert desk.refusal("backup", kept, *words, code=1) == "backup_exists"
        assert kept.read_bytes() == b"mine"
        kept.unlink()
    (desk.folder / "link.tar").symlink_to("nowhere.tar")
    assert desk.refusal("backup", "link.tar", "--dry-run", code=1) == "backup_exists"
    folder = desk.folder / "backups"
    folder.mkdir()
    path = Path(desk.told("backup", folder)["path"])
    assert [path] == list(folder.iterdir())
    assert path.name.startswith("renewctl-20")
    assert desk.refusal("backup", folder, code=1) == "backup_exists"
    for words in ((), ("--dry-run",)):
        below = desk.folder / "nowhere" / "b.tar"
        assert desk.refusal("backup", below, *words, code=1) == "folder_missing"
    # As a timer would type it every night: a file of that name would be in the way of the second.
    for name in ("nowhere", "nas.local", "backups.d/"):
        for words in ((), ("--dry-run",)):
            assert desk.refusal("backup", f"{desk.folder}/{name}", *words, code=1) == "backup_no_folder"
        assert not (desk.folder / name).exists()


def test_a_file_that_came_meanwhile_stays(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store was read somebody wrote a backup of that name: theirs stays, nothing is left beside."""
    take = backup.take

    def slowly(*arguments: Any, **more: Any) -> Any:
        sqlite_desk.file("b.tar", b"theirs")
        return take(*arguments, **more)

    monkeypatch.setattr(backup, "take", slowly)
    assert sqlite_desk.refusal("backup", "b.tar", code=1) == "backup_exists"
    assert (sqlite_desk.folder / "b.tar").read_bytes() == b"theirs"
    assert list(sqlite_desk.folder.glob(".b.tar*")) == []


def test_a_dry_run_writes_nothing(sqlite_desk: Desk) -> None:
    """It says what would be in it."""
    sqlite_desk.to_accepted()
    told = sqlite_desk.told("backup", "b.tar", "--dry-run")
    assert (told["written"], told["sha256"], told["counts"]["keys"]) == (False, None, 2)
    assert not (sqlite_desk.folder / "b.tar").exists()
    assert "would write" in sqlite_desk.run("backup", "b.tar", "--dry-run").out


def test_progress_and_what_is_not_inside_are_told(sqlite_desk: Desk) -> None:
    """Each step on stderr; and that the inventory and the identity have to be kept too."""
    done = sqlite_desk.run("backup", "b.tar")
    assert [line in done.err for line in ("reading the store", "reading the sealed keys", "writing")]
    assert "identity" in done.err
    assert "backup: b.tar: events: 0" in done.out


def test_a_backup_during_a_roll_out_is_consistent(desk: Desk) -> None:
    """Taken over and over while waves go on: each is whole, and each holds every key its events name."""
    desk.to_accepted()
    taken: list[Path] = []

    def take() -> None:
        path = desk.folder / f"{len(taken)}.tar"
        from renewctl.cli.context import Session  # noqa: PLC0415
        from renewctl.keys import keystore  # noqa: PLC0415

        session = Session()
        keys = keystore.home(session.inventory.keys, desk.store)
        backup_file.write(path, backup.take(desk.store, keys, now=session.now(), tell=lambda _key: None))
        taken.append(path)

    def meanwhile() -> None:
        thread = threading.Thread(target=take)  # another process, as far as the store can tell
        thread.start()
        thread.join()

    desk.playbooks.meanwhile = dict.fromkeys(("fence", "rollout"), meanwhile)
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert len(taken) >= 3
    counts = [backup_file.read(path)[0].counts["events"] for path in taken]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    for path in taken:
        found, _ = backup_file.read(path)
        assert found.tables["runs"][-1]["ended"] is None
        assert len(found.keys) == 2


def test_keys_that_are_gone_are_told(desk: Desk) -> None:
    """A key that an event names and nobody has any more: the backup is made, and somebody must look."""
    desk.to_accepted()
    desk.lose_keys()
    told = desk.told("backup", "b.tar", code=4)
    assert len(told["keys_missing"]) == 2
    assert told["written"] is True
    assert "no longer in the key store" in desk.run("backup", "c.tar").out


def test_a_key_whose_destruction_was_cut_off_is_not_called_lost(sqlite_desk: Desk) -> None:
    """It went before that could be written down; one that something has named since is missing all the same."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    found, _ = backup_file.read(desk.folder / "b.tar")
    gone, *others = found.keys
    without = replace(found, keys={name: found.keys[name] for name in others})
    assert backup.missing_keys(without) == (gone,)
    body = json.dumps({"keys": [{"key_fingerprint": gone}], "after_seconds": 0})
    for at, missing in (
        ("2099-01-01T00:00:00.000000+00:00", ()),
        ("2020-01-01T00:00:00.000000+00:00", (gone,)),
    ):
        begun = {"renewal": KEY_STORE, "kind": "destruction_started", "body": body, "at": at}
        events = [*found.tables["events"], {**found.tables["events"][-1], **begun}]
        assert backup.missing_keys(replace(without, tables={**found.tables, "events": events})) == missing


def test_a_key_in_clear_is_never_copied(sqlite_desk: Desk) -> None:
    """Somebody put a plain key where sealed ones are: refused, nothing written."""
    desk = sqlite_desk
    desk.adopt()
    (desk.folder / "keys" / f"{'a' * 64}.age").write_bytes(b"-----BEGIN RSA PRIVATE KEY-----\n")
    assert desk.refusal("backup", "b.tar", code=1) == "key_not_sealed"
    assert not (desk.folder / "b.tar").exists()


def test_a_changed_event_is_told(sqlite_desk: Desk) -> None:
    """A row somebody edited is in the backup as it is, and named."""
    import sqlite3  # noqa: PLC0415

    desk = sqlite_desk
    desk.to_accepted()
    with sqlite3.connect(desk.folder / "state" / "renewctl.db") as connection:
        connection.execute("UPDATE events SET actor = 'nobody' WHERE renewal = 'tokyo-1' AND seq = 2")
        connection.execute("UPDATE events SET body = 'no json' WHERE renewal = 'tokyo-1' AND seq = 4")
    told = desk.told("backup", "b.tar", code=4)
    assert told["events_damaged"] == ["tokyo-1 2", "tokyo-1 4"]
    assert "not as they were written" in desk.run("backup", "c.tar").out
