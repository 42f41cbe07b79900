"""Rows of `events`, believed in nothing: what can be read of each, and what cannot. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from renewctl.renewal.events import NAME, Event, Kind
from renewctl.store.head import Place, place_of
from renewctl.store.read import MAY_BE_ABSENT, canonical, event_from, event_hash, instant_from, instant_text

_BAD = (ValueError, TypeError, RecursionError)


@dataclass(frozen=True)
class Row:
    """One row, as far as it can be read.

    Attributes:
        renewal, seq: as they stand there; as text where they are of another type.
        event: None where the row is not as we write them; then `fault` says why.
        place: where in the store it stands; None: it says nothing of it.
        place_known: whether that could be read.
        hash: as it stands there.
        untouched: the hash recomputed over all other fields is the same.
    """

    renewal: str
    seq: int
    event: Event | None
    fault: str
    place: Place | None
    place_known: bool
    previous: object
    hash: object
    untouched: bool


def read(row: Mapping[str, Any]) -> Row:
    """Read one row; never raises, whatever is in it."""
    fields = {name: row[name] for name in Event.__dataclass_fields__}
    unread = _unread(fields)
    body: dict[str, Any] | None = None
    place: Place | None = None
    place_known = False
    with suppress(*_BAD):
        body = _object(fields["body"])
        place = place_of(body)
        place_known = True
    return Row(
        renewal=str(fields["renewal"]),
        seq=fields["seq"] if type(fields["seq"]) is int else -1,
        event=event_from(fields) if unread is None else None,
        fault="" if unread is None else f"{unread} {fields[unread]!r:.60}",
        place=place,
        place_known=place_known,
        previous=fields["previous"],
        hash=fields["hash"],
        untouched=_untouched(fields, body),
    )


def _unread(fields: Mapping[str, Any]) -> str | None:
    """The first field that is not as we write it."""
    for name, value in fields.items():
        if name == "seq":
            right = type(value) is int and value > 0
        else:
            right = isinstance(value, str) or (value is None and name in MAY_BE_ABSENT)
        if not right:
            return name
    for name, reader in _READERS.items():
        try:
            reader(fields[name])
        except _BAD:
            return name
    return None


def _name(text: str) -> None:
    if not NAME.fullmatch(text):
        raise ValueError(text)


def _instant(text: str) -> None:
    if instant_text(instant_from(text)) != text:
        raise ValueError(text)


def _object(text: str) -> dict[str, Any]:
    body = json.loads(text, parse_constant=_no_number)
    if not isinstance(body, dict):
        raise TypeError(text)
    return body


def _no_number(text: str) -> None:
    raise ValueError(text)


def _body(text: str) -> None:
    place_of(_object(text))


_READERS: Mapping[str, Callable[[str], object]] = {
    "renewal": _name,
    "at": _instant,
    "kind": Kind,
    "body": _body,
}


def _untouched(fields: Mapping[str, Any], body: object) -> bool:
    """Every field as it was when the hash was made; the body to the letter."""
    try:
        return (event_hash({**fields, "body": body}), canonical(body)) == (fields["hash"], fields["body"])
    except _BAD:
        return False
