"""`renewctl restore`: a lost store comes back, above every run, and claims nothing it cannot know."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from renewctl import messages
from renewctl.observation import Observation, ServedCertificate, Source
from renewctl.store.read import StoreReader
from renewctl.store.write import Store
from renewctl.upkeep import backup_file, restore
from tests.support.certs import NOW, TOPIC
from tests.support.desk import APPLE, OLD_ENDS, Desk
from tests.support.old_stores import make_later
from tests.support.postgres import Database

pytestmark = pytest.mark.slow


def _renewals(desk: Desk) -> dict[str, list[Any]]:
    with StoreReader(desk.store) as store:
        return store.renewals()


def test_a_lost_store_comes_back_and_the_renewal_goes_on(desk: Desk) -> None:
    """Accepted, backed up, rolled out in part, lost: every node is unknown, then the roll-out is completed."""
    desk.to_accepted()
    desk.told("backup", "b.tar")
    before, keys = _renewals(desk), backup_file.read(desk.folder / "b.tar")[0].keys
    desk.playbooks.says("rollout", "n2", "unknown")
    desk.told("renewal", "roll-out", code=4)
    desk.lose_disk()
    for node in ("n1", "n2", "n3"):
        desk.playbooks.says("observe", node, "observed", values={"run": 41})
    assert desk.told("restore", "b.tar", "--dry-run")["restored"] is False
    told = desk.told("restore", "b.tar", "--reason", "disk died")
    assert (told["run"], told["keys_written"], told["silent"]) == (42, 2, [])
    after = _renewals(desk)
    assert {name: events[: len(before[name])] for name, events in after.items()} == before
    [added] = after["tokyo-1"][len(before["tokyo-1"]) :]
    assert (added.kind, added.reason, added.body["backup"]) == ("restored", "disk died", told["sha256"])
    assert backup_file.read(desk.folder / "b.tar")[0].keys == keys
    renewal = desk.renewal()
    assert renewal["phase"] == "rolling_out"
    assert {name: node["outcome"] for name, node in renewal["nodes"].items()} == dict.fromkeys(
        ("n1", "n2", "n3"), "unknown"
    )
    assert desk.refusal("renewal", "abort", code=1) == "out_of_order"
    del desk.playbooks.answers["rollout", "n2"]
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    with StoreReader(desk.store) as store:
        run = store.newest_run()
        assert run is not None
        assert run.number == 43
    desk.told("renewal", "close")
    desk.told("backup", "c.tar")


def test_status_says_unknown_after_a_restore_not_what_old_events_claim(sqlite_desk: Desk) -> None:
    """The backup says proven; a roll-back came after it. Nobody claims proven now, until it was read back."""
    desk = sqlite_desk
    desk.to_proven()
    desk.told("backup", "b.tar")
    desk.told("renewal", "roll-back")
    desk.lose_disk()
    desk.told("restore", "b.tar")
    [topic] = desk.told("status", "--offline", code=4)["topics"]
    assert {node["name"]: node["state"] for node in topic["nodes"]} == dict.fromkeys(
        ("n1", "n2", "n3"), "unknown"
    )
    assert topic["renewal"]["phase"] == "rolling_out"
    assert desk.refusal("renewal", "close", code=1) == "out_of_order"
    assert desk.told("renewal", "verify")["renewal"]["phase"] == "proven"


def _restored_under(desk: Desk, **changed: str) -> None:
    """The disk is lost, and the backup restored with an inventory whose topic is another; then it is as before."""
    desk.lose_disk()
    (topic,) = desk.inventory["topics"]
    desk.rewrite(topics=[topic | changed])
    desk.told("restore", "b.tar")
    desk.rewrite(topics=[topic])


def test_an_open_renewal_the_inventory_does_not_name_claims_nothing_either(sqlite_desk: Desk) -> None:
    """Its topic's id was changed: proven by the backup, unknown after the restore."""
    desk = sqlite_desk
    desk.to_proven()
    desk.told("backup", "b.tar")
    desk.told("renewal", "roll-back")
    _restored_under(desk, id="hq")
    renewal = desk.renewal()
    assert renewal["phase"] == "rolling_out"
    assert {node["outcome"] for node in renewal["nodes"].values()} == {"unknown"}


def test_after_a_changed_id_too_a_roll_out_the_backup_never_heard_of_can_be_put_back(
    sqlite_desk: Desk,
) -> None:
    """The nodes are those of the topic with the same UID, all unknown: the way back goes to each of them."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    desk.told("renewal", "roll-out")
    _restored_under(desk, id="hq")
    assert {one["outcome"] for one in desk.renewal()["nodes"].values()} == {"unknown"}
    assert desk.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    assert desk.playbooks.names()[-1] == ("rollback", ("n1", "n2", "n3"))


def test_a_renewal_of_another_inventory_claims_what_the_backup_knows(sqlite_desk: Desk) -> None:
    """Nobody can name its nodes: before a roll-out nothing is claimed, after one those it knows are unknown."""
    desk, other = sqlite_desk, "com.apple.mgmt.External.of-another-inventory"
    desk.to_accepted()
    desk.told("backup", "b.tar")
    _restored_under(desk, id="hq", topic=other)
    assert (desk.renewal()["phase"], desk.renewal()["nodes"]) == ("accepted", {})
    desk.told("renewal", "roll-out")
    (desk.folder / "b.tar").unlink()
    desk.told("backup", "b.tar")
    _restored_under(desk, id="hq", topic=other)
    assert {one["outcome"] for one in desk.renewal()["nodes"].values()} == {"unknown"}


def test_a_roll_out_the_backup_never_heard_of_can_be_put_back(sqlite_desk: Desk) -> None:
    """Nothing was rolled out, says the backup; the roll-back asks every node of the topic all the same."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    desk.told("renewal", "roll-out")
    desk.lose_disk()
    desk.told("restore", "b.tar")
    assert desk.told("renewal", "roll-back")["renewal"]["phase"] == "rolled_back"
    assert desk.playbooks.names()[-1] == ("rollback", ("n1", "n2", "n3"))


def test_what_is_there_is_never_overwritten(desk: Desk) -> None:
    """A store with one event is refused, before a node is asked; an empty one is filled."""
    desk.to_request()
    desk.told("backup", "b.tar")
    played = len(desk.playbooks.played)
    assert desk.refusal("restore", "b.tar", code=1) == "store_not_empty"
    assert len(desk.playbooks.played) == played
    desk.lose_disk()
    desk.told("init", "--existing")
    desk.told("restore", "b.tar")
    assert desk.kinds()[-1] == "restored"
    assert desk.told("renewal", "show")["renewal"]["phase"] == "requested"


def test_a_key_that_survived_stays_as_it_is(sqlite_desk: Desk) -> None:
    """The keys were on another disk: none is written over, perhaps they were sealed to others since."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    [kept, *_] = sorted((desk.folder / "keys").glob("*.age"))
    kept.write_bytes(b"age-encryption.org/v1\nsealed anew")
    shutil.rmtree(desk.folder / "state")
    assert desk.told("restore", "b.tar")["keys_written"] == 0
    assert kept.read_bytes() == b"age-encryption.org/v1\nsealed anew"


def test_nodes_that_cannot_be_asked(sqlite_desk: Desk) -> None:
    """A silent file node may carry a higher run: named, exit 4; an API node carries none, so it is no matter."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    desk.lose_disk()
    desk.hold_files("n1", "n2")
    desk.playbooks.says("observe", "n1", "observed", values={"run": 7})
    for node in ("n2", "n3"):
        desk.playbooks.answers["observe", node] = None
    told = desk.told("restore", "b.tar", code=4)
    assert (told["silent"], told["run"]) == (["n2"], 8)
    assert desk.events()[-1].body["silent"] == ["n2"]
    desk.lose_disk()
    done = desk.run("restore", "b.tar", "--offline")
    assert done.code == 4
    assert "did not say which run they carry: n1, n2." in done.out
    assert "goes on by itself under a number above it" in done.out
    assert "node observe" not in done.out
    assert "renewctl status" in done.err
    assert [one.name for one in desk.playbooks.played].count("observe") == 1


def _serves(desk: Desk, node: str, serial: str, *, ends: datetime = OLD_ENDS + timedelta(days=365)) -> None:
    served = ServedCertificate(topic=TOPIC, not_after=ends, source=Source.FILE, serial=serial)
    seen = Observation(node, NOW, certificates=(served,))
    desk.playbooks.says("observe", node, "observed", observation=seen)


def test_a_certificate_that_came_after_the_backup_is_told(sqlite_desk: Desk) -> None:
    """A node serves what the backup never heard of: named, with what it means for the key."""
    desk = sqlite_desk
    desk.adopt()
    desk.told("backup", "b.tar")
    desk.lose_disk()
    _serves(desk, "n1", "ab12")
    told = desk.told("restore", "b.tar", code=4)
    assert told["strangers"] == ["n1"]
    assert told["nodes"][0]["serials"] == ["ab12"]
    assert desk.kinds("tokyo-0") == ["adopted", "restored"]
    desk.adopt()  # the same pair again changes nothing; another one follows the restore
    assert desk.told("status", "--offline", code=4)["topics"][0]["not_after"] is not None
    desk.lose_disk()
    assert "adopt" in desk.run("restore", "b.tar").out


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_backup_between_request_and_accept(sqlite_desk: Desk, language: str) -> None:
    """What nodes serve is the answer to the open request, whose key is there: accept it first, never Renew again."""
    desk = sqlite_desk
    desk.to_request()
    desk.told("backup", "b.tar")
    issued = desk.issued()
    file = desk.file("downloaded.pem", issued.pem)
    desk.told("renewal", "accept", file)
    desk.told("renewal", "roll-out")
    desk.lose_disk()
    _serves(desk, "n1", issued.serial)
    done = desk.run("restore", "b.tar", "--lang", language)
    assert done.code == 4
    key = "restore.strangers_requested"
    assert messages.text(key, language, nodes="n1") in done.out
    assert messages.text("restore.strangers", language, nodes="n1") not in done.out
    steps = [line.strip() for line in done.err.splitlines() if line.strip().startswith("renewctl ")]
    assert steps[0] == "renewctl renewal accept FILE --topic tokyo"
    [shown] = desk.told("status", "--offline", code=4)["topics"]
    assert shown["next_steps"][0]["command"] == steps[0]
    assert shown["next_steps"][0]["key"] == "next.accept_restored"
    desk.told("renewal", "accept", file)
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"


def test_a_request_whose_key_came_after_the_backup(sqlite_desk: Desk) -> None:
    """The renewal was opened, no request made: nothing to accept the certificate with; said as before."""
    desk = sqlite_desk
    desk.adopt()
    desk.told("renewal", "open")
    desk.told("backup", "b.tar")
    desk.lose_disk()
    _serves(desk, "n1", "ab12")
    done = desk.run("restore", "b.tar")
    assert messages.text("restore.strangers", "en", nodes="n1") in done.out
    assert "renewal accept" not in done.err
    desk.told("renewal", "abort")
    desk.adopt(pair=APPLE.push(not_after=NOW.replace(year=NOW.year + 1), key="other"))


@pytest.mark.parametrize("adopted", [True, False])
def test_a_node_that_missed_a_year_is_no_answer_to_the_request(sqlite_desk: Desk, *, adopted: bool) -> None:
    """Its certificate ends before the one in use, so Renew is not ruled out; where none was taken over nothing tells."""
    desk = sqlite_desk
    if adopted:
        desk.adopt()
    desk.told("renewal", "open")
    desk.told("renewal", "request", code=3)
    desk.told("backup", "b.tar")
    desk.lose_disk()
    _serves(desk, "n1", "ab12", ends=OLD_ENDS - timedelta(days=365))
    said = messages.text("restore.strangers_requested", "en", nodes="n1")
    assert (said in desk.run("restore", "b.tar").out) is not adopted


def test_a_request_made_anew_after_the_restore_is_asked_for_as_ever(sqlite_desk: Desk) -> None:
    """Then the portal has not answered it: sign in first."""
    desk = sqlite_desk
    desk.to_request()
    desk.told("backup", "b.tar")
    desk.lose_disk()
    desk.told("restore", "b.tar")
    steps = desk.told("renewal", "request", "--new-key", "--reason", "again", code=3)["next_steps"]
    assert steps[0]["key"] == "next.portal.sign_in"


def test_adopting_after_a_restore(sqlite_desk: Desk) -> None:
    """What is taken over after a restore has its place behind it, also where nothing had been adopted before."""
    desk = sqlite_desk
    desk.told("backup", "b.tar")
    desk.lose_disk()
    desk.told("restore", "b.tar")
    assert desk.kinds("tokyo-0") == ["restored"]
    desk.adopt()
    desk.adopt(pair=APPLE.push(not_after=NOW.replace(year=NOW.year + 1), key="other"))
    assert desk.kinds("tokyo-0") == ["restored", "adopted", "adopted"]
    desk.told("renewal", "open")


@pytest.mark.slow
def test_a_backup_of_a_file_goes_into_a_database_and_back(sqlite_desk: Desk, database: Database) -> None:
    """The kind of store does not matter to a backup: SQLite and folder -> PostgreSQL -> SQLite."""
    desk = sqlite_desk
    desk.to_accepted()
    desk.told("backup", "b.tar")
    before, inventory = _renewals(desk), desk.inventory
    keys = {k: v for k, v in inventory["keys"].items() if k != "folder"}
    desk.file("store.url", database.url.encode()).chmod(0o600)
    desk.rewrite(store={"file": "store.url"}, keys=keys)
    desk.store = database.url
    desk.told("restore", "b.tar")
    assert {name: told[:-1] for name, told in _renewals(desk).items() if name == "tokyo-1"} == {
        "tokyo-1": before["tokyo-1"]
    }
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert desk.told("backup", "c.tar")["store"] == "postgresql"
    shutil.rmtree(desk.folder / "state")
    shutil.rmtree(desk.folder / "keys")
    desk.rewrite(store=inventory["store"], keys=inventory["keys"])
    desk.store = f"sqlite:///{desk.folder}/state/renewctl.db"
    desk.told("restore", "c.tar")
    assert desk.told("renewal", "verify")["renewal"]["phase"] == "proven"


def test_a_backup_of_an_older_schema_is_brought_to_ours(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by an older renewctl, restored by a newer one, into nothing or into an empty store of today."""
    desk.to_accepted()
    desk.told("backup", "b.tar")
    desk.lose_disk()
    make_later(monkeypatch)
    monkeypatch.setattr("renewctl.database.sql.create", _create_later)
    told = desk.told("restore", "b.tar")
    assert told["keys_written"] == 2
    with Store(desk.store) as store:
        database = store._database
        assert database.rows("SELECT count(*) AS n FROM documents WHERE kept_at IS NOT NULL") == [{"n": 4}]
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"


def _create_later(url: str) -> None:
    """What `sql.create` will be when there is a schema 2: its tables, empty."""
    from renewctl.database import sql, sqlite_file  # noqa: PLC0415
    from renewctl.store import migrations  # noqa: PLC0415

    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite"):
        sqlite_file.make_folder(path.parent, 0o750)
        path.touch(0o640)
    with sql.Database(url, read_only=False).transaction() as transaction:
        migrations.apply(transaction, above=0, upto=2)


def test_backups_that_cannot_be_used(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there, not a backup, of a newer schema, with an event nobody can read: said as that, nothing made."""
    desk = sqlite_desk
    desk.to_request()
    desk.told("backup", "b.tar")
    make_database_lie(desk)
    desk.told("backup", "lying.tar", code=4)
    desk.lose_disk()
    assert desk.refusal("restore", "no.tar", code=1) == "file_not_found"
    assert desk.refusal("restore", desk.file("x.tar", b"x"), code=2) == "backup_unreadable"
    assert desk.refusal("restore", "lying.tar", code=2) == "backup_damaged"
    monkeypatch.setattr("renewctl.database.sql_version.SCHEMA", 0)
    assert desk.refusal("restore", "b.tar", code=1) == "store_newer"
    assert not (desk.folder / "state").exists()


def make_database_lie(desk: Desk) -> None:
    """An event's body is no JSON any more."""
    with sqlite3.connect(desk.folder / "state" / "renewctl.db") as connection:
        connection.execute("UPDATE events SET body = 'no json' WHERE renewal = 'tokyo-1' AND seq = 2")


def test_somebody_filled_the_store_meanwhile(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the writing another restore was faster: refused, theirs stays."""
    desk = sqlite_desk
    desk.to_request()
    desk.told("backup", "b.tar")
    monkeypatch.setattr(restore, "require_empty", lambda _url: None)
    before = _renewals(desk)
    assert desk.refusal("restore", "b.tar", code=1) == "store_not_empty"
    assert _renewals(desk) == before
