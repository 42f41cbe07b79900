"""Somebody else's text, made safe to look at: nothing in it moves a cursor or turns a line around. Pure."""

from __future__ import annotations

import unicodedata

_NEVER = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of what follows (UAX #9)."""


def visible(text: str) -> str:
    r"""The text with control characters, stray surrogates and turns of direction spelled out (`\x1b`)."""
    if text.isprintable():
        return text
    return "".join(_spelled(one) for one in text)


def _spelled(one: str) -> str:
    if unicodedata.category(one) in _NEVER or one in _TURNING:
        return one.encode("unicode_escape").decode("ascii")
    return one
