"""A mapping read key by key; every fault is noted with the field's path and line, none stops the reading."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from renewctl.errors import Unusable
from renewctl.reasons import Reason, Word
from renewctl.secrets import Kind, SecretRef

_Choice = TypeVar("_Choice", bound=StrEnum)
_Item = TypeVar("_Item")
_Default = TypeVar("_Default")

_DURATION = re.compile(r"([1-9][0-9]{0,4})([dh])")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")  # prometheus.io/docs/concepts/data_model
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}
_MOST_FAULTS = 500  # of one file; nobody reads more before mending the first
_LONGEST = timedelta(days=366)  # a push certificate lives one year
_TEXT, _FLAG, _LIST = Word("word.type_text"), Word("word.type_flag"), Word("word.type_list")
_NUMBER, _MAPPING = Word("word.type_number"), Word("word.type_mapping")
_TYPE_NAMES = {str: _TEXT, int: _NUMBER, bool: _FLAG, list: _LIST, dict: _MAPPING, float: _NUMBER}


@dataclass
class Problems:
    """What is wrong with one file (or one Ansible host variable), in the order it was met.

    Attributes:
        place: what is being read, as a person knows it: a file's path, or a variable's name.
        lines: path of a field -> its line, 1-based; empty where there are no lines.
    """

    place: str
    lines: Mapping[str, int] = field(default_factory=dict)
    found: list[Unusable] = field(default_factory=list)

    def add(self, reason: Reason, path: str, **values: object) -> None:
        """Note one fault at `path`; values never hold a secret."""
        if len(self.found) == _MOST_FAULTS:
            return
        line = self._line(path)
        self.found.append(
            Unusable(reason, where=self.where(path), file=self.place, line=line, path=path or "-", **values),
        )

    def where(self, path: str) -> str:
        """`FILE:LINE`, the way editors and terminals take it."""
        line = self._line(path)
        return self.place if line is None else f"{self.place}:{line}"

    def _line(self, path: str) -> int | None:
        """The line of the field, or of the nearest one around it that exists."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def raise_first(found: list[Unusable]) -> None:
    """Raise the topmost of several, carrying the rest; nothing found, nothing raised."""
    if found:
        first, *others = sorted(found, key=_position)
        first.others = tuple(others)
        raise first


def _position(fault: Unusable) -> tuple[str, int]:
    line = fault.values.get("line")
    return str(fault.values.get("file", "")), line if isinstance(line, int) else 0


class Fields:
    """One mapping. Ask for each key, then call `done`, which reports the keys nobody asked for."""

    def __init__(self, value: object, path: str, problems: Problems, base: Path) -> None:
        self.path = path
        self.problems = problems
        self.base = base
        self._asked: set[str] = set()
        self._is_mapping = isinstance(value, Mapping)
        self._mapping: Mapping[object, object] = value if isinstance(value, Mapping) else {}
        if not self._is_mapping:
            self._wrong_type(path, value, _MAPPING)

    def at(self, key: str) -> str:
        """The path of a key of this mapping."""
        return f"{self.path}.{key}" if self.path else key

    def problem(self, reason: Reason, key: str, **values: object) -> None:
        """Note a fault of one key."""
        self.problems.add(reason, self.at(key), **values)

    def raw(self, key: str) -> object:
        """The value as it stands, None where absent."""
        self._asked.add(key)
        return self._mapping.get(key)

    def need(self, key: str, value: object) -> None:
        """Note that a key is missing where `value` is None and nothing was wrong with it."""
        if value is None and self._mapping.get(key) is None and self._is_mapping:
            self.problem(Reason.INVENTORY_MISSING_KEY, key, expected=key)

    def text(self, key: str) -> str | None:
        """A text that is not blank."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._wrong_type(self.at(key), value, _TEXT)
            return None
        if not value.strip() or "\x00" in value:
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=repr(value), expected=_TEXT)
            return None
        return value

    def must_text(self, key: str) -> str:
        """A text that has to be there; empty once a fault was noted."""
        value = self.text(key)
        self.need(key, value)
        return value or ""

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        """A text that has to be there and to match as a whole."""
        value = self.must_text(key)
        if value and not pattern.fullmatch(value):
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=value, expected=expected)
        return value

    def flag(self, key: str) -> bool:
        """True or false; false where absent."""
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            self._wrong_type(self.at(key), value, _FLAG)
        return value is True

    def count(self, key: str, most: int) -> int:
        """A whole number from 0 to `most`; 0 where absent."""
        value = self.raw(key)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=value, expected=f"0 … {most}")
            return 0
        return value

    def choice(self, key: str, choices: type[_Choice]) -> _Choice | None:
        """One of a closed list of words."""
        value = self.text(key)
        if value is None:
            return None
        try:
            return choices(value)
        except ValueError:
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=value, expected=" | ".join(choices))
            return None

    def duration(self, key: str, default: _Default, longest: timedelta = _LONGEST) -> timedelta | _Default:
        """Days or hours: `60d`, `36h`."""
        value = self.raw(key)
        if value is None:
            return default
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        length = timedelta() if found is None else int(found[1]) * _UNITS[found[2]]
        if not timedelta() < length <= longest:
            self.problem(
                Reason.INVENTORY_BAD_VALUE, key, got=value, expected=f"60d | 36h (<= {longest.days}d)"
            )
            return default
        return length

    def zone(self, key: str) -> str:
        """A time zone's name from the IANA database; UTC where absent."""
        name = self.text(key) or "UTC"
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # a folder of the database; a path; an unknown name
            expected = Word("word.a_zone")
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=name, expected=expected)
        return name

    def file(self, key: str) -> Path | None:
        """A path; relative ones are meant from the inventory's folder."""
        value = self.text(key)
        return None if value is None else self.base / Path(value).expanduser()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where absent."""
        return tuple(self._each(key, str, _TEXT))

    def files(self, key: str) -> tuple[Path, ...]:
        """A list of paths."""
        return tuple(self.base / Path(text).expanduser() for text in self.texts(key))

    def mapping(self, key: str) -> Fields | None:
        """A mapping below this one."""
        value = self.raw(key)
        return None if value is None else Fields(value, self.at(key), self.problems, self.base)

    def items(self, key: str, make: Callable[[Fields], _Item]) -> tuple[_Item, ...]:
        """A list of mappings, each made into a value."""
        return tuple(
            make(Fields(value, f"{self.at(key)}[{index}]", self.problems, self.base))
            for index, value in self.entries(key)
        )

    def entries(self, key: str) -> Iterator[tuple[int, object]]:
        """The entries of a list, as they stand, with their index; none where absent."""
        value = self.raw(key)
        if isinstance(value, list | tuple):
            yield from enumerate(value)
        elif value is not None:
            self._wrong_type(self.at(key), value, _LIST)

    def pairs(self, key: str, kinds: tuple[type, ...]) -> dict[str, str | int]:
        """A small mapping of texts (or numbers, or true and false, where `kinds` says so)."""
        below = self.mapping(key)
        if below is None:
            return {}
        found: dict[str, str | int] = {}
        for name in below.keys():  # noqa: SIM118 - Fields is no mapping
            value = below.raw(name)
            wanted = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
            if wanted and isinstance(value, (str, int)):
                found[name] = value
            else:
                self._wrong_type(below.at(name), value, _TEXT)
        below.done()
        return found

    def labels(self, key: str) -> dict[str, str]:
        """Texts by names Prometheus takes as label names."""
        pairs = self.pairs(key, (str,))
        for name in pairs:
            if not _LABEL.fullmatch(name):
                self.problem(Reason.INVENTORY_BAD_VALUE, f"{key}.{name}", got=name, expected="a-z A-Z 0-9 _")
        return {name: str(value) for name, value in pairs.items()}

    def keys(self) -> tuple[str, ...]:
        """The keys that are texts."""
        return tuple(key for key in self._mapping if isinstance(key, str))

    def url(self, key: str, schemes: tuple[str, ...]) -> SplitResult | None:
        """A URL with one of the schemes and a host, carrying no password."""
        value = self.text(key)
        if value is None:
            return None
        expected = " | ".join(f"{scheme}://…" for scheme in schemes)
        try:
            parts = urlsplit(value)
            parts.port  # noqa: B018 - raises for a port that is no number
        except ValueError:
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=shown_url(value), expected=expected)
            return None
        if parts.password is not None:
            self.problem(Reason.INVENTORY_SECRET_IN_CLEAR, key)
            return None
        if parts.scheme not in schemes or not parts.hostname or re.search(r"\s", value):
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=value, expected=expected)
            return None
        return parts

    def secret(self, key: str) -> SecretRef | None:
        """A reference to a secret; a secret written here is a fault, and is not repeated."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            self.problem(Reason.INVENTORY_SECRET_IN_CLEAR, key)
            return None
        reference = self.mapping(key)
        assert reference is not None  # noqa: S101 - value is not None
        return _reference(reference)

    def must_secret(self, key: str) -> SecretRef | None:
        """A reference that has to be there; None once a fault was noted."""
        reference = self.secret(key)
        self.need(key, reference)
        return reference

    def database(self, key: str, schemes: tuple[str, ...]) -> SecretRef | str | None:
        """A database URL: by reference, or as a text that carries no password."""
        value = self.raw(key)
        if not isinstance(value, str):
            return self.secret(key)
        scheme, found, rest = value.partition("://")
        if not found or scheme.partition("+")[0] not in schemes or not rest:
            expected = " | ".join(f"{name}://…" for name in schemes)
            self.problem(Reason.INVENTORY_BAD_VALUE, key, got=shown_url(value), expected=expected)
        elif ":" in rest.rpartition("@")[0] or "password=" in rest:
            self.problem(Reason.INVENTORY_SECRET_IN_CLEAR, key)
        return value

    def done(self) -> None:
        """Note every key nobody asked for; one that is nearly a key noted missing is that key, misspelt."""
        missing = self._missing()
        for key in self._mapping:
            if key in self._asked:
                continue
            meant = difflib.get_close_matches(str(key), missing, n=1)
            if meant:
                self.problems.found.remove(missing.pop(meant[0]))
                self.problem(Reason.INVENTORY_MISSPELT_KEY, str(key), got=str(key), expected=meant[0])
            else:
                expected = ", ".join(sorted(self._asked))
                self.problem(Reason.INVENTORY_UNKNOWN_KEY, str(key), got=str(key), expected=expected)

    def _missing(self) -> dict[str, Unusable]:
        """Keys of this mapping that were noted missing, each with its fault."""
        faults = {
            str(fault.values["path"]): fault
            for fault in self.problems.found
            if fault.reason is Reason.INVENTORY_MISSING_KEY
        }
        return {key: faults[self.at(key)] for key in self._asked if self.at(key) in faults}

    def _each(self, key: str, kind: type[_Item], name: str) -> Iterator[_Item]:
        for index, value in self.entries(key):
            if isinstance(value, kind) and value != "":
                yield value
            else:
                self._wrong_type(f"{self.at(key)}[{index}]", value, name)

    def _wrong_type(self, path: str, value: object, expected: str) -> None:
        got = "-" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)
        self.problems.add(Reason.INVENTORY_WRONG_TYPE, path, got=got, expected=expected)


def shown_url(text: str) -> str:
    """A URL for people's eyes: whatever stands before an @ may be a password and is left out."""
    before, at, after = text.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at else text


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reference(fields: Fields) -> SecretRef | None:
    """One of `{file:}`, `{env:}`, `{command: […]}`, `{credential:}`, and nothing beside it."""
    named = [kind for kind in Kind if kind.value in fields.keys()]  # noqa: SIM118 - Fields is no mapping
    if len(named) != 1:
        expected = " | ".join(f"{{{kind.value}: …}}" for kind in Kind)
        fields.problems.add(
            Reason.INVENTORY_BAD_VALUE, fields.path, got=", ".join(fields.keys()) or "-", expected=expected
        )
        return None
    kind = named[0]
    if kind is Kind.COMMAND:
        where = fields.texts(kind.value)
    elif kind is Kind.FILE:
        path = fields.file(kind.value)
        where = () if path is None else (str(path),)
    else:
        text = fields.text(kind.value)
        where = () if text is None else (text,)
    fields.done()
    if not where:
        if fields.raw(kind.value) in (None, []):  # other faults were noted
            fields.problem(Reason.INVENTORY_MISSING_KEY, kind.value, expected=kind.value)
        return None
    return SecretRef(kind, where)
