"""Opens a workplace for the commands that write: store, key store, stamp, and a voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import renewctl
from renewctl.cli.context import Session
from renewctl.errors import Refused, RenewctlError, Unusable
from renewctl.guidance import Situation, Step, next_steps
from renewctl.inventory.reading import Topic
from renewctl.keys import keystore
from renewctl.reasons import Reason
from renewctl.renewal.history import TopicHistory, histories, history_of, misnamed
from renewctl.renewal.rules import gone, owed, owed_previous
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store
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
    refused: RenewctlError | None = None,
    request_file: Path | None = None,
    csr_file: Path | None = None,
    left_out: Mapping[str, str] | None = None,
    store_missing: bool = False,
    wrong_id: Refused | None = None,
) -> tuple[Step, ...]:
    """NEXT STEPS of one topic; the other arguments as in `Situation`."""
    from renewctl.cli.vendor_watch import vendor_refuses  # noqa: PLC0415 - cryptography

    latest, current = history.latest, history.current
    nodes = [node.name for node in session.inventory.nodes_of(topic.id)]
    situation = Situation(
        topic=topic,
        history=history,
        now=session.now(),
        owed=() if latest is None else owed(latest, nodes),
        owed_previous=() if latest is None else owed_previous(latest, nodes),
        gone=() if latest is None else gone(latest, nodes),
        wrong_id=wrong_id,
        not_after=None if current is None else current.not_after,
        options=session.options,
        refused=refused,
        request_file=request_file,
        csr_file=csr_file,
        left_out=left_out or {},
        store_missing=store_missing,
        vendor_refuses=vendor_refuses(topic, session.now()),
    )
    return next_steps(situation)


def steps_after(
    session: Session, topic: Topic, refused: RenewctlError, left_out: Mapping[str, str]
) -> tuple[Step, ...]:
    """NEXT STEPS after a command that did not do what was asked, read from the store as it is now.

    Raises:
        RenewctlError: the store cannot tell.
    """
    try:
        with StoreReader(session.store_url, recover=True) as reader:
            known = histories(reader.renewals())
    except Unusable as error:
        if error.reason is not Reason.STORE_MISSING:
            raise
        return steps_for(session, topic, TopicHistory(topic.id), store_missing=True)
    uid = (topic.id, topic.topic)
    history, wrong_id = history_of(known, *uid), misnamed(known, *uid)
    return steps_for(session, topic, history, refused=refused, left_out=left_out, wrong_id=wrong_id)
