"""What an office's state folders say, and whether that can be true: of use right after a kill, and after a repeat.

Two runs of one command differ in ids, times, keys, run numbers and places on disk; `plain` takes those away.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from renewctl.certificate import private_key
from renewctl.database import sql_version
from renewctl.errors import NodeFault, RenewctlError, Unusable
from renewctl.inventory import reading as inventory
from renewctl.keys import keystore, unseal
from renewctl.reasons import Reason
from renewctl.renewal import rules as renewal
from renewctl.renewal.events import KEY_STORE, Event, Kind
from renewctl.renewal.key_record import key_facts
from renewctl.secrets import Kind as Of
from renewctl.secrets import SecretRef
from renewctl.store.read import StoreReader, event_hash, fields_of
from tests.crash.kills.office import CSR, REQUEST, STORE, kind_of

MODES = {
    "store's folder": 0o750,
    "store": 0o640,
    "keys' folder": 0o700,
    "key": 0o600,
    "request file": 0o644,
    "identity": 0o600,
}
"""What bears its final name has its final mode, whatever the umask: no later command sets it."""

Plain = Any
"""What JSON can say."""

_NAMED = re.compile(r"[0-9a-f]{16,}")  # keys, documents, serials, tokens
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")
_PASSING = frozenset({"seq", "run"})


class Names:
    """Hex names in the order in which they appear: the first one met is `name 0`."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def plain(self, value: object, key: str = "") -> Plain:
        """The value without what differs from run to run."""
        if key in _PASSING and value is not None:
            return key
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {name: self.plain(value[name], name) for name in sorted(value)}
        if isinstance(value, list | tuple):
            return [self.plain(one) for one in value]
        if isinstance(value, datetime):
            return "instant"
        return self._text(value) if isinstance(value, str) else value

    def _text(self, value: str) -> str:
        if _NAMED.fullmatch(value):
            return self._seen.setdefault(value, f"name {len(self._seen)}")
        return "instant" if _INSTANT.fullmatch(value) else Path(value).name


@dataclass(frozen=True)
class Told:
    """What a store tells.

    Attributes:
        events: of every renewal in order: kind and body, plain.
        folds: every renewal as its events add up, plain.
    """

    events: Mapping[str, Sequence[Plain]]
    folds: Mapping[str, Plain]

    def begins(self, whole: Told) -> bool:
        """Every history here is the beginning of the same one there."""
        return all(
            list(whole.events.get(name, ()))[: len(events)] == list(events)
            for name, events in self.events.items()
        )


def told(renewals: Mapping[str, Sequence[Event]]) -> Told:
    """The store's events, plain; `history_broken` where they do not follow each other."""
    events = {}
    for name, each in sorted(renewals.items()):
        names = Names()
        events[name] = [[one.kind.value, names.plain(one.body)] for one in each]
    folds = {
        name: Names().plain(renewal.fold(each))
        for name, each in sorted(renewals.items())
        if name != KEY_STORE
    }
    return Told(events, {**folds, KEY_STORE: _key_facts(renewals)})


def _key_facts(renewals: Mapping[str, Sequence[Event]]) -> Plain:
    """What events tell of each key that is needed or taken away, in an order that does not depend on keys.

    But not to whom it is sealed: a key that a killed command had kept already is told of without that. And no key
    that nothing needs.
    """
    known = key_facts(renewals, datetime.now(UTC)).values()
    facts = [each for each in known if each.uses or each.destroying]
    untold = {"recipients": None, "may_open": frozenset[str](), "surely_opens": frozenset[str]()}
    return sorted((Names().plain(dataclasses.replace(each, **untold)) for each in facts), key=str)


def with_less(after: Told, seen: Told) -> Told:
    """The end of a command of the key store that goes on with the other keys where one cannot be done.

    What it wrote of the key store is taken for the end, if it begins as it must and says no more than that.
    """
    theirs, ours = after.events.get(KEY_STORE, ()), seen.events.get(KEY_STORE, ())
    kinds = Counter(kind for kind, _ in ours) - Counter(kind for kind, _ in theirs)
    if kinds or list(ours[:1]) != list(theirs[: len(ours[:1])]):
        return after
    return dataclasses.replace(after, events={**after.events, KEY_STORE: ours})


@contextmanager
def as_of(schema: int) -> Iterator[None]:
    """Read stores as the renewctl of that schema does."""
    ours = sql_version.SCHEMA
    sql_version.SCHEMA = schema
    try:
        yield
    finally:
        sql_version.SCHEMA = ours


def read(office: Path, *, recover: bool) -> Mapping[str, Sequence[Event]]:
    """All events; none where there is no store.

    Args:
        recover: as the command line reads; otherwise as the exporter does, changing nothing.
    """
    try:
        with StoreReader(f"sqlite:///{office / STORE}", recover=recover) as reader:
            return reader.renewals()
    except Unusable as error:
        if error.reason is not Reason.STORE_MISSING:
            raise
        return {}


def exporter_sees(office: Path, before: Told, after: Told) -> Iterator[str]:
    """What is wrong with what an exporter reads at this moment; it may say that recovery is needed."""
    try:
        seen = told(read(office, recover=False))
    except NodeFault as error:
        if error.reason is not Reason.STORE_NEEDS_RECOVERY:
            yield f"the exporter: {error}"
        return
    except RenewctlError as error:
        yield f"the exporter: {error}"
        return
    yield from _between("the exporter", seen, before, after)


def owner_sees(office: Path, before: Told, after: Told) -> Iterator[str]:
    """What is wrong with what the command line reads; rolls a journal back as it does."""
    try:
        renewals = read(office, recover=True)
        seen = told(renewals)
    except RenewctlError as error:
        yield f"the command line: {error}"
        return
    yield from _between("the command line", seen, before, after)
    yield from _chain(renewals)
    yield from _database(office / STORE)
    yield from _files(office)
    yield from _keys(office, renewals)
    yield from _documents(office, renewals)


def _between(who: str, seen: Told, before: Told, after: Told) -> Iterator[str]:
    """Every event was told before or belongs to the untouched run; none is missing in between."""
    if not seen.begins(after):
        yield f"{who} reads events that the untouched run does not begin with: {seen.events}"
    if not before.begins(seen):
        yield f"{who} misses events that were there before"


def _chain(renewals: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for name, events in renewals.items():
        previous = ""
        for event in events:
            if (event.previous, event.hash) != (previous, event_hash(fields_of(event))):
                yield f"{name} {event.seq} does not follow the event before it"
            previous = event.hash


def _database(path: Path) -> Iterator[str]:
    if path.exists():
        connection = sqlite3.connect(path)
        said = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        if said != [("ok",)]:
            yield f"SQLite says {said}"


def _files(office: Path) -> Iterator[str]:
    """Whatever bears a final name is whole, and may be read by whom it should: request files, inventory, …."""
    for found in office.rglob("*"):
        name = str(found.relative_to(office))
        if not name.startswith(("state", "keys", "out", ".")):
            continue
        mode, expected = stat.S_IMODE(found.stat().st_mode), MODES.get(kind_of(name))
        if expected not in {None, mode}:
            yield f"{name} has mode {mode:04o}, not {expected:04o}"
    written = office / "renewctl.yaml"
    if written.exists():
        try:
            inventory.load(written)
        except RenewctlError as error:
            yield f"the inventory: {error}"
    own = office / ".config/renewctl/identity.txt"
    if own.exists() and not re.search(r"^# public key: age1\w+\nAGE-SECRET-KEY-1\w+\n\Z", own.read_text()):
        yield "a torn identity"


def _keys(office: Path, renewals: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Every key of a final name opens, and is the one its name says; every key an event names is there."""
    folder = keystore.KeyFolder(office / "keys", ())
    identity = SecretRef(Of.FILE, (str(office / "identity.txt"),))
    names = folder.names()
    for name in names:
        yield from _wrong_key(name, folder.sealed(name), identity)
    begun, destroyed = _destroyed_keys(renewals)
    for named in _named_keys(renewals):
        if named not in names and named not in begun:
            yield f"an event names key {named}, which is not kept"
    for gone in destroyed.intersection(names):
        yield f"key {gone} is said to be destroyed, and is kept"


@functools.cache  # taking a key apart is what a look would spend its time on
def _wrong_key(name: str, sealed: bytes, identity: SecretRef) -> tuple[str, ...]:
    try:
        opened = unseal.open_key(sealed, identity)
    except RenewctlError as error:
        return (f"key {name} does not open: {error}",)
    return () if private_key.fingerprint(opened, name) == name else (f"key {name} is another one",)


def _named_keys(renewals: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for events in renewals.values():
        for event in events:
            if event.kind in {Kind.KEY_MADE, Kind.CSR_MADE}:
                yield event.body["key_fingerprint"]
            elif event.kind in {Kind.ADOPTED, Kind.ACCEPTED}:
                yield event.body["pair"]["key_fingerprint"]


def _destroyed_keys(renewals: Mapping[str, Sequence[Event]]) -> tuple[set[str], set[str]]:
    """Keys of which destruction was begun, and those of which it was said to be done."""
    begun, done = set[str](), set[str]()
    for event in renewals.get(KEY_STORE, ()):
        if event.kind is Kind.DESTRUCTION_STARTED:
            begun |= {key["key_fingerprint"] for key in event.body["keys"]}
        elif event.kind is Kind.KEY_DESTROYED:
            done.add(event.body["key_fingerprint"])
    return begun, done


def _documents(office: Path, renewals: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Every document an event names is kept; every file written for a person is such a document, whole."""
    named = [
        event.body.get("document") or event.body.get("pair", {}).get("document")
        for events in renewals.values()
        for event in events
    ]
    kept = {name for name in named if isinstance(name, str)}
    with StoreReader(f"sqlite:///{office / STORE}") as reader:
        for name in kept:
            try:
                reader.document(name)
            except RenewctlError as error:
                yield f"a document: {error}"
    for file in (office / CSR, office / REQUEST):
        if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() not in kept:
            yield f"{file.name} is none of the documents that events name"
