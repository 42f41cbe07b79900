"""YAML bytes -> plain values and the line of every field. Sole owner of the YAML library.

The values are made here, out of the library's events: the line numbers are gone from its own values,
duplicate keys and alias bombs must be refused, and its composer goes down one level of C stack for each
level of nesting, so that 100 kB of `[` would end the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from renewctl.errors import Unusable
from renewctl.inventory.fields import Problems
from renewctl.reasons import Reason, Word

#: 10,000 nodes are about 3 MB; whatever is larger is no inventory.
MAX_BYTES = 16 * 1024 * 1024
#: 10,000 nodes of 15 fields are 150,000 values; more come from aliases of aliases ("billion laughs").
MAX_VALUES = 250_000
MAX_DEPTH = 20
#: Characters; a key is repeated in the path of every field below it.
MAX_KEY = 200
#: Characters; Python itself neither reads nor shows integers of thousands of digits.
MAX_NUMBER = 100
_SNIFF = 1024

_constructor = yaml.constructor.SafeConstructor()
_SCALARS: dict[str, Callable[[yaml.ScalarNode], object]] = {
    "bool": _constructor.construct_yaml_bool,
    "int": _constructor.construct_yaml_int,
    "float": _constructor.construct_yaml_float,
    "null": lambda _: None,
    "str": lambda node: node.value,
    "timestamp": lambda node: node.value,
    "merge": lambda node: node.value,
    "value": lambda node: node.value,
}
_NUMBERS = (_SCALARS["int"], _SCALARS["float"])
_STANDARD = "tag:yaml.org,2002:"


def read_bytes(path: Path) -> bytes:
    """The bytes of one inventory file.

    Raises:
        Unusable: missing, no regular file, unreadable, empty, larger than `MAX_BYTES`.
    """
    try:
        if not path.is_file():
            missing = not path.exists()
            raise Unusable(Reason.INVENTORY_NOT_FOUND if missing else Reason.FILE_NOT_REGULAR, path=str(path))
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Unusable(Reason.FILE_TOO_LARGE, path=str(path), got=size, expected=MAX_BYTES)
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(Reason.FILE_UNREADABLE, path=str(path), got=error.strerror) from error
    if not data.strip():
        raise Unusable(Reason.INVENTORY_EMPTY, path=str(path))
    return data


def parse(data: bytes, place: str) -> tuple[object, Problems]:
    """One YAML document as plain values, and where faults of its fields are to be noted.

    Raises:
        Unusable: not UTF-8 text, not YAML, more than one document, a tag of a programming language.
    """
    lines: dict[str, int] = {}
    problems = Problems(place, lines)
    reader = _Reader(_text(data, place), place, lines, problems)
    try:
        return reader.document(), problems
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise _syntax(place, line, error.problem or error.context or "?") from error
    except yaml.YAMLError as error:
        raise _syntax(place, None, type(error).__name__) from error


def _text(data: bytes, place: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(
            Reason.FILE_NOT_TEXT, path=place, got=f"byte {error.start}", expected="UTF-8"
        ) from error
    if "\x00" in text[:_SNIFF]:
        raise Unusable(Reason.FILE_NOT_TEXT, path=place, got="byte 00", expected="UTF-8")
    return text


def _syntax(place: str, line: int | None, got: str, reason: Reason = Reason.INVENTORY_SYNTAX) -> Unusable:
    where = place if line is None else f"{place}:{line}"
    return Unusable(reason, where=where, file=place, line=line, got=got)


class _Reader:
    """Makes plain values out of events, counting them."""

    def __init__(self, text: str, place: str, lines: dict[str, int], problems: Problems) -> None:
        self._loader: Any = yaml.CSafeLoader(text)
        self._place = place
        self._lines = lines
        self._problems = problems
        self._count = 0
        self._anchors: dict[str, list[yaml.Event] | None] = {}  # None: not yet at its end
        self._recording: list[list[yaml.Event]] = []
        self._replaying: list[Iterator[yaml.Event]] = []

    def document(self) -> object:
        """The one document; None where there is none."""
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), "", 0)
        self._next()  # the document's end
        second = self._next()
        if not isinstance(second, yaml.StreamEndEvent):
            raise _syntax(self._place, _line(second), "but found another document")
        return value

    def _next(self) -> yaml.Event:
        if self._replaying:
            return next(self._replaying[-1])
        event: yaml.Event = self._loader.get_event()
        for events in self._recording:
            events.append(event)
        return event

    def _value(self, event: yaml.Event, path: str, depth: int) -> object:
        if isinstance(event, yaml.AliasEvent):
            return self._again(event, path, depth)
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            raise self._too_much(event, MAX_VALUES if self._count > MAX_VALUES else MAX_DEPTH)
        self._lines.setdefault(path, _line(event))
        anchor = None if self._replaying else getattr(event, "anchor", None)
        if anchor is None:
            return self._plain(event, path, depth)
        if anchor in self._anchors:
            raise _syntax(self._place, _line(event), "found duplicate anchor")
        self._anchors[anchor] = None
        own = [event]
        self._recording.append(own)
        value = self._plain(event, path, depth)
        self._recording.remove(own)
        self._anchors[anchor] = own
        return value

    def _again(self, alias: yaml.AliasEvent, path: str, depth: int) -> object:
        """What an alias stands for, made anew."""
        if alias.anchor not in self._anchors:
            raise _syntax(self._place, _line(alias), "found undefined alias")
        events = self._anchors[alias.anchor]
        if events is None:
            raise self._too_much(alias, MAX_DEPTH)  # it stands within itself
        self._replaying.append(iter(events))
        value = self._value(self._next(), path, depth)
        self._replaying.pop()
        return value

    def _plain(self, event: yaml.Event, path: str, depth: int) -> object:
        if isinstance(event, yaml.MappingStartEvent) and event.tag in _untagged("map"):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent) and event.tag in _untagged("seq"):
            return self._sequence(path, depth)
        return self._scalar(event)

    def _sequence(self, path: str, depth: int) -> list[object]:
        result: list[object] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            result.append(self._value(event, f"{path}[{len(result)}]", depth + 1))
        return result

    def _mapping(self, path: str, depth: int) -> dict[object, object]:
        result: dict[object, object] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _syntax(self._place, _line(event), Word("word.key_no_text"))
            if len(event.value) > MAX_KEY:
                raise self._too_much(event, MAX_KEY)
            key = self._scalar(event)
            below = f"{path}.{key}" if path else str(key)
            first = self._lines.get(below)
            self._lines[below] = _line(event)
            value = self._value(self._next(), below, depth + 1)
            if key in result:
                expected = f"{self._place}:{first}"
                self._problems.add(Reason.INVENTORY_DUPLICATE, below, got=str(key), expected=expected)
            else:
                result[key] = value
        return result

    def _scalar(self, event: yaml.Event) -> object:
        tag = self._tag(event)
        make = _SCALARS.get(tag.removeprefix(_STANDARD))
        long = make in _NUMBERS and len(getattr(event, "value", "")) > MAX_NUMBER
        if make is None or long or not isinstance(event, yaml.ScalarEvent):
            raise _syntax(self._place, _line(event), _shown(tag), Reason.INVENTORY_TAG)
        node = yaml.ScalarNode(tag, event.value)
        try:
            return make(node)
        except (ValueError, KeyError) as error:
            raise _syntax(self._place, _line(event), _shown(tag), Reason.INVENTORY_TAG) from error

    def _tag(self, event: Any) -> str:  # noqa: ANN401 - the library's events have it or not
        """The tag that is written, or the one a plain scalar's look stands for."""
        if event.tag is not None and event.tag != "!":
            return str(event.tag)
        return str(self._loader.resolve(yaml.ScalarNode, event.value, event.implicit))

    def _too_much(self, event: yaml.Event, limit: int) -> Unusable:
        return _syntax(self._place, _line(event), f"> {limit}", Reason.INVENTORY_TOO_MUCH)


def _untagged(kind: str) -> tuple[str | None, ...]:
    return (None, "!", f"{_STANDARD}{kind}")


def _shown(tag: str) -> str:
    """As it is written: `!!int`, `!vault`."""
    return tag if tag.startswith("!") else "!!" + tag.removeprefix(_STANDARD)


def _line(event: Any) -> int:  # noqa: ANN401 - the library is untyped
    return int(event.start_mark.line) + 1
