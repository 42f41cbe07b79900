"""Commands beside the year: what each begins with, and what each promises of files the year does not know.

A promise is asked for right after a kill (`always`), or when the command has come to its end (`done`).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import yaml

from renewctl.errors import RenewctlError
from renewctl.keys import unseal
from renewctl.keys.keystore import KeyFolder
from renewctl.keys.unseal import new_identity
from renewctl.renewal.key_record import key_facts
from renewctl.secrets import Kind as Of
from renewctl.secrets import SecretRef
from renewctl.store.read import StoreReader
from renewctl.upkeep import backup, backup_file

BACKUP = "backup.tar"
HOURS_LATER = "(two hours later)"
SCHEMA_2 = "(of schema 2)"
"""In which world a command is run (`child`): a key must be superseded for an hour before it may be destroyed,
and there is no second schema yet but the one tests make up."""

_STORE, _INVENTORY, _OTHER = Path("state/renewctl.db"), Path("renewctl.yaml"), Path("other.txt")
_EVENTS = "SELECT * FROM events ORDER BY renewal, seq"


_RECIPIENTS = 2


def another_recipient(office: Path) -> None:
    """The inventory names one more recipient, so every key is due."""
    identity, recipient = new_identity()
    (office / _OTHER).touch(0o600)
    (office / _OTHER).write_text(identity)
    inventory = yaml.safe_load((office / _INVENTORY).read_text())
    inventory["keys"]["recipients"].append(recipient)
    (office / _INVENTORY).write_text(yaml.safe_dump(inventory, sort_keys=False))


def short_memory(office: Path) -> None:
    """Superseded keys are kept for an hour."""
    inventory = yaml.safe_load((office / _INVENTORY).read_text())
    inventory["keys"]["destroy_after"] = "1h"
    (office / _INVENTORY).write_text(yaml.safe_dump(inventory, sort_keys=False))


def disk_lost(office: Path) -> None:
    """Store, keys and request files are gone; a backup is there."""
    url, keys = f"sqlite:///{office / _STORE}", KeyFolder(office / "keys", ())
    taken = backup.take(url, keys, now=datetime.now(UTC), tell=lambda _key: None)
    backup_file.write(office / BACKUP, taken)
    for name in ("state", "keys"):
        shutil.rmtree(office / name)
    for path in (office / "out").iterdir():
        path.unlink()


def nothing_more(_office: Path) -> Iterator[str]:
    """No promise but those of every command."""
    yield from ()


def opens_to_the_other(office: Path) -> Iterator[str]:
    """Every key opens to the recipient that was added, and events say whom it is sealed to."""
    keys, identity = KeyFolder(office / "keys", ()), SecretRef(Of.FILE, (str(office / _OTHER),))
    for name in keys.names():
        try:
            unseal.open_key(keys.sealed(name), identity)
        except RenewctlError as error:
            yield f"key {name} does not open to the new recipient: {error}"
    if (office / _STORE).exists():
        with StoreReader(f"sqlite:///{office / _STORE}", recover=True) as reader:
            told = key_facts(reader.renewals(), datetime.now(UTC))
        for name in keys.names():
            if len(told[name].recipients or ()) != _RECIPIENTS:
                yield f"key {name} is told to be sealed to {told[name].recipients}"


def one_key_less(office: Path) -> Iterator[str]:
    """The key of the request that was given up is gone, the one in use is there."""
    if (left := len(KeyFolder(office / "keys", ()).names())) != 1:
        yield f"{left} keys are kept, not one"


def backup_whole(office: Path) -> Iterator[str]:
    """What bears the backup's name holds all of store and keys, and nobody else may read it."""
    path = office / BACKUP
    if not path.exists():
        return
    try:
        kept, _ = backup_file.read(path)
    except RenewctlError as error:
        yield f"a torn backup: {error}"
        return
    with closing(sqlite3.connect(office / _STORE)) as store:
        for name, rows in kept.tables.items():
            count = store.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - our own names
            if count != len(rows) or not count:
                yield f"the backup has {len(rows)} rows of {name}, the store {count}"
    if sorted(kept.keys) != KeyFolder(office / "keys", ()).names():
        yield "the backup has other keys than the store"
    if (mode := path.stat().st_mode & 0o777) != backup_file.FILE_MODE:
        yield f"the backup has mode {mode:04o}"


def backup_there(office: Path) -> Iterator[str]:
    """It was made."""
    if not (office / BACKUP).exists():
        yield "there is no backup"


def schema(path: Path) -> int:
    """A store's schema version; rolls back what a killed writer left."""
    with closing(sqlite3.connect(path)) as store:
        return int(store.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()[0])


def old_store_kept(office: Path) -> Iterator[str]:
    """The store is of the old schema or of the new one; then a whole copy of the old one lies beside it."""
    store, now = office / _STORE, schema(office / _STORE)
    copies = [
        path for path in store.parent.glob(f"{store.name}.schema-1.*") if not path.name.endswith("-journal")
    ]
    if now not in {1, 2} or (now == 2 and not copies):
        yield f"a store of schema {now}, and {len(copies)} copies of the old one"
    with closing(sqlite3.connect(store)) as today:
        events = today.execute(_EVENTS).fetchall()
    for path in copies:
        with closing(sqlite3.connect(path)) as old:
            whole = old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not whole or schema(path) != 1 or old.execute(_EVENTS).fetchall() != events:
                yield f"{path.name} is no copy of the old store"


def upgraded(office: Path) -> Iterator[str]:
    """It is of the new schema."""
    if (now := schema(office / _STORE)) != 2:
        yield f"the store is of schema {now}"
