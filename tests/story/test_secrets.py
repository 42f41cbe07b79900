"""No key and no password shows anywhere while a whole renewal is done, nor stays anywhere after it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from renewctl.keys.unseal import open_key
from renewctl.sandbox.worlds import NODES, world
from renewctl.secrets import Kind, SecretRef
from tests.support.certs import pkcs1, rsa_key
from tests.support.cli import Done
from tests.support.leaks import Seen, files_in, forms_of_key, forms_of_text, leaks, watched
from tests.support.operator import Operator, operator
from tests.support.sandbox_parts import eventually
from tests.support.sshd import sshd

pytestmark = pytest.mark.slow

#: The CLI, with Ansible as talkative as it can be made, and all of it written to a file.
_LOUD = """
import sys
from renewctl import playbook_run
log, debug = sys.argv.pop(1), sys.argv.pop(1)
playbook_run._FIXED.update(ANSIBLE_DEBUG=debug, ANSIBLE_VERBOSITY="5", ANSIBLE_LOG_PATH=log)

def keep(tail):
    with open(log + ".out", "a") as out:
        for line in tail._stream:
            out.write(line)
            tail._lines.append(line.rstrip())

playbook_run._Tail._read = keep
from renewctl.cli.main import main
sys.exit(main())
"""
QUICK = ("--check-in-timeout", "5", "--canaries", "1")


def test_a_whole_renewal_shows_and_leaves_no_secret(tmp_path: Path) -> None:
    """Outputs, Ansible's debug log, arguments, environments, temp files (also of a killed roll-out), store, nodes.

    Three nodes through their API, one over SSH; keys, identity and passwords in every usual encoding.
    """
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with operator(replace(world("happy-year"), devices=3), tmp_path) as person, _ssh_node(person) as ssh:
        loud = _Loud(person, temporary, ssh)
        with watched(temporary, whose=str(temporary)) as seen:
            loud.whole_renewal()
            loud.killed_roll_out()
        places = {"output": loud.told.encode(), **seen.places, **_left_behind(person, temporary)}
        wanted = _secrets(person)
        assert leaks(places, wanted) == set()
        _was_worth_it(loud, seen, places)
        _only_the_nodes_own_key_files_hold_one(tmp_path / "node", wanted)


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

    def run(self, *words: str | Path, debug: bool = True) -> Done:
        """One command to its end."""
        process = self.start(*words, debug=debug)
        out, err = process.communicate(timeout=240)
        self.told += out + err
        return Done(process.returncode, out, err)

    def start(self, *words: str | Path, debug: bool) -> subprocess.Popen[str]:
        """One command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-c", _LOUD, str(self.log), str(int(debug)), *map(str, words)],
            cwd=self.person.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def whole_renewal(self) -> None:
        """From `init` to a roll-out and back."""
        stage, request = self.person.world.stage, self.person.request
        self.run("init", "--existing")
        self.run("adopt", "--certificate", stage.old_certificate, "--key", stage.old_key)
        self.run("renewal", "open")
        self.run("renewal", "request", "--out", request)
        self.run("keys", "check")
        accepted = self.run("renewal", "accept", self.person.world.person(request))
        assert accepted.code == 0, accepted
        # Debugging, Ansible keeps files on a node and shows what it sends there: refused, nothing is sent.
        refused = self.run("renewal", "roll-out", *QUICK, "--json")
        assert "ansible_keeps_files" in refused.out, refused
        without = self.run("renewal", "roll-out", "--leave-out", "branch=debug", *QUICK, "--json")
        assert "nodes_owed" in without.out, without
        for words in (("renewal", "roll-out", *QUICK), ("renewal", "roll-back", *QUICK)):
            done = self.run(*words, debug=False)
            assert done.code == 0, (done.out, done.err)
        self.run("renewal", "show")

    def killed_roll_out(self) -> None:
        """Once more, killed once the first node was given the pair: its temp files stay."""
        before = self.person.changes()
        process = self.start("renewal", "roll-out", *QUICK, debug=False)
        eventually(lambda: self.person.changes() != before or process.poll() is not None, seconds=120)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        self.told += out + err
        assert process.returncode == -signal.SIGKILL


@contextmanager
def _ssh_node(person: Operator) -> Iterator[dict[str, str]]:
    """A fourth node, whose pair arrives as files over SSH; what the controller's environment needs."""
    folder = person.folder.parent / "node"
    folder.mkdir()
    stage = person.world.stage
    for name, source in (("push.pem", stage.old_certificate), ("push.key", stage.old_key)):
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o600)
    with sshd(person.folder.parent / "sshd") as server:
        inventory = yaml.safe_load(person.world.inventory.read_text())
        paths = {"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")}
        install = {"paths": paths, "variables": dict(server.variables)}
        inventory["nodes"].append({"name": "branch", "product": "files", "install": install})
        person.world.inventory.write_text(yaml.safe_dump(inventory))
        yield server.environment


def _secrets(person: Operator) -> dict[str, set[bytes]]:
    """Every key, the identity, every node's password, the vendor's key."""
    stage = person.world.stage
    reference = SecretRef(Kind.FILE, (str(stage.identity),))
    sealed = sorted((stage.folder / "keys").glob("*.age"))
    keys = {f"key {path.stem[:8]}": open_key(path.read_bytes(), reference) for path in sealed}
    assert len(keys) == 2
    keys["vendor key"] = (stage.folder / "vendor" / "vendor.key").read_bytes()
    passwords = {f"password of {name}": stage.password_file(name).read_text().strip() for name in NODES}
    identity = next(
        line for line in stage.identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-")
    )
    return {
        **{name: forms_of_key(pem) for name, pem in keys.items()},
        **{name: forms_of_text(password) for name, password in passwords.items()},
        "identity": forms_of_text(identity),
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


def _only_the_nodes_own_key_files_hold_one(node: Path, wanted: dict[str, set[bytes]]) -> None:
    """On an SSH node a key is where its server reads it, for its eyes only."""
    holding = {path for path, _ in leaks(files_in([node]), wanted)}
    assert holding
    assert {oct(Path(path).stat().st_mode & 0o777) for path in holding} == {"0o600"}
    assert {Path(path).name for path in holding} <= {"push.key", "key.pem", "key"}


# The check can fail


KEY = pkcs1(rsa_key("planted"))
PASSWORD = "correct+horse/battery=staple%21"
PLANTS = {
    "pem": KEY,
    "a single line": KEY.splitlines()[14],
    "json": json.dumps({"key": KEY.decode()}).encode(),
    "url": quote(KEY.decode(), safe="").encode(),
    "base64 of pem": base64.b64encode(b"x" + KEY),
    "base64 without line ends": b"".join(KEY.splitlines()[1:-1]),
    "hex of pem": KEY.hex().encode(),
    "der": base64.b64decode(b"".join(KEY.splitlines()[1:-1])),
    "hex of der": base64.b64decode(b"".join(KEY.splitlines()[1:-1])).hex().encode(),
    "basic authentication": b"Basic " + base64.b64encode(f"nanomdm:{PASSWORD}".encode()),
    "password": f"password={PASSWORD}".encode(),
    "password in a url": f"https://nanomdm:{quote(PASSWORD, safe='')}@mdm".encode(),
    "password in hex": PASSWORD.encode().hex().encode(),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_leak_is_found(plant: bytes) -> None:
    """Whatever the encoding, between other bytes; and nothing is found where nothing is."""
    wanted = {"key": forms_of_key(KEY), "password": forms_of_text(PASSWORD)}
    assert len(leaks({"log": b"noise " * 50 + plant + b" noise"}, wanted)) == 1
    public = rsa_key("planted").public_key().public_numbers().n
    assert leaks({"log": b"noise " * 50 + public.to_bytes(256).hex().encode()}, wanted) == set()


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
