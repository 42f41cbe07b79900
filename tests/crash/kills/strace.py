"""Commands under strace: watched, killed at one call, or made to fail at one.

A forked child waits at a gate until strace has attached, so that nothing goes by unseen: once strace says
that it is attached, the child stops at its next call (ptrace(2), PTRACE_INTERRUPT).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import IO, Any

from tests.crash.kills.calls import TRACED, Call
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
    logs = sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: int(path.suffix[1:]))
    return [path.read_text(errors="replace").splitlines() for path in logs]


class Forks:
    """A process that has imported a program and forks off one command at a time (`forkserver`).

    Args:
        folder: for what belongs to this server alone: strace's log, outputs.
        program: the server's command line, but for the gate's descriptor.
    """

    def __init__(self, folder: Path, program: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
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
        return self._injected(folder, words, f"inject={at.name}:signal=SIGKILL:when={at.nth}")

    def fail(self, folder: Path, words: Sequence[str], at: Call, error: str) -> Done:
        """One command in which that call fails, once."""
        return self._injected(folder, words, f"inject={at.name}:error={error}:when={at.nth}")

    def close(self) -> None:
        """End the server."""
        os.close(self._gate)
        self._server.communicate(timeout=SECONDS)

    def _injected(self, folder: Path, words: Sequence[str], inject: str) -> Done:
        return self._traced(folder, words, ("-e", TRACED_FLAG, "-e", inject))

    def _traced(self, folder: Path, words: Sequence[str], choice: Sequence[str]) -> Done:
        log = self._folder / "strace"
        log.unlink(missing_ok=True)
        with self._forked(folder, words, gate=True) as child:
            command = ["strace", *FLAGS, *choice, "-o", str(log), "-p", str(child)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
                said = strace.stderr.readline() if strace.stderr else ""
                if f"{child} attached" not in said:
                    raise RuntimeError(f"strace did not attach: {said}")
                os.write(self._gate, b"!")
                strace.wait(SECONDS)
        return self._done(log.read_text(errors="replace").splitlines())

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
