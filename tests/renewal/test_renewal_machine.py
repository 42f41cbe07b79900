"""Random interleavings of several people's steps against the pure rules, compared with a second, plain account."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from renewctl.errors import Refused
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories
from renewctl.renewal.rules import Renewal, apply, may
from tests.support.drawn import DRAWS, Account, Draw
from tests.support.history import event

WHO = st.integers(0, 2)
Log = dict[str, list[Event]]


def copied(log: Log) -> Log:
    """The same events in lists of their own."""
    return {name: list(events) for name, events in log.items()}


class Year(RuleBasedStateMachine):
    """Three people; each acts on what they last saw; an event is taken only from who has seen the last one.

    Now and then the disk is lost, and with it whatever anybody remembered; there was a backup some events ago.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: Log = {}
        self.views: list[Log] = [{}, {}, {}]
        self.account = Account()
        self.backups: list[tuple[Log, Account]] = []

    def history(self, log: Log) -> TopicHistory:
        """What a log folds to."""
        return histories(log).get("tokyo", TopicHistory("tokyo"))

    @rule(who=WHO)
    def reread(self, who: int) -> None:
        """Somebody reads the store, and acts on it later."""
        self.views[who] = copied(self.log)

    @rule(acts=st.lists(st.tuples(WHO, st.booleans(), DRAWS), min_size=1, max_size=6))
    def steps(self, acts: list[tuple[int, bool, Draw]]) -> None:
        """Several, by whomever; each acts on what they saw last, or looks first."""
        for who, fresh, draw in acts:
            if fresh:
                self.reread(who)
            self._step(who, draw)
            self.one_story()

    def _step(self, who: int, draw: Draw) -> None:
        """Mostly a step that the rules let them take; those they do not are refused by the fold as well."""
        before = self.history(self.views[who]).open
        if before is None:
            self._begin(who, draw)
            return
        kind = draw.kind(before)
        drafted = event(before.seq + 1, kind, before.name, **draw.body(kind))
        if may(before, kind):
            self._taken(who, drafted)
        else:
            self._is_refused(before, drafted)

    def _begin(self, who: int, draw: Draw) -> None:
        """No renewal is open as far as they know: open one, or take a pair over."""
        seen = self.history(self.views[who])
        if draw.pick % 3 == 0:
            body = draw.body(Kind.ADOPTED)
            self._taken(who, event(seen.adopted_seq + 1, Kind.ADOPTED, seen.adopted_name, **body))
        else:
            previous = None if seen.current is None else seen.current.as_body()
            self._taken(who, event(1, Kind.OPENED, seen.next_name, previous=previous))

    @precondition(lambda self: self.backups)
    @rule(draw=DRAWS, ago=st.integers(1, 4))
    def lose_the_disk(self, draw: Draw, ago: int) -> None:
        """The store is as it was some events ago, and says so; whoever was at work has to look again."""
        log, self.account = self.backups[-min(ago, len(self.backups))]
        self.log = copied(log)
        self.views = [copied(self.log) for _ in self.views]
        body = draw.body(Kind.RESTORED)
        history = self.history(self.log)
        if history.latest is not None and history.open is None:
            ended = history.latest
            self._is_refused(ended, event(ended.seq + 1, Kind.RESTORED, ended.name, **body))
        name, seq = history.adopted_name, history.adopted_seq
        if history.open is not None:
            name, seq = history.open.name, history.open.seq
        self._taken(0, event(seq + 1, Kind.RESTORED, name, **body))

    def _is_refused(self, before: Renewal, drafted: Event) -> None:
        try:
            apply(before, drafted)
        except Refused:
            return
        raise AssertionError(f"{drafted.kind} after {before.phase}")

    def _taken(self, who: int, drafted: Event) -> None:
        written = self.log.setdefault(drafted.renewal, [])
        if len(written) != drafted.seq - 1:
            return
        before = self.history(self.log).open
        body: dict[str, Any] = dict(drafted.body)
        written.append(drafted)
        self.views[who].setdefault(drafted.renewal, []).append(drafted)
        if drafted.kind is Kind.ACCEPTED:
            assert before is not None
            assert before.csr is not None or body["pair"]["key_fingerprint"] is not None
        self.account = self.account.after(drafted.kind, body, self.history(self.log))
        self.backups.append((copied(self.log), self.account))

    @invariant()
    def one_story(self) -> None:
        """Whatever was taken folds, to what the account tells; events beside the renewals are all counted."""
        found = self.history(self.log)
        self.account.agrees_with(found)
        assert found.adopted_seq == len(self.log.get("tokyo-0", []))


TestYear = Year.TestCase
TestYear.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
