"""`make crash` ended before its time takes down what it built, in order, and says by its exit code that it was ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.workers import Workers
from tests.crash_harness.test_crash_orphans import alive, children
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUILT = 300.0
"""Seconds until a crowded machine has everything up."""

ENDED = 60.0
"""Seconds until it has everything down: the patience at the top, and some more."""


def below(pid: int) -> dict[int, str]:
    """Process id -> command line, of everything a process has started that is still there."""
    found: dict[int, str] = {}
    for child in children(pid):
        try:
            found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        found |= below(child)
    return found


def left_of(processes: dict[int, str]) -> list[str]:
    """Command lines of those that are still there; ids of processes that ended may be given anew."""
    return [
        line
        for pid, line in processes.items()
        if alive(pid) and Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") == line
    ]


@contextmanager
def crash_run(folder: Path, *parts: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m tests.crash PARTS` as at a terminal: a process group of its own, which a Ctrl-C goes to."""
    command = [sys.executable, "-m", "tests.crash", *parts]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (folder / "said").open("wb") as said:
        run = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            yield run
        finally:
            for pid in (*below(run.pid), run.pid):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            run.wait()


def namespaces(processes: dict[int, str]) -> list[str]:
    """Network namespaces these have made."""
    made = Path("/run/netns")
    return [path.name for path in made.glob("rk*-*") if int(path.name[2:].partition("-")[0]) in processes]


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the server's account may pass through, and whose name leaves room for a socket's."""
    folder = Path(f"/tmp/ce{os.getpid()}")
    folder.mkdir(mode=0o755)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def everything_is_up(run: subprocess.Popen[bytes]) -> dict[int, str] | None:
    """A database server, a traced command's server, and the namespaces and servers of a roll-out's world."""
    assert run.poll() is None
    found = below(run.pid)
    lines = "\n".join(found.values())
    wanted = ("/postgres -D", "tests.crash.kills.child", "sshd")
    return found if all(word in lines for word in wanted) and namespaces(found) else None


def test_told_to_end_every_part_takes_down_what_it_built(short: Path) -> None:
    """SIGTERM: no process, namespace or folder is left of database servers, worlds and traced commands; exit 143."""
    with crash_run(short) as run:
        seen: dict[int, str] = {}

        def up() -> bool:
            seen.update(everything_is_up(run) or {})
            return bool(seen)

        eventually(up, BUILT)
        seen |= below(run.pid)
        os.kill(run.pid, signal.SIGTERM)
        code = run.wait(ENDED)
        said = (short / "said").read_text()
        assert code == 128 + signal.SIGTERM, said
        assert "broke off" not in said
        eventually(lambda: not left_of(seen), 5)
        assert namespaces(seen) == []
        assert [path.name for path in short.iterdir()] == ["said"], said
        in_memory = set(re.findall(r"/dev/shm/renewctl-crash-\w+", " ".join(seen.values())))
        assert [path for path in in_memory if Path(path).exists()] == []


def test_control_c_ends_it_in_the_same_order(short: Path) -> None:
    """SIGINT to the whole group reaches none but the top: the part ends by its own `finally`s, not by an error."""
    with crash_run(short, "postgresql") as run:
        eventually(lambda: "/postgres -D" in "\n".join(below(run.pid).values()), BUILT)
        seen = below(run.pid)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(ENDED) == 128 + signal.SIGINT
        eventually(lambda: not left_of(seen), 5)
        said = (short / "said").read_text()
        assert "Traceback" not in said, said
        assert [path.name for path in short.iterdir()] == ["said"]


def tidy(folder: Path) -> None:
    """A task that takes down what it built, and takes its time."""
    (folder / f"{os.getpid()}").touch()
    try:
        time.sleep(600)
    finally:
        time.sleep(0.3)
        (folder / f"{os.getpid()}").unlink()


def deaf(folder: Path) -> None:
    """A task that does not end when it is told, and has started a process with a session of its own."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (folder / f"{child.pid}").touch()
    while True:
        try:
            time.sleep(600)
        except SystemExit:
            continue


def begun(folder: Path, task: Callable[[Path], None], patience: float) -> list[int]:
    """Two workers at such tasks, of which more are waiting, and SystemExit; the ids their files are named by."""
    found: list[int] = []

    def leave() -> None:
        with Workers(2, patience=patience) as pool:
            futures = [pool.submit(task, folder) for _ in range(6)]
            eventually(lambda: len(list(folder.iterdir())) == 2, 60)
            found.extend(int(path.name) for path in folder.iterdir())
            assert not any(future.done() for future in futures)
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        leave()
    return found


def test_a_worker_takes_down_what_it_built_and_begins_nothing_more(tmp_path: Path) -> None:
    """Each leaves its task by its `finally`, in its time, and takes none of those that wait."""
    workers = begun(tmp_path, tidy, 30)
    eventually(lambda: not any(map(alive, workers)), 5)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_end_is_killed_with_all_below_it(tmp_path: Path) -> None:
    """After its time, and also what it put into a session of its own."""
    began = time.monotonic()
    started = begun(tmp_path, deaf, 1)
    eventually(lambda: not any(map(alive, started)), 5)
    assert time.monotonic() - began < 30
