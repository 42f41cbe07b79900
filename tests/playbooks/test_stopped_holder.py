"""A holder that was stopped (a closed laptop, SIGSTOP) and wakes up after somebody took over changes no node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from renewctl.store.lease import Timing
from renewctl.store.write import Stamp, Store
from tests.support.playbook_world import World
from tests.support.scripted_nanomdm import Script

pytestmark = pytest.mark.slow

TIMING = Timing(beat=1.0, lost=5.0, patience=6.0, look=0.1)

HOLDER = """
import json, sys
from renewctl import playbook_run
from renewctl.errors import Attention
from renewctl.store.lease import Timing
from renewctl.store.write import Stamp, Store
url, hosts, variables = json.load(open(sys.argv[1]))
with Store(url, timing=Timing(beat=1.0, lost=5.0, patience=8.0)) as store:
    with store.lease("tokyo-1", Stamp("first@ops1", "ops1", "0", "d")) as lease:
        tell = lambda event: print(event, flush=True)
        playbook_run.run("rollout", hosts, variables, permit=lease.permit, on_event=tell)
        try:
            lease.check()
        except Attention as error:
            print(error.reason, flush=True)
"""


def family(pid: int) -> list[int]:
    """A process and all that came of it, parents first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def until(happened: Callable[[], object]) -> None:
    """Wait for something."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def stop(pid: int) -> list[int]:
    """Stop a whole family, also those who are born meanwhile; everyone who was stopped."""
    stopped: list[int] = []
    while new := [one for one in family(pid) if one not in stopped]:
        for one in new:
            os.kill(one, signal.SIGSTOP)
        stopped += new
    return stopped


def test_a_stopped_roll_out_that_wakes_up_after_a_takeover_changes_no_further_node(mdm: World) -> None:
    """Stopped while n1 is given its pair; the children wake up before the holder does; n2 is left alone."""
    mdm.api_node("n1", Script(put_hangs=6.0))  # so that n2 is not begun before it is stopped
    mdm.api_node("n2")
    url = f"sqlite:///{mdm.folder}/store/renewctl.db"
    Store.create(url)
    told = mdm.folder / "told.json"
    told.write_text(json.dumps([url, mdm.hosts, mdm.variables()]))
    with Store(url, timing=TIMING) as second:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(told)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda: mdm.changes()["n1"])
        seen = second.newest_run()
        until(lambda: second.newest_run() != seen)  # it has just beaten, so it holds no lock of the store
        stopped = stop(holder.pid)
        taken = second.begin_run("tokyo-1", Stamp("second@ops2", "ops2", "0", "d"))
        before = mdm.changes()
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)
        out = holder.communicate(timeout=120)[0]
        assert out.splitlines()[-1] == "run_lost"
        assert "controller_gone" in out
        assert mdm.changes() == before
        assert (before["n2"], len(before["n1"])) == ([], 1)
        assert second.open_run() == taken
