"""/probe?target=: one node alone, for Prometheus that discovers nodes itself.

A node of the inventory is answered from what is known of it. Another one is asked now, if a module
allows it, within the scrape's own time.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from exporter.collectors import certificates, devices, files, nodes, topics
from exporter.families import Family, single
from exporter.metrics import PROBE_DURATION, PROBE_SUCCESS
from exporter.node_look import NodeLook
from exporter.rendering import Page, Part
from exporter.snapshot import NodeFacts, Snapshot
from renewctl.inventory.reading import Inventory, Node
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from exporter.probe_config import Module

DEFAULT_TIMEOUT_SECONDS = 10.0
"""Prometheus's own default, for whoever does not say."""

OFFSET_SECONDS = 0.5
"""Left for the answer's way back, as in blackbox_exporter."""

LONGEST_SECONDS = 50.0
"""Below the time an answer may take at all."""

CONCURRENCY = 16
"""Looks under way, those nobody waits for any more among them."""

REMEMBERED = 1000
"""Targets whose last certificate is kept while they are silent."""


class Refusal(Exception):
    """Why there is no answer: an HTTP status, and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Prober:
    """Answers for one target at a time.

    Args:
        inventory, snapshot: give what is watched, and what is known, now.
        modules: gives those that hold now.
    """

    def __init__(
        self,
        inventory: Callable[[], Inventory],
        snapshot: Callable[[], Snapshot],
        modules: Callable[[], Mapping[str, Module]],
    ) -> None:
        self._inventory = inventory
        self._snapshot = snapshot
        self._modules = modules
        self._known: OrderedDict[Node, NodeFacts] = OrderedDict()
        self._under_way = 0
        self._rendered: dict[str, tuple[tuple[object, ...], Part]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def page(self, target: str, module: str, scrape_timeout: str) -> Page:
        """What there is to say of a target.

        Args:
            target: a node's name, or `HOST[:PORT]` or a base URL that `module` allows.
            module: its name; needed where the target is no node of the inventory.
            scrape_timeout: seconds, as Prometheus writes it.

        Raises:
            Refusal: 400, 403, 404: it will not be asked; 503: not now.
        """
        began = time.monotonic()
        inventory = self._inventory()
        node = next((node for node in inventory.nodes if node.name == target), None)
        if node is not None:
            facts, part = await self._known_of(node, inventory)
        else:
            node = self._allowed(target, module, inventory)
            facts = await self._asked(node, inventory, seconds_for(scrape_timeout))
            part = Part(_of_node(node, inventory, Snapshot().with_node(node.name, facts)))
        well = facts.looked_at is not None and facts.up is not False and not facts.failures
        took = single(PROBE_DURATION, time.monotonic() - began)
        return Page([part, Part((single(PROBE_SUCCESS, well), took))], of_process=False)

    async def _known_of(self, node: Node, inventory: Inventory) -> tuple[NodeFacts, Part]:
        """What is known of a node; rendered once after each look, however many ask.

        In a thread, one at a time: it may be ten thousand files, and nobody else is to wait for them.
        """
        async with self._one_at_a_time:
            snapshot = self._snapshot()
            basis = inventory, snapshot.nodes.get(node.name), snapshot.renewals, snapshot.adopted
            kept = self._rendered.get(node.name)
            if kept is None or any(one is not other for one, other in zip(kept[0], basis, strict=True)):
                self._forget_others(inventory)
                part = await run_in_threadpool(Part, _of_node(node, inventory, snapshot))
                kept = self._rendered[node.name] = basis, part
        return snapshot.node(node.name), kept[1]

    def _forget_others(self, inventory: Inventory) -> None:
        """A node that went out of the inventory takes up no room."""
        self._rendered = {name: kept for name, kept in self._rendered.items() if kept[0][0] is inventory}

    def _allowed(self, target: str, name: str, inventory: Inventory) -> Node:
        from exporter.probe_config import read_target  # noqa: PLC0415 - only for strangers

        if not target:
            raise Refusal(400, "target is missing: a node's name, or HOST[:PORT] with module")
        if not name:
            raise Refusal(404, "no such node in the inventory; for another target name a module")
        module = self._modules().get(name)
        if module is None:
            raise Refusal(400, "no such module")
        read = read_target(target)
        if read is None or not module.allows(read):
            raise Refusal(403, "not among the targets of this module")
        topics = module.topics or tuple(topic.id for topic in inventory.topics)
        return replace(module.node(read), topics=topics)

    async def _asked(self, node: Node, inventory: Inventory, seconds: float) -> NodeFacts:
        """Ask now; without an answer in time: what was known, and that it is silent."""
        if self._under_way >= CONCURRENCY:
            raise Refusal(503, "too many targets are being asked")
        known = Snapshot().with_node(node.name, self._known.get(node, NodeFacts()))
        uids = [topic.topic for topic in inventory.topics if topic.id in node.topics]
        look = NodeLook(node, uids)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Callable[[Snapshot], Snapshot]] = loop.create_future()

        def arrived(change: Callable[[Snapshot], Snapshot]) -> None:
            self._under_way -= 1
            if not answer.done():
                answer.set_result(change)

        def ask() -> None:
            change = look.look()
            if not loop.is_closed():
                loop.call_soon_threadsafe(arrived, change)

        try:
            # A thread of its own, which nobody has to wait for: an executor's would hold up the end.
            threading.Thread(target=ask, name=f"probe {node.name}", daemon=True).start()
        except RuntimeError:
            raise Refusal(503, "the system gives no thread to ask in; see its limits on tasks") from None
        self._under_way += 1
        try:
            change = await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            return known.node(node.name).failing(datetime.now(UTC), Reason.NODE_TIMEOUT)
        facts = change(known).node(node.name)
        self._remember(node, facts)
        return facts

    def _remember(self, node: Node, facts: NodeFacts) -> None:
        self._known[node] = facts
        self._known.move_to_end(node)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _of_node(node: Node, inventory: Inventory, snapshot: Snapshot) -> Iterator[Family]:
    alone = replace(inventory, nodes=(node,))
    for subject in (certificates, files, nodes, devices):
        yield from subject.collect(alone, snapshot)
    own = tuple(topic for topic in inventory.topics if topic.id in node.topics)
    yield from topics.dated(replace(alone, topics=own), snapshot)


def seconds_for(scrape_timeout: str) -> float:
    """How long a look may take for a scrape that waits so long."""
    try:
        given = float(scrape_timeout)
    except ValueError:
        given = DEFAULT_TIMEOUT_SECONDS
    if not math.isfinite(given) or given <= 0:
        given = DEFAULT_TIMEOUT_SECONDS
    return min(max(given - OFFSET_SECONDS, given / 2), LONGEST_SECONDS)
