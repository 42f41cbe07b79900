"""`renewctl` as a real process, on a host of another name, that waits for a word at its most delicate moment.

::

    python -m tests.support.actor JSON

The JSON: `words` of the command line; `waits`: `append` (just before the first event is written down) or
`playbook` (inside the first playbook, which only pretends); `shift`: seconds its clocks are wrong by.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.store.lease import Timing
from renewctl.store.write import Store
from tests.support.certs import NOW
from tests.support.pretended_playbooks import Playbooks

WAITING = "waiting\n"
HOST = "ops2"
_ON_ANOTHER_HOST = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', HOST)
"""What goes before a command line: the kernel itself tells it another host name (root; util-linux)."""
BEATING = Timing(beat=0.05, lost=100.0, patience=100.0, look=0.02)


@dataclass
class Actor:
    """One such process, seen from the test."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, folder: Path, *words: str, waits: str, shift: float = 0) -> Actor:
        """Begin the command in a folder, with `--json` and without a terminal; come back once it waits."""
        told = json.dumps({"words": [*words, "--json"], "waits": waits, "shift": shift})
        process = subprocess.Popen(
            [*_ON_ANOTHER_HOST, sys.executable, "-W", "error", "-m", "tests.support.actor", told],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = _of(process.stdout).readline()
        if said != WAITING:
            process.kill()
            raise AssertionError(said + "".join(process.communicate()))
        return cls(process)

    def end(self) -> tuple[int, dict[str, Any]]:
        """Give the word; exit code and JSON."""
        out, err = self.process.communicate("on\n", timeout=120)
        assert err == "", err
        return self.process.returncode, json.loads(out)

    def terminate(self) -> tuple[int, str]:
        """As `kill` does; exit code and what it said."""
        self.process.terminate()
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.communicate()


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _wait() -> None:
    sys.stdout.write(WAITING)
    sys.stdout.flush()
    sys.stdin.readline()


def _once(act: Callable[[], None]) -> Callable[[], None]:
    left = [act]
    return lambda: left.pop()() if left else None


def _act(told: dict[str, Any]) -> int:
    shift, wait = timedelta(seconds=told["shift"]), _once(_wait)
    Session.__init__.__defaults__ = (None, None, False, lambda: NOW + shift)  # type: ignore[misc]
    Store.__init__.__kwdefaults__ |= {"timing": BEATING, "clock": lambda: datetime.now(UTC) + shift}
    playbooks = Playbooks()
    if told["waits"] == "playbook":
        playbooks.meanwhile = dict.fromkeys(("fence", "verify", "rollback"), wait)
    else:
        append = Store.append

        def waiting(*arguments: Any, **named: Any) -> Any:
            wait()
            return append(*arguments, **named)

        Store.append = waiting  # type: ignore[method-assign]
    from renewctl import apns, playbook_run  # noqa: PLC0415

    playbook_run.run = playbooks.run  # type: ignore[assignment]
    apns.PushService.check = lambda *_: apns.PairCheck(accepted=True)  # type: ignore[method-assign]
    sys.argv[1:] = told["words"]
    return shell.main()


if __name__ == "__main__":
    sys.exit(_act(json.loads(sys.argv[1])))
