"""What is written down: one event for each thing that happened in a renewal. Pure values.

Bodies (JSON) by kind; instants are ISO 8601 UTC, certificates are told by `pair`:
`{document, fingerprint, serial, not_after, key_fingerprint}`.

====================== ==========================================================================
opened                 topic_id, topic, previous (pair or null)
key_made               key_fingerprint, document (SHA-256 of its CSR kept as a document), recipients (whom it
                       is sealed to), replaces (the key before, or null)
csr_made               key_fingerprint, document (the same CSR)
requested              document (the portal's file), last_day, signer (`vendor`, `external`), serial,
                       file (where it was written)
certificate_refused    reason, fingerprint (of the certificate that came), findings
accepted               pair, topic, findings
roll_out_started       run, since, token_sha256, waves ([[node, …], …]), left_out ({node: reason}), pair,
                       forward_only
wave_started           run, since, token_sha256, direction (`new`, `previous`), nodes, storages
                       ({node: storage}), unsettled (nodes of the same storages, or perhaps these under other
                       names, told to hold the other pair: unknown from here)
node_finished          run, direction, node, outcome, proof, reason, values, changed, unsettled (the same)
node_verified          run, since, token_sha256, direction, node, outcome, proof, reason, values
roll_out_finished      run, outcome (`done`, `held`, `stopped`), reason
roll_back_started      run, since, token_sha256, nodes, pair (the previous one), despite (the doubt about that
                       pair, a reason code, that a person set aside; null where there was none), values (of
                       that reason)
roll_back_finished     run, outcome (`done`, `owed`), reason
closed                 let_go (nodes it ended without: touched, out of the inventory since, and not known to
                       hold the new pair)
aborted                let_go (the same, of the previous pair)
adopted                pair, topic_id, topic, recipients (null where the key was sealed before), after (the
                       newest renewal there was; null: none)
restored               run (above the highest any node carried), since, token_sha256, backup (its SHA-256),
                       made_at, nodes (of the topic), silent (nodes that did not say which run they carry)
====================== ==========================================================================

A `node_finished` that no wave announced is of a fence that undid a step cut off (reason `node_step_undone`),
or could not, its release being damaged (`node_release_damaged`).

The key store's own record (`KEY_STORE`) belongs to no renewal and no topic:

====================== ==========================================================================
rekey_started          recipients, keys ([key_fingerprint, …])
key_resealed           key_fingerprint, recipients
destruction_started    keys ([{key_fingerprint, named_by, since}, …]), after_seconds
key_destroyed          key_fingerprint
====================== ==========================================================================

`since` and `token_sha256` are those of the run's row, told where a run or a wave begins, so that a changed
row is found (`audit`); events of before that was so have `run` alone.

Every body also has `store`: the event's place in the whole store, and the head before it (`store.head`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

KEY_STORE = "_keys-0"
"""Where the key store's own events are kept; no topic's id begins so."""

NAME = re.compile(r".+-(0|[1-9][0-9]{0,8})", re.DOTALL)
"""A renewal's name: `<topic id>-<n>`."""


class Kind(StrEnum):
    """What an event tells of."""

    OPENED = "opened"
    KEY_MADE = "key_made"
    CSR_MADE = "csr_made"
    REQUESTED = "requested"
    CERTIFICATE_REFUSED = "certificate_refused"
    ACCEPTED = "accepted"
    ROLL_OUT_STARTED = "roll_out_started"
    WAVE_STARTED = "wave_started"
    NODE_FINISHED = "node_finished"
    NODE_VERIFIED = "node_verified"
    ROLL_OUT_FINISHED = "roll_out_finished"
    ROLL_BACK_STARTED = "roll_back_started"
    ROLL_BACK_FINISHED = "roll_back_finished"
    CLOSED = "closed"
    ABORTED = "aborted"
    ADOPTED = "adopted"
    RESTORED = "restored"
    REKEY_STARTED = "rekey_started"
    KEY_RESEALED = "key_resealed"
    DESTRUCTION_STARTED = "destruction_started"
    KEY_DESTROYED = "key_destroyed"


class Direction(StrEnum):
    """Which pair a node is being given."""

    NEW = "new"
    PREVIOUS = "previous"


class Outcome(StrEnum):
    """What is known of a node after the last thing done to it."""

    UNKNOWN = "unknown"  # begun, or no answer: neither done nor failed
    INSTALLED = "installed"  # read back; no device has been seen checking in yet
    PROVEN = "proven"
    FAILED = "failed"  # an answer said no; the node keeps what it had
    WRONG = "wrong"  # an answer proved the pair wrong, and putting back is not proven either


@dataclass(frozen=True)
class Event:
    """One line of a renewal's history.

    Attributes:
        renewal: `<topic id>-<n>`; `<topic id>-0` holds what was adopted.
        seq: 1, 2, 3, … within the renewal.
        id: the writer's own name for this event (uuid4 hex): after a lost answer the writer looks for it.
        at: aware UTC, the writer's clock; decides nothing.
        actor: as claimed (`user@host`).
        authenticated: who the store itself says wrote it: the operating system's account (SQLite), the
            database's role (PostgreSQL).
        reason, ticket: what the operator gave on the command line.
        previous: hash of the event before it in this renewal, "" for the first.
        hash: SHA-256 over the canonical JSON of all other fields.
    """

    renewal: str
    seq: int
    id: str
    at: datetime
    kind: Kind
    body: Mapping[str, Any]
    actor: str
    host: str
    version: str
    inventory_digest: str
    reason: str | None
    ticket: str | None
    previous: str
    hash: str
    authenticated: str = ""


@dataclass(frozen=True)
class PairRef:
    """A pair as events tell of it: never the pair itself.

    Attributes:
        document: SHA-256 of the certificate PEM kept in the store.
        key_fingerprint: name of its key in the key store; None: we do not hold that key.
    """

    document: str
    fingerprint: str
    serial: str
    not_after: datetime
    key_fingerprint: str | None

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> PairRef:
        """Read one out of an event's body."""
        return cls(
            document=body["document"],
            fingerprint=body["fingerprint"],
            serial=body["serial"],
            not_after=datetime.fromisoformat(body["not_after"]),
            key_fingerprint=body["key_fingerprint"],
        )

    def as_body(self) -> dict[str, Any]:
        """The form an event's body carries."""
        return {
            "document": self.document,
            "fingerprint": self.fingerprint,
            "serial": self.serial,
            "not_after": self.not_after.isoformat(),
            "key_fingerprint": self.key_fingerprint,
        }
