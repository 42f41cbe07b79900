"""Dashboards as data: panels, targets, expressions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels but rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every expression: of panels and of annotations, as it stands in the file."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]


def concrete(expression: str) -> str:
    """The expression with every variable on All."""
    for variable in ("job", "instance", "topic"):
        expression = expression.replace(f'"${variable}"', '".+"').replace(f'"${variable}|"', '".+|"')
    assert "$" not in expression, expression
    return expression
