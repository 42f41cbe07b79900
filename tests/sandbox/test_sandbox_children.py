"""A world's processes say when they are ready, say why they are not, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from renewctl.sandbox import children
from renewctl.sandbox.children import Child, WorldBroken, listen, port_of
from tests.support.sandbox_parts import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that children can run."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return tmp_path


def write(modules: Path, text: str) -> str:
    """Write a module; returns its name."""
    (modules / "part.py").write_text("import sys, time, signal\n" + text)
    return "part"


def running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return False


def test_a_child_tells_when_it_is_ready(modules: Path) -> None:
    """Its first line on stdout is a JSON object; its arguments are its own; stopping it ends it at once."""
    module = write(modules, "print('{\"seen\": \"' + sys.argv[1] + '\"}', flush=True); time.sleep(60)")
    child = Child.start("part", module, ["hello"], logs=modules)
    assert child.wait_ready(120) == {"seen": "hello"}
    assert child.alive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "_STOP_SECONDS", 60.0)
        child.stop()
    assert child.process.returncode == 0
    child.stop()


def test_a_child_that_fails_is_quoted(modules: Path) -> None:
    """The error carries the end of what it wrote on stderr."""
    child = Child.start("part", write(modules, "sys.exit('no such luck')"), [], logs=modules)
    with pytest.raises(WorldBroken, match="no such luck") as caught:
        child.wait_ready(120)
    assert caught.value.child == "part"
    child.stop()


def test_a_child_that_is_never_ready_is_given_up(modules: Path) -> None:
    """After the time given, with its name; one that ignores a polite request is killed."""
    text = "signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stderr.write('deaf'); sys.stderr.flush(); time.sleep(60)"
    child = Child.start("part", write(modules, text), [], logs=modules)
    eventually(lambda: child.last_words() == "deaf")
    with pytest.raises(WorldBroken, match=r"not ready after 0 s deaf"):
        child.wait_ready(0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "_STOP_SECONDS", 0.2)
        child.stop()
    assert child.process.returncode == -signal.SIGKILL


def test_a_killed_parent_leaves_nothing_behind(modules: Path) -> None:
    """When the parent is killed without a chance to tidy up, its child goes too."""
    module = write(modules, "print('{}', flush=True); time.sleep(60)")
    text = (
        "from pathlib import Path; from renewctl.sandbox.children import Child; import time\n"
        f"child = Child.start('part', {module!r}, [], logs=Path({str(modules)!r})); child.wait_ready(120)\n"
        "print(child.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert running(pid)
        parent.kill()
    eventually(lambda: not running(pid))


def test_a_child_whose_parent_is_gone_does_not_begin(modules: Path) -> None:
    """The parent may die before the kernel is asked; then the child ends by itself."""
    module = write(modules, "print('alive')")
    command = [sys.executable, "-m", "renewctl.sandbox.children", "1", module]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_port_dies_with_its_child(modules: Path) -> None:
    """Nobody else holds the listening socket, so a killed child's port refuses; it can be had again."""
    listener = listen()
    port = port_of(listener)
    module = write(modules, "print('{}', flush=True); time.sleep(60)")
    child = Child.start("part", module, [], logs=modules, sockets=[listener])
    child.wait_ready(120)
    with socket.create_connection(("127.0.0.1", port)):
        pass
    child.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with listen(port) as again:
        assert port_of(again) == port


def test_a_taken_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port somebody else holds is given up after a while."""
    monkeypatch.setattr(children, "_STOP_SECONDS", 0.2)
    with listen() as first, pytest.raises(OSError, match="in use"):
        listen(port_of(first))
