"""A file node as the controller sees it: what is sent, what is refused, what a broken answer becomes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_journal import HIGHEST_RUN
from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps
from ansible_collections.renewctl.mdm.plugins.plugin_utils.file_target import FileTarget, Said
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC, Settings
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import ApiTarget

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, RenewctlError
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.servers.registry import connect
from tests.support.certs import NOW, TOPIC, Issued, apple_like

TOKEN = "ab" * 16


class Remote:
    """The node at the other end; answers by step."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.code = 0
        self.complaint = ""
        self.seconds: list[float] = []
        self.after: dict[str, Any] | None = None
        self.steps: list[dict[str, Any]] = []
        self.files: list[dict[str, bytes]] = []
        self.commands: list[str] = []

    def python(self) -> str | None:
        """Nobody has named one."""
        return None

    def send(self, command: str, data: bytes, seconds: float) -> Said:
        """Take an order apart, as the program on the node does, and answer it."""
        self.commands.append(command)
        self.seconds.append(seconds)
        size, _, rest = data.partition(b"\n")
        line, _, files = rest[int(size) :].partition(b"\n")
        order = json.loads(line)
        self.steps.append(order)
        taken = {}
        for name, length in order.pop("files").items():
            taken[name], files = files[:length], files[length:]
        self.files.append(taken)
        answer = self.answers.get(order["op"], True)
        if isinstance(answer, str):
            return Said(self.code, answer, self.complaint)
        told = (
            answer
            if isinstance(answer, dict) and "reason" in answer
            else {"done": answer, "look": self.after}
        )
        return Said(self.code, f"Last login: today\nrenewctl-answer {json.dumps(told)}\n", self.complaint)


@pytest.fixture(scope="module")
def pair() -> Issued:
    """The new pair."""
    return apple_like().push(TOPIC, key="new")


def target(base: Path, remote: Remote, *, run: int = 1, **install: object) -> FileTarget:
    """A file node behind a remote."""
    paths = {"certificate": "/etc/my mdm/push.pem", "key": "/etc/my mdm/push.key"}
    arguments: dict[str, Any] = {name: spec.get("default") for name, spec in SPEC.items()}
    arguments |= {"state": "present", "base": str(base), "topic": TOPIC, "run": run, "token": TOKEN}
    arguments["node"] = {"product": "files", "install": {"paths": paths, **install}}
    settings = Settings.from_arguments(arguments, "f1", check=False)
    assert settings.node.name == "f1"
    assert settings.node.install is not None
    return FileTarget(connect(settings.node), settings.node.install, settings, remote)


def found_at(
    path: str,
    pem: str | None,
    *,
    there: bool = True,
    together: bool | None = True,
    refused: bool = False,
) -> dict[str, Any]:
    """What the module tells of one place."""
    told = {"path": path, "there": there, "certificate": pem, "together": together}
    return {**told, "refused": refused}


def look_of(*found: dict[str, Any], run: int = 0, phase: str = "committed") -> dict[str, Any]:
    """What the node tells of all its places."""
    return {"found": list(found), "run": run, "phase": phase}


def opened(pair: Issued) -> Pair:
    """As the product holds it."""
    return Pair(PushCertificate.from_pem(pair.pem), pair.key_pem)


def fault_of(step: Any) -> RenewctlError:
    """What a step raises."""
    with pytest.raises(RenewctlError) as caught:
        step()
    return caught.value


def test_the_key_goes_by_standard_input_alone(tmp_path: Path, pair: Issued) -> None:
    """One command takes everything; its own text is the same for every node and pair."""
    remote, other = Remote(), Remote()
    assert target(tmp_path, remote).install(opened(pair)) is True
    assert target(tmp_path, other, run=2).install(opened(apple_like().push(TOPIC, key="other"))) is True
    assert remote.files == [{"key.pem": pair.key_pem}]
    assert remote.commands == other.commands
    (step,) = remote.steps
    assert step["op"] == "switch"
    assert "PRIVATE" not in str(step)


def test_a_node_that_has_the_pair_says_so_itself(tmp_path: Path, pair: Issued) -> None:
    """The order finds out under the node's lock; before it only devices make asking worth while."""
    remote = Remote(switch=False)
    node = target(tmp_path, remote)
    assert node.has(PushCertificate.from_pem(pair.pem)) is False
    assert node.install(opened(pair)) is False
    assert [step["op"] for step in remote.steps] == ["switch"]


def test_what_a_step_read_back_is_not_asked_again(tmp_path: Path, pair: Issued) -> None:
    """The look that came with the switch is the first that follows it, and no other."""
    seen = look_of(found_at("/etc/my mdm/push.pem", pair.pem.decode()), run=1)
    remote = Remote(look={**seen, "run": 9})
    remote.after = seen
    node = target(tmp_path, remote)
    node.install(opened(pair))
    assert [found.serial for found in node.server.observe(NOW).certificates] == [pair.serial]
    assert [step["op"] for step in remote.steps] == ["switch"]
    assert node.run() == 9


def test_a_previous_pair_that_is_gone_from_the_node_is_sent(tmp_path: Path, pair: Issued) -> None:
    """Back from the node's own release where it has one; otherwise from our key store."""
    (tmp_path / "old.pem").write_bytes(pair.pem)
    (tmp_path / "old.key").write_bytes(pair.key_pem)
    named = {"certificate": "old.pem", "key": {"file": "old.key"}}
    previous = PairReference.from_mapping(named, tmp_path)
    assert previous is not None
    kept, gone = Remote(revert=True), Remote(revert=None)
    target(tmp_path, kept).restore(previous)
    assert [step["op"] for step in kept.steps] == ["revert"]
    assert kept.files == [{}]
    target(tmp_path, gone).restore(previous)
    assert [step["op"] for step in gone.steps] == ["revert", "switch"]


def test_what_a_node_refuses(tmp_path: Path, pair: Issued) -> None:
    """The node's own reason is passed on; a program that broke is a reason of its own, without its text."""
    told = {"reason": "node_locked", "values": {"path": "/x"}}
    fault = fault_of(lambda: target(tmp_path, Remote(look=told)).run())
    assert (fault.reason, fault.values) == (Reason.NODE_LOCKED, {"node": "f1", "path": "/x"})
    for broken, code in [("Traceback: secret", 1), ("renewctl-answer {", 0), ("renewctl-answer []", 0)]:
        remote = Remote(look=broken)
        remote.code = code
        fault = fault_of(target(tmp_path, remote).run)
        assert (fault.reason, fault.values) == (
            Reason.NODE_STEP_FAILED,
            {"node": "f1", "got": f"look, exit {code}"},
        )


@pytest.fixture
def reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program the controller allows to reload with."""
    program = "/usr/bin/reload-mdm"
    (tmp_path / "allowed").write_text(f"{program}\n")
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
    return program


def test_what_is_told_of_a_step_that_never_answered(tmp_path: Path, pair: Issued, reload: str) -> None:
    """The words of sudo or a shell; of a Python error its type alone; nothing where a key was sent along."""
    broken = Remote(look="", fence="", switch="")
    broken.code = 1
    node = target(tmp_path, broken, reload=[reload])
    for complaint, told in (
        (
            "Welcome\nsudo: unknown user: \x1b[1mnosuch\nsudo: audit\n",
            ": sudo: unknown user: [1mnosuch; sudo: audit",
        ),
        ("Traceback (most recent call last):\n  ...\nValueError: MIIEvQIBADAN\n", ": ValueError"),
        ("", ""),
    ):
        broken.complaint = complaint
        assert fault_of(node.run).values["got"] == f"look, exit 1{told}"
        assert fault_of(lambda: node.fence(check=False)).values["got"] == f"fence, exit 1{told}"
    broken.complaint = "sh: 5: MIIEvQIBADAN: not found"
    assert fault_of(lambda: node.install(opened(pair))).values["got"] == "switch, exit 1"


def test_a_step_may_take_as_long_as_the_node_needs(tmp_path: Path, pair: Issued, reload: str) -> None:
    """One before it may hold the lock, ours may reload and, where it goes back, reload again."""
    remote = Remote(look=look_of(found_at("/etc/my mdm/push.pem", pair.pem.decode())), switch=True)
    node = target(tmp_path, remote, reload=[reload])
    node.run()
    node.install(opened(pair))
    assert remote.seconds == [30.0, 150.0]


def test_without_a_run_nothing_is_changed(tmp_path: Path, pair: Issued) -> None:
    """A step outside a run is refused on the controller already."""
    remote = Remote()
    fault = fault_of(lambda: target(tmp_path, remote, run=0).install(opened(pair)))
    assert fault.reason is Reason.RUN_NOT_FENCED
    assert remote.steps == []


def test_a_run_that_is_no_number_of_a_run(tmp_path: Path) -> None:
    """A date, say: refused before anything is sent, with the highest there can be."""
    assert target(tmp_path, Remote(), run=HIGHEST_RUN)
    fault = fault_of(lambda: target(tmp_path, Remote(), run=202_611_301_200))
    assert fault.reason is Reason.RUN_TOO_HIGH
    assert (fault.values["node"], fault.values["expected"]) == ("f1", HIGHEST_RUN)


@pytest.mark.parametrize("listed", [None, "/bin/other\n", "reload-mdm\n"])
def test_reload_programs_must_be_listed_here(
    tmp_path: Path, pair: Issued, monkeypatch: pytest.MonkeyPatch, listed: str | None
) -> None:
    """No list, another program, or a name without a path: refused by fence and dry run, and before the key leaves."""
    if listed is not None:
        (tmp_path / "allowed").write_text(listed)
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
    program = "reload-mdm" if listed == "reload-mdm\n" else "/usr/bin/reload-mdm"
    remote = Remote()
    node = target(tmp_path, remote, reload=[program])
    for step in (lambda: node.install(opened(pair)), node.require_ready, lambda: node.fence(check=False)):
        assert fault_of(step).reason is Reason.RELOAD_NOT_ALLOWED
    assert remote.steps == []


def test_fence_and_look(tmp_path: Path, pair: Issued) -> None:
    """The run is taken and told; what the file says is part of the observation."""
    look = look_of(found_at("/etc/my mdm/push.pem", pair.pem.decode()), run=4)
    remote = Remote(look=look, fence=False, carries=False)
    node = target(tmp_path, remote)
    assert node.fence(check=False) == (False, {"run": 1, "undone": False})
    assert node.fence(check=True) == (True, {})
    assert node.run() == 4
    seen = node.server.observe(NOW)
    assert [found.serial for found in seen.certificates] == [pair.serial]
    assert (seen.answered, seen.failures) == ((Source.FILE,), ())
    assert node.server.canaries(TOPIC, 1) == ()


def test_what_a_fence_undid_is_told_with_what_is_read_since(
    tmp_path: Path, pair: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The serial of all places that can be seen; a dash where they differ or hold no certificate."""
    (tmp_path / "allowed").write_text("/bin/a\n/bin/c\n")
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
    good = found_at("/etc/a/push.pem", pair.pem.decode())
    other = found_at("/etc/b/push.pem", apple_like().push(TOPIC, key="other").pem.decode())
    for found, serial in [
        ((good, good, found_at("/etc/c/push.p12", None)), pair.serial),
        ((good, other, good), "-"),
        ((good, found_at("/etc/b/push.pem", "no certificate"), good), "-"),
    ]:
        remote = Remote(fence=True)
        remote.after = look_of(*found)
        node = many(tmp_path, remote)
        assert node.fence(check=False) == (True, {"run": 1, "undone": True, "node": "f1", "serial": serial})
        assert [step["op"] for step in remote.steps] == ["fence"]


def test_a_fence_after_which_the_places_differ_says_that_the_step_is_still_cut_off(
    tmp_path: Path, pair: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair from before is not back, though what could be undone was: no serial is told."""
    (tmp_path / "allowed").write_text("/bin/a\n/bin/c\n")
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
    good = found_at("/etc/a/push.pem", pair.pem.decode())
    remote = Remote(fence=True)
    remote.after = look_of(good, good, good, phase="switching")
    node = many(tmp_path, remote)
    told = steps.fenced(node, node._settings)
    said = told["renewctl"]
    assert (said["outcome"], said["changed"], told["failed"]) == ("fenced", True, False)
    assert (said["reason"], said["values"]["path"]) == ("node_step_unfinished", "/etc/a/push.pem")
    assert (said["values"]["undone"], "serial" in said["values"]) == (False, False)
    assert "f1: its last step was cut off" in told["msg"]


def test_an_api_node_takes_either_pair(tmp_path: Path, pair: Issued) -> None:
    """Installing and restoring are the same request with another pair."""
    (tmp_path / "old.pem").write_bytes(pair.pem)
    (tmp_path / "old.key").write_bytes(pair.key_pem)
    reference = PairReference.from_mapping({"certificate": "old.pem", "key": {"file": "old.key"}}, tmp_path)
    assert reference is not None
    got: list[Pair] = []
    server: Any = SimpleNamespace(install=got.append)
    node = ApiTarget(server)
    node.install(opened(pair))
    node.restore(reference)
    assert [one.key for one in got] == [pair.key_pem] * 2
    assert node.run() == 0


def test_an_api_node_must_let_us_in_before_anything_begins() -> None:
    """A wrong password is found at the fence, not at the first install; under check nobody asks."""

    def refuse() -> None:
        raise NodeFault(Reason.NODE_DENIED, node="n1", got="401")

    server: Any = SimpleNamespace(require_access=refuse)
    assert fault_of(lambda: ApiTarget(server).fence(check=False)).reason is Reason.NODE_DENIED
    assert ApiTarget(server).fence(check=True) == (False, {})


def many(base: Path, remote: Remote, password: str = "a password") -> FileTarget:
    """A node with three consumers, each with its reload."""
    (base / "password").write_text(password)
    paths = [
        {"certificate": "/etc/a/push.pem", "key": "/etc/a/push.key", "reload": ["/bin/a"]},
        {"pem": "/etc/b/push.pem"},
        {"pkcs12": "/etc/c/push.p12", "password": {"file": "password"}, "reload": ["/bin/c", "now"]},
    ]
    return target(base, remote, paths=paths, reload=["/bin/a"])


def test_a_pkcs12_file_is_made_here_and_neither_key_nor_password_is_shown(
    tmp_path: Path, pair: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none was there: AES-256, under the inventory's password, and the node is not told that one."""
    (tmp_path / "allowed").write_text("/bin/a\n/bin/c\n")
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(tmp_path / "allowed"))
    remote = Remote(bundles=[None, None, None])
    many(tmp_path, remote).install(opened(pair))
    assert [step["op"] for step in remote.steps] == ["bundles", "switch"]
    assert set(remote.files[-1]) == {"key.pem", "2.p12"}
    bundle = remote.files[-1]["2.p12"]
    step = remote.steps[-1]
    assert step["places"][2] == {"pkcs12": "/etc/c/push.p12"}
    assert step["reloads"] == [["/bin/a"], ["/bin/c", "now"]]
    assert "a password" not in str([remote.steps, remote.files])
    (tmp_path / "push.p12").write_bytes(bundle)
    openssl = ["openssl", "pkcs12", "-in", str(tmp_path / "push.p12"), "-passin", "stdin", "-nodes", "-info"]
    done = subprocess.run(openssl, input=b"a password", capture_output=True, check=True)
    assert pair.pem.splitlines()[1] in done.stdout
    assert "AES-256-CBC" in done.stderr.decode()
    key_out = [line for line in done.stdout.split(b"-----") if b"PRIVATE KEY" in line]
    assert key_out
    wrong = subprocess.run(openssl, input=b"another", capture_output=True, check=False)
    assert wrong.returncode != 0
