"""YAML bytes -> plain values and the line of every field. Sole owner of the YAML library.

PyYAML's C parser composes the tree; the values are made here, because the line numbers are in the
tree and gone from its own values, and because duplicate keys and alias bombs must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from renewctl.errors import Unusable
from renewctl.inventory.fields import Problems
from renewctl.reasons import Reason, Word

if TYPE_CHECKING:
    from yaml.nodes import Node

#: 10,000 nodes are about 3 MB; whatever is larger is no inventory.
MAX_BYTES = 16 * 1024 * 1024
#: 10,000 nodes of 15 fields are 150,000 values; more come from aliases of aliases ("billion laughs").
MAX_VALUES = 1_000_000
MAX_DEPTH = 20
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
    text = _text(data, place)
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise _syntax(place, line, error.problem or error.context or "?") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _syntax(place, None, type(error).__name__) from error
    lines: dict[str, int] = {}
    problems = Problems(place, lines)
    value = None if root is None else _Builder(place, lines, problems).value(root, "", 0)
    return value, problems


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


class _Builder:
    """Makes plain values out of a composed tree, counting them."""

    def __init__(self, place: str, lines: dict[str, int], problems: Problems) -> None:
        self._place = place
        self._lines = lines
        self._problems = problems
        self._count = 0

    def value(self, node: Node, path: str, depth: int) -> object:
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            got = f"> {MAX_VALUES}" if self._count > MAX_VALUES else f"> {MAX_DEPTH}"
            raise _syntax(self._place, _line(node), got, Reason.INVENTORY_TOO_MUCH)
        self._lines.setdefault(path, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_STANDARD}map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_STANDARD}seq":
            return [self.value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[object, object]:
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _syntax(self._place, _line(key_node), Word("word.key_no_text"))
            key = self._scalar(key_node)
            below = f"{path}.{key}" if path else str(key)
            first = self._lines.get(below)
            self._lines[below] = _line(key_node)
            if key in result:
                self._problems.add(
                    Reason.INVENTORY_DUPLICATE, below, got=str(key), expected=f"{self._place}:{first}"
                )
                continue
            result[key] = self.value(value_node, below, depth + 1)
        return result

    def _scalar(self, node: Node) -> object:
        make = _SCALARS.get(node.tag.removeprefix(_STANDARD))
        if make is None or not isinstance(node, yaml.ScalarNode):
            raise _syntax(self._place, _line(node), _tag(node), Reason.INVENTORY_TAG)
        try:
            return make(node)
        except (ValueError, KeyError) as error:
            raise _syntax(self._place, _line(node), _tag(node), Reason.INVENTORY_TAG) from error


def _tag(node: Node) -> str:
    """As it is written: `!!int`, `!vault`."""
    return node.tag if node.tag.startswith("!") else "!!" + node.tag.removeprefix(_STANDARD)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
