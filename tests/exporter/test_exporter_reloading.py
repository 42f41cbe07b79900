"""Reloads asked for over HTTP, without a network: however many ask, two are made."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from starlette.routing import Route
from starlette.types import Message

from exporter.app import Reloading, make_app
from renewctl.errors import RenewctlError, Unusable
from renewctl.reasons import Reason


class Slow:
    """A reload that lasts until it is let go; each comes to a fault of its own."""

    def __init__(self) -> None:
        self.faults: list[RenewctlError] = []
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.most = 0
        self._now = 0

    def __call__(self) -> RenewctlError | None:
        """Reload."""
        self.faults.append(fault := Unusable(Reason.INVENTORY_MISSING_KEY))
        self.begun.set()
        self._now += 1
        self.most = max(self.most, self._now)
        assert self.let_go.wait(30)
        self._now -= 1
        return fault


async def asked(reloading: Reloading, times: int) -> list[asyncio.Task[RenewctlError | None]]:
    """So many who ask at once."""
    tasks = [asyncio.create_task(reloading.next()) for _ in range(times)]
    await asyncio.sleep(0)
    return tasks


def test_whoever_asks_during_a_reload_is_told_of_the_next_one() -> None:
    """Never of the one under way, which may have read the file before it was changed; sixty who ask make one more."""

    async def reloads() -> None:
        slow = Slow()
        reloading = Reloading(slow)
        first = await asked(reloading, 1)
        assert await asyncio.to_thread(slow.begun.wait, 30)
        later = await asked(reloading, 60)
        slow.let_go.set()
        assert await asyncio.gather(*first) == slow.faults[:1]
        assert set(await asyncio.gather(*later)) == {slow.faults[1]}
        assert (len(slow.faults), slow.most) == (2, 1)
        assert await reloading.next() is slow.faults[2]

    asyncio.run(reloads())


def test_sixty_posts_are_answered_by_few_reloads() -> None:
    """And are no burden to the threads that make the status page."""
    slow = Slow()
    slow.let_go.set()
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def posts() -> None:
        app = make_app(SimpleNamespace(reload=slow), Route("/", send))  # type: ignore[arg-type]
        scope = {"type": "http", "method": "POST", "path": "/-/reload", "query_string": b"", "headers": []}
        await asyncio.gather(*(app({**scope}, receive, send) for _ in range(60)))

    asyncio.run(posts())
    assert statuses == [500] * 60  # each is told of the fault
    assert len(slow.faults) <= 2


def test_a_reload_that_breaks_is_told_to_whoever_waits_and_not_to_the_next() -> None:
    """Nothing is left behind by it."""
    outcomes: list[RuntimeError | None] = [RuntimeError("broken"), None]

    def reload() -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    async def reloads() -> None:
        reloading = Reloading(reload)
        with pytest.raises(RuntimeError):
            await reloading.next()
        assert await reloading.next() is None

    asyncio.run(reloads())
