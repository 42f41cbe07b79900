"""Metric families with the promises every one of ours keeps.

Labels exactly as defined; values from outside bounded and printable as UTF-8; never two series with one
label set, whatever two nodes or two answers say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from exporter.definition import Definition

LABEL_LIMIT = 256
"""Characters of a label value: the longest topic the inventory takes fits, a lying node's novel does not."""

_MARK_DIGITS = 12
"""Hexadecimal digits that tell changed values apart: among a million, two are alike once in 500 times."""


class Family:
    """One metric and its series.

    Args:
        definition: which metric.
        further_labels: names beyond the definition's, the same for every series.
    """

    def __init__(self, definition: Definition, further_labels: tuple[str, ...] = ()) -> None:
        if further_labels and not definition.open_labels:
            raise ValueError(f"{definition.name} has no labels beyond its own")
        self.definition = definition
        self._names = definition.labels + further_labels
        self._series: dict[tuple[str, ...], float] = {}

    def add(self, values: tuple[str, ...], value: float) -> None:
        """Add a series; one with the same labels that is already there stays as it is."""
        if len(values) != len(self._names):
            raise ValueError(f"{self.definition.name}: {values} for {self._names}")
        self._series.setdefault(tuple(map(bounded, values)), value)

    def lines(self) -> Iterator[str]:
        """The series, one line each, as both text formats have them: byte for byte prometheus_client's."""
        order = sorted(range(len(self._names)), key=self._names.__getitem__)
        inner = ",".join(f'{self._names[place]}="%s"' for place in order)
        form = f"{self.definition.name}{{{inner}}} %s\n" if inner else f"{self.definition.name} %s\n"
        for values, value in self._series.items():
            yield form % (*(_escaped(values[place]) for place in order), floatToGoString(value))  # type: ignore[no-untyped-call]

    def metric(self) -> Metric:
        """The family as prometheus_client takes it."""
        definition = self.definition
        metric = Metric(definition.family, definition.help, definition.kind, definition.unit)
        for values, value in self._series.items():
            metric.add_sample(definition.name, dict(zip(self._names, values, strict=True)), value)
        return metric


def single(definition: Definition, value: float) -> Family:
    """A family of one series without labels."""
    family = Family(definition)
    family.add((), value)
    return family


def bounded(text: str) -> str:
    """At most `LABEL_LIMIT` characters; what UTF-8 cannot carry becomes a question mark.

    A value changed so ends in `~` and a piece of the whole one's hash: two that began alike stay two series,
    and no good file hides an expired one.
    """
    if len(text) <= LABEL_LIMIT and (text.isascii() or _is_utf8(text)):
        return text
    mark = "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK_DIGITS]
    return text[: LABEL_LIMIT - len(mark)].encode("utf-8", "replace").decode("utf-8") + mark


def seconds(at: datetime | None) -> float:
    """Unix time, 0 for never. A time without a zone is meant in UTC."""
    if at is None:
        return 0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
