"""Commands under strace: watched, killed at one call, or made to fail at one.

A forked child waits at a gate until strace has attached, so that nothing goes by unseen: once strace says
that it is attached, the child stops at its next call (ptrace(2), PTRACE_INTERRUPT).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import IO, Any

from tests.crash.kills.calls import STAYS, TRACED, Call
from tests.crash.kills.forkserver import UMASK
from tests.crash.kills.office import environment

SECONDS = 120.0
"""Longer than any command takes, on the slowest machine."""

FLAGS = ("-y", "-s", "0", "-e", "signal=none")
TRACED_FLAG = "trace=" + ",".join(f"?{name}" for name in TRACED)  # "?": an older kernel may lack one
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code; negative: killed by that signal.
        lines: what strace wrote of its main thread; empty where it was not traced.
    """

    code: int
    out: str
    err: str
    lines: Sequence[str] = ()

    @property
    def killed(self) -> bool:
        """By SIGKILL."""
        return self.code == -SIGKILL


def alone(program: Sequence[str], folder: Path, log: Path) -> list[Sequence[str]]:
    """Run a program in a process of its own under an unfiltered trace of all its threads.

    Args:
        program: with all its arguments.
        folder: the office.
        log: where strace writes, one file a thread.

    Returns:
        The lines of each thread, the main one first.
    """
    for old in log.parent.glob(f"{log.name}.*"):
        old.unlink()
    subprocess.run(
        ["strace", "-ff", "--seccomp-bpf", *FLAGS, "-o", str(log), *program],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=SECONDS,
        umask=UMASK,
    )
    threads = [path.read_text(errors="replace").splitlines() for path in log.parent.glob(f"{log.name}.*")]
    # The main one began with the program; ids tell nothing: they begin anew when they have run out.
    return sorted(threads, key=lambda lines: not (lines and lines[0].startswith("execve(")))


def killed_at(at: Call) -> str:
    """Of strace's `inject=`: SIGKILL as that call is entered."""
    return f"{at.name}:signal=SIGKILL:when={at.nth}"


def failing_at(at: Call, error: str) -> list[str]:
    """Of strace's `inject=`: that call fails, once; with a `+` behind the error all after it as well (`STAYS`)."""
    error, stays, _ = error.partition("+")
    names = STAYS[error] if stays else frozenset[str]()
    once = [] if at.name in names else [f"{at.name}:error={error}:when={at.nth}"]
    return once + [f"?{name}:error={error}:when={at.before.get(name, 0) + 1}+" for name in sorted(names)]


def injected(*what: str) -> list[str]:
    """Flags of strace for these injections, all points in the trace."""
    return ["-e", TRACED_FLAG, *(word for each in what for word in ("-e", f"inject={each}"))]


class Forks:
    """A process that has imported a program and forks off one command at a time (`forkserver`).

    Args:
        folder: for what belongs to this server alone: strace's log, outputs.
        program: the server's command line, but for the gate's descriptor.
    """

    def __init__(self, folder: Path, program: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._log = folder, folder / "strace"
        behind, self._gate = os.pipe()
        self._server = subprocess.Popen(
            [*program, str(behind)],
            pass_fds=(behind,),
            cwd=ROOT,
            env={**os.environ, **environment(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.close(behind)

    def run(self, folder: Path, words: Sequence[str]) -> Done:
        """One command, untouched."""
        with self._forked(folder, words, gate=False):
            pass
        return self._done(())

    def watch(self, folder: Path, words: Sequence[str]) -> Done:
        """One command under an unfiltered trace of its main thread."""
        return self._traced(folder, words, ("-e", "trace=all"))

    def kill(self, folder: Path, words: Sequence[str], at: Call) -> Done:
        """One command, killed as it enters that call."""
        return self._traced(folder, words, injected(killed_at(at)))

    def fail(self, folder: Path, words: Sequence[str], at: Call, error: str) -> Done:
        """One command in which that call fails: once, or (`ENOSPC+`) it and all after it."""
        return self._traced(folder, words, injected(*failing_at(at, error)))

    def close(self) -> None:
        """End the server."""
        os.close(self._gate)
        self._server.communicate(timeout=SECONDS)

    def in_thread(
        self,
        folder: Path,
        words: Sequence[str],
        choice: Sequence[str],
        thread: Callable[[], int],
        go: Callable[[], None],
    ) -> Done:
        """One command of which another thread is traced.

        Args:
            choice: flags of strace.
            thread: waits until that thread is there, and gives its id.
            go: called when it is traced.
        """
        with self._forked(folder, words, gate=False):
            self._attached(thread(), choice, go)
        return self._done(self._log.read_text(errors="replace").splitlines())

    def _traced(self, folder: Path, words: Sequence[str], choice: Sequence[str]) -> Done:
        with self._forked(folder, words, gate=True) as child:
            self._attached(child, choice, lambda: os.write(self._gate, b"!"))
        return self._done(self._log.read_text(errors="replace").splitlines())

    def _attached(self, thread: int, choice: Sequence[str], go: Callable[[], object]) -> None:
        """Trace one thread to its end."""
        self._log.unlink(missing_ok=True)
        command = ["strace", *FLAGS, *choice, "-o", str(self._log), "-p", str(thread)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace, _let_go(strace):
            said = strace.stderr.readline() if strace.stderr else ""
            if f"{thread} attached" not in said:
                raise RuntimeError(f"strace did not attach: {said}")
            go()
            # Its end closes its stderr: waiting for that costs nothing, `wait` with a timeout looks and sleeps.
            if not select.select([strace.stderr], [], [], SECONDS)[0]:
                raise RuntimeError(f"still running after {SECONDS:.0f} s: {command}")

    @contextmanager
    def _forked(self, folder: Path, words: Sequence[str], *, gate: bool) -> Iterator[int]:
        job = {
            "folder": str(folder),
            "words": list(words),
            "environment": environment(folder),
            "out": str(self._folder / "out"),
            "err": str(self._folder / "err"),
            "gate": gate,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        yield self._heard()["child"]
        self._ended = self._heard()["ended"]

    def _heard(self) -> dict[str, Any]:
        server: IO[str] | None = self._server.stdout
        answer: dict[str, Any] = json.loads(server.readline() if server else "")
        return answer

    def _done(self, lines: Sequence[str]) -> Done:
        out, err = (self._folder / name for name in ("out", "err"))
        return Done(self._ended, out.read_text(), err.read_text(), lines)


@contextmanager
def _let_go(strace: subprocess.Popen[str]) -> Iterator[None]:
    """Where we go away, it is waited for, and may wait for a command at its gate: so it ends first."""
    try:
        yield
    except BaseException:
        strace.kill()
        raise
