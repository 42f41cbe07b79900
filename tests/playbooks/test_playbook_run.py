"""The child process: what it is given, what it may not be told, what comes back."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.callback import events
from ansible_collections.renewctl.mdm.plugins.plugin_utils import worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import observation_json, result

from renewctl import playbook_run
from renewctl.errors import Attention, Refused, Unusable
from renewctl.observation import DeviceCounts, Failure, Observation, ServedCertificate, Source
from renewctl.playbook_events import NodeDone, NodeResult, event_from_json, last_word
from renewctl.playbook_run import NodeStarted, NodeStopped, NodeUnreachable, PlaybookEvent
from renewctl.reasons import Reason
from tests.support.certs import NOW

API_NODE = {"renewctl_node": {"name": "n1", "product": "nanomdm", "url": "http://127.0.0.1:1"}}


def file_node(**variables: object) -> dict[str, Any]:
    """A node installed by files, reached with these variables."""
    paths = {"certificate": "/x/push.pem", "key": "/x/push.key"}
    return {"renewctl_node": {"product": "files", "install": {"paths": paths, "variables": variables}}}


def nothing(event: PlaybookEvent) -> None:
    """Nobody listens."""


def test_without_ansible_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without ansible-core is told which extra to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Unusable) as caught:
        playbook_run.run("observe", {}, {}, on_event=nothing)
    assert (caught.value.reason, caught.value.values) == (Reason.EXTRA_MISSING, {"expected": "ansible"})


@pytest.mark.slow
def test_nothing_in_an_inventory_is_a_template(tmp_path: Path) -> None:
    """A node whose settings hold Jinja runs nothing: the text stays text."""
    trap = tmp_path / "ran"
    host = {
        "renewctl_node": {**API_NODE["renewctl_node"], "url": f"{{{{ lookup('pipe', 'touch {trap}') }}}}"}
    }
    variables = {"renewctl_topic": "{{ lookup('pipe', 'touch " + str(trap) + "') }}", "renewctl_base": "/"}
    ended = playbook_run.run("observe", {"n1": host}, variables, on_event=nothing)
    assert ended.results["n1"].outcome == "failed"
    assert not trap.exists()


@pytest.mark.slow
def test_a_playbook_that_never_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such playbook: refused, with Ansible's last words."""
    with pytest.raises(Refused) as caught:
        playbook_run.run("no_such_playbook", {"n1": API_NODE}, {}, on_event=nothing)
    assert caught.value.reason is Reason.PLAYBOOK_FAILED
    assert "no_such_playbook" in str(caught.value.values["detail"])


@pytest.mark.slow
def test_a_listener_that_breaks_ends_the_child() -> None:
    """An error while events are taken ends the run at once, and is not swallowed."""

    def breaks(event: PlaybookEvent) -> None:
        raise KeyError(event)

    with pytest.raises(KeyError):
        playbook_run.run("observe", {"n1": API_NODE}, {"renewctl_base": "/"}, on_event=breaks)


def test_the_environment_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's settings and secrets of the caller stay here; what a node names by {env:} is passed."""
    for name in (
        "ANSIBLE_DEBUG",
        "ANSIBLE_KEEP_REMOTE_FILES",
        "ANSIBLE_CONFIG",
        "MY_SECRET",
        "NODE_PASSWORD",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("ANSIBLE_SSH_COMMON_ARGS", "-J jump")
    host = {"renewctl_node": {**API_NODE["renewctl_node"], "password": {"env": "NODE_PASSWORD"}}}
    given = playbook_run._environment(tmp_path, {"n1": host})
    assert given["ANSIBLE_DEBUG"] == given["ANSIBLE_KEEP_REMOTE_FILES"] == "0"
    assert given["ANSIBLE_CONFIG"] == str(tmp_path / "ansible.cfg")
    assert given["ANSIBLE_SSH_COMMON_ARGS"] == "-J jump"
    assert given["NODE_PASSWORD"] == "1"
    assert "MY_SECRET" not in given


def test_hosts_are_reached_as_their_install_says() -> None:
    """An API node is asked from here; a file node goes where `host` and `variables` say."""
    api = playbook_run._host(API_NODE)
    assert api["ansible_connection"] == "local"
    node = file_node(ansible_port=2222)
    node["renewctl_node"]["install"]["host"] = "mdm1.example.com"
    named = playbook_run._host(node)
    assert (named["ansible_host"], named["ansible_port"]) == ("mdm1.example.com", 2222)


def test_only_what_asks_these_nodes_is_loaded_first() -> None:
    """Before Ansible forks a worker for each; nodes of files ask no server, and most servers no database."""
    files, api = {"renewctl_node": {"product": "files"}}, {"renewctl_node": {"product": "nanomdm"}}
    counting = {"renewctl_node": {"product": "nanomdm", "devices": {"sql": "sqlite:///x"}}}
    assert playbook_run._loaded_first({"f": files}) == ""
    assert playbook_run._loaded_first({"f": files, "a": api}) == "renewctl.servers.nanomdm"
    assert playbook_run._loaded_first({"c": counting}).split() == [
        "renewctl.servers.nanomdm",
        "renewctl.database.sql",
    ]


def test_an_observation_survives_the_way() -> None:
    """What a node said is the same on both sides of the pipe."""
    seen = Observation(
        node="n1",
        at=NOW,
        up=True,
        certificates=(ServedCertificate("t", NOW, Source.DATABASE, serial="0a", issuer="CN=x"),),
        devices=(DeviceCounts("t", 3, {86_400: 1}),),
        version="v",
        failures=(Failure(Reason.NODE_TIMEOUT, {"node": "n1"}),),
        answered=(Source.DATABASE,),
    )
    told = json.loads(json.dumps(result("n1", "observed", observation=seen, values={"path": Path("/x")})))
    event = event_from_json({"event": "node", "state": "observed", **told["renewctl"]})
    assert isinstance(event, NodeDone)
    assert event.result.observation == seen
    assert event.result.values == {"path": "/x"}
    blind = Observation("n2", NOW)
    assert observation_json(blind)["devices"] is None


@pytest.mark.parametrize(
    ("outcome", "state", "expected", "reason"),
    [
        ("put_back", "put_back", "put_back", Reason.PUSH_TLS_REFUSED),
        ("failed", "put_back", "wrong", Reason.PUSH_TLS_REFUSED),
        ("proven", "present", "proven", None),
    ],
)
def test_the_last_word_of_a_node(outcome: str, state: str, expected: str, reason: Reason | None) -> None:
    """A node put back says why it had to be; one that could not be put back stays wrong."""
    wrong = NodeResult("n1", "wrong", reason=Reason.PUSH_TLS_REFUSED)
    word = last_word(wrong, NodeDone("n1", state, NodeResult("n1", outcome)))
    assert (word.outcome, word.reason) == (expected, reason)


class FakeHost:
    """A host, as callbacks see it."""

    def get_name(self) -> str:
        """Its name."""
        return "n1"

    def get_vars(self) -> dict[str, str]:
        """Its variables."""
        return {"ansible_host": "192.0.2.1"}


def task() -> Any:
    """A task, as callbacks see it."""
    return SimpleNamespace(args={"state": "present"}, get_name=lambda: "Gate")


def test_events_are_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only named keys leave a task, whatever its result holds."""
    reading, writing = os.pipe()
    monkeypatch.setenv(worker.EVENTS_FD, str(writing))
    callback = events.CallbackModule()
    worker.tell("started", node="n1", state="present")
    ours = {"node": "n1", "outcome": "proven", "changed": True, "values": {}, "secret": "x"}
    for told in (
        {"renewctl": ours, "stdout": "x"},
        {"renewctl_apns": {"outcome": "accepted", "secret": "x"}},
        {},
    ):
        callback.v2_runner_on_ok(SimpleNamespace(host=FakeHost(), task=task(), result=told))
    failed = SimpleNamespace(host=FakeHost(), task=task(), result={"msg": "x"})
    callback.v2_runner_on_failed(failed)
    callback.v2_runner_on_failed(failed, ignore_errors=True)
    callback.v2_runner_on_unreachable(
        SimpleNamespace(host=FakeHost(), result={"msg": "via ssh: Hello\nrefused"})
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    assert not any("secret" in line or "stdout" in line for line in lines)
    started, done, apns, stopped, unreachable = (event_from_json(json.loads(line)) for line in lines)
    assert started == NodeStarted("n1", "present")
    assert isinstance(done, NodeDone)
    assert getattr(apns, "accepted", None) is True
    assert stopped == NodeStopped("n1", "Gate")
    assert unreachable == NodeUnreachable("n1", "192.0.2.1", "refused", "ssh 192.0.2.1 true")


@pytest.mark.parametrize(
    "told", [b"", b"\0" * 7, struct.pack("<d", 0.0), struct.pack("<d", math.nan)], ids=range(4)
)
def test_a_permit_that_says_nothing_permits_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: bytes
) -> None:
    """Empty, cut short, over, or no number at all: no change begins."""
    (tmp_path / "permit").write_bytes(told)
    with (tmp_path / "permit").open("rb") as file:
        monkeypatch.setenv(worker.PERMIT_FD, str(file.fileno()))
        with pytest.raises(Attention, match="controller_gone"):
            worker.require_watched()


def test_events_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own ansible-playbook has no pipe; a pipe nobody reads disables the callback, not the run."""
    monkeypatch.delenv(worker.EVENTS_FD, raising=False)
    assert events.CallbackModule().disabled is True
    worker.require_watched()
    assert worker.tell("started", node="n1", state="present") is False
    reading, writing = os.pipe()
    monkeypatch.setenv(worker.EVENTS_FD, str(writing))
    callback = events.CallbackModule()
    worker.require_watched()
    os.close(reading)
    assert worker.tell("started", node="n1", state="present") is False
    callback.v2_runner_on_failed(SimpleNamespace(host=FakeHost(), task=task(), result={}))
    assert callback.disabled is True
    with pytest.raises(Attention, match="controller_gone"):
        worker.require_watched()
    os.close(writing)
