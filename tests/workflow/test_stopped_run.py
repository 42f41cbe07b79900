"""A command is stopped in the middle of a change: what a node may still carry out is waited out before anybody else begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from renewctl.errors import Refused
from renewctl.reasons import Reason
from renewctl.store.read import Run
from renewctl.store.write import Store
from renewctl.workflow.engine import lease_of
from tests.support.certs import NOW
from tests.support.desk import Desk

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

INTERRUPTED = 130


@pytest.fixture
def accepted(sqlite_desk: Desk) -> Desk:
    """Everything is ready for the roll-out."""
    sqlite_desk.to_accepted()
    return sqlite_desk


def interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def newest(desk: Desk) -> Run:
    """The run that was begun last."""
    with Store(desk.store) as store:
        run = store.newest_run()
    assert run is not None
    return run


def test_the_run_is_given_back_only_after_the_wait(accepted: Desk) -> None:
    """Ctrl-C during a wave: told once what is waited for, as long as one call may take; held until then, ended after."""
    held: list[Run] = []
    accepted.playbooks.meanwhile["rollout"] = interrupt
    accepted.meanwhile = lambda: held.append(newest(accepted))
    done = accepted.run("renewal", "roll-out")
    assert done.code == INTERRUPTED
    assert done.err.count("waiting 10 s before the run is given back") == 1
    assert accepted.slept == [10.0]
    assert [run.ended for run in held] == [None]
    assert newest(accepted).ended is not None


def test_a_second_interruption_leaves_the_run_unended(accepted: Desk) -> None:
    """Whoever is in a hurry ends at once; the next command's patience takes the place of the wait."""
    accepted.playbooks.meanwhile["rollout"] = interrupt
    accepted.meanwhile = interrupt
    assert accepted.run("renewal", "roll-out").code == INTERRUPTED
    assert newest(accepted).ended is None
    accepted.playbooks.meanwhile.clear()
    done = accepted.run("renewal", "roll-back")
    assert done.code == 0
    assert done.err.count("run 1 of") == 1, "told again and again"
    assert newest(accepted).number == 2


def test_a_playbook_that_somebody_else_killed_is_waited_out_too(accepted: Desk) -> None:
    """Out of memory, say: its workers died with it, and what they asked for may still be done."""
    accepted.playbooks.exit_codes["rollout"] = -9
    accepted.run("renewal", "roll-out")
    assert accepted.slept
    assert set(accepted.slept) == {10.0}


def test_what_changes_nothing_or_ended_by_itself_is_not_waited_for(accepted: Desk) -> None:
    """A playbook that never began; and `verify`, which holds no right to change nodes."""

    def fails() -> None:
        raise Refused(Reason.PLAYBOOK_FAILED, got=1, detail="-")

    accepted.playbooks.meanwhile["fence"] = fails
    assert accepted.refusal("renewal", "roll-out", code=1) == "playbook_failed"
    accepted.playbooks.meanwhile.clear()
    accepted.told("renewal", "roll-out")
    accepted.playbooks.meanwhile["verify"] = interrupt
    assert accepted.run("renewal", "verify").code == INTERRUPTED
    assert accepted.slept == []


def test_waiting_for_somebody_elses_run_is_told_every_ten_seconds() -> None:
    """At the start, and then when ten seconds more have passed; not at every look."""
    told: list[int] = []
    run = Run(1, "t", "tokyo-1", "suzuki@ops2", "ops2", NOW, 0, None)

    def lease(_name: str, _stamp: object, *, watching: Any) -> None:
        for left in range(300, 0, -1):
            watching(run, left / 10)

    store = SimpleNamespace(lease=lease)
    work = SimpleNamespace(store=store, stamp=None, tell=lambda _key, values: told.append(values["seconds"]))
    lease_of(work, SimpleNamespace(name="tokyo-1"))  # type: ignore[arg-type]
    assert told == [30, 20, 10]
