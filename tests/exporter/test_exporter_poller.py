"""Everybody is asked on their own clock; nobody waits for anybody."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from exporter import poller as poller_module
from exporter.poller import Change, Look, Poller
from exporter.snapshot import NodeFacts, Snapshot
from tests.support.alerting import RULES


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
    question: str = ""

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
        until(lambda: len(late.begun) >= 2)


def test_a_silent_node_is_asked_less_and_less_often() -> None:
    """Each pause doubles; one that answers stays at the interval."""
    silent, lively = Fake("silent", up=False), Fake("lively")
    with polling(silent, lively):
        until(lambda: len(silent.begun) >= 5)
    pauses = [later - earlier for earlier, later in zip(silent.begun, silent.begun[1:], strict=False)]
    assert pauses[3] > 0.05 * 8 * 0.85
    assert len(lively.begun) > len(silent.begun)


def test_the_pause_has_an_end() -> None:
    """However long a node was silent: at least at every eighth interval."""
    poller = Poller({"a": Fake("a", up=False)}, Snapshot(), 30, lambda: None)
    pauses = [poller._pause("a") for _ in range(2000)]
    assert 240 * 0.9 <= max(pauses) <= 240 * 1.1
    assert pauses[0] <= 33


@pytest.mark.parametrize(("interval", "longest"), [(120, 900), (360, 900), (900, 900), (1500, 1500)])
def test_long_intervals_are_not_stretched_beyond_a_round(interval: int, longest: int) -> None:
    """Up to an interval of 25 minutes one silent node leaves no round unfinished for as long as its alert waits."""
    poller = Poller({"a": Fake("a", up=False)}, Snapshot(), interval, lambda: None)
    pauses = [poller._pause("a") for _ in range(500)]
    assert longest * 0.9 <= max(pauses) <= longest * 1.1
    [round_] = re.findall(r"last_round_timestamp_seconds > (\d+)", RULES.read_text(encoding="utf-8"))
    assert max(pauses) + 2 * poller_module.LOOK_SECONDS < int(round_)


def test_no_two_pauses_are_alike() -> None:
    """Nodes asked in one instant drift apart: a tenth of the interval either way."""
    poller = Poller({"a": Fake("a")}, Snapshot().with_node("a", NodeFacts(up=True)), 30, lambda: None)
    pauses = [poller._pause("a") for _ in range(2000)]
    assert 27 <= min(pauses) < 27.5
    assert 32.5 < max(pauses) <= 33


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


def changed(poller: Poller, *fakes: Fake) -> None:
    """Other looks; what is known stays."""
    poller.change_to({fake.name: fake for fake in fakes}, lambda known: known)


def test_a_change_asks_nothing_again_that_is_under_way() -> None:
    """However many changes: one look at a hanging node, whose answer counts when it comes."""
    gate = threading.Event()
    first = Fake("slow", gate=gate)
    later = [Fake("slow") for _ in range(30)]
    with polling(first) as poller:
        until(lambda: bool(first.begun))
        for fake in later:
            changed(poller, fake)
            time.sleep(0.005)
        assert [fake.begun for fake in later] == [[]] * 30
        assert not poller.all_asked
        gate.set()
        until(lambda: poller.snapshot.node("slow").up is True)
        until(lambda: bool(later[-1].begun))
        assert [fake.begun for fake in later[:-1]] == [[]] * 29


def test_a_change_leaves_everybody_their_time() -> None:
    """A look is not due because somebody else reloads; a node that is new is."""
    kept, new = Fake("kept"), Fake("new")
    with polling(kept, interval=100) as poller:
        until(lambda: len(kept.begun) == 1 and not poller._under_way)
        for _ in range(20):
            changed(poller, kept)
        changed(poller, kept, new)
        until(lambda: len(new.begun) == 1)
        assert len(kept.begun) == 1


def test_a_change_ends_a_long_pause() -> None:
    """Whoever mended a node that was silent for long sees it within one interval."""
    poller = Poller({"a": Fake("a")}, Snapshot(), 30, lambda: None)
    for look, seconds in ((Fake("a"), 30), (Fake("a", least_seconds=100), 100)):
        before = time.monotonic()
        poller._due = [(before + 240, "a")]
        changed(poller, look)
        assert before + seconds <= poller._due[0][0] <= time.monotonic() + seconds


def test_an_answer_to_another_question_is_dropped() -> None:
    """The node has another address now: what the old one says is not its; it is asked when that has ended."""
    old, new = Fake("a", gate=threading.Event()), Fake("a", question="elsewhere", up=False)
    with polling(old, interval=100) as poller:
        until(lambda: bool(old.begun))
        changed(poller, new)
        time.sleep(0.05)
        assert new.begun == []
        assert old.gate is not None
        old.gate.set()
        until(lambda: poller.all_asked)
        assert (len(new.begun), poller.snapshot.node("a").up) == (1, False)


def test_a_node_taken_away_while_it_hangs_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its silence nor its late answer is published; put back meanwhile, it is still not asked twice."""
    monkeypatch.setattr(poller_module, "LOOK_SECONDS", 0.1)
    gone, back = Fake("gone", gate=threading.Event()), Fake("gone")
    with polling(gone) as poller:
        until(lambda: bool(gone.begun))
        changed(poller)
        told = gone.told_overdue
        time.sleep(0.3)
        assert gone.told_overdue == told
        changed(poller, back)
        time.sleep(0.1)
        assert back.begun == []
        changed(poller)
        assert gone.gate is not None
        gone.gate.set()
        until(lambda: not poller._under_way)
        assert poller.snapshot.node("gone").up is False
        assert poller._due == []


def test_a_refused_thread_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread left for two seconds must not end the asking; nobody loses a place, and the log says it once."""
    refused: list[str] = []
    refusing, start = threading.Event(), threading.Thread.start

    def may_start(thread: threading.Thread) -> None:
        if refusing.is_set() and thread.name.startswith("look "):
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", may_start)
    fakes = [Fake(f"node{n}") for n in range(3)]
    with polling(*fakes) as poller:
        for _ in range(2):
            refusing.set()
            seen = len(refused)
            until(lambda seen=seen: len(set(refused[seen:])) == 3 and len(refused) - seen > 6)  # type: ignore[misc]
            assert not any(under_way.look.at_once for under_way in poller._under_way.values())  # type: ignore[attr-defined]
            refusing.clear()
            begun = [len(fake.begun) for fake in fakes]
            until(lambda begun=begun: all(len(f.begun) > n + 1 for f, n in zip(fakes, begun, strict=True)))  # type: ignore[misc]
    assert len(caplog.messages) == 2
    assert "can't start new thread" in caplog.text


def test_an_answer_that_cannot_be_taken_costs_nobody_their_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours in what one look told, or in its silence: what is known stays, and all are asked again."""
    monkeypatch.setattr(poller_module, "LOOK_SECONDS", 0.1)

    def broken(_snapshot: Snapshot) -> Snapshot:
        raise KeyError("odd")

    odd, quick, slow = Fake("odd"), Fake("quick"), Fake("slow", gate=threading.Event())
    monkeypatch.setattr(odd, "look", lambda: [odd.begun.append(0), broken][1])
    monkeypatch.setattr(slow, "overdue", lambda: [slow.begun.append(0), broken][1])
    with polling(odd, quick, slow) as poller:
        until(lambda: len(odd.begun) > 2 and len(quick.begun) > 2 and len(slow.begun) > 2)
        assert poller.snapshot.nodes.keys() == {"quick"}
    assert "odd told cannot be taken: KeyError" in caplog.text
