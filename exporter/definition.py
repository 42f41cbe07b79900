"""What a metric is, before any collector fills it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POLLED = "Polled in the background, not at the scrape."


@dataclass(frozen=True)
class Definition:
    """One metric.

    Attributes:
        name: as it stands in the exposition.
        kind: OpenMetrics type; `info` shows as a gauge in the older text format.
        labels: in the order collectors give their values.
        open_labels: whether further labels (the inventory's own) may follow.
        help: one sentence for the HELP line.
        absent: when there is no series, for the reference page.
        example: worked PromQL, and what it answers.
        by_unit: whether OpenMetrics is told the unit; prometheus_client's `process_…` metrics do not.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    absent: str
    example: tuple[str, str]
    kind: Literal["gauge", "counter", "info"] = "gauge"
    open_labels: bool = False
    by_unit: bool = True

    @property
    def unit(self) -> str:
        """The OpenMetrics unit, "" where the value is a plain number."""
        return "seconds" if self.by_unit and self.family.endswith("_seconds") else ""

    @property
    def family(self) -> str:
        """The OpenMetrics family name: those of infos and counters lack the suffix."""
        return self.name.removesuffix({"info": "_info", "counter": "_total"}.get(self.kind, ""))
