"""What `renewctl.renewal.events` says that events hold is what is written down."""

from __future__ import annotations

import re

import pytest

from renewctl.renewal import events
from tests.support.desk import Desk

pytestmark = pytest.mark.slow  # a whole year: `make test`


def _said() -> dict[str, set[str]]:
    """Kind -> names in its body, out of the docstring's tables."""
    told: dict[str, str] = {}
    kind = ""
    for line in str(events.__doc__).splitlines():
        if found := re.fullmatch(r"([a-z_]+) {2,}(\S.*)", line):
            kind = found[1]
            told[kind] = found[2]
        elif line.startswith("    ") and kind:
            told[kind] += " " + line.strip()
        else:
            kind = ""
    plain = {kind: re.sub(r"\s*\([^)]*\)", "", text) for kind, text in told.items()}
    return {
        kind: {name for part in text.split(",") if (name := part.strip())} for kind, text in plain.items()
    }


def test_every_kind_is_in_the_docstring() -> None:
    """A row for each kind there is, and no other."""
    assert set(_said()) == {kind.value for kind in events.Kind}


def test_bodies_hold_what_the_docstring_says(sqlite_desk: Desk) -> None:
    """A year with a refused certificate, a second look and the way back: no name more, none less."""
    desk = sqlite_desk
    desk.to_request()
    desk.refusal("renewal", "accept", desk.downloaded_from_nowhere(), code=1)
    desk.told("renewal", "accept", desk.downloaded())
    for words in (
        ("roll-out",),
        ("verify",),
        ("roll-back",),
        ("roll-out",),
        ("close",),
        ("open",),
        ("abort",),
    ):
        desk.told("renewal", *words)
    written = [event for name in ("tokyo-0", "tokyo-1", "tokyo-2") for event in desk.events(name)]
    held = {event.kind.value: set(event.body) - {"store"} for event in written}
    said = _said()
    assert held == {kind: said[kind] for kind in held}
    assert len(held) == 16
