"""Two real processes on one store: a robot on another host, its clock hours off, and whoever runs the test."""

from __future__ import annotations

import pytest

from renewctl.store.lease import Timing
from renewctl.store.write import Store
from tests.support.actor import HOST, Actor
from tests.support.desk import OLD, QUICK_RUNS, Desk

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

PATIENT = Timing(beat=30.0, lost=100.0, patience=60.0, look=0.02)
HOUR = 3600.0


def overtaken(desk: Desk, *words: str, name: str = "tokyo-1") -> None:
    """The robot is about to write; somebody else does the same command first; the robot is told by whom."""
    robot = Actor.start(desk.folder, *words, waits="append", shift=6 * HOUR)
    desk.run(*words)
    events = desk.events(name)
    ended, told = robot.end()
    assert (ended, told["error"]["reason"]) == (4, "somebody_else_moved"), (words, told)
    values = told["error"]["values"]
    assert (values["holder"], values["host"]) == (events[-1].actor, events[-1].host)
    assert values["since"] == events[-1].at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert values["holder"] in told["error"]["message"]
    assert "renewctl renewal show" in told["error"]["hint"]
    after = desk.events(name)
    assert after == events, "the second has written something"


def held(desk: Desk, *words: str, others: tuple[tuple[str, ...], ...]) -> None:
    """The robot is at the nodes; every changing command of somebody else is told; then the robot ends well."""
    robot = Actor.start(desk.folder, *words, waits="playbook", shift=-6 * HOUR)
    kinds = desk.kinds()
    for other in (words, *others):
        error = desk.told(*other, code=4)["error"]
        assert error["reason"] == "run_held", (words, other, error)
        run = desk.told("renewal", "show")["run"]
        assert run["host"] == HOST
        assert error["values"] == {
            name: run["number" if name == "run" else name]
            for name in ("holder", "host", "since", "run", "renewal")
        }
    assert desk.kinds() == kinds
    ended, told = robot.end()
    assert ended == 0, told


def test_whoever_comes_second_is_told_at_every_changing_command(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole year, twice at once at each step, on both kinds of store; nothing is written twice or lost."""
    monkeypatch.setitem(Store.__init__.__kwdefaults__, "timing", PATIENT)
    desk.file("old.pem", OLD.pem)
    desk.file("old.key", OLD.key_pem)
    overtaken(desk, "adopt", "--certificate", "old.pem", "--key", "old.key", name="tokyo-0")
    overtaken(desk, "renewal", "open")
    overtaken(desk, "renewal", "request")
    overtaken(desk, "renewal", "accept", str(desk.downloaded()))
    ending = (("renewal", "abort"), ("renewal", "open"), ("renewal", "request"))
    held(desk, "renewal", "roll-out", others=(("renewal", "close"), *ending))
    held(desk, "renewal", "verify", others=(("renewal", "close"), ("renewal", "roll-out")))
    held(desk, "renewal", "roll-back", others=(("renewal", "roll-out"), ("renewal", "verify")))
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    overtaken(desk, "renewal", "close")
    assert desk.kinds().count("closed") == 1
    desk.told("renewal", "open")
    overtaken(desk, "renewal", "abort", name="tokyo-2")


@pytest.mark.parametrize("shift", [-6 * HOUR, 6 * HOUR], ids=["six hours behind", "six hours ahead"])
def test_wrong_clocks_decide_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    """Two hosts, one store of either kind, clocks hours apart: who beats is not taken over, who is dead is."""
    desk.to_accepted()
    monkeypatch.setitem(Store.__init__.__kwdefaults__, "timing", PATIENT)
    robot = Actor.start(desk.folder, "renewal", "roll-out", waits="playbook", shift=shift)
    error = desk.told("renewal", "roll-out", code=4)["error"]
    assert (error["reason"], error["values"]["host"]) == ("run_held", HOST)
    robot.kill()
    shown = desk.told("renewal", "show")
    assert (shown["run"]["number"], shown["renewal"]["phase"]) == (1, "rolling_out")
    monkeypatch.setitem(Store.__init__.__kwdefaults__, "timing", QUICK_RUNS)
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
    assert desk.told("renewal", "show")["run"] is None
    hosts = [event.host for event in desk.events()]
    assert hosts.index(HOST) > 0
    assert hosts[-1] == hosts[0] != HOST


def test_sigterm_gives_the_lease_back(desk: Desk) -> None:
    """A stopped job ends as Ctrl-C ends it, with 143; the next roll-out begins at once and goes on."""
    desk.to_accepted()
    robot = Actor.start(desk.folder, "renewal", "roll-out", waits="playbook")
    code, said = robot.terminate()
    assert (code, said.strip()) == (143, "")
    assert desk.told("renewal", "show")["run"] is None
    assert desk.told("renewal", "roll-out")["renewal"]["phase"] == "proven"
