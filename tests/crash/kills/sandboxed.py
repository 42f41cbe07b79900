"""A sample of the same kills with the real playbooks, against one API node of the sandbox.

Only a sample: Ansible takes seconds, and where it is killed itself is `part_rollout`'s business.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from renewctl.renewal import rules as renewal
from renewctl.renewal.events import Event
from renewctl.sandbox.worlds import world
from tests.crash.kills import office, truth
from tests.crash.kills.calls import Call, calls_in
from tests.crash.kills.deeds import Verdict
from tests.crash.kills.strace import FLAGS, ROOT, SECONDS, TRACED_FLAG
from tests.support.operator import Operator, operator

_STATE = ("state", "keys")


@dataclass(frozen=True)
class _Seen:
    """What the store tells, as far as two real roll-outs agree: kinds of events, phase, what became of the node."""

    kinds: Sequence[str]
    end: object


def sample(folder: Path, count: int, seed: int) -> list[Verdict]:
    """Kill a real roll-out at so many points, each time from the same accepted renewal, and repeat it.

    Args:
        folder: to work in.
        seed: which points.
    """
    with operator(world("happy-year"), folder) as at_work:
        _leave_one_node(at_work.world.inventory)
        at_work.to_accepted()
        here = _Sandbox(at_work, folder)
        here.save()
        here.run()  # the first one opens a few files more than all others
        here.restore()
        points = here.run()
        end = here.seen()
        chosen = random.Random(seed).sample(range(len(points)), count)  # noqa: S311 - a choice to repeat
        return [_kill(here, points, at, end) for at in sorted(chosen)]


def _kill(here: _Sandbox, points: Sequence[Call], at: int, end: _Seen) -> Verdict:
    here.restore()
    hit = here.run(points[at]) == list(points[: at + 1])
    now = here.seen()
    wrong_now = [] if list(end.kinds[: len(now.kinds)]) == list(now.kinds) else [f"events {now.kinds}"]
    here.run()
    after = here.seen()
    wrong_after = [] if after.end == end.end else [f"came to {after.end}, expected {end.end}"]
    where = f"real roll-out, point {at} of {len(points)}, {points[at].name} of {points[at].kind}"
    return Verdict(where, hit, wrong_now, wrong_after)


class _Sandbox:
    """The operator's state folders, and the roll-out under strace: its own main thread alone."""

    def __init__(self, at_work: Operator, folder: Path) -> None:
        self._at_work, self._saved, self._log = at_work, folder / "saved", folder / "strace"
        self._root = at_work.world.inventory.parent

    def save(self) -> None:
        """Keep the state folders as they are."""
        for name in _STATE:
            office.copy(self._root / name, self._saved / name)

    def restore(self) -> None:
        """Put them back."""
        for name in _STATE:
            office.copy(self._saved / name, self._root / name)

    def run(self, kill_at: Call | None = None) -> list[Call]:
        """Roll out; its calls up to where it was killed."""
        choice = ["-e", TRACED_FLAG]
        if kill_at is not None:
            choice += ["-e", f"inject={kill_at.name}:signal=SIGKILL:when={kill_at.nth}"]
        command = [sys.executable, "-m", "tests.crash.kills.child", "-", "renewal", "roll-out"]
        subprocess.run(
            ["strace", *FLAGS, *choice, "-o", str(self._log), *command],
            cwd=self._at_work.folder,
            env={
                **os.environ,
                **self._at_work.environment,
                "HOME": str(self._at_work.folder / "home"),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",  # or the first run alone would open those files too
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        lines = self._log.read_text(errors="replace").splitlines()
        found = calls_in(lines, str(self._root), lambda path: path.partition("/")[0])
        return [call for call in found if call.kind in {*_STATE, "-"}]

    def seen(self) -> _Seen:
        """What a reader sees, of a copy: the repeat must mend the real thing."""
        copy = self._saved.with_name("copy")
        office.copy(self._root / "state", copy / "state")
        (events,) = [each for each in truth.read(copy, recover=True).values() if _is_renewal(each)]
        fold = renewal.fold(events)
        assert fold is not None
        nodes = {name: (node.direction, node.outcome) for name, node in fold.nodes.items()}
        return _Seen([event.kind.value for event in events], (fold.phase, nodes))


def _is_renewal(events: Sequence[Event]) -> bool:
    return renewal.fold(events) is not None


def _leave_one_node(inventory: Path) -> None:
    whole = yaml.safe_load(inventory.read_text())
    whole["nodes"] = whole["nodes"][:1]
    inventory.write_text(yaml.safe_dump(whole, sort_keys=False))
