"""An operator's folder to kill commands in, the year's commands, and what kinds of files lie where.

::

    office/renewctl.yaml, *.pem, *.key     what the operator brought; never changed by a command
    office/state, keys, out, tmp           the state folders: store, sealed keys, request files, scratch
    office/backup.tar                      a backup
    nodes/                                 what the pretended nodes remember; not renewctl's
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from renewctl.keys.unseal import new_identity
from tests.crash.kills import upkeep
from tests.support.certs import TOPIC, apple_like
from tests.support.desk import PublicHalf

NOW = datetime.now(UTC)
APPLE = apple_like()
OLD = APPLE.push(not_before=NOW - timedelta(days=323), not_after=NOW + timedelta(days=42), key="old")
VENDOR = APPLE.vendor(not_before=NOW - timedelta(days=100), not_after=NOW + timedelta(days=265))
RENEWAL = "tokyo-1"
REQUEST = Path("out/request.plist")
CSR = REQUEST.with_suffix(".csr")
DOWNLOAD = "download.pem"
STORE = Path("state/renewctl.db")

_HEX = "[0-9a-f]"
_KINDS = {
    r"\.": "folder",
    r"renewctl\.yaml": "inventory",
    r"\.renewctl\.yaml\.\S+": "inventory, beside",
    r"\.config(/renewctl)?": "identity's folder",
    r"\.config/renewctl/identity\.txt": "identity",
    r"\.config/renewctl/\.identity\.txt\.\S+": "identity, beside",
    r"state": "store's folder",
    rf"\.state\.{_HEX}+\.new": "store's folder, beside",
    r"state/renewctl\.db": "store",
    r"state/renewctl\.db-journal": "store's journal",
    rf"state/\.renewctl\.db\.{_HEX}+\.new": "store, beside",
    rf"state/\.renewctl\.db\.{_HEX}+\.new-journal": "journal, beside",
    r"state/renewctl\.db\.schema-1\.\w+": "store's copy",
    rf"state/\.renewctl\.db\.schema-1\.\w+\.{_HEX}+\.new": "store's copy, beside",
    rf"state/\.renewctl\.db\.schema-1\.\w+\.{_HEX}+\.new-journal": "copy's journal, beside",
    r"backup\.tar": "backup",
    rf"\.backup\.tar\.{_HEX}+\.new": "backup, beside",
    r"keys": "keys' folder",
    rf"\.keys\.{_HEX}+\.new": "keys' folder, beside",
    rf"keys/{_HEX}{{64}}\.age": "key",
    rf"keys/\.{_HEX}{{64}}\.age\.{_HEX}+\.new": "key, beside",
    r"out": "requests' folder",
    r"out/request\.(csr|plist)": "request file",
    r"out/\.request\.(csr|plist)\.\S+": "request file, beside",
    r"tmp(/.*)?": "scratch",
    r"[a-z0-9_]{8}": "scratch",  # where $TMPDIR takes nothing, Python's tempfile tries other folders, this one last
}


class UnknownFileError(Exception):
    """A path in a state folder that no rule names."""


def kind_of(path: str) -> str:
    """The kind of file at a path, relative to the office.

    Raises:
        UnknownFileError: nobody has said what lies there.
    """
    for rule, kind in _KINDS.items():
        if re.fullmatch(rule, path):
            return kind
    raise UnknownFileError(path)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as the table shows it.
        words: as typed in the office.
        before: the command whose end is this one's start; None: nothing but what the operator brought.
        ends: the exit code of an untouched run.
        plays: whether it plays playbooks, so that the pretended ones must stand in.
        begins: what happened in the office before it.
        world: what is different while it runs (`child`); "": nothing.
        goes_on: with what is left where a part of it failed, and says so for each part.
        always, done: what it promises beside what every command does (`upkeep`).
    """

    name: str
    words: tuple[str, ...]
    before: str | None
    ends: int = 0
    plays: bool = False
    begins: Callable[[Path], None] | None = None
    world: str = ""
    goes_on: bool = False
    always: Callable[[Path], Iterator[str]] = upkeep.nothing_more
    done: Callable[[Path], Iterator[str]] = upkeep.nothing_more


_FRESH = ("--topic", TOPIC, "--id", "tokyo", "--account", "mdm-tokyo", "--node", "n1=http://127.0.0.1:1")
_NODE = ("--node-password-file", "pw")

COMMANDS = (
    Command("init", (*_FRESH, *_NODE), None),
    Command("init --existing", (), None),
    Command("adopt", ("--certificate", "old.pem", "--key", "old.key"), "init --existing"),
    Command("renewal open", (), "adopt"),
    Command("renewal request", ("--out", str(REQUEST)), "renewal open", ends=3),
    Command("renewal request --csr-only", ("--out", str(CSR)), "renewal open", ends=3),
    Command("renewal accept", (DOWNLOAD,), "renewal request"),
    Command("renewal roll-out", (), "renewal accept", plays=True),
    Command("renewal roll-out --leave-out", ("n2=being moved",), "renewal accept", ends=4, plays=True),
    Command("renewal verify", (), "renewal roll-out", plays=True),
    Command("renewal roll-back", (), "renewal roll-out", plays=True),
    Command("renewal close", (), "renewal verify"),
    Command("renewal abort", (), "renewal request"),
    Command(
        "keys rekey",
        (),
        "renewal accept",
        begins=upkeep.another_recipient,
        goes_on=True,
        done=upkeep.opens_to_the_other,
    ),
    Command(
        "keys destroy",
        (),
        "renewal abort",
        begins=upkeep.short_memory,
        world=upkeep.HOURS_LATER,
        done=upkeep.one_key_less,
    ),
    Command(
        "backup", (upkeep.BACKUP,), "renewal roll-out", always=upkeep.backup_whole, done=upkeep.backup_there
    ),
    Command("restore", (upkeep.BACKUP, "--offline"), "renewal roll-out", begins=upkeep.disk_lost),
    Command(
        "store upgrade",
        (),
        "renewal accept",
        world=upkeep.SCHEMA_2,
        always=upkeep.old_store_kept,
        done=upkeep.upgraded,
    ),
)


def furnish(folder: Path, *, bare: bool) -> None:
    """What the operator brings: vendor's and old pair, empty folders; unless `bare` inventory and identity."""
    identity, recipient = new_identity()
    contents = {
        "vendor.pem": VENDOR.pem,
        "vendor.key": VENDOR.key_pem,
        "wwdr.pem": APPLE.wwdr.pem,
        "root.pem": APPLE.root.pem,
        "old.pem": OLD.pem,
        "old.key": OLD.key_pem,
        "pw": b"secret",
    }
    if not bare:
        contents["identity.txt"] = identity.encode()
        contents["renewctl.yaml"] = yaml.safe_dump(_inventory(recipient), sort_keys=False).encode()
    for name in ("out", "tmp"):
        (folder / name).mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)


def bring_download(folder: Path) -> None:
    """The portal's answer to the request in this office."""
    csr = x509.load_pem_x509_csr((folder / CSR).read_bytes())
    issued = APPLE.push(
        key=PublicHalf(csr),  # type: ignore[arg-type]
        not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=364),
    )
    (folder / DOWNLOAD).write_bytes(issued.pem)


def environment(folder: Path) -> dict[str, str]:
    """What a command is given: a home and a place for temporary files of its own, nothing of ours."""
    return {
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def copy(source: Path, target: Path) -> None:
    """A saved state in a place of its own."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def _inventory(recipient: str) -> dict[str, Any]:
    return {
        "version": 1,
        "store": f"sqlite:///{STORE}",
        "keys": {"folder": "keys", "recipients": [recipient], "identity": {"file": "identity.txt"}},
        "vendor": {
            "certificate": "vendor.pem",
            "chain": ["wwdr.pem", "root.pem"],
            "key": {"file": "vendor.key"},
        },
        "topics": [
            {
                "id": "tokyo",
                "topic": TOPIC,
                "name": "Tokyo",
                "zone": "Asia/Tokyo",
                "account": {"alias": "mdm-tokyo", "address": "mdm@example.com"},
            }
        ],
        "nodes": [
            {
                "name": name,
                "product": "nanomdm",
                "url": "http://127.0.0.1:1",
                "password": {"file": "pw"},
                "storage": storage,
            }
            for name, storage in (("n1", "a"), ("n2", "b"))
        ],
    }
