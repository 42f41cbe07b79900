"""Kill the controller at seeded moments of a roll-out; look at every node; then let the next run go on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tests.crash.command import Command
from tests.crash.rollout_nodes import FOREIGN, MISSING, MIXED
from tests.crash.rollout_world import API, QUICK, World

HOWS = tuple(product((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (False, True)))
"""Signal, and whether the whole process group gets it."""

UNDER_WAY = 0.5
"""Seconds. A request that a worker had sent before it died may be read by the node so much later. Nothing that
is sent after the parent's death may come, whoever may still live."""

CHAIN = 2.0, 5.0
"""Seconds, on a quiet machine and at most. The kernel kills each process of the chain as the one before it ends
(PR_SET_PDEATHSIG): what takes time is that a crowded machine lets each of the two wait its turn, and our looking."""

_EARLY, _FENCE, _WAVE, _BETWEEN, _SAID, _LATE = (
    "before it began",
    "in the fence",
    "in a wave",
    "between waves",
    "in the middle, and it wrote down that it stopped",
    "after its last word",
)
MIDWAY = frozenset({_FENCE, _WAVE, _BETWEEN, _SAID})
_END_SECONDS = 60.0
_LINE_SECONDS = 300.0
_BAD = frozenset({MIXED, MISSING, FOREIGN})
_MORE_TRIES = 4


@dataclass(frozen=True)
class Moment:
    """So many seconds after so many lines of talk: it moves with a machine that is slow today."""

    lines: int
    after: float

    def __str__(self) -> str:
        return f"line {self.lines} + {self.after:.2f} s"


@dataclass(frozen=True)
class Track:
    """When an untouched run told each line, in seconds from its beginning.

    Attributes:
        start, end: kills fall in between.
    """

    lines: Sequence[float]
    start: float
    end: float

    @classmethod
    def of(cls, command: Command, first: str, last: str) -> Track:
        """Of a run that has ended; kills fall from the line with `first` in it to the one with `last`."""
        told = [(at - command.began, line) for at, line in command.lines]
        start = next(at for at, line in told if first in line)
        return cls([at for at, _ in told], start, next(at for at, line in told if last in line))

    def moment(self, dice: random.Random) -> Moment:
        """Any moment alike."""
        at = dice.uniform(self.start, self.end)
        told = [line for line in self.lines if line <= at]
        return Moment(len(told), at - (told[-1] if told else 0.0))


@dataclass
class Seen:
    """One kill, and what came after it.

    Attributes:
        how: as `KILL, alone`.
        moment: when.
        where: how far the roll-out had come, by the store; for the playbooks alone, by the nodes.
        right_after, settled: what each node held right after the kill, and after the last orphan's end.
        window: seconds from the parent's death to the last request an API node got; None: it got none.
        alive: seconds from the parent's death to the end of its last child on the controller.
        wrong: what was not as promised; `unhealed`: what the next run did not mend.
    """

    how: str
    moment: str
    where: str = ""
    right_after: str = ""
    settled: str = ""
    window: float | None = None
    alive: float = 0.0
    wrong: list[str] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)


def label(how: signal.Signals, *, group: bool) -> str:
    """`KILL, alone`."""
    return f"{how.name.removeprefix('SIG')}, {'group' if group else 'alone'}"


def shown(holds: Mapping[str, str]) -> str:
    """`new/old/old new/old`: API nodes, then file nodes."""
    values = list(holds.values())
    return f"{'/'.join(values[: len(API)])} {'/'.join(values[len(API) :])}"


def mixed(holds: Mapping[str, str], when: str) -> list[str]:
    """Nodes with anything but the old pair or the new one."""
    return [f"{when}: {node} holds a pair that is {what}" for node, what in holds.items() if what in _BAD]


def killed_run(
    world: World,
    start: Callable[[], Command],
    track: Track,
    dice: random.Random,
    kill: tuple[signal.Signals, bool],
) -> Seen:
    """Start, kill, and look: right away, and after the last orphan. A run that ended first is started again."""
    how, group = kill
    for _ in range(_MORE_TRIES):
        world.reset()
        _take_your_time(world, dice)
        moment = track.moment(dice)
        command = start()
        command.wait_lines(moment.lines, _LINE_SECONDS)
        time.sleep(moment.after)
        if command.kill(how, group=group) and command.process.wait(_END_SECONDS) != 0:
            break
    else:
        return Seen(label(how, group=group), str(moment), wrong=["ended before every kill"])
    seen = Seen(label(how, group=group), str(moment))
    after_death(world, seen, time.monotonic())
    return seen


def after_death(world: World, seen: Seen, dead: float) -> None:
    """What the nodes hold right after the parent's death and after the last orphan's; what reached API nodes."""
    holds = world.holds()
    seen.right_after = shown(holds)
    seen.wrong += mixed(holds, "right after")
    _wait_for_children(world, seen, dead)
    _judge_requests(world, seen, dead)
    holds = world.settle()
    seen.settled = shown(holds)
    seen.wrong += mixed(holds, "after the orphans")


def kill_renewctl(world: World, track: Track, dice: random.Random, kill: tuple[signal.Signals, bool]) -> Seen:
    """One kill of `renewctl renewal roll-out`, and the next one."""
    seen = killed_run(world, lambda: world.start("renewal", "roll-out", *QUICK), track, dice, kill)
    holds = world.holds()
    code, told = world.told("status")
    events = world.events()
    seen.where = where(events)
    seen.wrong += untrue(told, events, holds)
    if seen.where in MIDWAY and not all_proven(events, holds) and code != 4:
        seen.wrong.append(f"status ended with {code} although nodes are not done")
    next_renewctl(world, seen)
    return seen


def next_renewctl(world: World, seen: Seen) -> None:
    """The next roll-out fences every node anew, and goes on to proven; the killed run is refused from then on."""
    carried = {node.name: node.run() for node in world.files}
    code, told = world.roll_out()
    if code != 0 or told["renewal"]["phase"] != "proven":
        seen.unhealed.append(
            f"the next run ended with {code}: {told.get('error') or told['renewal']['phase']}"
        )
    _judge_next(world, seen, carried)


def _judge_next(world: World, seen: Seen, carried: Mapping[str, tuple[int, str]]) -> None:
    """Every node is new, every file node fenced anew, and deaf to the run that was killed."""
    holds = world.holds()
    if set(holds.values()) != {"new"}:
        seen.unhealed.append(f"after the next run: {shown(holds)}")
    for node in world.files:
        number, token = carried[node.name]
        if node.run()[0] <= number:
            seen.unhealed.append(f"{node.name}: the next run did not fence: {node.run()[0]} after {number}")
        if number and not node.refuses(number, token, world.old):
            seen.wrong.append(f"{node.name} took an order of run {number}")


def where(events: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """How far a roll-out came, by its events."""
    if not events:
        return _EARLY
    last, body = events[-1]
    if last == "roll_out_finished":
        return _LATE if body["outcome"] == "done" else _SAID
    if last == "roll_out_started":
        return _FENCE
    return _WAVE if any(state is None for state in _recorded(events).values()) else _BETWEEN


def all_proven(events: Sequence[tuple[str, Mapping[str, Any]]], nodes: Iterable[str]) -> bool:
    """Whether each node is on record with the new pair: then only the run's end was not written down."""
    recorded = _recorded(events)
    told = [recorded.get(node) for node in nodes]
    return all(body and (body["direction"], body["outcome"]) == ("new", "proven") for body in told)


def _recorded(events: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Mapping[str, Any] | None]:
    """Node -> its last `node_finished`; None where it was begun and never told of."""
    found: dict[str, Mapping[str, Any] | None] = {}
    for kind, body in events:
        if kind == "wave_started":
            found |= dict.fromkeys(body["nodes"])
        elif kind == "node_finished":
            found[body["node"]] = body
    return found


def untrue(
    status: Mapping[str, Any], events: Sequence[tuple[str, Mapping[str, Any]]], holds: Mapping[str, str]
) -> list[str]:
    """What `status` says, against what the store was told and what the nodes hold."""
    recorded = _recorded(events)
    wrong = []
    for node in status["topics"][0]["nodes"]:
        name, state = node["name"], node["state"]
        body = recorded.get(name)
        if name in recorded and body is None and state != "unknown":
            wrong.append(f"status calls {name} {state}, which was begun and never told of")
        if state in {"proven", "installed"} and holds[name] != "new":
            wrong.append(f"status calls {name} {state}, which holds the pair that is {holds[name]}")
        if name not in recorded and holds[name] != "old":
            wrong.append(f"{name} was changed, and no wave of it was announced")
        if (
            body is not None
            and (body["direction"], body["outcome"]) == ("new", "proven")
            and holds[name] != "new"
        ):
            wrong.append(f"{name} is recorded as proven, and holds the pair that is {holds[name]}")
    return wrong


def kill_playbook(world: World, track: Track, dice: random.Random, kill: tuple[signal.Signals, bool]) -> Seen:
    """One kill of the playbook alone, and the next one."""
    seen = killed_run(world, world.start_plain, track, dice, kill)
    seen.where = _by_nodes(world)
    carried = {node.name: node.run() for node in world.files}
    again = world.start_plain()
    code = again.wait(_LINE_SECONDS)
    if code != 0:
        seen.unhealed.append(f"the next run ended with {code}: {again.talk[-600:]}")
    _judge_next(world, seen, carried)
    return seen


def _by_nodes(world: World) -> str:
    """A playbook alone writes nothing down: how far it came, by its nodes."""
    holds = set(world.holds().values())
    if holds == {"new"}:
        return _LATE
    if "new" in holds:
        return _WAVE
    return _FENCE if any(node.run()[0] for node in world.files) else _EARLY


def _take_your_time(world: World, dice: random.Random) -> None:
    """Nodes are a little slow now and then, so that kills fall into the middle of a change."""
    for api in world.apis:
        api.behave(put_hangs=dice.choice((0.0, 0.5)), put_answers_late=dice.choice((0.0, 0.5)))
    for node in world.files:
        node.slow(dice.choice((0, 1, 2)))


def _wait_for_children(world: World, seen: Seen, dead: float) -> None:
    """Ansible and its workers die with their parent; ssh's shared connections may stay."""
    longest = patience(os.getloadavg()[0] / (os.cpu_count() or 1))
    while left := [n for n in world.net.controller.processes().values() if n.startswith("python")]:
        if time.monotonic() > dead + longest:
            seen.wrong.append(f"still alive {longest:.1f} s after the parent's death: {left}")
            break
        time.sleep(0.02)
    seen.alive = time.monotonic() - dead


def patience(load: float) -> float:
    """`CHAIN` where so many processes want each processor."""
    quiet, most = CHAIN
    return min(most, quiet * max(1.0, load / 2))


def _judge_requests(world: World, seen: Seen, dead: float) -> None:
    """Looks once more when the last child has ended, or should have: what was under way has come by then."""
    time.sleep(UNDER_WAY)
    late = [at - dead for node in world.apis for at in node.server.arrivals if at > dead]
    seen.window = max(late, default=None)
    seen.wrong += sent_by_orphans(seen.window)


def sent_by_orphans(window: float | None) -> list[str]:
    """No request leaves after the parent's death: what came later than one under way was sent by an orphan."""
    if window is None or window <= UNDER_WAY:
        return []
    return [f"a request reached an API node {window:.2f} s after the parent's death"]
