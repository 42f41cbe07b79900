"""What dies with its parent: `ansible-playbook` with `renewctl`, a worker with `ansible-playbook`; at once, asleep or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.playbook_world import World, world
from tests.support.sandbox_parts import eventually, push_service
from tests.support.scripted_nanomdm import Script

pytestmark = pytest.mark.slow

AT_ONCE = 1.0
"""Seconds after which whoever outlives its parent is still there."""

CROWDED = 4.0
"""Seconds until whoever does not is gone. The signal itself takes none; on a crowded machine two processes wait their turn."""

ASLEEP = 9.0
"""Seconds a worker waits for its node's answer: far more than `CROWDED`, less than a call's deadline of ten."""

CONTROLLER = '''
import json, sys
from renewctl import playbook_run
broken = sys.argv[2]
sound = "ctypes.CDLL(None).prctl(1, 9)"
assert sound in playbook_run._LAUNCH
if broken == "ansible-playbook outlives renewctl":
    playbook_run._LAUNCH = playbook_run._LAUNCH.replace(sound, "")
elif broken == "workers outlive ansible-playbook":
    # The prctl that workers get hold of afterwards does nothing.
    deaf = """
real = ctypes.CDLL
class Deaf:
    prctl = staticmethod(lambda *_: 0)
ctypes.CDLL = lambda *a, **k: Deaf if a == (None,) and not k else real(*a, **k)
"""
    playbook_run._LAUNCH = playbook_run._LAUNCH.replace(sound, sound + deaf)
hosts, variables = json.load(open(sys.argv[1]))
playbook_run.run("rollout", hosts, variables, on_event=lambda event: None)
'''


@pytest.fixture
def mdm(tmp_path: Path) -> Iterator[World]:
    """One API node that takes its time to answer a PUT."""
    (tmp_path / "push-service").mkdir()
    with push_service(tmp_path / "push-service") as pushes, world(tmp_path, pushes) as built:
        built.api_node("n1", Script(put_hangs=ASLEEP))
        yield built


@dataclass(frozen=True)
class Chain:
    """The three processes, the worker asleep until its node answers."""

    controller: subprocess.Popen[bytes]
    ansible: int
    worker: int


@contextmanager
def asleep(mdm: World, broken: str) -> Iterator[Chain]:
    """A roll-out whose worker waits for the answer to its PUT; what a broken product leaves is ended."""
    told = mdm.folder / "told.json"
    told.write_text(json.dumps([mdm.hosts, mdm.variables()]))
    words = [sys.executable, "-c", CONTROLLER, str(told), broken]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as controller:
        below: list[int] = []
        try:
            eventually(lambda: bool(mdm.changes()["n1"]), 120)
            below += children(controller.pid)
            # Ansible has helpers too (forks that end): the worker is who holds the connection.
            below += [child for child in children(below[0]) if _connected(child)]
            yield Chain(controller, *below)
        finally:
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            controller.kill()


def children(pid: int) -> list[int]:
    """Of all threads of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def _connected(pid: int) -> bool:
    """Whether it has a TCP connection of its own open."""
    with suppress(OSError):
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 - a text
        tcp = Path(f"/proc/{pid}/net/tcp").read_text()
        sockets = [link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")]
        return any(f" {number} " in tcp for number in sockets)
    return False


def alive(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has buried yet."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def outlives(pid: int, seconds: float) -> bool:
    """Whether a process is still there after so long."""
    ends = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < ends:
        time.sleep(0.01)
    return alive(pid)


@pytest.mark.parametrize(
    ("killed", "broken", "survivors"),
    [
        ("renewctl", "", set()),
        ("ansible-playbook", "", set()),
        ("renewctl", "ansible-playbook outlives renewctl", {"ansible-playbook", "worker"}),
        ("renewctl", "workers outlive ansible-playbook", {"worker"}),
        ("ansible-playbook", "workers outlive ansible-playbook", {"worker"}),
    ],
)
def test_a_sleeping_worker_is_gone_at_once(mdm: World, killed: str, broken: str, survivors: set[str]) -> None:
    """Killed with SIGKILL, the parent takes all below it along; without either link of the chain it does not."""
    with asleep(mdm, broken) as chain:
        os.kill(chain.controller.pid if killed == "renewctl" else chain.ansible, signal.SIGKILL)
        if killed == "renewctl":
            chain.controller.wait()
        below = {"ansible-playbook": chain.ansible, "worker": chain.worker}
        seconds = dict.fromkeys(below, CROWDED) | dict.fromkeys(survivors, AT_ONCE)
        assert {name for name, pid in below.items() if outlives(pid, seconds[name])} == survivors
