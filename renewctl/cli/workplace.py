"""Opens a workplace for the commands that write: store, key store, stamp, and a voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import renewctl
from renewctl import keystore
from renewctl.cli.context import Session
from renewctl.guidance import Situation, Step, next_steps
from renewctl.history import TopicHistory
from renewctl.inventory import Topic
from renewctl.reasons import Reason
from renewctl.renewal import owed
from renewctl.store import Stamp, Store
from renewctl.workflow.workplace import Workplace

Tell = Callable[[str, Mapping[str, Any]], None]


@contextmanager
def workplace(
    session: Session,
    *,
    reason: str | None = None,
    ticket: str | None = None,
    tell: Tell | None = None,
    dry_run: bool = False,
) -> Iterator[Workplace]:
    """The inventory's store and key store, opened for writing; writing leaves the head in the session.

    Raises:
        Unusable, NodeFault: as the inventory, the store and the key store raise.
        Attention: `run_held`, where what the block does is refused while somebody is at work on it.
    """
    inventory = session.inventory
    url = session.store_url
    stamp = Stamp(
        actor=session.actor,
        host=session.actor.partition("@")[2],
        version=renewctl.__version__,
        inventory_digest=inventory.digest,
        reason=reason,
        ticket=ticket,
    )
    with Store(url) as store:
        work = Workplace(
            inventory=inventory,
            store=store,
            keys=keystore.home(inventory.keys, url),
            stamp=stamp,
            now=session.now,
            tell=tell or (lambda _key, _values: None),
            dry_run=dry_run,
        )
        try:
            with work.holder_first():
                yield work
        finally:
            session.head = store.written or session.head


def steps_for(
    session: Session,
    topic: Topic,
    history: TopicHistory,
    *,
    refused: Reason | None = None,
    request_file: Path | None = None,
) -> tuple[Step, ...]:
    """NEXT STEPS of one topic; `refused`: why the command that ends here did not do it."""
    latest, current = history.latest, history.current
    nodes = [node.name for node in session.inventory.nodes_of(topic.id)]
    situation = Situation(
        topic=topic,
        history=history,
        now=session.now(),
        owed=() if latest is None else owed(latest, nodes),
        not_after=None if current is None else current.not_after,
        options=session.options,
        refused=refused,
        request_file=request_file,
    )
    return next_steps(situation)
