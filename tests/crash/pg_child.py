"""`renewctl` in a process of its own that dies alone: forked from a server that has everything imported.

The clock stands still, playbooks only pretend (and write down what they were asked), runs are given up quickly.
A beat comes so rarely that what is asked of the server is the same at every call; `beat` says otherwise.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql import psycopg as dialect

from renewctl import apns, playbook_run
from renewctl.certificate import intake, vendor
from renewctl.cli import adopt, context, main, renewal, request_files, status, workplace
from renewctl.keys import keystore, unseal
from renewctl.store import write as store
from renewctl.store.lease import Timing
from renewctl.workflow import deploy, enrolled, prepare, rolling
from tests.support.certs import NOW
from tests.support.pretended_playbooks import Playbooks

RARE_BEATS = 1000.0
PLAYED = "played.jsonl"

_IMPORTED = (psycopg, dialect, intake, keystore, unseal, vendor, adopt, renewal, request_files, status, workplace, deploy,
             enrolled, prepare, rolling)  # fmt: skip
"""What commands import late: once here, not once a child."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])
_one_reads = threading.Lock()
"""To start a process is also to read the exit codes of all that ended: of two threads at that, one would read none."""


def start(
    words: Sequence[str], folder: Path, beat: float = RARE_BEATS, broken: str = ""
) -> ForkServerProcess:
    """Begin a command in `folder`; its words come to `out` and `err` there. Its exit code is told by `ended`.

    Args:
        broken: a module that breaks the product as it is imported, to see that it is caught.
    """
    process = _forks.Process(target=_run, args=(list(words), folder, beat, broken), daemon=True)
    with _one_reads:
        process.start()
    return process


def ended(process: ForkServerProcess, seconds: float) -> int | None:
    """Its exit code, negative if a signal ended it; None: it runs on after so long."""
    wait([process.sentinel], seconds)
    with _one_reads:
        return process.exitcode


class _Noting(Playbooks):
    """Writes down, before it pretends, what it was asked."""

    def run(self, name: str, hosts: Any, variables: Any, **options: Any) -> Any:
        """Play it."""
        limit = list(options.get("limit") or hosts)
        line = json.dumps({"name": name, "run": variables.get("renewctl_run"), "nodes": limit})
        with Path(PLAYED).open("a") as file:
            file.write(line + "\n")
        return super().run(name, hosts, variables, **options)


def _run(words: list[str], folder: Path, beat: float, broken: str) -> None:
    os.chdir(folder)
    os.environ.update(LC_ALL="C", HOME=str(folder))
    for number, name in ((0, os.devnull), (1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the fork server's own is closed
    context.Session.__init__.__defaults__ = (None, None, False, lambda: NOW)  # type: ignore[misc]
    quick = Timing(beat=beat, lost=60.0, patience=0.25, look=0.05)
    store.Store.__init__.__kwdefaults__["timing"] = quick
    playbook_run.run = _Noting().run  # type: ignore[assignment]
    apns.PushService.check = lambda *_: apns.PairCheck(accepted=True)  # type: ignore[method-assign]
    if broken:
        importlib.import_module(broken)
    code = main.main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
