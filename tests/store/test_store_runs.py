"""Runs and leases: one holder at a time, decided by beats and by nobody's wall clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from renewctl.errors import Attention, NodeFault
from renewctl.reasons import Reason
from renewctl.store.lease import Lease, Timing
from renewctl.store.read import Run
from renewctl.store.write import Stamp, Store

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

QUICK = Timing(beat=0.1, lost=0.6, patience=1.2, look=0.05)
OTHER = Stamp("sato@ops2", "ops2", "0.1.0", "e" * 64)


class FakeTime:
    """A clock that only waiting moves; `meanwhile` happens once, at a given second."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.meanwhile: dict[float, Callable[[], object]] = {}

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on, and let happen what is due."""
        self.now += seconds
        for at in [at for at in self.meanwhile if 1000.0 + at <= self.now]:
            self.meanwhile.pop(at)()


def _watcher(store_url: str) -> tuple[Store, FakeTime]:
    fake = FakeTime()
    return Store(store_url, monotonic=fake.monotonic, sleep=fake.sleep), fake


def test_run_numbers_go_up_over_all_renewals(store_url: str, stamp: Stamp) -> None:
    """One sequence for the whole store; each run has a token of its own; no run is no run."""
    with Store(store_url) as store:
        assert store.open_run() is None
        first = store.begin_run("acme-1", stamp)
        assert store.open_run() == first
        store.end_run(first)
        assert store.open_run() is None
        second = store.begin_run("beta-1", stamp)
    assert (first.number, second.number) == (1, 2)
    assert first.token != second.token
    assert (second.renewal, second.holder, second.host) == ("beta-1", "tanaka@ops1", "ops1")


def test_a_run_is_numbered_above_what_nodes_carry(store_url: str, stamp: Stamp) -> None:
    """A restored store goes on above the highest number that a node was fenced with."""
    with Store(store_url) as store:
        assert store.begin_run("acme-1", stamp, above=41).number == 42


def test_a_second_operator_is_told_who_holds_the_run_within_two_beats(store_url: str, stamp: Stamp) -> None:
    """The beat moved: held, by whom, where, since when; long before the patience is over."""
    at = datetime(2027, 1, 21, 0, 30, tzinfo=UTC)
    with Store(store_url, clock=lambda: at) as holder:
        run = holder.begin_run("acme-1", stamp)
        second, fake = _watcher(store_url)
        fake.meanwhile[5.0] = lambda: holder.beat(run)
        told: list[float] = []
        with second, pytest.raises(Attention) as caught:
            second.begin_run("acme-1", OTHER, watching=lambda _run, left: told.append(left))
    assert caught.value.reason is Reason.RUN_HELD
    expected = {"holder": "tanaka@ops1", "host": "ops1", "since": at, "run": 1, "renewal": "acme-1"}
    assert caught.value.values == expected
    assert fake.now - 1000.0 <= 6.0
    assert told[0] == 30.0


def test_a_silent_run_is_taken_over_only_after_the_whole_patience(store_url: str, stamp: Stamp) -> None:
    """Thirty seconds without a beat on the watcher's own clock, whatever the wall clocks say."""
    with Store(store_url, clock=lambda: datetime(2031, 1, 1, tzinfo=UTC)) as holder:
        dead = holder.begin_run("acme-1", stamp)
    second, fake = _watcher(store_url)
    with second:
        run = second.begin_run("acme-1", OTHER)
        assert fake.now - 1000.0 >= 30.0
        assert run.number == dead.number + 1
        assert second.open_run() == run


def test_the_old_holder_of_a_run_taken_over_is_told_at_its_next_beat(store_url: str, stamp: Stamp) -> None:
    """After a takeover the old holder can neither beat nor end the new run."""
    with Store(store_url) as holder:
        dead = holder.begin_run("acme-1", stamp)
        second, _fake = _watcher(store_url)
        with second:
            run = second.begin_run("acme-1", OTHER)
            with pytest.raises(Attention) as caught:
                holder.beat(dead)
            assert caught.value.reason is Reason.RUN_LOST
            holder.end_run(dead)
            assert second.open_run() == run
            second.beat(run)


def test_a_run_that_ends_while_watched_is_free(store_url: str, stamp: Stamp) -> None:
    """The watcher need not wait any longer."""
    with Store(store_url) as holder:
        run = holder.begin_run("acme-1", stamp)
        second, fake = _watcher(store_url)
        fake.meanwhile[3.0] = lambda: holder.end_run(run)
        with second:
            assert second.begin_run("acme-1", OTHER).number == 2
        assert fake.now - 1000.0 < 6.0


def test_a_run_begun_by_a_third_while_watching_is_held(store_url: str, stamp: Stamp) -> None:
    """The watched run ended and somebody was faster: that one holds it."""
    third = replace(OTHER, actor="suzuki@ops3")
    with Store(store_url) as holder:
        run = holder.begin_run("acme-1", stamp)
        second, fake = _watcher(store_url)

        def change_hands() -> None:
            holder.end_run(run)
            holder.begin_run("acme-1", third)

        fake.meanwhile[3.0] = change_hands
        with second, pytest.raises(Attention) as caught:
            second.begin_run("acme-1", OTHER)
    assert caught.value.values["holder"] == "suzuki@ops3"


@pytest.mark.parametrize("last_moment", ["beats", "is taken"])
def test_a_takeover_looks_once_more_as_it_takes(
    store_url: str, stamp: Stamp, monkeypatch: pytest.MonkeyPatch, last_moment: str
) -> None:
    """A beat, or a third's takeover, between the last look and the taking wins."""
    with Store(store_url) as holder, Store(store_url) as second:
        run = holder.begin_run("acme-1", stamp)
        third, _fake = _watcher(store_url)

        def too_late(seen: Run, _watching: object, _patience: float) -> Run:
            if last_moment == "beats":
                holder.beat(run)
            else:
                third.begin_run("acme-1", replace(OTHER, actor="suzuki@ops3"))
            return seen

        monkeypatch.setattr(second, "_watched", too_late)
        with third, pytest.raises(Attention) as caught:
            second.begin_run("acme-1", OTHER)
        assert caught.value.reason is Reason.RUN_HELD
        newest = holder.newest_run()
        assert newest is not None
        assert newest.number == (1 if last_moment == "beats" else 2)


def test_of_two_who_take_over_at_once_one_gets_the_run(store_url: str, stamp: Stamp) -> None:
    """Two watchers of one dead run: one holds it, the other is told so."""
    with Store(store_url) as holder:
        holder.begin_run("acme-1", stamp)
    got: list[object] = []
    together = threading.Barrier(2)

    def take(actor: str) -> None:
        begun = iter([lambda: together.wait(60)])

        def watching(_run: Run, _left: float) -> None:
            next(begun, lambda: 0)()  # both have seen the dead run before either takes it over

        with Store(store_url, timing=QUICK) as store:
            try:
                got.append(store.begin_run("acme-1", replace(stamp, actor=actor), watching=watching).holder)
            except Attention as error:
                got.append(error.reason)

    threads = [threading.Thread(target=take, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, got)) in ([["a", "run_held"], ["b", "run_held"]])


def test_a_lease_beats_while_its_block_lasts(store_url: str, stamp: Stamp) -> None:
    """The run is ours, beats by itself, passes every check, and has ended after the block."""
    with Store(store_url, timing=replace(QUICK, lost=100.0)) as store:
        with store.lease("acme-1", stamp) as lease:
            deadline = time.monotonic() + 60
            while (newest := store.newest_run()) is not None and newest.beat < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            lease.check()
            assert store.open_run() is not None
        assert store.open_run() is None


def test_a_lease_ends_when_its_block_fails(store_url: str, stamp: Stamp) -> None:
    """An error inside the block leaves no run behind, and is not hidden."""
    with Store(store_url, timing=QUICK) as store:
        with pytest.raises(ZeroDivisionError), store.lease("acme-1", stamp):
            raise ZeroDivisionError
        assert store.open_run() is None


def test_a_lease_that_was_taken_over_stops_changes(store_url: str, stamp: Stamp) -> None:
    """The holder's next beat finds the higher run; from then on every check says so."""
    other, _fake = _watcher(store_url)
    with Store(store_url, timing=QUICK) as store, other:
        lease = store.lease("acme-1", stamp)
        run = other.begin_run("acme-1", OTHER)
        with lease:
            lease._thread.join(60)
            with pytest.raises(Attention) as caught:
                lease.check()
        assert caught.value.reason is Reason.RUN_LOST
        assert other.open_run() == run


def test_a_damaged_run_is_a_reason_not_a_traceback(store_url: str, stamp: Stamp) -> None:
    """A run that is not as we write them is told as damage."""
    with Store(store_url) as store:
        store.begin_run("acme-1", stamp)
        with store._database.transaction() as transaction:
            transaction.change("UPDATE runs SET since = 'yesterday'")
        with pytest.raises(NodeFault) as caught:
            store.open_run()
    assert caught.value.reason is Reason.STORE_DAMAGED


class DeafStore:
    """A store that cannot be reached from the second beat on."""

    timing = replace(QUICK, lost=100.0)

    def __init__(self) -> None:
        self.beats = 0

    def beat(self, _run: Run) -> None:
        """No answer."""
        self.beats += 1
        raise NodeFault(Reason.STORE_UNREACHABLE, store="x", detail="")

    def end_run(self, _run: Run) -> None:
        """No answer."""
        raise NodeFault(Reason.STORE_UNREACHABLE, store="x", detail="")


def test_a_holder_that_cannot_beat_for_too_long_starts_nothing_more() -> None:
    """Out of reach for `lost` seconds on a clock that goes on while the machine sleeps: the lease says no."""
    now = [50.0]
    store, run = DeafStore(), Run(1, "t", "acme-1", "a", "h", datetime.now(UTC), 0)
    with Lease(store, run, clock=lambda: now[0]) as lease:
        deadline = time.monotonic() + 60
        while store.beats < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        now[0] += 99.9
        lease.check()
        now[0] += 0.1
        with pytest.raises(Attention) as caught:
            lease.check()
    assert caught.value.reason is Reason.RUN_LOST
    assert store.beats >= 2


def test_the_clock_of_a_holder_goes_on_while_the_machine_sleeps(store_url: str, stamp: Stamp) -> None:
    """CLOCK_BOOTTIME, not CLOCK_MONOTONIC: a closed laptop must notice that its run has gone."""
    with Store(store_url) as store:
        lease = store.lease("acme-1", stamp)
    assert abs(lease._heard - time.clock_gettime(time.CLOCK_BOOTTIME)) < 30


def test_patience_is_longer_than_what_a_holder_goes_on_without_a_beat() -> None:
    """Else two would work at once."""
    assert Timing().patience > Timing().lost > 2 * Timing().beat


_HOLDER = """
import sys, time
from renewctl.errors import Attention
from renewctl.store.lease import Timing
from renewctl.store.write import Stamp, Store
timing = Timing(beat=0.1, lost=float(sys.argv[2]), patience=1.2, look=0.05)
with Store(sys.argv[1], timing=timing) as store:
    with store.lease("acme-1", Stamp("first", "h", "0", "d")) as lease:
        print("holds", flush=True)
        try:
            while True:
                lease.check()
                time.sleep(0.01)
        except Attention as error:
            print(error.reason, flush=True)
"""


@pytest.mark.slow
def test_a_stopped_holder_wakes_up_and_changes_nothing_more(store_url: str, stamp: Stamp) -> None:
    """SIGSTOP, takeover by another, SIGCONT: the first check of the first holder says no."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _HOLDER, store_url, "0.6"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        os.kill(holder.pid, signal.SIGSTOP)
        with Store(store_url, timing=QUICK) as second:
            run = second.begin_run("acme-1", stamp)
            os.kill(holder.pid, signal.SIGCONT)
            assert holder.communicate(timeout=60)[0] == "run_lost\n"
            assert second.open_run() == run


@pytest.mark.slow
def test_a_living_holder_in_another_process_is_seen(store_url: str, stamp: Stamp) -> None:
    """A real holder beats; the second operator is refused soon; a killed one is taken over."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _HOLDER, store_url, "100"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        with Store(store_url, timing=replace(QUICK, patience=60.0)) as patient:
            with pytest.raises(Attention) as caught:
                patient.begin_run("acme-1", stamp)
            assert caught.value.values["holder"] == "first"
        holder.kill()
        holder.communicate(timeout=60)
        with Store(store_url, timing=QUICK) as second:
            assert second.begin_run("acme-1", stamp).number == 2
