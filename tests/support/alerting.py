"""The alert rules as data, for the tests that compare them with tests, runbooks, metrics and README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "alerts"
RULES = ALERTS / "renewctl.rules.yml"


@dataclass(frozen=True)
class Recording:
    """A recording rule: its name and expression."""

    name: str
    expression: str


def groups() -> list[dict[str, Any]]:
    """The rule groups, parsed."""
    loaded: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return list(loaded["groups"])


def recordings() -> list[Recording]:
    """Recording rules in order."""
    rules = [rule for group in groups() for rule in group["rules"]]
    return [Recording(rule["record"], rule["expr"]) for rule in rules if "record" in rule]


def alerts() -> dict[str, dict[str, Any]]:
    """Alert name -> rule."""
    rules = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule for rule in rules}
