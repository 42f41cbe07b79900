"""Random interleavings of several operators on a real store: every command's events, runs, stops, deaths, takeovers."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from renewctl.errors import Attention, Refused
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Event, Kind
from renewctl.renewal.history import TopicHistory, histories
from renewctl.renewal.rules import may, require
from renewctl.store.lease import Lease
from renewctl.store.read import fields_of
from renewctl.store.write import Stamp, Store
from tests.support.drawn import AT_NODES, DRAWS, KEY_KINDS, Account, Draw
from tests.support.history import BODIES
from tests.support.postgres import Database

pytestmark = pytest.mark.slow

WHO = st.integers(0, 2)
Log = dict[str, list[Event]]


def history_of(log: Log) -> TopicHistory:
    """What the events of the one topic fold to."""
    return histories(log).get("tokyo", TopicHistory("tokyo"))


class Operator:
    """One process: a store opened by itself, what it has seen, the run it believes to hold."""

    def __init__(self, url: str, number: int, world: Operators) -> None:
        self.stamp = Stamp(f"operator{number}@ops{number}", f"ops{number}", "0.1.0", "d" * 64)
        self.store = Store(url, monotonic=lambda: world.now, sleep=world.pass_time)
        self.seen: Log = {}
        self.lease: Lease | None = None
        self.stopped = False
        self.beaten = 0.0

    def may_change(self) -> bool:
        """Its lease passes the check that comes before every change."""
        if self.lease is None or self.stopped:
            return False
        try:
            self.lease.check()
        except Attention:
            return False
        return True


class Operators(RuleBasedStateMachine):
    """Time passes for all at once; who is not stopped beats every five seconds, as its thread would.

    Attributes:
        written: every event the store acknowledged, by renewal, and in the order of the whole store.
    """

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.people = [Operator(self.url, number, self) for number in range(3)]
        self.written: Log = {}
        self.order: list[Event] = []
        self.account = Account()
        self.numbers: list[int] = []

    def pass_time(self, seconds: float) -> None:
        """Seconds go by, and the living beat."""
        self.now += seconds
        for one in self.people:
            if one.lease is not None and not one.stopped and self.now - one.beaten >= 5.0:
                one.beaten = self.now
                one.lease._beat_once()

    # Commands

    @rule(who=WHO)
    def look(self, who: int) -> None:
        """Read."""
        if not self.people[who].stopped:
            self.people[who].seen = self.people[who].store.renewals()

    @rule(acts=st.lists(st.tuples(WHO, st.booleans(), DRAWS), min_size=1, max_size=5))
    def commands(self, acts: list[tuple[int, bool, Draw]]) -> None:
        """Several, by whomever; each acts on what it saw last, or looks first."""
        for who, fresh, draw in acts:
            if fresh:
                self.look(who)
            self._command(who, draw)

    def _command(self, who: int, draw: Draw) -> None:
        """Go on with the renewal they know of, as the rules let them, or begin one; nodes need a run."""
        seen = history_of(self.people[who].seen)
        before = seen.open
        if before is None and draw.pick % 3 == 0:
            self._write(who, seen.adopted_name, Kind.ADOPTED, draw.body(Kind.ADOPTED), seen.adopted_seq)
        elif before is None:
            previous = None if seen.current is None else seen.current.as_body()
            body = {**BODIES[Kind.OPENED], "previous": previous}
            self._write(who, seen.next_name, Kind.OPENED, body, 0)
        elif not may(before, kind := draw.kind(before)):
            with pytest.raises(Refused):
                require(before, kind)
        elif kind not in AT_NODES or self._holds(who):
            self._write(who, before.name, kind, draw.body(kind), before.seq)

    @rule(who=WHO, draw=DRAWS)
    def restored(self, who: int, draw: Draw) -> None:
        """What `restore` writes into the store it has filled: in the open renewal, else beside them all."""
        if draw.pick % 4:
            return
        self.look(who)
        seen = history_of(self.people[who].seen)
        name, seq = seen.adopted_name, seen.adopted_seq
        if seen.open is not None:
            name, seq = seen.open.name, seen.open.seq
        self._write(who, name, Kind.RESTORED, draw.body(Kind.RESTORED), seq)

    @rule(who=WHO, kind=st.sampled_from(KEY_KINDS))
    def keep_keys(self, who: int, kind: Kind) -> None:
        """`keys rekey` and `keys destroy` write beside all topics."""
        seq = len(self.people[who].seen.get(KEY_STORE, []))
        self._write(who, KEY_STORE, kind, dict(BODIES[kind]), seq)

    def _holds(self, who: int) -> bool:
        if self.people[who].lease is None:
            self.begin(who, 0)
        return self.people[who].may_change()

    def _write(self, who: int, name: str, kind: Kind, body: dict[str, Any], seen: int) -> None:
        """One event, as far as seen; what is acknowledged must stay, what is refused was overtaken."""
        one = self.people[who]
        if one.stopped:
            return
        there = self.written.setdefault(name, [])
        if seen != len(there):
            with pytest.raises(Attention, match=Reason.SOMEBODY_ELSE_MOVED):
                one.store.append(name, kind, body, stamp=one.stamp, expected_seq=seen + 1)
            return
        event = one.store.append(name, kind, body, stamp=one.stamp, expected_seq=seen + 1)
        there.append(event)
        self.order.append(event)
        one.seen.setdefault(name, []).append(event)
        if name != KEY_STORE:
            self.account = self.account.after(kind, event.body, history_of(self.written))

    # Runs

    @rule(who=WHO, above=st.sampled_from([0, 0, 3, 40]))
    def begin(self, who: int, above: int) -> None:
        """Take a run, watching for as long as it takes; only a holder that lives may refuse it."""
        one = self.people[who]
        if one.lease is not None or one.stopped:
            return
        refused_by = None
        try:
            run = one.store.begin_run("tokyo-1", one.stamp, above=above)
        except Attention as error:
            refused_by = error.values["holder"]
        if refused_by is not None:
            assert refused_by in {p.stamp.actor for p in self.people if p.lease is not None and not p.stopped}
            return
        self.numbers.append(run.number)
        assert run.number > above
        one.lease = Lease(one.store, run, clock=lambda: self.now)
        one.beaten = self.now

    @rule(who=WHO)
    def raise_number(self, who: int) -> None:
        """A node carries more: go on above it, if the run is still ours."""
        one = self.people[who]
        if one.may_change() and one.lease is not None:
            one.lease.raise_above(one.lease.run.number + 2)
            self.numbers.append(one.lease.run.number)

    @rule(who=WHO)
    def end(self, who: int) -> None:
        """Give it back."""
        one = self.people[who]
        if one.lease is not None and not one.stopped:
            one.store.end_run(one.lease.run)
            one.lease = None

    @rule(who=WHO)
    def stop_or_wake(self, who: int) -> None:
        """SIGSTOP, or SIGCONT: what it believed is what it believes."""
        self.people[who].stopped = not self.people[who].stopped

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """Killed; somebody begins anew in its place, and knows nothing."""
        self.people[who].store.close()
        self.people[who] = Operator(self.url, who, self)

    @rule(seconds=st.sampled_from([1.0, 6.0, 25.0]))
    def wait(self, seconds: float) -> None:
        """Nothing happens."""
        self.pass_time(seconds)

    # What always holds

    @invariant()
    def one_changes_nodes(self) -> None:
        """At most one may change nodes; numbers only rise."""
        assert sum(one.may_change() for one in self.people) <= 1
        assert self.numbers == sorted(set(self.numbers))

    @invariant()
    def whole(self) -> None:
        """Nothing acknowledged is lost, nothing else is there; both chains are whole; what folds is the account."""
        stored = self.people[0].store.renewals()
        assert stored == {name: events for name, events in self.written.items() if events}
        for events in stored.values():
            previous = ""
            for seq, event in enumerate(events, start=1):
                fields = {name: value for name, value in fields_of(event).items() if name != "hash"}
                text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
                assert (event.seq, event.previous) == (seq, previous)
                assert event.hash == hashlib.sha256(text.encode()).hexdigest()
                previous = event.hash
        told = [event.body["store"] for event in self.order]
        heads = ["", *(event.hash for event in self.order)]
        assert told == [{"number": n, "before": head} for n, head in enumerate(heads[: len(told)], start=1)]
        self.account.agrees_with(history_of(stored))

    def teardown(self) -> None:
        """Close every store."""
        for one in self.people:
            one.store.close()


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_on_sqlite() -> None:
    """A new file for each story."""

    class OnSqlite(Operators):
        def __init__(self) -> None:
            self.folder = tempfile.TemporaryDirectory()
            self.url = f"sqlite:///{Path(self.folder.name)}/state/store.db"
            Store.create(self.url)
            super().__init__()

        def teardown(self) -> None:
            super().teardown()
            self.folder.cleanup()

    run_state_machine_as_test(OnSqlite, settings=_settings(20, 30))


def test_on_postgresql(database: Database) -> None:
    """Emptied before each story."""
    Store.create(database.url)

    class OnPostgresql(Operators):
        url = database.url

        def __init__(self) -> None:
            with database.connect() as connection:
                connection.execute("TRUNCATE events, runs")
            super().__init__()

    run_state_machine_as_test(OnPostgresql, settings=_settings(20, 30))
