"""What must hold whenever somebody looks: a whole chain, keys that open, intents before deeds, no state between.

Hash, key and fingerprint are computed here once more, without the product's code.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyrage
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from psycopg.rows import dict_row

from renewctl.errors import RenewctlError
from renewctl.renewal.history import histories
from renewctl.store.read import event_from
from tests.crash.pg_bench import Bench

_CHANCE = frozenset({
    "key_fingerprint", "document", "serial", "fingerprint", "not_after", "sha256", "file", "store", "recipients",
    "since", "token_sha256",
})  # fmt: skip
"""Fields of what is made anew at each try."""

_TIMES = frozenset({
    "seq", "opened_at", "last_at", "accepted_at", "adopted_at", "at", "run", "adopted_seq", "opened_by",
    "csr", "kept_csr", "not_after", "fingerprint",
})  # fmt: skip
_BROKEN = "events that may not follow each other"
_STATEMENT = "SELECT * FROM events ORDER BY renewal, seq"

Rows = list[dict[str, Any]]


def rows_of(bench: Bench) -> Rows:
    """Every event as the table holds it."""
    with bench.admin() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_STATEMENT).fetchall()


def told(rows: Rows) -> list[tuple[str, str, str]]:
    """What happened, without what chance decides: to compare two tries."""
    return [
        (row["renewal"], row["kind"], json.dumps(_without(json.loads(row["body"]), _CHANCE))) for row in rows
    ]


def folded(rows: Rows) -> str:
    """The state the events add up to, without numbers, instants and what chance decides; else why there is none."""
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        by_name.setdefault(row["renewal"], []).append(event_from(row))
    try:
        topics = {name: asdict(history) for name, history in histories(by_name).items()}
    except RenewctlError as error:
        return json.dumps({_BROKEN: str(error)})
    return json.dumps(_without(topics, _CHANCE | _TIMES), default=str, sort_keys=True, indent=1)


def troubles(bench: Bench, rows: Rows) -> list[str]:
    """Everything that is wrong with the store as it is."""
    broken = json.loads(folded(rows)).get(_BROKEN)
    return [*_chain(rows), *_keys(bench, rows), *_intents(bench, rows), *([broken] if broken else [])]


def _chain(rows: Rows) -> list[str]:
    found = []
    last: dict[str, tuple[int, str]] = {}
    for row in rows:
        seq, previous = last.get(row["renewal"], (0, ""))
        fields = {**row, "body": json.loads(row["body"])}
        of_hash = {name: value for name, value in fields.items() if name != "hash"}
        text = json.dumps(of_hash, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sound = hashlib.sha256(text.encode()).hexdigest() == row["hash"]
        if not sound or (row["seq"], row["previous"]) != (seq + 1, previous):
            found.append(f"the chain breaks at {row['renewal']} {row['seq']}")
        last[row["renewal"]] = (row["seq"], row["hash"])
    return found


def _keys(bench: Bench, rows: Rows) -> list[str]:
    """Every key an event names is there and opens."""
    named: set[str] = set()
    for row in rows:
        body = json.loads(row["body"])
        pair = body.get("pair") or {}
        named |= {name for name in (body.get("key_fingerprint"), pair.get("key_fingerprint")) if name}
    with bench.admin() as connection:
        sealed = dict(connection.execute("SELECT fingerprint, sealed FROM keys").fetchall())
    secret = [line for line in bench.identity.file.read_text().splitlines() if line.startswith("AGE-SECRET")]
    return [
        f"key {name} cannot be opened"
        for name in sorted(named)
        if name not in sealed or not _opens(bytes(sealed[name]), secret[0], name)
    ]


@functools.cache  # taking a key apart is what a look would spend its time on
def _opens(sealed: bytes, secret: str, name: str) -> bool:
    identity = pyrage.x25519.Identity.from_str(secret)
    key = load_pem_private_key(pyrage.decrypt(sealed, [identity]), None)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest() == name


def _intents(bench: Bench, rows: Rows) -> list[str]:
    """No playbook that changes a node was played without its event, of the same run, before it."""
    path = bench.played()
    played = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    bodies = [(row["kind"], json.loads(row["body"])) for row in rows]
    announced = {(b["run"], node) for kind, b in bodies if kind == "wave_started" for node in b["nodes"]}
    return [
        f"{one['name']} was played on {node} without an event"
        for one in played
        if one["name"] in {"rollout", "rollback"}
        for node in one["nodes"]
        if (one["run"], node) not in announced
    ]


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: "*" if key in names and one else _without(one, names) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without(one, names) for one in value]
    return value
