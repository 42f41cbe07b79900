"""Kill the controller at random moments of a roll-out, cut cables, let nodes misbehave; `renewctl` and the playbooks alone.

::

    python -m tests.crash rollout            # 40 kills of renewctl, 6 of the playbook alone; about ten minutes
    python -m tests.crash --full rollout     # 200 and 30

Needs root (network namespaces), `ip`, `sshd` and `age`. Every random choice comes of a seed that a failure names.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.crash.progress import say
from tests.crash.rollout_alone import troubles_alone
from tests.crash.rollout_kills import HOWS, MIDWAY, Seen, Track, kill_playbook, kill_renewctl, label
from tests.crash.rollout_troubles import Trouble, all_troubles
from tests.crash.rollout_world import QUICK, world
from tests.crash.table import Part, Row
from tests.crash.workers import Workers

SEED = 20270121
WORLDS = 4
"""Side by side. Each waits most of the time, and takes a third of a core."""

_RENEWCTL, _ALONE = "renewal roll-out", "ansible-playbook alone"
_TROUBLES, _TROUBLES_ALONE = "troubles", "troubles, playbooks alone"
_BETWEEN = {_RENEWCTL: ("preparing", "rolled out"), _ALONE: ("Take this run", "PLAY RECAP")}
"""Kills fall between the lines with these words: where something is being changed."""
_MIDWAY_SHARE = 0.6
"""Fewer kills than this in the middle, and the moments were badly chosen: the run proves too little."""
_VECTORS = 4
"""Fewer different sets of node states than this right after the kills prove too little as well."""


@dataclass(frozen=True)
class Job:
    """What one world is used for: so many kills of a command, or the troubles."""

    command: str
    count: int
    seed: int
    full: bool


def run(full: bool) -> Part:
    """All of it; `full` for the long run by hand."""
    jobs = _jobs(full=full)
    seen: dict[str, list[Seen]] = {_RENEWCTL: [], _ALONE: []}
    troubles: list[Trouble] = []
    failures: list[str] = []
    with Workers(WORLDS, start="spawn") as pool:
        for job, told in zip(jobs, pool.map(_worked, jobs), strict=True):
            if isinstance(told, str):
                failures.append(f"{job} broke off: {told}")
            elif job.command in seen:
                seen[job.command] += [one for one in told if isinstance(one, Seen)]
            else:
                troubles += [one for one in told if isinstance(one, Trouble)]
    return report(seen, troubles, failures)


def _jobs(*, full: bool) -> list[Job]:
    """The longest first, so that no world is left alone with it."""
    kills, each, alone = (200, 25, 30) if full else (40, 10, 6)
    shares = [Job(_RENEWCTL, each, SEED + number, full) for number in range(kills // each)]
    troubles = [Job(name, 0, SEED, full) for name in (_TROUBLES, _TROUBLES_ALONE)]
    return [troubles[0], *shares, troubles[1], Job(_ALONE, alone, SEED + 1000, full)]


def _worked(job: Job) -> Sequence[Seen | Trouble] | str:
    """One job in a world of its own; what broke it off, as text: not every exception travels well."""
    try:
        return _work(job)
    except Exception as error:  # noqa: BLE001 - the other worlds go on
        return f"{type(error).__name__}: {error}"


def _work(job: Job) -> Sequence[Seen | Trouble]:
    with world() as built:
        if job.command == _TROUBLES:
            return all_troubles(built, full=job.full)
        if job.command == _TROUBLES_ALONE:
            return troubles_alone(built)
        alone = job.command == _ALONE
        first = built.start_plain() if alone else built.start("renewal", "roll-out", *QUICK)
        code = first.wait(600)
        assert code == 0, first.talk
        track, dice = Track.of(first, *_BETWEEN[job.command]), random.Random(job.seed)  # noqa: S311 - the same moments again
        kill = kill_playbook if alone else kill_renewctl
        found = []
        for number in range(job.count):
            one = kill(built, track, dice, HOWS[(job.seed + number) % len(HOWS)])
            say(f"rollout: {job.command}: {one.how}: {one.where}: {one.settled}{_complaint(one)}")
            found.append(one)
        return found


def _complaint(one: Seen) -> str:
    return "".join(f"; WRONG: {text}" for text in [*one.wrong, *one.unhealed])


def report(seen: Mapping[str, Sequence[Seen]], troubles: Sequence[Trouble], failures: Iterable[str]) -> Part:
    """The table of what was seen; too few kills in the middle are a failure as well."""
    said = list(failures)
    for command, kills in seen.items():
        for one in kills:
            said += [f"{command}: {one.how} at {one.moment}: {text}" for text in [*one.wrong, *one.unhealed]]
        said += _too_little(command, kills)
    said += [f"{one.call}, {one.kind}, {one.error}: {text}" for one in troubles for text in one.wrong]
    return Part(
        rows=[row for command, kills in seen.items() for row in _rows(command, kills)],
        errors=[trouble.row for trouble in troubles],
        states=[line for command, kills in seen.items() for line in _states(command, kills)],
        failures=said,
    )


def _rows(command: str, kills: Sequence[Seen]) -> list[Row]:
    rows = []
    for how, group in HOWS:
        ours = [one for one in kills if one.how == label(how, group=group)]
        if ours:
            sound = sum(not one.wrong for one in ours)
            healed = sum(not one.unhealed and not one.wrong for one in ours)
            killed = sum(bool(one.settled) for one in ours)
            rows.append(
                Row("rollout", f"{command}: {label(how, group=group)}", len(ours), killed, sound, healed)
            )
    return rows


def _states(command: str, kills: Sequence[Seen]) -> list[str]:
    if not kills:
        return []
    lines = [
        f"{command}: {count} x killed {where}"
        for where, count in Counter(k.where for k in kills).most_common()
    ]
    lines += [
        f"{command}: {count} x {vector} (API nodes, file nodes) right after the kill"
        for vector, count in Counter(one.right_after for one in kills).most_common()
    ]
    moved = sum(one.right_after != one.settled for one in kills)
    late = [one.window for one in kills if one.window is not None]
    window = f"{len(late)} requests, the last after {max(late):.2f} s" if late else "no request"
    return [
        *lines,
        f"{command}: {moved} x an orphan on a file node went on to its end after that",
        f"{command}: {window} reached API nodes after the parent's death",
        f"{command}: its last child ended {max(one.alive for one in kills):.2f} s after it at the latest",
    ]


def _too_little(command: str, kills: Sequence[Seen]) -> list[str]:
    if not kills:
        return [f"{command}: no kill at all"]
    midway = sum(one.where in MIDWAY for one in kills)
    vectors = len({one.right_after for one in kills})
    said = []
    if midway < _MIDWAY_SHARE * len(kills):
        said.append(f"{command}: only {midway} of {len(kills)} kills fell in the middle")
    if vectors < min(_VECTORS, len(kills) // 3):
        said.append(f"{command}: only {vectors} different sets of node states were seen")
    return said
