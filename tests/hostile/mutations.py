"""Good examples, spoilt: bytes turned, cut, repeated, spliced, lengths exchanged; values of JSON exchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

_LONGEST = 60_000  # what repeats may grow to; what is larger is a bomb and stands in `bombs`
_NUMBER = re.compile(rb"\d+")
_LENGTHS = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1])
_DIGITS = st.sampled_from([b"0", b"-1", b"4294967296", b"9" * 19, b"9" * 400, b"1e999", b"0x10", b"9" * 5000])

ODD = (
    None, True, False, 0, -1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, float("inf"), float("nan"),
    "", " ", "\x00", "\ud800", "x" * 3000, "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+23:59",
    "2026-11-29", "2026-11-29T10:00:00", "\u202e\x1b[31m", "{0}", "%s", "/", "../../etc/passwd", [], {}, [[]],
    [None], [1, "a"], {"": None}, {"a": {"a": {}}}, [{}], "proven", "new",
)  # fmt: skip
"""Values that a field of another type, or a careless reader, cannot take."""

_Edit = Callable[[st.DrawFn, bytearray, Sequence[bytes]], None]


def _span(draw: st.DrawFn, data: bytearray, longest: int = 64) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(len(data), start + draw(st.integers(0, longest)))


def _turn(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    if data:
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))


def _put(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    start, end = _span(draw, data)
    data[start:end] = draw(st.binary(max_size=32))


def _cut(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    start, end = _span(draw, data, 400)
    del data[start:end]


def _shorten(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    del data[draw(st.integers(0, len(data))) :]


def _repeat(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    start, end = _span(draw, data)
    times = draw(st.sampled_from([2, 3, 20, 1000]))
    data[start:end] = (data[start:end] * times)[:_LONGEST]


def _splice(draw: st.DrawFn, data: bytearray, good: Sequence[bytes]) -> None:
    other = draw(st.sampled_from(list(good)))
    start, end = _span(draw, data, len(data))
    begin = draw(st.integers(0, len(other)))
    data[start:end] = other[begin : begin + draw(st.integers(0, len(other)))]


def _length(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    """Another number where a length may stand, in any of the usual widths."""
    size, order = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from(["big", "little"]))
    start = draw(st.integers(0, len(data)))
    value = draw(_LENGTHS) % 256**size
    data[start : start + size] = value.to_bytes(size, "big" if order == "big" else "little")


def _digits(draw: st.DrawFn, data: bytearray, _good: Sequence[bytes]) -> None:
    numbers = list(_NUMBER.finditer(data))
    if numbers:
        found = draw(st.sampled_from(numbers))
        data[found.start() : found.end()] = draw(_DIGITS)


_EDITS: Sequence[_Edit] = (_turn, _put, _cut, _shorten, _repeat, _splice, _length, _digits)


@st.composite
def spoilt_bytes(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """One of them after one to four edits."""
    data = bytearray(draw(st.sampled_from(list(good))))
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_EDITS))(draw, data, good)
    return bytes(data[: 2 * _LONGEST])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in below for place in _places(part, (*path, name)))]


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    return _changed(value, path, drop=True, to=None)


def _changed(value: Any, path: tuple[Any, ...], *, to: Any, drop: bool = False) -> Any:
    if not path:
        return to
    whole: Any = dict(value) if isinstance(value, dict) else list(value)
    if drop and len(path) == 1:
        del whole[path[0]]
    else:
        whole[path[0]] = _changed(whole[path[0]], path[1:], to=to, drop=drop)
    return whole


@st.composite
def spoilt_json(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """One of them with one to three values exchanged, taken out, or moved to another place."""
    value = json.loads(draw(st.sampled_from(list(good))))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(value)
        place = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["odd", "odd", "odd", "drop", "move"]))
        if kind == "drop" and place:
            value = _without(value, place)
        elif kind == "move":
            other = value
            for name in draw(st.sampled_from(places)):
                other = other[name]
            value = _changed(value, place, to=other)
        else:
            value = _changed(value, place, to=draw(st.sampled_from(ODD)))
    return json.dumps(value).encode()


def inputs(good: Sequence[bytes], *, json_too: bool) -> st.SearchStrategy[bytes]:
    """Random bytes now and then, spoilt examples mostly."""
    ways = [spoilt_bytes(good), spoilt_bytes(good), st.binary(max_size=400)]
    if json_too:
        ways += [spoilt_json(good)] * 4
    return st.one_of(ways)
