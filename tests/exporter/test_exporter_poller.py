"""Everybody is asked on their own clock; nobody waits for anybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from exporter import poller as poller_module
from exporter.poller import Change, Look, Poller
from exporter.snapshot import NodeFacts, Snapshot


@dataclass
class Fake:
    """A look that takes as long as it is told."""

    name: str
    seconds: float = 0
    gate: threading.Event | None = None
    up: bool = True
    begun: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    told_overdue: int = 0
    least_seconds: float = 0

    def look(self) -> Change:
        """Count, wait, be up or not."""
        self.begun.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        if self.gate is not None:
            self.gate.wait(100)
        time.sleep(self.seconds)
        self.at_once -= 1
        return lambda snapshot: snapshot.with_node(self.name, NodeFacts(up=self.up))

    def overdue(self) -> Change:
        """Count, be silent."""
        self.told_overdue += 1
        return lambda snapshot: snapshot.with_node(self.name, NodeFacts(up=False))

    def silent(self, snapshot: Snapshot) -> bool:
        """Not up."""
        return not snapshot.node(self.name).up


@contextmanager
def polling(*fakes: Fake, interval: float = 0.05) -> Iterator[Poller]:
    """A running poller; nothing of it is left over."""
    changes: list[None] = []
    looks: dict[str, Look] = {fake.name: fake for fake in fakes}
    poller = Poller(looks, Snapshot(), interval, lambda: changes.append(None))
    poller.start()
    try:
        yield poller
    finally:
        for fake in fakes:
            if fake.gate is not None:
                fake.gate.set()
        poller.stop()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait; fails when it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_hanging_node_delays_nobody_and_is_never_asked_twice_at_once() -> None:
    """The quick one goes on at its pace while the other hangs."""
    slow, quick = Fake("slow", gate=threading.Event()), Fake("quick")
    with polling(slow, quick):
        until(lambda: len(quick.begun) >= 5)
        assert (len(slow.begun), slow.most_at_once) == (1, 1)


def test_more_hanging_nodes_than_places_stop_nobody_for_longer_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An overdue look gives its place back; what is overdue is published as such, again and again."""
    monkeypatch.setattr(poller_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(poller_module, "CONCURRENCY", 2)
    hanging = [Fake(f"slow{n}", gate=threading.Event()) for n in range(3)]
    quick = Fake("quick")
    with polling(*hanging, quick) as poller:
        until(lambda: len(quick.begun) >= 3)
        until(lambda: all(fake.told_overdue >= 2 for fake in hanging))
        assert poller.all_asked
        assert [fake.most_at_once for fake in hanging] == [1, 1, 1]


def test_no_more_than_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are bounded: the third waits for a place."""
    monkeypatch.setattr(poller_module, "CONCURRENCY", 2)
    gate = threading.Event()
    fakes = [Fake(f"node{n}", gate=gate) for n in range(3)]
    with polling(*fakes) as poller:
        until(lambda: sum(len(fake.begun) for fake in fakes) == 2)
        time.sleep(0.1)
        assert sum(len(fake.begun) for fake in fakes) == 2
        assert not poller.all_asked
        gate.set()
        until(lambda: poller.all_asked)


def test_a_late_answer_is_taken_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overdue, then answered: the node is up, and asked again."""
    monkeypatch.setattr(poller_module, "LOOK_SECONDS", 0.1)
    late = Fake("late", gate=threading.Event())
    with polling(late, interval=0.2) as poller:
        until(lambda: poller.snapshot.node("late").up is False)
        assert late.gate is not None
        late.gate.set()
        until(lambda: poller.snapshot.node("late").up is True)
        until(lambda: len(late.begun) == 2)


def test_a_silent_node_is_asked_less_and_less_often() -> None:
    """Each pause doubles; one that answers stays at the interval."""
    silent, lively = Fake("silent", up=False), Fake("lively")
    with polling(silent, lively):
        until(lambda: len(silent.begun) == 5)
    pauses = [later - earlier for earlier, later in zip(silent.begun, silent.begun[1:], strict=False)]
    assert pauses[3] > 0.05 * 8 * 0.85
    assert len(lively.begun) > len(silent.begun)


def test_the_pause_has_an_end() -> None:
    """However long a node was silent: at least at every eighth interval."""
    poller = Poller({"a": Fake("a", up=False)}, Snapshot(), 30, lambda: None)
    pauses = [poller._pause("a") for _ in range(2000)]
    assert 240 * 0.9 <= max(pauses) <= 240 * 1.1
    assert pauses[0] <= 33


def test_leaving_waits_for_no_look() -> None:
    """SIGTERM during a hanging look: the poller ends at once, and the late answer changes nothing."""
    gate = threading.Event()
    fake = Fake("slow", gate=gate)
    looks: dict[str, Look] = {"slow": fake}
    poller = Poller(looks, Snapshot(), 1, lambda: None)
    poller.start()
    until(lambda: bool(fake.begun))
    began = time.monotonic()
    poller.stop()
    assert time.monotonic() - began < 30
    gate.set()
    until(lambda: fake.at_once == 0)
    time.sleep(0.05)
    assert poller.snapshot == Snapshot()


def test_with_nothing_to_ask_it_sleeps_and_leaves() -> None:
    """An inventory may be empty of nodes."""
    with polling() as poller:
        assert poller.all_asked
