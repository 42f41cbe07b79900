"""What every workflow is handed: inventory, store, clock, and who is at work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from renewctl.errors import Refused
from renewctl.inventory.reading import Inventory, Node, Topic
from renewctl.keys.keystore import KeyHome
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories, history_of, misnamed
from renewctl.renewal.rules import Renewal, apply, require
from renewctl.store.write import Stamp, Store


@dataclass(frozen=True)
class Workplace:
    """One operator at work with one inventory and one store.

    Attributes:
        now: the clock, aware UTC.
        tell: called with a key of the catalogues and its values whenever something worth a line happens.
        dry_run: every check is made, nothing is written.
    """

    inventory: Inventory
    store: Store
    keys: KeyHome
    stamp: Stamp
    now: Callable[[], datetime]
    tell: Callable[[str, Mapping[str, Any]], None]
    dry_run: bool = False

    def nodes(self, topic: Topic) -> tuple[Node, ...]:
        """The nodes that serve a topic."""
        return self.inventory.nodes_of(topic.id)

    def on_record(self, topic: Topic) -> tuple[TopicHistory, Refused | None]:
        """The topic's history as the store tells it now, and why its id and UID do not go with it."""
        known = histories(self.store.renewals())
        return history_of(known, topic.id, topic.topic), misnamed(known, topic.id, topic.topic)

    def history(self, topic: Topic, past: Collection[Reason] = ()) -> TopicHistory:
        """The topic's history as the store tells it now.

        Args:
            past: reasons of `history.misnamed` that do not matter here.

        Raises:
            Refused: as `history.misnamed`.
        """
        history, refused = self.on_record(topic)
        if refused is not None and refused.reason not in past:
            raise refused
        return history

    def open_renewal(self, topic: Topic, past: Collection[Reason] = ()) -> Renewal:
        """The renewal of a topic that has not ended; `past` as in `history`.

        Raises:
            Refused: `renewal_none_open`; as `history`.
        """
        renewal = self.history(topic, past).open
        if renewal is None:
            raise Refused(Reason.RENEWAL_NONE_OPEN, topic=topic.id)
        return renewal

    def append(self, renewal: Renewal, kind: Kind, body: Mapping[str, Any]) -> Renewal:
        """Write one more event of a renewal down, and hand back what it is now.

        Raises:
            Refused: `out_of_order`.
            Attention: somebody else wrote in the meantime.
        """
        require(renewal, kind)
        event = self.write(renewal.name, kind, body, renewal.seq + 1)
        return renewal if event is None else apply(renewal, event)

    @contextmanager
    def holder_first(self) -> Iterator[None]:
        """Where the rules refuse what is asked while somebody seen alive holds the renewal, say who holds it.

        Raises:
            Attention: `run_held`.
        """
        try:
            yield
        except Refused as error:
            if error.reason in {Reason.OUT_OF_ORDER, Reason.RENEWAL_OPEN_ALREADY}:
                self.store.require_unheld(str(error.values["renewal"]))
            raise

    def write(
        self,
        name: str,
        kind: Kind,
        body: Mapping[str, Any],
        seq: int,
        beside: Mapping[str, int] | None = None,
    ) -> Event | None:
        """Append an event under an expected number; None in a dry run.

        Args:
            beside: other renewals that must be as they were seen, as `Store.append`.

        Raises:
            Attention: `somebody_else_moved`: read again.
        """
        if self.dry_run:
            return None
        return self.store.append(name, kind, body, stamp=self.stamp, expected_seq=seq, beside=beside)

    def keep(self, document: bytes) -> str:
        """Keep a public artefact; its SHA-256 (hex)."""
        return hashlib.sha256(document).hexdigest() if self.dry_run else self.store.put_document(document)
