"""The prober's own rules, without a network: who is asked, how many at once, what is kept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from exporter import probe as probing
from exporter.families import Family
from exporter.probe import Prober, Refusal
from exporter.probe_config import Module, read_target
from exporter.rendering import Format, Page
from exporter.snapshot import Known, Snapshot
from renewctl.inventory.reading import Inventory, Node, Product
from renewctl.observation import Observation
from renewctl.servers import registry
from tests.support.exporter_values import NOW, UID, inventory, node, seen, served, topic


class FakeServers:
    """In place of `connect`: notes whom it was asked for; answers when let go."""

    def __init__(self) -> None:
        self.asked: list[Node] = []
        self.answer: Observation = seen(served())
        self.let_go = threading.Event()
        self.let_go.set()

    def connect(self, asked: Node, _topics: object = ()) -> FakeServers:
        """Note whom."""
        self.asked.append(asked)
        return self

    def observe(self, _now: datetime) -> Observation:
        """Answer, in time or not."""
        self.let_go.wait(30)
        return self.answer


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> FakeServers:
    """Whoever is asked."""
    fake = FakeServers()
    monkeypatch.setattr(registry, "connect", fake.connect)
    return fake


def prober(**modules: Module) -> Prober:
    """Over an inventory of one node, `a`, of which nothing is known yet."""
    named: Mapping[str, Module] = modules
    return Prober(lambda: inventory(node("a")), Snapshot, lambda: named)


def module(*targets: str) -> Module:
    """A module without credential."""
    read = [read_target(target, wildcard=True) for target in targets]
    return Module(Product.NANOMDM, tuple(target for target in read if target is not None))


def text(page: Page) -> str:
    """As a scraper reads it."""
    return page.body(Format.TEXT, compressed=False).whole().decode()


OPEN = module("*.mdm.example")


def test_of_topics_a_node_does_not_serve_nothing_is_told(servers: FakeServers) -> None:
    """Not that they have no date; a module may still name one that has left the inventory."""
    known = inventory(topic(), topic("osaka", "other"), node("a"))
    named = {"open": replace(OPEN, topics=("tokyo", "gone"))}
    both = Prober(lambda: known, Snapshot, lambda: named)
    for target, name in (("a", ""), ("b.mdm.example", "open")):
        told = text(asyncio.run(both.page(target, name, "")))
        assert f'mdm_topic_expiry_known{{topic="{UID}"}}' in told
        assert 'topic="other"' not in told


def test_a_node_of_the_inventory_is_never_asked(servers: FakeServers) -> None:
    """What is known is told, and that nothing is."""
    told = text(asyncio.run(prober().page("a", "", "")))
    assert "probe_success 0.0" in told
    assert 'mdm_node_up{node="a"' in told
    assert servers.asked == []


def test_a_node_is_rendered_once_after_each_look_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask: it may be ten thousand files. What a later look or another inventory tells is shown."""
    rendered: list[int] = []

    def render(node: Node, of: Inventory, known: Snapshot) -> Iterator[Family]:
        rendered.append(threading.get_ident())
        yield from of_node(node, of, known)

    of_node = probing._of_node
    monkeypatch.setattr(probing, "_of_node", render)
    now = [(inventory(node("a"), node("b")), Snapshot())]
    one = Prober(lambda: now[-1][0], lambda: now[-1][1], dict)

    async def crowd() -> list[str]:
        return [text(page) for page in await asyncio.gather(*(one.page("a", "", "") for _ in range(20)))]

    def looked_at(name: str) -> None:
        of, known = now[-1]
        now.append((of, known.with_node(name, known.node(name).after(seen(served())))))

    async def all_of_it() -> None:
        assert all("probe_success 0.0" in told for told in await crowd())
        looked_at("b")
        await crowd()
        assert len(rendered) == 1
        looked_at("a")
        assert all("probe_success 1.0" in told for told in await crowd())
        assert len(rendered) == 2
        now.append((now[-1][0], replace(now[-1][1], adopted={UID: Known(served(), NOW)})))
        await crowd()
        assert len(rendered) == 3
        now.append((inventory(node("a", storage="shared")), now[-1][1]))
        await crowd()
        assert len(rendered) == 4
        assert threading.get_ident() not in rendered
        assert list(one._rendered) == ["a"]

    asyncio.run(all_of_it())


def test_a_place_is_not_lost_with_a_thread_that_the_system_refuses(
    servers: FakeServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on tasks that was reached for a moment: 503 as long as it lasts, and every place is there after it."""
    monkeypatch.setattr(probing, "CONCURRENCY", 1)
    one = prober(open=OPEN)

    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def twice() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(Refusal) as refusal:
                await one.page("x.mdm.example", "open", "")
        assert refusal.value.status == 503
        assert "probe_success 1.0" in text(await one.page("x.mdm.example", "open", ""))

    asyncio.run(twice())


def test_a_stranger_that_falls_silent_keeps_its_last_date(servers: FakeServers) -> None:
    """As every node does; its expiry alert must not resolve itself."""
    one = prober(open=OPEN)

    async def twice() -> tuple[str, str]:
        first = await one.page("x.mdm.example", "open", "")
        servers.answer = replace(seen(), up=False, failures=())
        return text(first), text(await one.page("x.mdm.example", "open", ""))

    first, second = asyncio.run(twice())
    assert "probe_success 1.0" in first
    assert "probe_success 0.0" in second
    [date] = [line for line in first.splitlines() if line.startswith("mdm_push_certificate_expiry")]
    assert date in second
    assert {asked.user for asked in servers.asked} == {None}


def test_what_is_kept_of_strangers_is_bounded(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wildcard stands for any number of names."""
    monkeypatch.setattr(probing, "REMEMBERED", 3)
    one = prober(open=OPEN)

    async def many() -> None:
        for number in range(10):
            await one.page(f"x{number}.mdm.example", "open", "")

    asyncio.run(many())
    assert [kept.name for kept in one._known] == [f"x{number}.mdm.example:443" for number in (7, 8, 9)]


def test_so_many_are_asked_at_once_and_late_answers_make_room(
    servers: FakeServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not fit is told so; one that nobody waits for any more still takes up room."""
    monkeypatch.setattr(probing, "CONCURRENCY", 2)
    one = prober(open=OPEN)

    async def crowd() -> list[int]:
        servers.let_go.clear()
        late = [one.page(f"x{number}.mdm.example", "open", "0.2") for number in range(2)]
        assert all("node_timeout" in text(page) for page in await asyncio.gather(*late))
        statuses = []
        for _ in range(200):
            try:
                await one.page("y.mdm.example", "open", "0.2")
            except Refusal as refusal:
                statuses.append(refusal.status)
                servers.let_go.set()
                await asyncio.sleep(0.05)
            else:
                return statuses
        return [0]

    assert set(asyncio.run(crowd())) == {503}


@pytest.mark.parametrize(
    ("target", "name", "status"),
    [("", "", 400), ("b", "", 404), ("x.mdm.example", "none", 400), ("mdm.example", "open", 403), ("a:b:c", "open", 403)],
)  # fmt: skip
def test_whom_nobody_allowed(target: str, name: str, status: int, servers: FakeServers) -> None:
    """Refused with a status, and not asked."""
    with pytest.raises(Refusal) as refusal:
        asyncio.run(prober(open=OPEN).page(target, name, ""))
    assert refusal.value.status == status
    assert servers.asked == []
