"""The world's processes: started with a socket of their own, ended with their parent.

`Child.start` runs `python -m renewctl.sandbox.children PARENT MODULE ARGUMENT…`, which asks the kernel to
be killed when the parent dies (so that a killed parent leaves nothing behind) and then becomes the
module. A child says that it is ready by one JSON line on stdout; everything else it has to say goes
to its log files.

The kernel ties a child to the *thread* that started it: start children from a thread that stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STOP_SECONDS = 5.0


class WorldBroken(Exception):
    """A part of the sandbox did not come up, or died.

    Attributes:
        child: its name.
        detail: the last lines it said, or what did not happen.
    """

    def __init__(self, child: str, detail: str) -> None:
        self.child = child
        self.detail = detail
        super().__init__(f"sandbox: {child}: {detail}")


@dataclass
class Child:
    """One running process of the world."""

    name: str
    process: subprocess.Popen[bytes]
    talk: Path

    @classmethod
    def start(
        cls,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        logs: Path,
        sockets: Sequence[socket.socket] = (),
    ) -> Child:
        """Start a module as a child process; its stderr goes to `logs/<name>.stderr`.

        Args:
            name: what to call it.
            module: run as `python -m` would.
            arguments: its command line.
            logs: an existing folder.
            sockets: listening sockets it inherits (and names by number); closed here, so that the
                port is dead when the child is.
        """
        talk = logs / f"{name}.stderr"
        command = [sys.executable, "-m", __name__, str(os.getpid()), module, *arguments]
        with talk.open("ab") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=[one.fileno() for one in sockets],
            )
        for one in sockets:
            one.close()
        return cls(name, process, talk)

    def wait_ready(self, seconds: float) -> dict[str, object]:
        """The JSON object of the child's ready line.

        Raises:
            WorldBroken: it ended, or said nothing in time.
        """
        out = self.process.stdout
        if out is None:  # pragma: no cover - Popen was given PIPE
            raise WorldBroken(self.name, "no stdout")
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise WorldBroken(self.name, f"not ready after {seconds:.0f} s {self.last_words()}")
        line = out.readline()
        if not line:
            self.process.wait()
            raise WorldBroken(self.name, f"ended with {self.process.returncode} {self.last_words()}")
        ready: dict[str, object] = json.loads(line)
        return ready

    @property
    def alive(self) -> bool:
        """The process has not ended."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of what it wrote on stderr."""
        return self.talk.read_text(errors="replace")[-800:].strip()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self._reap()

    def ask_to_end(self) -> None:
        """Send SIGTERM, if it still runs."""
        if self.alive:
            self.process.terminate()

    def stop(self) -> None:
        """Ask it to end, insist after five seconds, wait for it."""
        self.ask_to_end()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._reap()

    def _reap(self) -> None:
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def listen(port: int = 0) -> socket.socket:
    """A listening socket on the loopback; port 0: any free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        try:
            listener.bind(("127.0.0.1", port))
            break
        except OSError:  # the port of a child killed a moment ago
            if port == 0 or time.monotonic() > deadline:
                listener.close()
                raise
            time.sleep(0.05)
    listener.listen(256)
    return listener


def port_of(listener: socket.socket) -> int:
    """The port a listening socket has."""
    port: int = listener.getsockname()[1]
    return port


def say_ready(**facts: object) -> None:
    """Tell the parent that this child is ready."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def main(arguments: Sequence[str]) -> None:
    """Tie this process to its parent's life, then become the module."""
    parent, module, rest = int(arguments[0]), arguments[1], arguments[2:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        raise SystemExit(1)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal is the parent's to handle
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
