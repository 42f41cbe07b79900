"""The store was lost: its backup goes into an empty place, and what nodes were given since is not guessed.

Every node is asked first which run it carries and what it serves. The restored store goes on above the
highest run, so that no file node refuses the next one, and its open renewals say of every node that it is
unknown until it was read back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl import playbook_run
from renewctl.database import sql
from renewctl.errors import Unusable
from renewctl.inventory.reading import Inventory, Node, Topic
from renewctl.keys.keystore import KeyHome
from renewctl.playbook_events import NodeResult
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories, history_of
from renewctl.store.read import OF_A_RESTORE, Run, event_from, instant_text
from renewctl.store.write import Stamp, Store
from renewctl.upkeep import backup_file, restore
from renewctl.upkeep.backup_file import Backup
from renewctl.workflow.hosts import host_variables
from renewctl.workflow.run_numbers import run_number, too_high


@dataclass(frozen=True)
class Told:
    """What one node said of one topic.

    Attributes:
        run: the run it carries; 0: it never carried one, or carries none (API); None: it did not say, or is
            not believed.
        serials: of the certificates it serves for the topic.
        stranger: one of them is in no event of the backup: it came after, or from elsewhere.
        not_after: when the last of these ends.
        reason, values: why it did not say, where it is known.
    """

    node: str
    topic: str
    run: int | None
    serials: tuple[str, ...] = ()
    stranger: bool = False
    not_after: datetime | None = None
    reason: Reason | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """What was restored, or would be.

    Attributes:
        sha256: the backup's name.
        keys: how many keys were not there before.
        run: the next run is above this one.
        requested: topic (id) whose open renewal has made a request, its key in the backup -> when the pair
            before ends; None: none was taken over.
    """

    backup: Backup
    sha256: str
    run: int
    told: tuple[Told, ...]
    requested: Mapping[str, datetime | None] = field(default_factory=dict)
    keys: int = 0

    @property
    def silent(self) -> tuple[str, ...]:
        """Nodes that did not say which run they carry."""
        return tuple(dict.fromkeys(one.node for one in self.told if one.run is None))

    @property
    def strangers(self) -> tuple[str, ...]:
        """Nodes that serve a certificate the backup does not know."""
        return tuple(dict.fromkeys(one.node for one in self.told if one.stranger))

    @property
    def answered(self) -> dict[str, tuple[str, ...]]:
        """Topic (id) -> those of them that most likely serve the answer to its open request."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self.told:
            if one.stranger and one.topic in self.requested and _ends_after(one, self.requested[one.topic]):
                found[one.topic] = (*found.get(one.topic, ()), one.node)
        return found


def _ends_after(one: Told, before: datetime | None) -> bool:
    return before is None or (one.not_after is not None and one.not_after > before)


@dataclass(frozen=True)
class Place:
    """Where to, by whom, and how to speak.

    Attributes:
        url: of the store, absolute.
        tell: called with a key of the catalogues at each step.
        asked: whether nodes are asked.
    """

    inventory: Inventory
    url: str
    keys: KeyHome
    stamp: Stamp
    now: Callable[[], datetime]
    tell: Callable[[str], None]
    asked: bool


def bring_back(place: Place, path: Path, *, dry_run: bool) -> Restored:
    """Restore a backup.

    Raises:
        Unusable: `backup_…`: the file cannot be used; no Ansible here to ask file nodes with.
        Refused: `store_not_empty`.
        NodeFault: as store and key store raise; the same command can be given again.
    """
    place.tell("restore.checking")
    backup, sha256 = backup_file.read(path)
    restore.require_known(backup, str(path))
    restore.require_empty(place.url)
    events = _events(backup, path)
    newest = restore.newest_run(backup)
    told = tuple(_asked(place, _known_serials(events), newest))
    carried = [one.run for one in told if one.run is not None]
    run_above, requested = max([newest, *carried]) + 1, _requested(place.inventory, backup, events)
    done = Restored(backup, sha256, run_above, told, requested)
    if dry_run:
        return done
    place.tell("restore.writing")
    sql.create(place.url)  # empty: it names no key yet
    keys = restore.keep_keys(backup, place.keys)
    at = place.now()
    run = Run(
        number=done.run, token=secrets.token_hex(16), renewal=OF_A_RESTORE,
        holder=place.stamp.actor, host=place.stamp.host, since=at, beat=0, ended=at,
    )  # fmt: skip
    with Store(place.url, clock=place.now) as store:
        drafts = list(_drafts(place, store, done, run, events))
        restore.fill(store, backup, drafts, run, path=str(path))
    return replace(done, keys=keys)


def _events(backup: Backup, path: Path) -> dict[str, list[Event]]:
    """Every renewal's events; one that cannot be read could not be read in the restored store either."""
    found: dict[str, list[Event]] = {}
    for row in backup.tables["events"]:
        try:
            found.setdefault(row["renewal"], []).append(event_from(row))
        except (KeyError, TypeError, ValueError):
            got = f"event {row.get('renewal')} {row.get('seq')}"
            raise Unusable(Reason.BACKUP_DAMAGED, path=str(path), got=got) from None
    return found


def _asked(place: Place, known: frozenset[str], newest: int) -> Iterator[Told]:
    """Each node of each topic.

    Args:
        known: serials the backup knows.
        newest: its newest run.
    """
    if place.asked:
        place.tell("restore.asking")
    for topic in place.inventory.topics:
        nodes = place.inventory.nodes_of(topic.id)
        if not place.asked:
            yield from (Told(node.name, topic.id, _run_unless_files(node)) for node in nodes)
            continue
        ended = playbook_run.run(
            "observe",
            host_variables(nodes, nodes),
            {"renewctl_topic": topic.topic},
            on_event=lambda _event: None,
        )
        yield from (_told(node, topic, ended.results.get(node.name), known, newest) for node in nodes)


def _told(node: Node, topic: Topic, result: NodeResult | None, known: frozenset[str], newest: int) -> Told:
    """What one node's answer says."""
    silent = Told(node.name, topic.id, _run_unless_files(node))
    if result is None:
        return silent
    if result.outcome != "observed":
        return replace(silent, reason=result.reason, values=result.values)
    seen = () if result.observation is None else result.observation.certificates
    served = [one for one in seen if one.topic == topic.topic]
    serials = tuple(dict.fromkeys(one.serial for one in served if one.serial is not None))
    number = result.values.get("run", 0)
    heard = Told(
        node.name,
        topic.id,
        run_number(number, newest),
        serials,
        stranger=not known.issuperset(serials),
        not_after=max((one.not_after for one in served), default=None),
    )
    if heard.run is not None:
        return heard
    return replace(heard, reason=Reason.RUN_TOO_HIGH, values=too_high(node.name, node, number, newest))


def _run_unless_files(node: Node) -> int | None:
    """Of a node that was not heard: file nodes carry a run, others cannot."""
    return None if node.install is not None else 0


def _known_serials(events: Mapping[str, Sequence[Event]]) -> frozenset[str]:
    pairs = (
        pair
        for told in events.values()
        for event in told
        for pair in (event.body.get("pair"), event.body.get("previous"))
    )
    return frozenset(str(pair["serial"]) for pair in pairs if isinstance(pair, Mapping))


def _requested(
    inventory: Inventory, backup: Backup, events: Mapping[str, Sequence[Event]]
) -> dict[str, datetime | None]:
    """Topics whose open renewal waits for a certificate that belongs to a key of the backup.

    With each, when the pair before ends: an older one on a node is no answer to its request.
    """
    found = histories(events)
    renewals = {one.id: history_of(found, one.id, one.topic).open for one in inventory.topics}
    return {
        topic: None if one.previous is None else one.previous.not_after
        for topic, one in renewals.items()
        if one is not None and one.accepted is None and one.csr and one.key_fingerprint in backup.keys
    }


def _drafts(
    place: Place, store: Store, done: Restored, run: Run, events: Mapping[str, Sequence[Event]]
) -> Iterator[Event]:
    """One event a topic: in its open renewal, else beside its renewals, whatever id they are under.

    And one in every other open renewal: of another inventory's nodes nobody has asked, and there is none to
    name but those the backup knows.
    """
    found = histories(events)
    told: dict[str, dict[str, list[str]]] = {}
    for topic in place.inventory.topics:
        told.setdefault(history_of(found, topic.id, topic.topic).topic_id, _nodes(place, topic, done))
    others = [topic_id for topic_id, history in found.items() if history.open is not None]
    for topic_id in dict.fromkeys((*told, *others)):
        history = found.get(topic_id, TopicHistory(topic_id))
        name, seq = history.adopted_name, history.adopted_seq
        if history.open is not None:
            name, seq = history.open.name, history.open.seq
        nodes = told.get(topic_id) or {"nodes": [], "silent": []}
        body = {
            **run.on_record(),
            "backup": done.sha256,
            "made_at": instant_text(done.backup.made_at),
            **nodes,
        }
        yield store.draft(name, Kind.RESTORED, body, stamp=place.stamp, seq=seq + 1)


def _nodes(place: Place, topic: Topic, done: Restored) -> dict[str, list[str]]:
    return {
        "nodes": [node.name for node in place.inventory.nodes_of(topic.id)],
        "silent": [one.node for one in done.told if one.topic == topic.id and one.run is None],
    }
