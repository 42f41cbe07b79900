"""No key and no password shows anywhere while a whole renewal is done, nor stays anywhere after it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from renewctl.sandbox.worlds import NODES, world
from renewctl.secrets import Kind, SecretRef
from renewctl.unseal import open_key
from tests.support.operator import Operator, operator

pytestmark = pytest.mark.slow

_LONG_ENOUGH = 24


def test_a_whole_renewal_shows_and_leaves_no_secret(tmp_path: Path) -> None:
    """Outputs, arguments, environments, store, temp folders, Ansible's own folders: searched in every encoding."""
    home, temporary = tmp_path / "work" / "home", tmp_path / "tmp"
    temporary.mkdir()
    with operator(replace(world("happy-year"), devices=3), tmp_path) as person, _sampled() as seen:
        told = _whole_renewal(person, {"TMPDIR": str(temporary), "RENEWCTL_DEBUG": "1", "ANSIBLE_DEBUG": "1"})
        wanted = _secrets(person)
        places = {"output": told.encode(), "processes": b"\0".join(seen)}
        for folder in (home, temporary, person.folder, person.world.inventory.parent / "state"):
            places |= {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert len(wanted) > 10
        assert places["processes"].count(b"ansible") > 0
        assert {
            (name, secret[:8]) for name, text in places.items() for secret in wanted if secret in text
        } == set()


def _whole_renewal(person: Operator, environment: dict[str, str]) -> str:
    stage = person.world.stage
    told = ""
    steps: list[tuple[str | Path, ...]] = [
        ("init", "--existing"),
        ("adopt", "--certificate", stage.old_certificate, "--key", stage.old_key),
        ("renewal", "open"),
        ("renewal", "request", "--out", person.request),
    ]
    for words in steps:
        done = person.run(*words, more=environment)
        told += done.out + done.err
    downloaded = person.world.person(person.request)
    for words in (("renewal", "accept", downloaded), ("renewal", "roll-out"), ("renewal", "roll-back")):
        done = person.run(*words, "--json", more=environment)
        assert done.code == 0, done.out
        told += done.out + done.err
    return told + person.run("renewal", "show", "--json").out


def _secrets(person: Operator) -> set[bytes]:
    """Keys (line by line, whole, base64, hex), the identity, the nodes' passwords."""
    stage = person.world.stage
    keys = [stage.old_key.read_bytes()]
    reference = SecretRef(Kind.FILE, (str(stage.identity),))
    keys += [open_key(path.read_bytes(), reference) for path in (stage.folder / "keys").glob("*.age")]
    assert len(keys) == 3
    wanted = {stage.identity.read_bytes().split(b"AGE-SECRET-KEY-")[1].strip()}
    wanted |= {stage.password_file(name).read_bytes().strip() for name in NODES}
    for key in keys:
        wanted |= {line for line in key.splitlines() if len(line) > _LONG_ENOUGH and b"-----" not in line}
        wanted |= {base64.b64encode(key)[:64], key.hex()[:64].encode()}
    return wanted


@contextmanager
def _sampled() -> Iterator[set[bytes]]:
    """Arguments and environments of every process that comes and goes, as fast as one thread can look."""
    seen: set[bytes] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        seen.add((process / name).read_bytes())
                    except OSError:
                        continue
            time.sleep(0.02)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
