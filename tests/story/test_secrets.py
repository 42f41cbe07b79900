"""No key and no password shows anywhere while a whole renewal is done, nor stays anywhere after it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
from tests.support.certs import pkcs1, rsa_key
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
from renewctl import playbook_run
log = sys.argv.pop(1)
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
QUICK = ("--check-in-timeout", "5", "--canaries", "1")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_whole_renewal_shows_and_leaves_no_secret(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Outputs, Ansible's debug log, arguments, environments, temp files (also of a killed roll-out), store, nodes.

    Three nodes through their API, one over SSH with every layout; keys, identity and passwords (also of the
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
        places = {"output": loud.told.encode(), **seen.places, **_left_behind(person, temporary)}
        wanted = _secrets(person, database)
        if database is not None:
            places |= _database_shows(database)
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


def _database_shows(database: Database) -> dict[str, bytes]:
    """The whole store as its dump, and the server's log."""
    cluster = database.cluster
    command = ["pg_dump", "-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres", database.name]
    dump = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"roll_out_started" in dump
    assert b"COPY public.keys" in dump
    return {"pg_dump": dump, "log of the database": (cluster.folder / "log").read_bytes()}


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

    def run(self, *words: str | Path) -> Done:
        """One command to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=240)
        self.told += out + err
        return Done(process.returncode, out, err)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """One command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-c", _LOUD, str(self.log), *map(str, words)],
            cwd=self.person.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def well(self, *words: str | Path) -> None:
        """One command that does what it is asked."""
        done = self.run(*words)
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
        inventory["keys"]["recipients"].append(recipient)
        self.person.world.inventory.write_text(yaml.safe_dump(inventory))
        self.well("keys", "rekey")
        self.well("keys", "check")
        self.well("backup", "kept.tar")
        self.well("audit", "report", "--year", str(now().year), "--out", "year.html")
        for words in (("log", "--format", "csv"), ("log", "--json"), ("verify",)):
            self.well("audit", *words)
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
    assert len(keys) == 2
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
    assert any(b"audit" in content for place, content in places.items() if place.endswith("year.html"))


def _only_the_nodes_own_key_files_hold_one(node: Path, wanted: dict[str, set[bytes]]) -> None:
    """On an SSH node a key is where its server reads it, for its eyes only."""
    holding = {path for path, _ in leaks(files_in([node]), wanted)}
    assert holding
    assert {oct(Path(path).stat().st_mode & 0o777) for path in holding} == {"0o600"}
    names = {"push.key", "both.pem", "key.pem", "pair.pem"}
    assert {Path(path).name for path in holding} == names - {"push.key", "both.pem"}  # those are links now


# The check can fail


KEY = pkcs1(rsa_key("planted"))
DER = base64.b64decode(b"".join(KEY.splitlines()[1:-1]))
PASSWORD = "correct+horse/battery=staple%21"
OTHER = 'it\'s \\a "passwört"'


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise", b"noise " * 50)
        archive.writestr("module.py", content)
    return packed.getvalue()


def _openssl(content: bytes) -> bytes:
    """Colons and folded lines, as `openssl rsa -text` prints a number."""
    text = content.hex(":")
    return b"".join(b"    %s\n" % text[start : start + 45].encode() for start in range(0, len(text), 45))


#: How bytes are shown or packed, between other bytes.
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "hex": lambda raw: raw.hex().encode(),
    "upper-case hex": lambda raw: raw.hex().upper().encode(),
    "hex with colons": lambda raw: raw.hex(":").encode(),
    "upper-case hex with colons": lambda raw: raw.hex(":").upper().encode(),
    "hex as openssl folds it": _openssl,
    "Python's repr": lambda raw: repr(raw).encode(),
    "UTF-16, little end first": lambda raw: raw.decode("latin-1").encode("utf-16-le"),
    "UTF-16, big end first": lambda raw: raw.decode("latin-1").encode("utf-16-be"),
    "url": lambda raw: quote(raw, safe="").encode(),
    "base64": base64.b64encode,
    "base64, one byte on": lambda raw: base64.b64encode(b"x" + raw),
    "base64, two bytes on": lambda raw: base64.b64encode(b"xy" + raw),
    "base64 for urls": lambda raw: base64.urlsafe_b64encode(b"x" + raw),
    "base64 in lines": lambda raw: base64.encodebytes(b"x" + raw),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zip": _zip,
    "zip in base64, as Ansible sends modules": lambda raw: base64.b64encode(_zip(raw)),
    "gzip in base64, in lines": lambda raw: base64.encodebytes(gzip.compress(raw)),
    "gzip in base64": lambda raw: base64.b64encode(gzip.compress(raw)),
    "hex in gzip": lambda raw: gzip.compress(raw.hex().encode()),
    "gzip in gzip": lambda raw: gzip.compress(gzip.compress(raw)),
}
WHAT = {"pem": KEY, "der": DER, "password": PASSWORD.encode(), "other password": OTHER.encode()}
PLANTS = {
    **{f"{what}: {way}": shown(raw) for what, raw in WHAT.items() for way, shown in WAYS.items()},
    "a single line": KEY.splitlines()[14],
    "json": json.dumps({"key": KEY.decode()}).encode(),
    "base64 without line ends": b"".join(KEY.splitlines()[1:-1]),
    "basic authentication": b"Basic " + base64.b64encode(f"nanomdm:{PASSWORD}".encode()),
    "password in a url": f"https://nanomdm:{quote(PASSWORD, safe='')}@mdm".encode(),
}


WANTED = {
    "key": forms_of_key(KEY),
    "password": forms_of_text(PASSWORD),
    "other password": forms_of_text(OTHER),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_leak_is_found(plant: bytes) -> None:
    """Whatever the encoding, between other bytes; and nothing is found where nothing is."""
    assert len(leaks({"log": b"noise " * 50 + plant + b" noise"}, WANTED)) == 1
    public = rsa_key("planted").public_key().public_numbers().n
    assert leaks({"log": b"noise " * 50 + public.to_bytes(256).hex().encode()}, WANTED) == set()


def test_a_leak_in_a_running_process_or_a_passing_file_is_found(tmp_path: Path) -> None:
    """Argument, environment, and a temp file that is gone at the end."""
    wanted = {"password": forms_of_text(PASSWORD)}
    code = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(sys.stdin.readline()); sys.stdin.read()"
    for argument, environment, text in ((PASSWORD, "", ""), ("", PASSWORD, ""), ("", "", PASSWORD)):
        with watched(tmp_path) as seen:
            command = [sys.executable, "-c", code, str(tmp_path / "passing"), argument]
            with subprocess.Popen(command, stdin=subprocess.PIPE, env={"SECRET": environment}) as child:
                assert child.stdin is not None
                child.stdin.write(f"{text}\n".encode())
                child.stdin.flush()
                eventually(lambda s=seen: leaks(s.places, wanted) != set(), seconds=60)  # type: ignore[misc]
                child.stdin.close()
        (tmp_path / "passing").unlink()
