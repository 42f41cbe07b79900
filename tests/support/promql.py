"""What a PromQL expression speaks of: metrics, matchers, labels. For tests of rules and dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import promql_parser as promql

TARGET_LABELS = frozenset({"job", "instance"})
"""Labels Prometheus itself puts on every scraped series."""


@dataclass(frozen=True)
class Uses:
    """Everything an expression names.

    Attributes:
        selectors: metric -> labels its matchers name, one pair a selector.
        labels: labels named by `by`, `without`, `on`, `ignoring`, `group_left`, `group_right`.
    """

    selectors: tuple[tuple[str, frozenset[str]], ...]
    labels: frozenset[str]


def uses(expression: str) -> Uses:
    """Parse an expression (classic PromQL, no Grafana variables) and list what it names."""
    selectors: list[tuple[str, frozenset[str]]] = []
    labels: set[str] = set()

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.VectorSelector):
            matchers = frozenset(matcher.name for matcher in node.matchers.matchers)
            selectors.append((node.name or "", matchers))
        elif isinstance(node, promql.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        elif isinstance(node, promql.BinaryExpr) and node.modifier:
            if node.modifier.matching:
                labels.update(node.modifier.matching.labels)
            labels.update(getattr(node.modifier, "group_labels", None) or ())
        return True

    promql.walk(promql.parse(expression), visit)
    return Uses(tuple(selectors), frozenset(labels))


def contract_breaches(expression: str, metrics: Mapping[str, Iterable[str]]) -> list[str]:
    """What an expression names that the given metrics (name -> labels) do not have; empty when all is well."""
    named = uses(expression)
    breaches: list[str] = []
    known: set[str] = set(TARGET_LABELS)
    for metric, matchers in named.selectors:
        if metric not in metrics:
            breaches.append(f"unknown metric {metric!r}")
            continue
        own = set(metrics[metric]) | TARGET_LABELS
        known |= own
        breaches += [f"{metric} has no label {label!r}" for label in sorted(matchers - own)]
    breaches += [f"no metric here has label {label!r}" for label in sorted(named.labels - known)]
    return breaches
