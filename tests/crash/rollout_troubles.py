"""Cables are pulled, servers lie or sleep, an order arrives late: one roll-out each, and the next one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.crash.command import Command
from tests.crash.rollout_kills import mixed, shown, untrue
from tests.crash.rollout_nodes import ApiNode, FileNode
from tests.crash.rollout_world import QUICK, World
from tests.crash.table import ErrorRow

_BACK = ("--canaries", "1", "--check-in-timeout", "5")
_SECONDS = 300.0
_POLL = 0.01
_DEADLINE = 10.0
"""Seconds one call may take: `servers/transport.py`."""


@dataclass
class Trouble:
    """One trouble: what was done, and what was wrong with what came of it."""

    call: str
    kind: str
    error: str
    wrong: list[str]
    seen: str

    @property
    def row(self) -> ErrorRow:
        """For the table."""
        return ErrorRow("rollout", self.call, self.kind, self.error, 1, int(not self.wrong))


def all_troubles(world: World, *, full: bool) -> list[Trouble]:
    """Each once."""
    slow = 60.0 if full else _DEADLINE + 2
    found = [
        cable(world, name, when) for name in ("api-2", "file-1") for when in ("before", "during", "after")
    ]
    found += [
        fault(world, "500 after storing", {0}, put_status=500),
        fault(world, "stores and answers nothing", {0}, put_answers_late=_DEADLINE + 5),
        fault(world, "answers 200 and keeps the old pair", {1}, put_stores=False),
        fault(world, "switches a second later", {0, 1, 4}, put_stores_late=1.0),
        fault(world, f"takes {slow:.0f} s", {4}, put_hangs=slow),
    ]
    return [*found, no_fence(world), late_order(world), late_put(world), stopped_put(world)]


def cable(world: World, name: str, when: str) -> Trouble:
    """The node's cable is pulled before, during or after its change, and put back after the roll-out ended."""
    world.reset()
    node = world.nodes[name]
    if isinstance(node, FileNode):
        node.slow(2)
    command = world.start("renewal", "roll-out", *QUICK)
    until(moment_of(node, when, lambda: "wave 2" in command.talk), command)
    node.machine.cut()
    code = command.wait(_SECONDS)
    wrong = [] if code in {1, 4} or (code, when) == (0, "after") else [f"ended with {code}"]
    wrong += _judged(world)
    node.machine.mend()
    wrong += _next(world)
    kind = "API node" if isinstance(node, ApiNode) else "file node"
    return Trouble("link set down", kind, f"{when} its change", wrong, f"exit {code}")


def moment_of(node: ApiNode | FileNode, when: str, wave_begins: Callable[[], bool]) -> Callable[[], bool]:
    """What tells that the moment has come to pull the node's cable."""
    if when == "before":  # Ansible needs a while to start, so this is before anything of the wave
        return wave_begins
    if isinstance(node, ApiNode):
        word = "taken" if when == "during" else "answered"
        return lambda: word in node.puts
    word = "began" if when == "during" else "ended"
    return lambda: node.reloads(word) > 0


def fault(world: World, what: str, codes: set[int], **faults: Any) -> Trouble:
    """An API node misbehaves during the roll-out, and no more in the next one."""
    world.reset()
    node = world.nodes["api-2"]
    assert isinstance(node, ApiNode)
    node.behave(**faults)
    code, told = world.roll_out()
    wrong = [] if code in codes else [f"ended with {code}: {told.get('error')}"]
    wrong += _judged(world)
    world.settle()
    node.behave()
    wrong += _next(world)
    return Trouble("PUT pushcert", "API node", what, wrong, f"exit {code}")


def no_fence(world: World) -> Trouble:
    """A node that cannot be fenced stops the roll-out before any change; the roll-back goes on and reports it."""
    world.reset()
    node = world.nodes["file-2"]
    node.machine.cut()
    code, told = world.roll_out()
    wrong = [] if code in {1, 4} and "error" in told else [f"roll-out ended with {code}"]
    if set(world.holds().values()) != {"old"} or any(api.puts for api in world.apis):
        wrong.append(f"a node was changed: {shown(world.holds())}")
    node.machine.mend()
    wrong += _next(world)
    node.machine.cut()
    code, told = world.told("renewal", "roll-back", *_BACK)
    if code != 4 or told["error"]["reason"] != "roll_back_owed":
        wrong.append(f"roll-back ended with {code}: {told.get('error')}")
    holds = world.holds()
    if {name for name, pair in holds.items() if pair != "old"} != {"file-2"}:
        wrong.append(f"after the roll-back: {shown(holds)}")
    code, told = world.told("status")
    if {n["name"]: n["state"] for n in told["topics"][0]["nodes"]}["file-2"] != "unknown":
        wrong.append("status does not call unknown the node that was not put back")
    node.machine.mend()
    wrong += _back(world)
    return Trouble("link set down", "file node", "before the fence", wrong, shown(world.holds()))


def late_order(world: World) -> Trouble:
    """An order to switch, sent by a controller that was killed, reaches its node after a later run put it back."""
    world.reset()
    node = world.nodes["file-1"]
    assert isinstance(node, FileNode)
    (node.folder / "hold").touch()
    command = world.start("renewal", "roll-out", *QUICK)
    until((node.folder / "held").exists, command)
    command.kill(signal.SIGKILL, group=True)
    command.wait(_SECONDS)
    wrong = _judged(world, settle=False)
    wrong += _next(world)
    wrong += _back(world)
    (node.folder / "hold").unlink()
    holds = world.settle()
    if set(holds.values()) != {"old"}:
        wrong.append(f"the late order was obeyed: {shown(holds)}")
    if not any("run_superseded" in path.read_text() for path in node.folder.glob("answer.*")):
        wrong.append("the late order was not refused")
    return Trouble("late order", "file node", "after a takeover", wrong, shown(holds))


def late_put(world: World) -> Trouble:
    """A server carries out a PUT long after its caller gave up, when the node was put back: status sees it.

    Nothing can keep an API node from that; what can be done is to tell, and to put it back again.
    """
    world.reset()
    node = world.nodes["api-2"]
    assert isinstance(node, ApiNode)
    released = threading.Event()

    def on_put(stage: str) -> None:
        node.puts.append(stage)
        if stage == "taken":
            released.wait(_SECONDS)

    node.behave(on_put=on_put)
    code, told = world.roll_out()
    wrong = [] if code == 4 else [f"roll-out ended with {code}: {told.get('error')}"]
    wrong += _judged(world, settle=False)
    wrong += _back(world)
    released.set()
    holds = world.settle()
    if holds["api-2"] != "new":
        wrong.append(f"the late PUT was not carried out: {shown(holds)}")
    code, told = world.told("status")
    state = {n["name"]: n["state"] for n in told["topics"][0]["nodes"]}["api-2"]
    if (code, state) != (4, "disagrees"):
        wrong.append(f"status ended with {code} and calls the node {state}")
    if told["topics"][0]["next_steps"][0]["key"] != "next.roll_back_again":
        wrong.append(f"status does not begin with going back again: {told['topics'][0]['next_steps']}")
    code, told = world.told("renewal", "abort")
    if code != 4 or told["error"]["values"].get("nodes") != "api-2":
        wrong.append(f"abort ended with {code}: {told.get('error')}")
    node.behave()
    wrong += _back(world)
    return Trouble("late PUT", "API node", "after a roll-back", wrong, shown(world.holds()))


def stopped_put(world: World) -> Trouble:
    """SIGTERM while a node takes its time over a PUT, and a roll-back straight after: nothing comes after it."""
    world.reset()
    node = world.nodes["api-2"]
    assert isinstance(node, ApiNode)
    node.behave(put_hangs=_DEADLINE - 1)
    command = world.start("renewal", "roll-out", *QUICK)
    until(lambda: "taken" in node.puts, command)
    command.kill(signal.SIGTERM, group=False)
    node.behave()
    code = command.wait(_SECONDS)
    wrong = [] if code == 128 + signal.SIGTERM else [f"roll-out ended with {code}"]
    if "stored" not in node.puts:  # whether a roll-back now is overtaken hangs on how slow this machine is
        wrong.append("the run was given back while a node was still to carry out a PUT")
    wrong += _back(world)
    holds = world.settle()
    if set(holds.values()) != {"old"}:
        wrong.append(f"a node was changed after the roll-back: {shown(holds)}")
    return Trouble("SIGTERM in a PUT", "API node", "before a roll-back", wrong, shown(holds))


def _back(world: World) -> list[str]:
    """A roll-back ends well, on every node."""
    code, told = world.told("renewal", "roll-back", *_BACK)
    holds = world.holds()
    if code == 0 and set(holds.values()) == {"old"}:
        return []
    return [f"roll-back ended with {code}, {shown(holds)}: {told.get('error')}"]


def until(happened: Callable[[], bool], command: Command) -> None:
    """Wait for it, while the command runs."""
    ends = time.monotonic() + _SECONDS
    while not happened():
        assert command.process.poll() is None, command.talk + command.out
        assert time.monotonic() < ends, command.talk
        time.sleep(_POLL)


def _judged(world: World, *, settle: bool = True) -> list[str]:
    """No mixed pair, and a status that tells the truth."""
    holds = world.holds()
    wrong = mixed(holds, "right after")
    _, told = world.told("status")
    wrong += untrue(told, world.events(), holds)
    return wrong + (mixed(world.settle(), "after the orphans") if settle else [])


def _next(world: World) -> list[str]:
    """The next run ends well, on every node."""
    code, told = world.roll_out()
    holds = world.holds()
    if code == 0 and told["renewal"]["phase"] == "proven" and set(holds.values()) == {"new"}:
        return []
    return [f"the next run ended with {code}, {shown(holds)}: {told.get('error')}"]
