"""Real playbook runs over API nodes: order, stop rule, putting back, doing nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from renewctl import playbook_run
from renewctl.playbook_run import NodeStarted, PushServiceChecked
from renewctl.proof import Rung
from renewctl.reasons import Reason
from tests.support.playbook_world import TOPIC, World
from tests.support.sandbox_parts import eventually
from tests.support.scripted_nanomdm import Script, check_in, new_store

pytestmark = pytest.mark.slow

PUT = ["/v1/pushcert"]


def test_every_node_in_waves_and_nothing_the_second_time(mdm: World) -> None:
    """The canary first, then the others; each proven by a device's check-in; a second run sends no PUT."""
    for name in ("n1", "n2", "n3"):
        mdm.api_node(name)
    ended = mdm.run("rollout")
    assert ended.exit_code == 0
    assert {name: result.outcome for name, result in ended.results.items()} == dict.fromkeys(
        mdm.nodes, "proven"
    )
    assert mdm.told("present")[0] == ("n1", "proven")
    proof = ended.results["n3"].proof
    assert proof is not None
    assert proof["rungs"] == {"read_back": "yes", "serial": "yes", "push": "yes", "check_in": "yes"}
    assert mdm.changes() == dict.fromkeys(mdm.nodes, PUT)
    again = mdm.run("rollout", renewctl_run=2)
    assert again.exit_code == 0
    assert {result.outcome for result in again.results.values()} == {"unchanged"}
    assert not any(result.changed for result in again.results.values())
    assert mdm.changes() == dict.fromkeys(mdm.nodes, PUT)
    assert "changed=0" in again.tail


def test_a_dry_run_says_what_would_change_and_changes_nothing(mdm: World) -> None:
    """Under check no node gets a PUT or a push; what would be installed is said."""
    mdm.api_node("n1")
    done = mdm.api_node("n2", store=new_store(mdm.folder / "done.sqlite", TOPIC, mdm.new.pem))
    ended = mdm.run("rollout", check=True, renewctl_run=0)
    assert ended.exit_code == 0
    assert {name: result.outcome for name, result in ended.results.items()} == {
        "n1": "would_install",
        "n2": "unchanged",
    }
    asked = {
        path.split("/")[2] for _, path in mdm.nodes["n1"].requests + done.requests if path.count("/") > 1
    }
    assert asked == {"pushcert"}
    assert mdm.changes() == {"n1": [], "n2": []}


def test_a_dry_run_does_not_guess_for_a_node_that_is_silent_or_closed(mdm: World) -> None:
    """Down, or a wrong password: unknown with its reason, in any wave; every other node is told all the same."""
    mdm.api_node("n1").server.server_close()
    mdm.api_node("n2")
    mdm.api_node("n3", password={"file": str(mdm.new.certificate)})
    ended = mdm.run("rollout", check=True)
    told = {name: (result.outcome, result.reason) for name, result in ended.results.items()}
    assert told == {
        "n1": ("unknown", Reason.NODE_UNREACHABLE),
        "n2": ("would_install", None),
        "n3": ("unknown", Reason.NODE_DENIED),
    }
    assert ended.exit_code != 0
    assert mdm.changes() == {"n1": [], "n2": [], "n3": []}


@pytest.mark.parametrize("password", ["wrong", "missing"])
def test_a_credential_that_cannot_be_used_is_found_before_any_node_changes(mdm: World, password: str) -> None:
    """In the last wave or the first: the fence shows every credential to its server, and changes nothing."""
    mdm.api_node("n1")
    named = mdm.folder / password
    if password == "wrong":
        named.write_text("another\n")
    mdm.api_node("n2", password={"file": str(named)})
    ended = mdm.run("rollout")
    expected = Reason.NODE_DENIED if password == "wrong" else Reason.SECRET_UNREADABLE
    assert (ended.results["n2"].reason, ended.results["n2"].values["node"]) == (expected, "n2")
    assert mdm.told("present") == []
    assert mdm.changes() == {"n1": [], "n2": []}


def test_a_way_back_goes_on_past_a_password_that_cannot_be_read(mdm: World) -> None:
    """That node says what is missing and keeps what it has; the others, before and after it, are put back."""
    named = mdm.folder / "of-n2"
    for name in ("n1", "n2", "n3"):
        mdm.api_node(name)
    node = mdm.hosts["n2"]["renewctl_node"]
    named.write_text(Path(node["password"]["file"]).read_text())
    node["password"] = {"file": str(named)}
    assert mdm.run("rollout").exit_code == 0
    named.unlink()
    ended = mdm.run("rollback", renewctl_run=2)
    told = {name: (result.outcome, result.reason) for name, result in ended.results.items()}
    assert told == {
        "n1": ("put_back", None), "n2": ("failed", Reason.SECRET_UNREADABLE), "n3": ("put_back", None),
    }  # fmt: skip
    assert ended.exit_code != 0


def test_only_steps_that_begin_are_announced(mdm: World) -> None:
    """A skipped task announces nothing: no put-back where nothing is put back, no look that is not made."""
    mdm.api_node("n1", Script(put_status=400, put_stores=False))
    mdm.run("rollout")
    started = [event.state for event in mdm.events if isinstance(event, NodeStarted)]
    assert started == ["fenced", "present"]
    mdm.nodes["n1"].script.put_status = None
    mdm.nodes["n1"].script.put_stores = True
    mdm.nodes["n1"].script.refuse = {mdm.new.serial}
    mdm.run("rollout", renewctl_run=2)
    started = [event.state for event in mdm.events if isinstance(event, NodeStarted)]
    assert started == ["fenced", "present", "put_back"]


def test_a_node_that_pushes_with_the_old_pair_cannot_be_told(mdm: World) -> None:
    """A known limit: stored, answered, yet pushes use the old pair. No answer of the node shows it: `proven`."""
    node = mdm.api_node("n1", Script(pushes_old=True))
    ended = mdm.run("rollout")
    assert ended.results["n1"].outcome == "proven"
    assert (node.serial(), set(node.used)) == (mdm.new.serial, {mdm.old.serial})
    assert "cannot be seen from the node's answer" in str(Rung.__doc__)


def test_nodes_of_one_storage_take_turns(mdm: World) -> None:
    """Plain Ansible, both in one batch: one PUT for the storage; the second reads back what is there."""
    store = new_store(mdm.folder / "shared.sqlite", TOPIC, mdm.old.pem, devices=0)
    mdm.api_node("n1", Script(put_hangs=0.5), store=store, storage="shared")
    mdm.api_node("n2", Script(put_hangs=0.5), store=store, storage="shared")
    ended = mdm.run("rollout", renewctl_waves=["100%"])
    assert sorted(result.outcome for result in ended.results.values()) == ["proven", "unchanged"]
    assert sum(len(paths) for paths in mdm.changes().values()) == 1


def test_a_wrong_pair_is_put_back_proven_and_stops_the_rest(mdm: World) -> None:
    """The canary's push is refused: it gets the previous pair back, proven; no other node is touched."""
    mdm.api_node("n1", Script(refuse={mdm.new.serial}))
    for name in ("n2", "n3"):
        mdm.api_node(name)
    ended = mdm.run("rollout")
    assert ended.exit_code != 0
    assert set(ended.results) == {"n1", "n2", "n3"}
    first = ended.results["n1"]
    assert (first.outcome, first.reason) == ("put_back", Reason.PUSH_CERTIFICATE_REFUSED)
    assert first.proof is not None
    assert first.proof["verdict"] == "proven"
    assert mdm.told("present") == [("n1", "wrong")]
    assert mdm.changes() == {"n1": PUT * 2, "n2": [], "n3": []}
    assert mdm.nodes["n1"].serial() == mdm.old.serial
    assert mdm.told("put_back") == [("n1", "put_back")]


def test_without_a_way_back_a_wrong_pair_stays_and_says_so(mdm: World) -> None:
    """Forward only: there is nothing to put back, the node stays wrong, the others untouched."""
    mdm.api_node("n1", Script(refuse={mdm.new.serial}))
    mdm.api_node("n2")
    ended = mdm.run("rollout", renewctl_previous=None, renewctl_forward_only=True)
    assert ended.results["n1"].outcome == "wrong"
    assert mdm.changes() == {"n1": PUT, "n2": []}


def test_sleeping_devices_hold_the_rollout_without_putting_back(mdm: World) -> None:
    """Nobody checks in: installed, not proven; the pair stays, the next wave does not begin."""
    mdm.api_node("n1", Script(asleep=True))
    mdm.api_node("n2")
    ended = mdm.run("rollout")
    assert ended.exit_code != 0
    assert ended.results["n1"].outcome == "not_proven"
    assert mdm.changes() == {"n1": PUT, "n2": []}
    assert mdm.nodes["n1"].serial() == mdm.new.serial


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (Script(put_status=500, put_stores=True), "proven"),
        (Script(put_status=500, put_stores=False), "failed"),
        (Script(put_status=400, put_stores=False), "failed"),
    ],
)
def test_an_error_is_judged_by_what_is_read_back(mdm: World, script: Script, outcome: str) -> None:
    """A node that stores and then answers 500 has the pair; one that refuses keeps what it had."""
    mdm.api_node("n1", script)
    mdm.api_node("n2")
    ended = mdm.run("rollout")
    assert ended.results["n1"].outcome == outcome
    assert mdm.told("put_back") == []
    assert mdm.changes()["n2"] == (PUT if outcome == "proven" else [])


def test_one_node_down_and_nothing_begins(mdm: World) -> None:
    """A node that does not answer fails the fence: no node is changed."""
    mdm.api_node("n1")
    dead = mdm.api_node("n2")
    dead.server.server_close()
    ended = mdm.run("fence")
    assert ended.results["n2"].reason is Reason.NODE_UNREACHABLE
    assert mdm.changes() == {"n1": [], "n2": []}


def test_a_pair_the_push_service_refuses_reaches_no_node(mdm: World) -> None:
    """Both pairs are shown to the push service before any node is asked anything."""
    mdm.api_node("n1")
    mdm.pushes.switch(refuse_serials=[mdm.new.serial])
    try:
        ended = mdm.run("rollout")
    finally:
        mdm.pushes.switch(refuse_serials=[])
    assert ended.push_service is not None
    assert ended.push_service.reason is Reason.NEW_PAIR_REFUSED
    assert isinstance(mdm.events[0], PushServiceChecked)
    assert mdm.nodes["n1"].requests == []


def test_shared_storage_begins_with_a_device(mdm: World) -> None:
    """A device is woken with the new pair from here before the first install; then one install serves both."""
    token = f"{1:064x}"
    store = mdm.api_node("n1", storage="shared").store
    mdm.api_node("n2", store=store, storage="shared")
    with mdm.pushes.device(TOPIC, token) as woken:
        stop = threading.Event()
        seen: list[list[str]] = []

        def device() -> None:
            while not stop.wait(0.05):
                if len(woken) > len(seen):
                    seen.append(mdm.nodes["n1"].changes)
                    check_in(store, "DEVICE-1")

        thread = threading.Thread(target=device)
        thread.start()
        ended = mdm.run("rollout", renewctl_check_in_timeout=60)
        stop.set()
        thread.join()
        assert seen[0] == []
    assert {name: result.outcome for name, result in ended.results.items()} == {
        "n1": "proven",
        "n2": "unchanged",
    }
    assert mdm.changes() == {"n1": PUT, "n2": []}


def test_a_silent_device_canary_installs_nothing(mdm: World) -> None:
    """Where the new pair would reach every device at once, no check-in means no install."""
    store = mdm.api_node("n1", storage="shared").store
    mdm.api_node("n2", store=store, storage="shared")
    with mdm.pushes.device(TOPIC, f"{1:064x}"):
        ended = mdm.run("rollout")
    assert (ended.results["n1"].outcome, ended.results["n1"].reason) == ("held", Reason.CANARY_HELD)
    assert mdm.changes() == {"n1": [], "n2": []}


def test_roll_back_goes_newest_first_and_past_a_node_that_is_down(mdm: World) -> None:
    """Every node that answers gets the previous pair back, proven; the dead one is reported."""
    for name in ("n1", "n2", "n3"):
        mdm.api_node(name, store=new_store(mdm.folder / f"{name}-new.sqlite", TOPIC, mdm.new.pem))
    mdm.nodes["n2"].server.server_close()
    ended = mdm.run("rollback")
    assert mdm.told("put_back") == [("n3", "put_back"), ("n1", "put_back")]
    assert ended.results["n2"].reason is Reason.NODE_UNREACHABLE
    assert mdm.nodes["n1"].serial() == mdm.old.serial


def test_a_dry_roll_back_says_what_each_node_serves_and_changes_nothing(mdm: World) -> None:
    """Under check, without a run, as renewctl asks: would be put back, is back, silent; no PUT, no push."""
    mdm.api_node("n1", store=new_store(mdm.folder / "n1-new.sqlite", TOPIC, mdm.new.pem))
    mdm.api_node("n2")
    mdm.api_node("n3").server.server_close()
    told = {name: value for name, value in mdm.variables().items() if name != "renewctl_run"}
    ended = playbook_run.run("rollback", mdm.hosts, told, check=True, on_event=lambda _event: None)
    outcomes = {name: result.outcome for name, result in ended.results.items()}
    assert outcomes == {"n1": "would_put_back", "n2": "unchanged", "n3": "unknown"}
    assert ended.results["n3"].reason is Reason.NODE_UNREACHABLE
    for name, pair in (("n1", mdm.new), ("n2", mdm.old)):
        seen = ended.results[name].observation
        assert seen is not None
        served = seen.serving(TOPIC)
        assert served is not None
        assert served.serial == pair.serial
    assert mdm.changes() == {"n1": [], "n2": [], "n3": []}


def test_verify_tells_right_from_wrong(mdm: World) -> None:
    """Verify changes nothing and fails where a node serves another pair."""
    mdm.api_node("n1", store=new_store(mdm.folder / "new.sqlite", TOPIC, mdm.new.pem))
    mdm.api_node("n2")
    ended = mdm.run("verify")
    assert ended.exit_code != 0
    assert {name: result.outcome for name, result in ended.results.items()} == {"n1": "proven", "n2": "wrong"}
    assert mdm.changes() == {"n1": [], "n2": []}


def test_ansible_playbook_alone(mdm: World) -> None:
    """A plain inventory, an empty folder, an empty environment: one command does all of it."""
    mdm.api_node("n1")
    mdm.api_node("n2")
    inventory, variables = mdm.plain_inventory()
    empty = mdm.folder / "empty"
    empty.mkdir()
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "renewctl.mdm.rollout",
        "-i",
        str(inventory),
        "-e",
        f"@{variables}",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert mdm.changes() == {"n1": PUT, "n2": PUT}
    assert mdm.nodes["n2"].serial() == mdm.new.serial


ORPHAN = """
import json, sys
from renewctl import playbook_run
hosts, variables = json.load(open(sys.argv[1]))
playbook_run.run("rollout", hosts, variables, on_event=lambda event: print(event, flush=True))
"""


def test_no_request_leaves_after_the_controller_died(mdm: World) -> None:
    """`renewctl` killed in the middle of a PUT: no later node is asked anything, by anybody."""
    mdm.api_node("n1", Script(put_hangs=1.0))
    mdm.api_node("n2", Script(put_hangs=1.0))
    told = mdm.folder / "told.json"
    told.write_text(json.dumps([mdm.hosts, mdm.variables(renewctl_waves=["100%"])]))
    child = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(told)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    eventually(lambda: bool(mdm.changes()["n1"]), 240)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(1.5)  # for what had left before the kill
    before = {name: list(node.requests) for name, node in mdm.nodes.items()}
    assert before["n1"]
    time.sleep(3)
    assert {name: list(node.requests) for name, node in mdm.nodes.items()} == before
