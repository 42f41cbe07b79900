"""`renewctl` dies in the middle of a wave; nodes and controller are machines of their own. More in `make crash`."""

from __future__ import annotations

import signal
import time

import pytest

from tests.crash.rollout_kills import Seen, after_death, next_renewctl, untrue
from tests.crash.rollout_nodes import ApiNode, FileNode
from tests.crash.rollout_world import QUICK, world
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow


def test_killed_in_the_middle_of_a_wave() -> None:
    """No mixed pair, no orphan on the controller, the wave is called unknown, and the next run mends it all.

    Killed while one node is sent the pair and another reloads it. The killed run is refused from then on.
    """
    with world() as built:
        api, file = built.nodes["api-2"], built.nodes["file-1"]
        assert isinstance(api, ApiNode)
        assert isinstance(file, FileNode)
        api.behave(put_hangs=9.0)
        file.slow(8)
        command = built.start("renewal", "roll-out", *QUICK)
        eventually(lambda: "taken" in api.puts and file.reloads("began") > 0, 240)
        assert command.kill(signal.SIGKILL, group=False)
        command.process.wait(60)
        seen = Seen("KILL, alone", "in wave 2")
        after_death(built, seen, time.monotonic())
        code, told = built.told("status")
        assert code == 4
        states = {node["name"]: node["state"] for node in told["topics"][0]["nodes"]}
        assert states == {"api-1": "proven"} | dict.fromkeys(
            ("api-2", "api-3", "file-1", "file-2"), "unknown"
        )
        assert untrue(told, built.events(), built.holds()) == []
        next_renewctl(built, seen)
        assert (seen.wrong, seen.unhealed) == ([], [])
