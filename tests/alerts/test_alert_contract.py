"""Rules speak only of metrics and labels the exporter publishes."""

from __future__ import annotations

import re

import pytest

from exporter.metrics import METRICS
from renewctl.inventory.reading import ExpiryKind
from renewctl.reasons import NODE_REASONS, Reason
from renewctl.renewal.rules import Phase
from tests.support import alerting
from tests.support.promql import contract_breaches

PUBLISHED = {metric.name: metric.labels for metric in METRICS}

RECORDED = {
    "topic_node:mdm_push_certificate_expiry_timestamp_seconds:best": ("topic", "node"),
    "topic:mdm_push_certificate_expiry_timestamp_seconds:min": ("topic",),
    "topic:mdm_topic_renewal_window_seconds:max": ("topic",),
    "topic:mdm_topic_info:labels": ("topic", "id", "name", "owner", "account"),
    "kind_name_node:mdm_expiry_timestamp_seconds:best": ("kind", "name", "node"),
    "storage_topic:mdm_devices_seen:ratio_7d": ("storage", "topic"),
}
"""Recorded series and their labels; dashboards and users may build on them."""

KNOWN = PUBLISHED | RECORDED | {"up": ()}
"""`up` is Prometheus's own."""

_QUERY = re.compile(r'printf "((?:[^"\\]|\\.)*)"')
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.(\w+)")

ALERTS = alerting.alerts()


def test_recordings_are_as_promised() -> None:
    """The recorded names are the pinned ones."""
    assert [rule.name for rule in alerting.recordings()] == list(RECORDED)


@pytest.mark.parametrize("rule", alerting.recordings(), ids=lambda rule: rule.name)
def test_recordings_use_published_metrics(rule: alerting.Recording) -> None:
    """Every metric and label of a recording rule exists."""
    assert contract_breaches(rule.expression, KNOWN) == []


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_use_published_metrics(name: str) -> None:
    """Every metric and label of an alert exists, also those its texts look up."""
    rule = ALERTS[name]
    # `what` is put there by the rule itself.
    breaches = contract_breaches(rule["expr"], KNOWN)
    for text in rule["annotations"].values():
        for query in _QUERY.findall(text):
            breaches += contract_breaches(query.replace("%q", '"x"'), KNOWN)
        labels = set(_LABEL.findall(text))
        known = {label for labels_ in KNOWN.values() for label in labels_} | {"instance", "job", "what"}
        breaches += sorted(labels - known)
    assert breaches == []


def test_phases_named_in_rules_exist() -> None:
    """A phase a rule selects is one a renewal can be in."""
    text = alerting.RULES.read_text(encoding="utf-8")
    named = {phase for group in re.findall(r'phase=~"([a-z_|]+)"', text) for phase in group.split("|")}
    assert named
    assert named <= {phase.value for phase in Phase}


def test_reasons_named_in_rule_tests_exist() -> None:
    """Stories of silent nodes, bad files and unread dates use reasons the exporter can give."""
    for path in (alerting.ALERTS / "tests").glob("*.test.yml"):
        named = set(re.findall(r'reason="(\w+)"', path.read_text(encoding="utf-8")))
        assert named <= {reason.value for reason in Reason}
    text = (alerting.ALERTS / "tests" / "MdmNodeSilent.test.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'reason="(\w+)"', text)) <= {reason.value for reason in NODE_REASONS}


def test_kinds_named_in_stories_and_runbooks_exist() -> None:
    """What else expires is told by kinds the inventory knows, and both runbooks of its end speak of each."""
    kinds = {kind.value for kind in ExpiryKind}
    for path in (alerting.ALERTS / "tests").glob("*.test.yml"):
        assert set(re.findall(r'kind="(\w+)"', path.read_text(encoding="utf-8"))) <= kinds
    for name in ("MdmOtherExpiryDue", "MdmOtherExpiryCritical"):
        for language in ("md", "ja.md"):
            page = (alerting.ALERTS / "runbooks" / f"{name}.{language}").read_text(encoding="utf-8")
            assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == kinds | {"kind"}


def test_a_renamed_metric_or_label_is_noticed() -> None:
    """The contract check itself: an unknown metric, matcher and grouping label are each found."""
    assert contract_breaches("mdm_gone", KNOWN) == ["unknown metric 'mdm_gone'"]
    assert contract_breaches('mdm_node_up{colour="red"}', KNOWN) == ["mdm_node_up has no label 'colour'"]
    assert contract_breaches("sum by (colour) (mdm_node_up)", KNOWN) == ["no metric here has label 'colour'"]
