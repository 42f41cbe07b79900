"""The command line to be killed, with pretended playbooks: once, or for each job of a fork server.

What runs in a fork is the same as in a process of its own, and the harness compares both: a command's calls in
a fork must be those of `python -m renewctl`.

::

    python -m tests.crash.kills.child NODES renewal roll-out
    python -m tests.crash.kills.child NODES "(of schema 2)" store upgrade
    python -m tests.crash.kills.child NODES GATE             # serves (`forkserver`)
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import renewctl.cli.main
from renewctl import apns, playbook_run
from renewctl.certificate import request
from renewctl.cli.context import Session
from renewctl.database import sql_version
from renewctl.store import lease, migrations
from renewctl.store import write as store
from tests.crash.kills.forkserver import serve
from tests.crash.kills.nodes import play
from tests.crash.kills.upkeep import HOURS_LATER, SCHEMA_2

QUIET_RUNS = lease.Timing(beat=3600.0, lost=7200.0, patience=0.2, look=0.02)
"""No beat of a run comes between the calls of a command, and a dead one's is taken over soon."""

STOCK = 4
"""Keys made beforehand: making one takes as long as all the rest, and touches no file. Of four commands in a
row each gets another."""

REAL = "-"
"""In the place of the pretended nodes' folder: play the real playbooks."""

_REVISION_2 = Path(__file__).parents[2] / "store" / "later"

_PACKAGES = ("renewctl.cli", "renewctl.workflow", "renewctl.servers")
_MODULES = ("psycopg", "sqlalchemy.dialects.sqlite", "encodings.utf_8_sig", "encodings.unicode_escape")


def main(words: list[str]) -> int:
    """The exit code of the command; of the fork server 0."""
    nodes, *command = words
    if nodes != REAL:
        playbook_run.run = play(Path(nodes))
        apns.PushService.check = lambda *_: apns.PairCheck(accepted=True)  # type: ignore[method-assign]
    assert store.Store.__init__.__kwdefaults__ is not None
    store.Store.__init__.__kwdefaults__["timing"] = QUIET_RUNS
    if not command[0].isdecimal():
        return _main(command)
    _import_everything()
    return serve(int(command[0]), _commands())


def _import_everything() -> None:
    """Also what commands import when they are called."""
    for package in _PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    for name in _MODULES:
        importlib.import_module(name)


def _commands() -> Iterator[Callable[[list[str]], int]]:
    for key in itertools.cycle([request.make_key() for _ in range(STOCK)]):
        yield partial(_command, key)


def _command(key: bytes, words: list[str]) -> int:
    request.make_key = lambda: key
    return _main(words)


def _main(words: list[str]) -> int:
    """A command, in a world of its own where the first word says so."""
    if words[0] == HOURS_LATER:
        *given, _now = Session.__init__.__defaults__ or ()
        Session.__init__.__defaults__ = (*given, lambda: datetime.now(UTC) + timedelta(hours=2))  # type: ignore[misc]
    elif words[0] == SCHEMA_2:
        migrations.VERSIONS = (*migrations.VERSIONS, _REVISION_2)
        sql_version.SCHEMA = 2
    else:
        return renewctl.cli.main.main(words)
    return renewctl.cli.main.main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
