"""The demo as a visitor runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_WORLD = 9
"""Processes of a demo that rolls nothing out: the story, a command, portal, push service, nodes, devices, exporter."""

_SECONDS = 300  # on a loaded machine; quiet it takes well under a minute


class Demo:
    """`make demo`, running; its world's folder is below `folder`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self._out = (folder / "out.txt").open("wb")
        self.process = subprocess.Popen(
            # A run in the background ignores SIGINT, and so would its children: then a Ctrl-C would be none.
            ["env", "--default-signal=INT", sys.executable, "-m", "renewctl.sandbox.story", *words],
            env={**os.environ, "TMPDIR": str(folder), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    def text(self) -> str:
        """What it told so far."""
        return (self.folder / "out.txt").read_text()

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Wait, failing when the demo ends first."""
        ends = time.monotonic() + _SECONDS
        while not happened():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < ends, self.text()
            time.sleep(0.2)

    def ended(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(_SECONDS)
        finally:
            self.process.kill()
            self._out.close()

    def world(self) -> dict[str, dict[str, int]]:
        """`world.json`, once it is there."""
        self.wait_until(lambda: bool(list(self.folder.glob("renewctl-demo-*/world/world.json"))))
        found: dict[str, dict[str, int]] = json.loads(
            next(self.folder.glob("renewctl-demo-*/world/world.json")).read_text()
        )
        return found


def test_the_happy_year_is_told_to_its_end(tmp_path: Path) -> None:
    """From the date to the closed renewal: 200 devices woken with the new serial, the metric moved, no leftovers."""
    demo = Demo(tmp_path)
    assert demo.ended() == 0, demo.text()
    told = demo.text()
    assert "42 days left" in told
    assert "devices that checked in: 200 of 200" in told
    assert "tokyo-1 is closed" in told
    dates = [line.split("} ")[1] for line in told.splitlines() if line.startswith("mdm_push_certificate")]
    assert len(set(dates)) == 2
    assert "Traceback" not in told
    assert not list(tmp_path.glob("renewctl-*"))


def test_a_person_who_pressed_create_is_refused_and_the_demo_ends_well(tmp_path: Path) -> None:
    """WORLD=wrong-apple-account: refused, explained, 0."""
    demo = Demo(tmp_path, "--world", "wrong-apple-account")
    assert demo.ended() == 0, demo.text()
    assert "refused (topic_differs); no node was touched" in demo.text()
    assert "roll-out, canary first" not in demo.text()


def test_killing_a_node_makes_the_demo_end_non_zero(tmp_path: Path) -> None:
    """The demo notices that a part of its world died."""
    demo = Demo(tmp_path)
    os.kill(demo.world()["pids"]["node-2"], signal.SIGKILL)
    assert demo.ended() == 1
    assert "node-2: died" in demo.text()


def test_keep_leaves_the_world_up_until_interrupted(tmp_path: Path) -> None:
    """KEEP=1: URLs to open and commands to try; Ctrl-C ends all of it well."""
    demo = Demo(tmp_path, "--world", "wrong-apple-account", "--keep")
    demo.wait_until(lambda: "stays up until Ctrl-C" in demo.text() and "node observe" in demo.text())
    pids = demo.world()["pids"].values()
    opened, tried = demo.text().split("stays up until Ctrl-C")[1].split("Try, in another terminal:")
    urls = re.findall(r"https?://\S+", opened)
    assert len(urls) == 5  # portal, three nodes, metrics
    for url in urls:
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.status == 200, url
    typed = [line.strip() for line in tried.splitlines()]
    pasted = "\n".join(line for line in typed if line.startswith("export ")) + "\nrenewctl renewal show\n"
    bare = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    ran = subprocess.run(
        ["/bin/sh", "-e"], input=pasted, env=bare, cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran
    demo.process.send_signal(signal.SIGINT)
    assert demo.ended() == 0
    assert "renewctl renewal show" in typed
    assert "renewctl status --lang ja" in typed
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.glob("renewctl-*"))


def test_a_demo_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM in the middle of the roll-out: no process and no folder stays, asked twice or not."""
    demo = Demo(tmp_path)
    demo.wait_until(lambda: "renewal roll-out" in demo.text() and len(_processes(tmp_path)) > _WORLD)
    demo.process.terminate()
    demo.process.terminate()
    assert demo.ended() == 0, demo.text()
    assert "Traceback" not in demo.text()
    ends = time.monotonic() + _SECONDS
    while _processes(tmp_path):  # the kernel ends what hung on those that ended
        assert time.monotonic() < ends, _processes(tmp_path)
        time.sleep(0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def _processes(folder: Path) -> list[str]:
    """Everything that was started for a demo whose temporary files go to this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            named = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended, or is another user's
            continue
        if any(line.startswith(f"TMPDIR={folder}".encode()) for line in environment) and named:
            found.append(named)
    return found
