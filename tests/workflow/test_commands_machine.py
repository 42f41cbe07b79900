"""Random interleavings of the commands themselves: three people, real stores, nodes that only remember.

`tests.support.turns` halts each command wherever another could come in between; chance says who goes on, who is
stopped, who is killed, how much time passes and what nodes do. What must hold is looked at after every turn.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from renewctl.audit.checks import verify
from renewctl.certificate import intake
from renewctl.inventory.reading import Topic, load
from renewctl.keys import keystore
from renewctl.keys.unseal import new_identity
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories
from renewctl.renewal.rules import Direction, Outcome, Phase, Renewal, behind
from renewctl.store.write import Stamp, Store
from renewctl.workflow import deploy, restoring
from renewctl.workflow.restoring import Place
from renewctl.workflow.workplace import Workplace
from tests.support.certs import NOW, OTHER_TOPIC, TOPIC, Issued
from tests.support.desk import APPLE, OLD, OLD_ENDS, Desk, PublicHalf, desk_in
from tests.support.modelled_nodes import Mood, Nodes
from tests.support.postgres import Database
from tests.support.turns import Alone, Clock, Person, TurnStore, here
from tests.support.typed_commands import COMMANDS, KEPT, NATURAL, names_what_it_should

pytestmark = pytest.mark.slow

OTHER = new_identity()[1]
NAMES = ("tanaka", "suzuki", "robot")
FIRST = {TOPIC: OLD, OTHER_TOPIC: APPLE.push(OTHER_TOPIC, not_after=OLD_ENDS, key="old of the other")}

VERBS = [
    *["acts"] * 40,
    *["is stopped", "is overtaken", "wakes up"] * 4,
    *["is killed", "time passes", "a node's mood"] * 2,
    "another store was there",
    *["changes the inventory"] * 3,
    *["the store is lost"] * 2,
]
ACTS = st.tuples(st.integers(0, len(NAMES) - 1), st.sampled_from(VERBS), st.integers(0, 10**4))


class Office:
    """Three people, two topics, three nodes of which two share a storage, and one story."""

    def __init__(self, desk: Desk, first: Mapping[str, Any], empty: Callable[[], None]) -> None:
        desk.rewrite(**first)
        (desk.folder / KEPT).unlink(missing_ok=True)
        self.first, self.empty = first, empty
        inventory = load(desk.folder / "renewctl.yaml")
        self.desk, self.topics = desk, inventory.topics
        self.store = Store(desk.store)
        self.keys = keystore.home(inventory.keys, desk.store)
        self.clock = Clock()
        self.numbers: list[int] = []
        self.people = [Person(name, self.clock, self.numbers) for name in NAMES]
        self.names = {node.name: node.name for node in inventory.nodes}
        storages = {node.name: node.storage for node in inventory.nodes}
        self.nodes = Nodes({**storages, **{f"{name}b": at for name, at in storages.items()}}, self.newest)
        self.written: dict[str, list[Event]] = {}
        self.overtaken: set[str] = set()
        self.renewed = 0
        for topic in self.topics:
            for storage in self.nodes.storages.values():
                self.nodes.holds[storage, topic.topic] = FIRST[topic.topic].pem
            self.types(0, "adopt", topic, FIRST[topic.topic])
            self.people[0].goes_on(99)

    def newest(self) -> int:
        """Number of the newest run."""
        run = self.store.newest_run()
        return 0 if run is None else run.number

    def _histories(self) -> Iterable[TopicHistory]:
        return histories(self.store.renewals()).values()

    def history(self, topic: Topic) -> TopicHistory:
        """What the store tells of a topic."""
        return histories(self.store.renewals()).get(topic.id, TopicHistory(topic.id))

    def turn(self, who: int, verb: str, pick: int) -> None:
        """Somebody types a command, or lets the one that halts go on; now and then worse."""
        person, node = self.people[who], f"n{1 + pick % 3}"
        if verb == "changes the inventory":
            self.change(pick)
        elif verb == "the store is lost":
            self.loses_its_store()
        elif verb == "time passes":
            self.clock.passes((4.0, 25.0, 40.0)[pick % 3])
        elif verb == "is killed":
            person.is_killed()
        elif verb == "a node's mood":
            self.nodes.moods[node] = [*[Mood.WELL] * 6, *Mood][pick // 3 % 12]
        elif verb == "another store was there":
            self.nodes.carries[node] = max(self.newest(), self.nodes.carries.get(node, 0)) + 2
        elif person.stopped or (verb in {"is stopped", "is overtaken"} and person.holds):
            person.stopped = verb != "wakes up"
            if verb == "is overtaken":
                self.acts((who + 1) % len(NAMES), 8 * pick + 7)
        else:
            self.acts(who, pick)
        note(f"{person.name} {verb}; halts: {person.at or '-'}")

    def change(self, pick: int) -> None:
        """A node has another name, is taken out, or is there as it was; so are topics' ids; keys open for others."""
        own = f"n{1 + pick % 3}"
        names = self.names | {own: (own, f"{own}b", "")[pick // 3 % 3]}
        if any(names.values()):  # a topic has a node
            self.names = names
        there = [one | {"name": self.names[one["name"]]} for one in self.first["nodes"]]
        recipients = [*self.first["keys"]["recipients"], *[OTHER] * (pick // 9 % 2)]
        keys = self.first["keys"] | {"recipients": recipients}
        ids = [topic.id for topic in self.topics]
        if self._is_quiet():
            ids[0] = "hq" if pick // 18 % 4 == 0 else "tokyo"
        named = [one | {"id": name} for one, name in zip(self.first["topics"], ids, strict=True)]
        self.desk.rewrite(nodes=[one for one in there if one["name"]], keys=keys, topics=named)
        self.topics = load(self.desk.folder / "renewctl.yaml").topics
        note(f"the inventory has {' '.join(self.names.values())} for {ids}; recipients: {len(recipients)}")

    def _is_quiet(self) -> bool:
        """Everybody has come to the end of a command: they share one inventory, and its ids."""
        for person in self.people:
            if not person.stopped:
                person.goes_on(99)
        return not any(person.at for person in self.people)

    def loses_its_store(self) -> None:
        """With everybody who is at work on it; the newest backup comes back, if there is one."""
        kept = self.desk.folder / KEPT
        if not kept.exists():
            return
        for person in self.people:
            person.is_killed()
        self.store.close()
        self.empty()
        inventory = load(self.desk.folder / "renewctl.yaml")
        place = Place(
            inventory, self.desk.store, self.keys, Stamp("tanaka@new", "new", "0.1.0", "d" * 64), lambda: NOW,
            lambda _key: None, asked=True,
        )  # fmt: skip
        Alone("tanaka", self.clock, self.numbers).acts(
            lambda: restoring.bring_back(place, kept, dry_run=False)
        )
        self.store = Store(self.desk.store)
        self.numbers.clear()  # those the backup does not know, and no node was given
        self.written = {}
        self.overtaken = {one.name for told in self._histories() for one in told.renewals if one.ended}

    def acts(self, who: int, pick: int) -> None:
        """A command, mostly one that fits; or a few halts of the one that runs."""
        if self.people[who].stopped:
            return
        if not self.people[who].at:
            topic = self.topics[pick // 7 % 5 == 0]
            renewal = self.history(topic).open
            choice = NATURAL[None if renewal is None else renewal.phase] if pick % 5 else tuple(COMMANDS)
            words = choice[pick // 35 % len(choice)]
            issued = self.downloaded(topic) if words == "accept" else None
            self.types(who, words, topic, issued or self.by_hand(topic))
        self.people[who].goes_on((1, 1, 1, 2, 2, 4, 8, 99)[pick % 8])

    def types(self, who: int, words: str, topic: Topic, issued: Issued) -> None:
        """A command, about a file that is at hand."""
        file = self.desk.file(f"{NAMES[who]}.pem", issued.pem)

        def act(work: Workplace) -> None:
            if words == "adopt":
                deploy.adopt(work, topic, intake.read(file), issued.key_pem)
            else:
                COMMANDS[words](work, topic, file)

        note(f"{NAMES[who]} types {words} for {topic.id}")
        self.people[who].begins(f"{words} {topic.id}", act)

    def downloaded(self, topic: Topic) -> Issued | None:
        """What the portal makes of the request there is."""
        renewal = self.history(topic).open
        if renewal is None or renewal.csr is None:
            return None
        csr = x509.load_pem_x509_csr(self.store.document(renewal.csr))
        return APPLE.push(topic.topic, key=PublicHalf(csr), not_after=self._later())

    def by_hand(self, topic: Topic) -> Issued:
        """Another pair, renewed without renewctl."""
        return APPLE.push(topic.topic, key=f"by hand {topic.id}", not_after=self._later())

    def _later(self) -> datetime:
        """The end of a certificate: each ends later than those before."""
        self.renewed += 1
        return NOW + timedelta(days=300, minutes=self.renewed)

    # What must hold

    def is_right(self) -> None:
        """All of it."""
        for person in self.people:
            for ended in person.ended:
                note(f"{person.name}: {ended.name} ended with {ended.refused}")
                if ended.broke is not None:
                    raise ended.broke
                if ended.refused is not None:
                    names_what_it_should(ended.name, ended.refused)
            person.ended.clear()
        assert self.numbers == sorted(set(self.numbers)), "a run's number is used twice, or falls"
        events = self.store.renewals()
        if sum(map(len, events.values())) != sum(map(len, self.written.values())):
            self._record_is_right(events)
        for renewal in _newest(events).values():
            if renewal.name not in self.overtaken:  # what came after it was lost
                self._nodes_are_as_told(renewal)

    def _record_is_right(self, events: dict[str, list[Event]]) -> None:
        """Both chains verify, nothing written is lost, one renewal a topic is open at most: the last."""
        assert verify(self.store.raw()).traces == ()
        for name, before in self.written.items():
            assert events[name][: len(before)] == before
        for name, told in events.items():
            for event in told[len(self.written.get(name, ())) :]:
                _began_rightly(event, events)
        self.written = events
        opened = [one.open.topic for one in histories(events).values() if one.open is not None]
        assert len(opened) == len(set(opened)), "two renewals of a UID are open"
        for history in histories(events).values():
            assert [one.ended for one in history.renewals[:-1]] == [True] * (len(history.renewals) - 1)
            self._keys_are_kept(history)

    def _keys_are_kept(self, history: TopicHistory) -> None:
        """Of the pair in use, of the one before, and of both of an open renewal: all these may be asked for."""
        renewal = history.open
        asked = [history.current, history.before]
        asked += [] if renewal is None else [renewal.previous, renewal.accepted]
        for pair in filter(None, asked):
            assert pair.key_fingerprint is not None
            assert self.keys.has(pair.key_fingerprint), (history.topic_id, pair)

    def _nodes_are_as_told(self, renewal: Renewal) -> None:
        """A node called proven or installed holds the pair it is said to hold, whoever is at work."""
        for name, state in renewal.nodes.items():
            given = renewal.accepted if state.direction is Direction.NEW else renewal.previous
            if state.outcome in {Outcome.PROVEN, Outcome.INSTALLED} and given is not None:
                held = self.nodes.holds[self.nodes.storages[name], renewal.topic]
                assert held == self.store.document(given.document), (name, state)
        self._nothing_is_called_done_that_is_not(renewal)

    def _nothing_is_called_done_that_is_not(self, renewal: Renewal) -> None:
        """What an open renewal's phase claims where nobody is named beside it holds wherever it was at work."""
        here = [name for name in self.names.values() if name]
        pairs = {Phase.PROVEN: renewal.accepted, Phase.INSTALLED: renewal.accepted}
        pair = (pairs | {Phase.ROLLED_BACK: renewal.previous}).get(renewal.phase)
        if pair is None or behind(renewal, here):
            return
        for name in {*here, *(renewal.nodes if renewal.phase is Phase.ROLLED_BACK else ())}:
            held = self.nodes.holds[self.nodes.storages[name], renewal.topic]
            if name in renewal.nodes:
                assert held == self.store.document(pair.document), (name, renewal.phase)


@contextmanager
def at_work(desk: Desk, first: Mapping[str, Any], empty: Callable[[], None]) -> Iterator[Office]:
    """One story; whoever is still at work at its end is killed."""
    office = Office(desk, first, empty)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("renewctl.playbook_run.run", office.nodes.run)
            try:
                yield office
            finally:
                for person in office.people:
                    person.is_killed()
    finally:
        office.store.close()


def _newest(events: Mapping[str, list[Event]]) -> dict[str, Renewal]:
    """UID -> its newest renewal, under whatever id."""
    found: dict[str, Renewal] = {}
    every = [one for history in histories(events).values() for one in history.renewals]
    for renewal in sorted(every, key=lambda one: events[one.name][0].body["store"]["number"]):
        found[renewal.topic] = renewal
    return found


def _began_rightly(event: Event, events: Mapping[str, list[Event]]) -> None:
    """A renewal begins from the pair that was in use then; a pair is adopted while no renewal is open."""
    if event.kind not in {Kind.OPENED, Kind.ADOPTED}:
        return
    number, topic_id = event.body["store"]["number"], event.body["topic_id"]
    before = {name: [e for e in told if e.body["store"]["number"] < number] for name, told in events.items()}
    seen = histories({name: told for name, told in before.items() if told})
    history = seen.get(topic_id, TopicHistory(topic_id))
    assert history.open is None, event
    if event.kind is Kind.OPENED:
        current = history.current
        assert event.body["previous"] == (None if current is None else current.as_body()), event


def _told(desk: Desk, patch: pytest.MonkeyPatch, empty: Callable[[], None], stories: int) -> None:
    """Stories of this office, each from an empty store."""
    desk.second_topic()
    first = desk.inventory
    patch.setattr("renewctl.cli.workplace.Store", TurnStore)
    patch.setattr("renewctl.workflow.engine.sleep", lambda seconds: here().sleeps(seconds))

    @settings(max_examples=stories, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts=st.lists(ACTS, min_size=150, max_size=200))
    def story(acts: list[tuple[int, str, int]]) -> None:
        empty()
        with at_work(desk, first, empty) as office:
            for act in acts:
                office.turn(*act)
                office.is_right()

    story()


def test_on_sqlite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file for each story."""
    desk = desk_in(tmp_path, capsys, monkeypatch)

    def empty() -> None:
        shutil.rmtree(tmp_path / "state")
        Store.create(desk.store)

    _told(desk, monkeypatch, empty, 10)


def test_on_postgresql(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """Emptied before each story."""
    desk = desk_in(tmp_path, capsys, monkeypatch, database.url)

    def empty() -> None:
        with database.connect() as connection:
            connection.execute("TRUNCATE events, runs, documents, keys")

    _told(desk, monkeypatch, empty, 3)  # each look is a connection of its own
