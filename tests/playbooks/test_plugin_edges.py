"""The thin outer layers: the module's own main, and what an action plugin does with foreign errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.testing import patch_module_args
from ansible.plugins.action import ActionBase
from ansible_collections.renewctl.mdm.plugins.action import apns_check, node
from ansible_collections.renewctl.mdm.plugins.modules import node_files
from ansible_collections.renewctl.mdm.plugins.plugin_utils import worker

from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.support.certs import TOPIC, apple_like

TOKEN = "ab" * 16


def call(capsys: pytest.CaptureFixture[str], **arguments: object) -> dict[str, Any]:
    """Run the module's main; its JSON."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        node_files.main()
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_the_module_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step by its name, as the controller calls it."""
    old, new = apple_like().push(TOPIC), apple_like().push(TOPIC, key="new")
    certificate, key = tmp_path / "push.pem", tmp_path / "push.key"
    certificate.write_bytes(old.pem)
    key.write_bytes(old.key_pem)
    paths = {"places": [{"certificate": str(certificate), "key": str(key)}]}
    run = {**paths, "run": 1, "token": TOKEN}
    assert call(capsys, op="look", **paths)["done"]["found"][0]["certificate"] == old.pem.decode()
    assert call(capsys, op="fence", **run, _ansible_check_mode=True)["done"] is None
    assert not (tmp_path / ".renewctl").exists()
    assert call(capsys, op="fence", **run) == {
        "changed": False,
        "done": False,
        "reason": None,
        "values": {},
        "invocation": call(capsys, op="fence", **run)["invocation"],
    }
    assert call(capsys, op="carries", **run)["done"] is True
    failed = call(capsys, op="switch", **run, certificate_pem=new.pem.decode(), digests={"key.pem": "00"})
    assert (failed["failed"], failed["reason"]) == (True, "staged_key_differs")
    assert call(capsys, op="revert", **run, fingerprint="ee")["done"] is None


def test_the_module_names_errors_of_the_system(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is a reason with its short name."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_files, "step", full)
    paths = {"places": [{"certificate": str(tmp_path / "a"), "key": str(tmp_path / "b")}]}
    told = call(capsys, op="look", **paths)
    assert (told["reason"], told["values"]) == (
        "node_write_failed",
        {"path": str(tmp_path / "a"), "got": "ENOSPC"},
    )


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
    ("setting", "pipelining", "reason"),
    [
        ("DEFAULT_KEEP_REMOTE_FILES", True, Reason.ANSIBLE_KEEPS_FILES),
        ("DEFAULT_DEBUG", True, Reason.ANSIBLE_KEEPS_FILES),
        (None, False, Reason.PIPELINING_NEEDED),
    ],
)
def test_a_connection_that_leaves_traces(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, pipelining: bool, reason: Reason
) -> None:
    """Refused before anything is sent."""
    if setting is not None:
        monkeypatch.setattr(constants, setting, True)
    lent = SimpleNamespace(_is_pipelining_enabled=lambda _: pipelining)
    connection: Any = node._Connection(lent, {})  # type: ignore[arg-type]
    with pytest.raises(Unusable) as caught:
        connection.require_quiet()
    assert caught.value.reason is reason


def test_an_orphan_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent died between the fork and its first line sends itself the signal."""
    sent = []
    monkeypatch.setattr(worker.multiprocessing, "parent_process", lambda: SimpleNamespace(pid=-1))
    monkeypatch.setattr(worker.os, "kill", lambda *what: sent.append(what))
    with worker.bound_to_parent():
        pass
    assert sent == [(worker.os.getpid(), 9)]
