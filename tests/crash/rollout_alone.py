"""The same troubles where a person runs the playbooks alone: nothing is written down, the nodes tell it all."""

from __future__ import annotations

from tests.crash.rollout_kills import mixed, shown
from tests.crash.rollout_nodes import ApiNode, FileNode
from tests.crash.rollout_troubles import Trouble, moment_of, until
from tests.crash.rollout_world import World

_SECONDS = 300.0
_CALL = "link set down, playbooks alone"
_FAILED = frozenset({2, 4})
"""Exit codes of ansible-playbook: a host failed, a host was unreachable."""


def troubles_alone(world: World) -> list[Trouble]:
    """Each once."""
    cables = [
        cable_alone(world, name, when)
        for name in ("api-2", "file-1")
        for when in ("before", "during", "after")
    ]
    return [*cables, no_fence_alone(world)]


def cable_alone(world: World, name: str, when: str) -> Trouble:
    """The node's cable is pulled before, during or after its change, and put back after the roll-out ended."""
    world.reset()
    node = world.nodes[name]
    if isinstance(node, FileNode):
        node.slow(2)
    command = world.start_plain()
    # The play begins anew with each wave; its gate comes before any node is touched.
    until(moment_of(node, when, lambda: command.talk.count("PLAY [Roll out to") > 1), command)
    node.machine.cut()
    code = command.wait(_SECONDS)
    wrong = [] if code in _FAILED or (code, when) == (0, "after") else [f"ended with {code}"]
    wrong += mixed(world.holds(), "right after") + mixed(world.settle(), "after the orphans")
    node.machine.mend()
    wrong += _next(world)
    kind = "API node" if isinstance(node, ApiNode) else "file node"
    return Trouble(_CALL, kind, f"{when} its change", wrong, f"exit {code}")


def no_fence_alone(world: World) -> Trouble:
    """A node that cannot be fenced stops the roll-out before any change; the roll-back goes on without it."""
    world.reset()
    node = world.nodes["file-2"]
    node.machine.cut()
    code = world.start_plain().wait(_SECONDS)
    wrong = [] if code in _FAILED else [f"roll-out ended with {code}"]
    if set(world.holds().values()) != {"old"} or any(api.puts for api in world.apis):
        wrong.append(f"a node was changed: {shown(world.holds())}")
    node.machine.mend()
    wrong += _next(world)
    node.machine.cut()
    code = world.start_plain("rollback").wait(_SECONDS)
    wrong += [] if code in _FAILED else [f"roll-back ended with {code}"]
    holds = world.holds()
    if {name for name, pair in holds.items() if pair != "old"} != {"file-2"}:
        wrong.append(f"after the roll-back: {shown(holds)}")
    node.machine.mend()
    wrong += _ends(world, "rollback", "old")
    return Trouble(_CALL, "file node", "before the fence", wrong, shown(world.holds()))


def _next(world: World) -> list[str]:
    """The next run ends well, on every node."""
    return _ends(world, "rollout", "new")


def _ends(world: World, playbook: str, pair: str) -> list[str]:
    command = world.start_plain(playbook)
    code, holds = command.wait(_SECONDS), world.holds()
    if code == 0 and set(holds.values()) == {pair}:
        return []
    return [f"the next {playbook} ended with {code}, {shown(holds)}: {command.talk[-600:]}"]
