"""No key and no password shows anywhere while a whole renewal is done, nor stays anywhere after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

from renewctl.keys.unseal import new_identity, open_key
from renewctl.sandbox.stage import Stage
from renewctl.sandbox.worlds import NODES, world
from renewctl.secrets import Kind, SecretRef
from tests.support.cli import Done
from tests.support.leaks import Seen, files_in, forms_of_key, forms_of_text, leaks, watched
from tests.support.operator import Operator, operator
from tests.support.postgres import Database, database
from tests.support.sandbox_parts import eventually, now
from tests.support.sshd import sshd

__all__ = ["database"]

pytestmark = pytest.mark.slow

#: The CLI, with Ansible as talkative as it can be made, and all of it written to a file.
_LOUD = """
import sys
from datetime import UTC, datetime, timedelta
from renewctl import playbook_run
from renewctl.cli.context import Session
log, later = sys.argv.pop(1), timedelta(hours=int(sys.argv.pop(1)))
Session.__init__.__defaults__ = (None, None, False, lambda: datetime.now(UTC) + later)
playbook_run._FIXED.update(ANSIBLE_DEBUG="1", ANSIBLE_KEEP_REMOTE_FILES="1", ANSIBLE_VERBOSITY="5", ANSIBLE_LOG_PATH=log)

def keep(tail):
    with open(log + ".out", "a") as out:
        for line in tail._stream:
            out.write(line)
            tail._lines.append(line.rstrip())

playbook_run._Tail._read = keep
from renewctl.cli.main import main
sys.exit(main())
"""
PASSPHRASE, CONSUMER = "der alte Schlüssel, 2025", "what the consumer knows"
QUICK = ("--check-in-timeout", "60", "--canaries", "1")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_whole_renewal_shows_and_leaves_no_secret(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Outputs, Ansible's debug log, arguments, environments, temp files (also of a killed roll-out), store, nodes.

    From `init` to `keys destroy` and `restore`. Three nodes through their API, one over SSH with every layout; keys, identity and passwords (also of the
    database and of PKCS#12 files) in every usual encoding; a store in PostgreSQL as `pg_dump` writes it out.
    """
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    database: Database | None = None if kind == "sqlite" else request.getfixturevalue("database")
    with operator(replace(world("happy-year"), devices=3), tmp_path) as person, _ssh_node(person) as ssh:
        if database is not None:
            _keep_all_in(database, person)
        loud = _Loud(person, temporary, ssh)
        with watched(temporary, whose=str(temporary)) as seen:
            loud.there_and_back()
            loud.killed_roll_out()
            loud.to_the_end()
            loud.upkeep()
            wanted = _secrets(person, database)  # before a key is destroyed
            loud.destroys_a_key()
            places = {} if database is None else _database_shows(database, "before the loss")
            _loses_all(person, database)
            loud.restores()
        places |= {"output": loud.told.encode(), **seen.places, **_left_behind(person, temporary)}
        if database is not None:
            places |= _database_shows(database, "restored")
        assert leaks(places, wanted) == set()
        _was_worth_it(loud, seen, places)
        _only_the_nodes_own_key_files_hold_one(tmp_path / "node", wanted)


def _keep_all_in(database: Database, person: Operator) -> None:
    """Store and keys lie in PostgreSQL; its URL, with a password, in a file that only the inventory names."""
    reference = person.world.stage.identity.with_name("store.url")
    reference.write_text(database.url)
    reference.chmod(0o600)
    inventory = yaml.safe_load(person.world.inventory.read_text())
    inventory["store"] = {"file": str(reference)}
    del inventory["keys"]["folder"]
    person.world.inventory.write_text(yaml.safe_dump(inventory))


def _loses_all(person: Operator, database: Database | None) -> None:
    """Store and keys are gone from their places; what was there is searched all the same."""
    if database is None:
        for name in ("state", "keys"):
            (person.world.stage.folder / name).rename(person.folder / f"lost {name}")
        return
    with database.connect() as connection:
        connection.execute("DROP TABLE events, documents, runs, keys, meta")


def _database_shows(database: Database, when: str) -> dict[str, bytes]:
    """The whole store as its dump, and the server's log."""
    cluster = database.cluster
    command = ["pg_dump", "-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres", database.name]
    dump = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"roll_out_started" in dump
    assert b"COPY public.keys" in dump
    return {f"pg_dump {when}": dump, "log of the database": (cluster.folder / "log").read_bytes()}


class _Loud:
    """Commands as an operator types them, with every debugging on."""

    def __init__(self, person: Operator, temporary: Path, ssh: dict[str, str]) -> None:
        self.person, self.told = person, ""
        self.log = person.folder / "ansible.log"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RENEWCTL_", "LC_", "LANG"))},
            **person.environment,
            **ssh,
            "LANG": "C.UTF-8",
            "HOME": str(person.folder / "home"),
            "TMPDIR": str(temporary),
            "RENEWCTL_DEBUG": "1",
        }

    def run(self, *words: str | Path, later: int = 0) -> Done:
        """One command to its end; `later`: by a clock so many hours ahead."""
        process = self.start(*words, later=later)
        out, err = process.communicate(timeout=240)
        self.told += out + err
        return Done(process.returncode, out, err)

    def start(self, *words: str | Path, later: int = 0) -> subprocess.Popen[str]:
        """One command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-c", _LOUD, str(self.log), str(later), *map(str, words)],
            cwd=self.person.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def well(self, *words: str | Path, later: int = 0) -> None:
        """One command that does what it is asked."""
        done = self.run(*words, later=later)
        assert done.code == 0, (words, done.out, done.err)

    def there_and_back(self) -> None:
        """From `init` to a roll-out and back."""
        stage, request = self.person.world.stage, self.person.request
        self.run("init", "--existing")
        passphrase, bundle = stage.identity.with_name("passphrase"), self.person.folder / "old.p12"
        passphrase.write_text(PASSPHRASE)
        bundle.write_bytes(_bundle(stage, PASSPHRASE))
        self.well("adopt", "--certificate", bundle, "--key", bundle, "--passphrase-file", passphrase)
        self.well("renewal", "open")
        self.run("renewal", "request", "--out", request)
        self.run("keys", "check")
        self.well("renewal", "accept", self.person.world.person(request))
        self.well("renewal", "roll-out", "--dry-run")
        self.well("renewal", "roll-out", *QUICK)
        self.well("renewal", "roll-back", *QUICK)
        self.run("renewal", "show")

    def killed_roll_out(self) -> None:
        """Once more, killed once the first node was given the pair: its temp files stay."""
        before = self.person.changes()
        process = self.start("renewal", "roll-out", *QUICK)
        eventually(lambda: self.person.changes() != before or process.poll() is not None, seconds=120)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        self.told += out + err
        assert process.returncode == -signal.SIGKILL

    def to_the_end(self) -> None:
        """On from where the killed one stopped; proven once more, and closed."""
        self.well("renewal", "roll-out", *QUICK)
        self.well("renewal", "verify", *QUICK)
        self.well("renewal", "close")

    def upkeep(self) -> None:
        """What is done after it: a second recipient, a backup, what an auditor is shown."""
        identity, recipient = new_identity()
        self.person.world.stage.identity.with_name("second.txt").write_text(f"{identity}\n")
        inventory = yaml.safe_load(self.person.world.inventory.read_text())
        inventory["keys"] |= {
            "recipients": [*inventory["keys"]["recipients"], recipient],
            "destroy_after": "1h",
        }
        self.person.world.inventory.write_text(yaml.safe_dump(inventory))
        self.well("keys", "rekey")
        self.well("keys", "check")
        self.well("renewal", "open")  # for a key that nobody needs any more
        self.run("renewal", "request", "--csr-only")
        self.well("renewal", "abort")
        self.well("backup", "kept.tar")
        self.well("audit", "report", "--year", str(now().year), "--out", "year.html")
        for words in (("log", "--format", "csv"), ("log", "--json"), ("verify",)):
            self.well("audit", *words)
        self.run("status")

    def destroys_a_key(self) -> None:
        """The one of the request that led nowhere."""
        self.well("keys", "destroy", "--dry-run", later=2)
        done = self.run("keys", "destroy", "--json", later=2)
        assert (done.code, len(done.document["keys"])) == (0, 1), (done.out, done.err)

    def restores(self) -> None:
        """From the backup, in which that key is again; every node is asked."""
        done = self.run("restore", "kept.tar")
        assert done.code in {0, 4}, (done.out, done.err)
        self.well("keys", "check")
        self.run("status")


@contextmanager
def _ssh_node(person: Operator) -> Iterator[dict[str, str]]:
    """A fourth node, whose pair arrives as files over SSH; what the controller's environment needs."""
    folder = person.folder.parent / "node"
    folder.mkdir()
    stage = person.world.stage
    password = stage.identity.with_name("consumer.password")
    password.write_text(CONSUMER)
    certificate, key = stage.old_certificate.read_bytes(), stage.old_key.read_bytes()
    held = {"push.pem": certificate, "push.key": key, "both.pem": key + certificate}
    for name, content in {**held, "push.p12": _bundle(stage, CONSUMER)}.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    with sshd(person.folder.parent / "sshd") as server:
        inventory = yaml.safe_load(person.world.inventory.read_text())
        paths: list[dict[str, Any]] = [
            {"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")},
            {"pem": str(folder / "both.pem")},
            {"pkcs12": str(folder / "push.p12"), "password": {"file": str(password)}},
        ]
        install = {"paths": paths, "variables": dict(server.variables)}
        inventory["nodes"].append({"name": "branch", "product": "files", "install": install})
        person.world.inventory.write_text(yaml.safe_dump(inventory))
        yield server.environment


def _bundle(stage: Stage, password: str) -> bytes:
    """The old pair as PKCS#12, as an administrator made it."""
    key = load_pem_private_key(stage.old_key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = load_pem_x509_certificate(stage.old_certificate.read_bytes())
    locked = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"push", key, certificate, None, locked)


def _sealed(person: Operator, database: Database | None) -> list[bytes]:
    """Every sealed key, wherever it is kept."""
    if database is None:
        return [path.read_bytes() for path in (person.world.stage.folder / "keys").glob("*.age")]
    with database.connect() as connection:
        return [bytes(row[0]) for row in connection.execute("SELECT sealed FROM keys")]  # type: ignore[call-overload]


def _secrets(person: Operator, database: Database | None) -> dict[str, set[bytes]]:
    """Every key, the identity, every node's password, those of PKCS#12 files and of the database, the vendor's key."""
    stage = person.world.stage
    reference = SecretRef(Kind.FILE, (str(stage.identity),))
    keys = {f"key {n}": open_key(sealed, reference) for n, sealed in enumerate(_sealed(person, database))}
    assert len(keys) == 3
    keys["vendor key"] = (stage.folder / "vendor" / "vendor.key").read_bytes()
    texts = {f"password of {name}": stage.password_file(name).read_text().strip() for name in NODES}
    texts |= {"passphrase of a PKCS#12 file": PASSPHRASE, "password of a node's PKCS#12 file": CONSUMER}
    if database is not None:
        texts["password of the database"] = database.password
    for name in (stage.identity.name, "second.txt"):
        lines = stage.identity.with_name(name).read_text().splitlines()
        texts[f"identity in {name}"] = next(line for line in lines if line.startswith("AGE-SECRET-KEY-"))
    return {
        **{name: forms_of_key(pem) for name, pem in keys.items()},
        **{name: forms_of_text(text) for name, text in texts.items()},
    }


def _left_behind(person: Operator, temporary: Path) -> dict[str, bytes]:
    """Files of the operator, the store, temp folders of controller and node, each process's own logs."""
    stage = person.world.stage
    home = Path.home() / ".ansible"  # the SSH node's account is ours
    folders = (temporary, person.folder, stage.folder / "state", stage.folder / "keys", stage.logs, home)
    return files_in(folders)


def _was_worth_it(loud: _Loud, seen: Seen, places: dict[str, bytes]) -> None:
    """There was something to look at: Ansible debugged, processes seen, a killed run left files, no core files."""
    log = loud.log.read_text(errors="replace")
    assert "ESTABLISH SSH CONNECTION" in log
    assert "calling self._execute()" in loud.log.with_name("ansible.log.out").read_text(errors="replace")
    assert b"ansible" in seen.places["processes"]
    assert any("renewctl-run-" in place and not place.startswith("while") for place in places)
    assert seen.core_limits == {b"0 0"}
    assert any(place.endswith("kept.tar") for place in places)
    assert b"key_destroyed" in b"".join(
        content for place, content in places.items() if "pg_dump before" in place or "/lost state/" in place
    )
    assert any(b"audit" in content for place, content in places.items() if place.endswith("year.html"))


def _only_the_nodes_own_key_files_hold_one(node: Path, wanted: dict[str, set[bytes]]) -> None:
    """On an SSH node a key is where its server reads it, for its eyes only."""
    holding = {path for path, _ in leaks(files_in([node]), wanted)}
    assert holding
    assert {oct(Path(path).stat().st_mode & 0o777) for path in holding} == {"0o600"}
    names = {"push.key", "both.pem", "key.pem", "pair.pem"}
    assert {Path(path).name for path in holding} == names - {"push.key", "both.pem"}  # those are links now
