"""Random interleavings of several operators on a real store: appends, runs, beats, stops, deaths, takeovers."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from renewctl.errors import Attention
from renewctl.renewal.events import Kind
from renewctl.store.lease import Lease
from renewctl.store.read import fields_of
from renewctl.store.write import Stamp, Store
from tests.support.postgres import Database

pytestmark = pytest.mark.slow

WHO = st.integers(0, 2)


class Operator:
    """One process: a store opened by itself, what it has seen, the run it believes to hold."""

    def __init__(self, url: str, number: int, world: Operators) -> None:
        self.stamp = Stamp(f"operator{number}@ops{number}", f"ops{number}", "0.1.0", "d" * 64)
        self.store = Store(url, monotonic=lambda: world.now, sleep=world.pass_time)
        self.seen = 0
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
    """Time passes for all at once; who is not stopped beats every five seconds, as its thread would."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.people = [Operator(self.url, number, self) for number in range(3)]
        self.acknowledged: list[str] = []
        self.numbers: list[int] = []

    def pass_time(self, seconds: float) -> None:
        """Seconds go by, and the living beat."""
        self.now += seconds
        for one in self.people:
            if one.lease is not None and not one.stopped and self.now - one.beaten >= 5.0:
                one.beaten = self.now
                one.lease._beat_once()

    @rule(who=WHO)
    def look(self, who: int) -> None:
        """Read."""
        self.people[who].seen = len(self.people[who].store.renewals().get("acme-1", []))

    @rule(who=WHO)
    def append(self, who: int) -> None:
        """Write one event, as far as seen; what is acknowledged must stay."""
        one = self.people[who]
        try:
            written = one.store.append(
                "acme-1", Kind.OPENED, {"by": who}, stamp=one.stamp, expected_seq=one.seen + 1
            )
        except Attention:
            assert one.seen != len(self.acknowledged)
        else:
            self.acknowledged.append(written.id)
            one.seen = written.seq

    @rule(who=WHO, above=st.sampled_from([0, 0, 3, 40]))
    def begin(self, who: int, above: int) -> None:
        """Take a run, watching for as long as it takes; only a holder that lives may refuse it."""
        one = self.people[who]
        if one.lease is not None or one.stopped:
            return
        refused_by = None
        try:
            run = one.store.begin_run("acme-1", one.stamp, above=above)
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

    @invariant()
    def whole(self) -> None:
        """At most one may change nodes; numbers only rise; the chain is whole; nothing acknowledged is lost."""
        assert sum(one.may_change() for one in self.people) <= 1
        assert self.numbers == sorted(set(self.numbers))
        events = self.people[0].store.renewals().get("acme-1", [])
        assert [event.id for event in events] == self.acknowledged
        previous = ""
        for seq, event in enumerate(events, start=1):
            fields = {name: value for name, value in fields_of(event).items() if name != "hash"}
            text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert (event.seq, event.previous) == (seq, previous)
            assert event.hash == hashlib.sha256(text.encode()).hexdigest()
            previous = event.hash

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

    run_state_machine_as_test(OnSqlite, settings=_settings(15, 20))


def test_on_postgresql(database: Database) -> None:
    """Emptied before each story."""
    Store.create(database.url)

    class OnPostgresql(Operators):
        url = database.url

        def __init__(self) -> None:
            with database.connect() as connection:
                connection.execute("TRUNCATE events, runs")
            super().__init__()

    run_state_machine_as_test(OnPostgresql, settings=_settings(4, 15))
