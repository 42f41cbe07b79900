"""One step on several API nodes at once: each its own answer, none hides another, shared storages take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.action import api_nodes
from ansible_collections.renewctl.mdm.plugins.plugin_utils import together
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import result

from renewctl.errors import Attention, NodeFault
from renewctl.reasons import Reason
from tests.playbooks.test_plugin_edges import action
from tests.support.playbook_world import TOPIC, World

Answers = Mapping[str, Callable[[], dict[str, Any]]]


def answering(monkeypatch: pytest.MonkeyPatch, answers: Answers, back: str = "put_back") -> list[str]:
    """Steps that answer as written down, host by host; what was asked, in order."""
    asked: list[str] = []

    def step(_target: object, settings: Any) -> dict[str, Any]:
        asked.append(f"{settings.state} {settings.node.name}")
        if settings.state == "put_back":
            return result(settings.node.name, back, changed=True)
        return answers[settings.node.name]()

    monkeypatch.setattr(together.steps, "chosen", lambda _: step)
    return asked


def node(**more: object) -> dict[str, Any]:
    """A node as hosts carry it."""
    return {"product": "nanomdm", "url": "http://127.0.0.1:1", **more}


def arguments(tmp_path: Path, state: str = "present", **more: object) -> dict[str, Any]:
    """What the task says for all nodes."""
    spec = {name: how.get("default") for name, how in api_nodes.SPEC_TOGETHER.items()}
    return {**spec, "state": state, "base": str(tmp_path), "topic": "t", **more}


def alone(names: str, **more: object) -> dict[str, dict[str, Any]]:
    """Nodes with a storage of their own."""
    return {name: {"node": node(**more), "shared": False} for name in names.split()}


def says(host: str, outcome: str, *, changed: bool = False) -> Callable[[], dict[str, Any]]:
    """An answer."""
    return lambda: result(host, outcome, changed=changed)


def test_every_node_is_asked_whatever_becomes_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one is put back at once; a broken, an unknown and a held one are named; the rest are well."""

    def breaks() -> dict[str, Any]:
        raise KeyError("a key")

    def down() -> dict[str, Any]:
        raise NodeFault(Reason.NODE_UNREACHABLE, node="n5", address="n5", got="refused")

    answers = {
        "n1": says("n1", "proven", changed=True),
        "n2": says("n2", "wrong", changed=True),
        "n3": breaks,
        "n4": says("n4", "not_proven"),
        "n5": down,
        "n6": says("n6", "unchanged"),
    }
    asked, shown = answering(monkeypatch, answers), list[str]()
    told = together.step(arguments(tmp_path), alone("n1 n2 n3 n4 n5 n6"), shown.append, check=False)
    assert sorted(asked) == [*(f"present n{number}" for number in range(1, 7)), "put_back n2"]
    assert list(told["renewctl_unwell"]) == ["n2", "n3", "n4", "n5"]
    assert told["renewctl_unwell"]["n2"] == "n2: wrong; n2: put_back"
    assert (told["failed"], told["changed"]) == (True, True)
    assert len(shown) == 7
    assert "a key" not in str(told) + str(shown)
    assert "n2: put_back" in told["msg"]
    assert "n1" not in told["msg"]


def test_all_well_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changed, nothing failed."""
    answering(monkeypatch, {"n1": says("n1", "unchanged")})
    told = together.step(arguments(tmp_path), alone("n1"), lambda _: None, check=False)
    assert told == {"changed": False, "failed": False, "msg": "all well", "renewctl_unwell": {}}


def test_a_dry_run_names_and_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The play that ends a dry run fails for it: here nodes of files must still have their turn."""
    answering(monkeypatch, {"n1": says("n1", "unknown"), "n2": says("n2", "would_install", changed=True)})
    told = together.step(arguments(tmp_path), alone("n1 n2"), lambda _: None, check=True)
    assert (told["failed"], told["renewctl_unwell"]) == (False, {"n1": "n1: unknown"})


@pytest.mark.parametrize("turns", [True, False])
def test_nodes_of_one_storage_take_turns_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: bool
) -> None:
    """The others go on meanwhile; a node without a name for its storage has its own."""
    at_once, most, lock = set[str](), set[frozenset[str]](), threading.Lock()
    # Who may be at work together waits for the other; who takes turns takes a while.
    meetings = {name: threading.Barrier(2, timeout=60) for name in ("main", "own")}
    meets = dict.fromkeys("cd", meetings["own"]) | ({} if turns else dict.fromkeys("ab", meetings["main"]))

    def busy(host: str) -> Callable[[], dict[str, Any]]:
        def one() -> dict[str, Any]:
            with lock:
                at_once.add(host)
                most.add(frozenset(at_once))
            if host in meets:
                meets[host].wait()
            else:
                time.sleep(0.1)
            with lock:
                at_once.discard(host)
            return result(host, "proven")

        return one

    nodes = {name: {"node": node(storage="main"), "shared": True} for name in ("a", "b")} | alone("c d")
    answering(monkeypatch, {name: busy(name) for name in nodes})
    together.step(arguments(tmp_path, turns=turns), nodes, lambda _: None, check=False)
    together_once = any({"a", "b"} <= some for some in most)
    assert together_once is not turns
    assert any({"c", "d"} <= some for some in most)


@pytest.mark.parametrize("outcome", ["wrong", "held", "failed", "unknown", "not_proven"])
def test_a_storage_has_no_further_turn_after_a_node_that_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """What was wrong, silent or refused there once is not tried through its other nodes; they are told so."""
    nodes = {name: {"node": node(storage="main"), "shared": True} for name in ("a", "b", "c", "d")} | alone(
        "e"
    )
    answers = {"a": says("a", "unchanged"), "b": says("b", outcome), "e": says("e", "proven")}
    heard: list[tuple[object, object, object]] = []
    monkeypatch.setattr(
        together.worker,
        "tell",
        lambda event, **told: (
            event == "node" and heard.append((told["node"], told["outcome"], told["reason"]))
        ),
    )
    asked, shown = answering(monkeypatch, answers), list[str]()
    told = together.step(arguments(tmp_path), nodes, shown.append, check=False)
    back = ["put_back b"] * (outcome == "wrong")
    assert sorted(asked) == ["present a", "present b", "present e", *back]
    assert list(told["renewctl_unwell"]) == ["b", "c", "d"]
    assert [one for one in heard if one[0] in {"c", "d"}] == [
        ("c", "held", "node_not_tried"),
        ("d", "held", "node_not_tried"),
    ]
    assert sum("since b, which shares its storage" in line for line in shown) == 2


def test_a_dry_run_asks_every_node_of_a_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed, so one that is down keeps nobody from being asked."""
    nodes = {name: {"node": node(storage="main"), "shared": True} for name in ("a", "b")}
    asked = answering(monkeypatch, {"a": says("a", "unknown"), "b": says("b", "would_install")})
    told = together.step(arguments(tmp_path), nodes, lambda _: None, check=True)
    assert (sorted(asked), list(told["renewctl_unwell"])) == (["present a", "present b"], ["a"])


def test_who_may_send_a_pair_is_asked_again_when_the_connection_stands(
    mdm: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that slept while it connected: the first question was answered, the second stops the pair."""
    api, questions = mdm.api_node("n1"), list[str]()

    def require_watched() -> None:
        questions.append("may I?")
        if len(questions) == 2:
            raise Attention(Reason.CONTROLLER_GONE)

    monkeypatch.setattr(together.worker, "require_watched", require_watched)
    nodes = {"n1": {"node": mdm.hosts["n1"]["renewctl_node"], "shared": False}}
    given = {**arguments(mdm.folder), "topic": TOPIC, "pair": mdm.new.reference}
    told = together.step(given, nodes, lambda _: None, check=False)
    assert "controller_gone" in told["msg"]
    assert (api.changes, len(questions)) == ([], 2)


def test_whose_storage_is_shared() -> None:
    """Counted over the whole group, also over hosts of no wave; what a host says itself goes before."""
    hostvars = {
        "a": {"renewctl_node": node(storage="main")},
        "b": {"renewctl_node": node(storage="main")},
        "c": {"renewctl_node": node(storage="own")},
        "d": {"renewctl_node": node(), "renewctl_storage_shared": True},
        "e": {"renewctl_node": node()},
    }
    found = together.nodes_of(["a", "c", "d", "e"], {"mdm": list(hostvars)}, hostvars)
    assert {host: own["shared"] for host, own in found.items()} == {
        "a": True,
        "c": False,
        "d": True,
        "e": False,
    }
    assert found["c"]["node"] == node(storage="own")


def test_another_version_of_renewctl_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before any node is looked at; every host is unwell then."""
    monkeypatch.setattr(api_nodes.versions, "COLLECTION", "0.0.9")
    step = action(api_nodes.ActionModule, monkeypatch, state="fenced", hosts=["n1"], base=str(tmp_path))
    told = step.run(None, {})
    assert (told["failed"], list(told["renewctl_unwell"])) == (True, ["n1"])
    assert "collection_differs" in told["msg"]


def test_what_breaks_before_any_node_is_asked_is_told_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason for every host, on the pipe to renewctl too; a foreign error without its text."""
    heard: list[tuple[object, object]] = []
    monkeypatch.setattr(
        together.worker, "tell", lambda _event, **told: heard.append((told["node"], told["reason"]))
    )
    step = action(api_nodes.ActionModule, monkeypatch, state="fenced", hosts=["n1", "n2"], base=str(tmp_path))
    told = step.run(None, {"groups": {"mdm": ["n1"]}, "hostvars": {"a key": 0}})
    assert heard == [("n1", "internal"), ("n2", "internal")]
    assert (told["failed"], list(told["renewctl_unwell"])) == (True, ["n1", "n2"])
    assert "a key" not in str(told)
    monkeypatch.setattr(api_nodes.versions, "COLLECTION", "0.0.9")
    step.run(None, {})
    assert heard[2:] == [("n1", "collection_differs"), ("n2", "collection_differs")]
