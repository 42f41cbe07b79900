"""The thin outer layers: the module's own main, and what an action plugin does with foreign errors."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.renewctl.mdm.plugins.action import apns_check, node
from ansible_collections.renewctl.mdm.plugins.module_utils import node_step
from ansible_collections.renewctl.mdm.plugins.plugin_utils import node_program, worker

from tests.support.certs import TOPIC, apple_like

TOKEN = "ab" * 16


def call(interpreter: str | None = sys.executable, cut: int = 0, **order: object) -> dict[str, Any] | None:
    """The program of a node, run by a shell as over a connection; its answer."""
    files = order.pop("files", {})
    assert isinstance(files, dict)
    message = node_program.message({"reloads": [], "run": 0, "token": "", **order}, files)
    done = subprocess.run(
        ["/bin/sh", "-c", node_program.command(interpreter)],
        input=message[: len(message) - cut],
        capture_output=True,
        check=False,
    )
    assert done.returncode == (1 if cut else 0), done.stderr
    return node_program.answer(done.stdout.decode())


@pytest.mark.parametrize("interpreter", [sys.executable, None])
def test_the_program_of_a_node_step_by_step(tmp_path: Path, interpreter: str | None) -> None:
    """Every step by its name, as the controller sends it; a step that changes something tells what is read then."""
    old, new = apple_like().push(TOPIC), apple_like().push(TOPIC, key="new")
    certificate, key = tmp_path / "push.pem", tmp_path / "push.key"
    certificate.write_bytes(old.pem)
    key.write_bytes(old.key_pem)
    run: dict[str, Any] = {
        "places": [{"certificate": str(certificate), "key": str(key)}],
        "run": 1,
        "token": TOKEN,
    }
    seen = call(interpreter, op="look", **run)
    assert seen is not None
    assert seen["done"]["found"][0]["certificate"] == old.pem.decode()
    assert call(interpreter, op="fence", **run) == {"done": False, "look": None}
    assert call(interpreter, op="carries", **run) == {"done": True, "look": None}
    switch = {**run, "op": "switch", "certificate": new.pem.decode(), "files": {"key.pem": new.key_pem}}
    told = call(interpreter, **switch)
    assert told is not None
    assert (told["done"], told["look"]["found"][0]["certificate"]) == (True, new.pem.decode())
    assert (certificate.read_bytes(), key.read_bytes()) == (new.pem, new.key_pem)
    back = call(interpreter, op="revert", **run, fingerprint=hashlib.sha256(old.der).hexdigest())
    assert back is not None
    assert (back["done"], key.read_bytes()) == (True, old.key_pem)
    assert call(interpreter, op="switch", **{**run, "run": 2}, certificate="", files={"key.pem": b""}) == {
        "reason": "run_not_fenced",
        "values": {"got": 2, "expected": 1},
    }


def test_an_order_that_was_cut_short_is_not_carried_out(tmp_path: Path) -> None:
    """Its sender died while it was sent: half a key must not be used, nor half an order."""
    old, new = apple_like().push(TOPIC), apple_like().push(TOPIC, key="new")
    (tmp_path / "push.pem").write_bytes(old.pem)
    (tmp_path / "push.key").write_bytes(old.key_pem)
    places = [{"certificate": str(tmp_path / "push.pem"), "key": str(tmp_path / "push.key")}]
    run: dict[str, Any] = {"places": places, "run": 1, "token": TOKEN}
    call(op="fence", **run)
    switch = {**run, "op": "switch", "certificate": new.pem.decode(), "files": {"key.pem": new.key_pem}}
    for cut in (1, len(new.key_pem), len(new.key_pem) + 2, len(new.key_pem) + 500):
        assert call(cut=cut, **switch) is None
    assert (tmp_path / "push.key").read_bytes() == old.key_pem


def test_the_node_names_errors_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a reason with its short name."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_step, "_done", full)
    order = {"op": "fence", "places": [{"pem": str(tmp_path / "a")}], "reloads": [], "run": 1, "token": TOKEN}
    told = node_step.answered(order, {})
    assert told == {
        "reason": "node_write_failed",
        "values": {"path": str(tmp_path / "a"), "got": "ENOSPC"},
    }
    assert node_step.answered({**order, "places": []}, {})["reason"] == "node_layout_unsupported"


def test_the_node_s_own_main(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the program runs, run here: one line of an answer."""
    order = {"op": "look", "places": [{"pem": str(tmp_path / "a")}], "reloads": [], "run": 0, "token": ""}
    node_step.main(io.BytesIO(json.dumps({**order, "files": {}}).encode() + b"\n"))
    told = node_program.answer(capsys.readouterr().out)
    assert told is not None
    assert told["done"]["found"][0]["there"] is False
    with pytest.raises(SystemExit):
        node_step.main(io.BytesIO(json.dumps({**order, "files": {"key.pem": 3}}).encode() + b"\nab"))


def action(kind: Any, monkeypatch: pytest.MonkeyPatch, **arguments: object) -> Any:
    """An action plugin as Ansible makes one, without Ansible around it."""
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    made = object.__new__(kind)
    made._task = SimpleNamespace(args=dict(arguments), check_mode=False, loop=None)
    return made


def test_foreign_errors_never_show_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error becomes its type's name; one of Ansible's own goes on to Ansible."""
    step = action(node.ActionModule, monkeypatch, state="observed", node={"product": "files"}, base="/")

    def breaks(error: Exception) -> Any:
        def raises(*_: object, **__: object) -> None:
            raise error

        return raises

    monkeypatch.setattr(node.Settings, "from_arguments", breaks(KeyError("a key")))
    told = step.run(None, {"inventory_hostname": "n1"})
    assert told["renewctl"]["reason"] == "internal"
    assert told["renewctl"]["values"]["step"] == "observed"
    assert told["renewctl"]["values"]["got"].startswith("KeyError in step observed, node.py:")
    assert "a key" not in str(told)
    monkeypatch.setattr(node.Settings, "from_arguments", breaks(AnsibleConnectionFailure("gone")))
    with pytest.raises(AnsibleConnectionFailure):
        step.run(None, {})


def test_the_pre_flight_refuses_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing pair is a refusal with its reason, a foreign error one without its text."""
    step = action(
        apns_check.ActionModule, monkeypatch, base=str(tmp_path), topic="t", pair={"certificate": "no.pem"}
    )
    assert step.run()["renewctl_apns"]["reason"] == "file_unreadable"

    def breaks(*_: object, **__: object) -> None:
        raise KeyError("a key")

    monkeypatch.setattr(apns_check.pre_flight, "check", breaks)
    told = step.run()
    assert told["renewctl_apns"]["values"]["got"].startswith("KeyError in step apns_check")
    assert "a key" not in str(told)
    assert told["failed"]


@pytest.mark.parametrize(
    ("named", "expected"), [("/opt/py/bin/python", "/opt/py/bin/python"), ("auto_silent", None), (None, None)]
)
def test_the_interpreter_an_inventory_names_is_used(named: str | None, expected: str | None) -> None:
    """Discovery's words are no path: then the usual places are looked at on the node."""
    lent = SimpleNamespace(_templar=SimpleNamespace(template=lambda value: value))
    variables = {} if named is None else {"ansible_python_interpreter": named}
    connection: Any = node._Connection(lent, variables)  # type: ignore[arg-type]
    assert connection.python() == expected


def test_an_orphan_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent died between the fork and its first line sends itself the signal."""
    sent = []
    monkeypatch.setattr(worker.multiprocessing, "parent_process", lambda: SimpleNamespace(pid=-1))
    monkeypatch.setattr(worker.os, "kill", lambda *what: sent.append(what))
    with worker.bound_to_parent():
        pass
    assert sent == [(worker.os.getpid(), 9)]
