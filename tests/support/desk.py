"""An operator's desk without a world: the real CLI in this process, a real store, playbooks that only pretend.

Three nodes whose ports are closed; n2 and n3 share a storage. The portal and the vendor are look-alikes made
by `certs`, which shares no code with the product.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from cryptography import x509
from psycopg.sql import SQL, Identifier

from renewctl.apns import PairCheck
from renewctl.certificate.pushcert import Pair
from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.errors import Attention
from renewctl.renewal.events import Event
from renewctl.store.lease import Timing
from renewctl.store.write import Stamp, Store
from tests.support.certs import NOW, OTHER_TOPIC, TOPIC, Issued, apple_like, pkcs1, rsa_key
from tests.support.cli import Done, validate
from tests.support.identities import Identity
from tests.support.pretended_playbooks import Playbooks
from tests.support.scripted_nanomdm import new_store

APPLE = apple_like()
OLD_ENDS = NOW + timedelta(days=42)
OLD = APPLE.push(not_after=OLD_ENDS, key="old")
VENDOR = APPLE.vendor()
NODES = ("n1", "n2", "n3")
QUICK_RUNS = Timing(beat=0.05, lost=20.0, patience=0.4, look=0.02)

_TAKE_OVERS = 500


@dataclass(frozen=True)
class PublicHalf:
    """All that a certificate request tells of its key."""

    csr: x509.CertificateSigningRequest

    def public_key(self) -> Any:
        """As a private key would tell it."""
        return self.csr.public_key()


@dataclass
class Desk:
    """Somebody at work.

    Attributes:
        store: the store's URL, absolute.
        shown: serials of the pairs a command itself has shown to the push service.
        push_service: what that says of a pair.
        slept: seconds a killed playbook was waited out; no time goes by.
        meanwhile: called instead of that.
    """

    folder: Path
    store: str
    capsys: pytest.CaptureFixture[str]
    playbooks: Playbooks = field(default_factory=Playbooks)
    shown: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    meanwhile: Callable[[], None] = field(default=lambda: None)
    push_service: PairCheck = field(default_factory=lambda: PairCheck(accepted=True))

    @property
    def inventory(self) -> dict[str, Any]:
        """The inventory file, as it is now."""
        read: dict[str, Any] = yaml.safe_load((self.folder / "renewctl.yaml").read_text())
        return read

    def sleep(self, seconds: float) -> None:
        """Stands where a killed playbook is waited out."""
        self.slept.append(seconds)
        self.meanwhile()

    def check(self, pair: Pair) -> PairCheck:
        """Stands where `PushService.check` is."""
        self.shown.append(pair.certificate.serial)
        return self.push_service

    def rewrite(self, **changes: Any) -> None:
        """Replace top-level keys of the inventory; None takes one away."""
        whole = {key: value for key, value in (self.inventory | changes).items() if value is not None}
        (self.folder / "renewctl.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))

    def run(self, *words: str | Path) -> Done:
        """One command as typed, in this process."""
        self.capsys.readouterr()
        code = shell.main([str(word) for word in words])
        shown = self.capsys.readouterr()
        assert "Traceback" not in shown.err, shown.err
        return Done(code, shown.out, shown.err)

    def told(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """One command's JSON, valid by its schema; its exit code must be `code`."""
        done = self.run(*words, "--json")
        assert done.code == code, done
        assert done.err == ""
        document: dict[str, Any] = done.document
        validate("error" if "error" in document else str(words[0]), document)
        return document

    def refusal(self, *words: str | Path, code: int) -> str:
        """The reason a command ended with; nothing was written down but perhaps that it was refused."""
        return str(self.told(*words, code=code)["error"]["reason"])

    def second_topic(self) -> str:
        """Another topic in the inventory; its UID."""
        own = self.inventory["topics"][0]
        self.rewrite(topics=[own, own | {"id": "osaka", "topic": OTHER_TOPIC, "name": "Osaka"}])
        return OTHER_TOPIC

    def file(self, name: str, content: bytes) -> Path:
        """A file in the operator's folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def adopt(self, *words: str, pair: Issued = OLD) -> dict[str, Any]:
        """Take over a pair, key and all unless `words` say otherwise."""
        certificate = self.file("old.pem", pair.pem)
        key = () if words else ("--key", self.file("old.key", pair.key_pem))
        return self.told("adopt", "--certificate", certificate, *key, *words)

    def to_request(self, *words: str) -> None:
        """Adopted, open, requested."""
        self.adopt(*words)
        self.told("renewal", "open")
        self.told("renewal", "request", code=3)

    def to_accepted(self, *words: str) -> str:
        """And what came back was accepted; its serial."""
        self.to_request(*words)
        serial = self.told("renewal", "accept", self.downloaded())["renewal"]["serial"]
        return str(serial)

    def to_proven(self) -> None:
        """And every node has it, proven."""
        self.to_accepted()
        assert self.told("renewal", "roll-out")["renewal"]["phase"] == "proven"

    def issued(self, topic: str | None = TOPIC, **choices: Any) -> Issued:
        """What the portal makes of the CSR in this folder."""
        csr = x509.load_pem_x509_csr(max(self.folder.glob("tokyo-*.csr")).read_bytes())
        return APPLE.push(topic, **{"key": PublicHalf(csr), **choices})

    def downloaded(self, name: str = "MDM_ Example_Certificate.pem", **choices: Any) -> Path:
        """What the person brings back from the portal."""
        return self.file(name, self.issued(**choices).pem)

    def downloaded_from_nowhere(self) -> Path:
        """A push certificate of this topic whose key nobody here made."""
        return self.file("nowhere.pem", APPLE.push(key="nowhere").pem)

    def take_over(self, stamp: Stamp) -> None:
        """Somebody takes the run from the living holder in this process, ends it, and the holder has noticed.

        A beat between the look and the taking lawfully wins: then it is tried again.
        """
        with Store(self.store, timing=replace(QUICK_RUNS, patience=-1.0)) as store:
            for attempt in range(_TAKE_OVERS, -1, -1):
                try:
                    store.end_run(store.begin_run("tokyo-1", stamp))
                    break
                except Attention:
                    assert attempt, "the holder's beats win for ever"
        for thread in threading.enumerate():
            if thread.name == "lease":
                thread.join(60)
                assert not thread.is_alive(), "the holder never noticed"

    def renewal(self, *words: str) -> dict[str, Any]:
        """The renewal as `show` tells it."""
        shown: dict[str, Any] = self.told("renewal", "show", *words)["renewal"]
        return shown

    def events(self, name: str = "tokyo-1") -> list[Event]:
        """What the store holds of a renewal."""
        with Store(self.store) as store:
            return store.renewals().get(name, [])

    def kinds(self, name: str = "tokyo-1") -> list[str]:
        """The events' kinds, in order."""
        return [event.kind.value for event in self.events(name)]

    def keys(self) -> set[str]:
        """Names of the sealed keys."""
        return {path.stem for path in (self.folder / "keys").glob("*.age")}

    def lose_keys(self) -> None:
        """Every sealed key goes away, wherever they are."""
        for path in (self.folder / "keys").glob("*.age"):
            path.unlink()
        if self.store.startswith("postgresql"):
            with psycopg.connect(self.store, autocommit=True) as connection:
                connection.execute("DELETE FROM keys")

    def lose_disk(self) -> None:
        """Store and keys are gone."""
        if self.store.startswith("sqlite"):
            shutil.rmtree(self.folder / "state")
            shutil.rmtree(self.folder / "keys", ignore_errors=True)
            return
        with psycopg.connect(self.store, autocommit=True) as connection:
            for table in ("events", "documents", "runs", "keys", "meta"):
                connection.execute(SQL("DROP TABLE {}").format(Identifier(table)))

    def hold_files(self, *names: str) -> None:
        """These nodes hold their pair in files on another host."""
        paths = {"certificate": "/srv/push.pem", "key": "/srv/push.key"}
        install = {"paths": paths, "host": "n1.example"}
        self.rewrite(
            nodes=[{**n, "install": install} if n["name"] in names else n for n in self.inventory["nodes"]]
        )

    def enroll_of_topic(self, devices: int) -> None:
        """The inventory's own topic."""
        self.enroll(TOPIC, devices)

    def enroll(self, topic: str, devices: int = 2) -> None:
        """Give n1 a device database in which this many devices use a topic."""
        path = self.folder / "mdm.db"
        path.unlink(missing_ok=True)
        new_store(path, topic, OLD.pem, devices)
        nodes = self.inventory["nodes"]
        nodes[0]["devices"] = {"sql": f"sqlite:///{path}"}
        self.rewrite(nodes=nodes)

    @contextmanager
    def terminal(self, *answers: str) -> Iterator[None]:
        """A person sits at a terminal and types these."""
        with pytest.MonkeyPatch.context() as patch:
            told = iter(answers)
            patch.setattr("sys.stdin.isatty", lambda: True, raising=False)
            patch.setattr("click.prompt", lambda *_words, **_options: next(told))
            yield


def desk_in(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    patch: pytest.MonkeyPatch,
    postgresql: str | None = None,
) -> Desk:
    """An inventory, its store and its key store, and a clock that stands at `NOW`.

    Args:
        folder: of the operator; the working folder from here on.
        capsys: what the commands print.
        patch: ends with the test.
        postgresql: URL of an empty database for store and keys; None: SQLite and a folder.
    """
    patch.setattr(Session.__init__, "__defaults__", (None, None, False, lambda: NOW))
    patch.setattr(Store.__init__, "__kwdefaults__", {**Store.__init__.__kwdefaults__, "timing": QUICK_RUNS})
    patch.setenv("LC_ALL", "C")
    patch.setenv("HOME", str(folder / "home"))
    patch.delenv("RENEWCTL_INVENTORY", raising=False)
    patch.chdir(folder)
    numbers = count(1)  # making keys is tested elsewhere, and takes a tenth of a second each
    patch.setattr("renewctl.certificate.request.make_key", lambda: pkcs1(rsa_key(f"made {next(numbers)}")))
    desk = Desk(folder, postgresql or f"sqlite:///{folder}/state/renewctl.db", capsys)
    patch.setattr("renewctl.playbook_run.run", desk.playbooks.run)
    patch.setattr("renewctl.workflow.engine.sleep", desk.sleep)
    patch.setattr("renewctl.apns.PushService.check", lambda _service, pair: desk.check(pair))
    identity = Identity(folder, "age")
    for name, content in (("vendor.pem", VENDOR.pem), ("vendor.key", VENDOR.key_pem), ("pw", b"secret")):
        desk.file(name, content).chmod(0o600)
    desk.file("wwdr.pem", APPLE.wwdr.pem)
    desk.file("root.pem", APPLE.root.pem)
    keys: dict[str, Any] = {"recipients": [identity.recipient], "identity": {"file": str(identity.file)}}
    if postgresql is None:
        keys["folder"] = "keys"
    else:
        desk.file("store.url", postgresql.encode())
    document = {
        "version": 1,
        "store": "sqlite:///state/renewctl.db" if postgresql is None else {"file": "store.url"},
        "keys": keys,
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
        "nodes": [_node(name, storage) for name, storage in zip(NODES, ("a", "b", "b"), strict=True)],
    }
    (folder / "renewctl.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    desk.told("init", "--existing")
    return desk


def _node(name: str, storage: str) -> dict[str, Any]:
    """A node at a port nobody listens on."""
    return {
        "name": name,
        "product": "nanomdm",
        "url": "http://127.0.0.1:1",
        "password": {"file": "pw"},
        "storage": storage,
    }
