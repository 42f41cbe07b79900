"""The example configurations are valid and do what their comments say."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support import alerting, prometheus

EXAMPLE = alerting.ALERTS / "alertmanager.example.yml"
ALERTS = alerting.alerts()


def test_amtool_accepts_the_example() -> None:
    """Debian's amtool 0.25 accepts the Alertmanager example."""
    code, said = prometheus.run("amtool", "check-config", EXAMPLE)
    assert code == 0, said


def test_promtool_accepts_the_scrape_example() -> None:
    """Debian's promtool accepts the Prometheus example, rules included."""
    code, said = prometheus.run("promtool", "check", "config", alerting.ALERTS / "prometheus.example.yml")
    assert code == 0, said


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_reaches_the_right_receiver(name: str) -> None:
    """Critical alerts page, warnings do not, none falls through to the default receiver."""
    severity = ALERTS[name]["labels"]["severity"]
    code, said = prometheus.run(
        "amtool", "config", "routes", "test", f"--config.file={EXAMPLE}", f"alertname={name}",
        f"severity={severity}", "topic=T",
    )  # fmt: skip
    assert code == 0, said
    assert said.split()[0].removesuffix("Warning:") == (
        "push-certificates-urgent" if severity == "critical" else "push-certificates"
    )


def _has_topic(name: str) -> bool:
    return "group_left (id, name, owner, account) topic:mdm_topic_info:labels" in ALERTS[name]["expr"]


def _names(matchers: list[str]) -> set[str]:
    [pattern] = re.findall(r'alertname =~? "(.*)"', matchers[0])
    return {name for name in ALERTS if re.fullmatch(pattern, name)}


def test_inhibition_names_alerts_that_exist_and_never_mutes_across_topics() -> None:
    """Each inhibition is about one topic, and both its sides name existing alerts that carry one."""
    for rule in yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["inhibit_rules"]:
        assert rule["equal"] == ["topic"]
        for side in ("source_matchers", "target_matchers"):
            names = _names(rule[side])
            assert names
            assert not {name for name in names if not _has_topic(name)}
