"""The alert rules load, fire when they should, stay silent when they should, and keep their promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support import alerting, prometheus

ALERTS = alerting.alerts()
RULE_TESTS = sorted((alerting.ALERTS / "tests").glob("*.test.yml"))

DURATION = re.compile(r"^\d+[mhd]$")
ANNOTATIONS = {"summary", "description", "summary_ja", "description_ja", "runbook_url"}


def test_promtool_accepts_the_rules_with_every_lint() -> None:
    """Accepted, and the linter finds nothing: promtool 2.42 in `make test`, 3.x in `make prometheus3`."""
    code, said = prometheus.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", alerting.RULES)
    assert code == 0, said


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_rule_tests_pass(path: Path) -> None:
    """Each story of when an alert fires, and when not, comes true in the real rule engine."""
    code, said = prometheus.run("promtool", "test", "rules", path)
    assert code == 0, said


def test_alert_names_are_as_promised() -> None:
    """Users route by alert name: the names are exactly those pinned in alerts/promised-alerts.txt."""
    promised = (alerting.ALERTS / "promised-alerts.txt").read_text(encoding="utf-8").split()
    assert sorted(ALERTS) == promised


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_story_of_firing_and_one_of_silence(name: str) -> None:
    """The test file named after the alert expects it firing with its texts at least once, and silent at least once."""
    loaded = yaml.safe_load((alerting.ALERTS / "tests" / f"{name}.test.yml").read_text(encoding="utf-8"))
    expectations = [
        case["exp_alerts"]
        for story in loaded["tests"]
        for case in story.get("alert_rule_test", ())
        if case["alertname"] == name
    ]
    assert any(expectations)
    assert [] in expectations


def _mutant(tmp_path: Path, name: str, change: dict[str, str]) -> tuple[int, str]:
    loaded = {"groups": alerting.groups()}
    for group in loaded["groups"]:
        group["rules"] = [
            rule | change if rule.get("alert") == name else rule
            for rule in group["rules"]
            if change or rule.get("alert") != name
        ]
    (tmp_path / "renewctl.rules.yml").write_text(yaml.safe_dump(loaded), encoding="utf-8")
    (tmp_path / "tests").mkdir()
    story = tmp_path / "tests" / "story.test.yml"
    story.write_bytes((alerting.ALERTS / "tests" / f"{name}.test.yml").read_bytes())
    return prometheus.run("promtool", "test", "rules", story)


@pytest.mark.parametrize("name", ALERTS)
@pytest.mark.slow
def test_stories_notice_an_alert_that_is_gone(name: str, tmp_path: Path) -> None:
    """Without the alert its stories fail: they prove something."""
    assert _mutant(tmp_path, name, {})[0] != 0


@pytest.mark.parametrize("name", ALERTS)
@pytest.mark.slow
def test_stories_notice_an_alert_without_patience(name: str, tmp_path: Path) -> None:
    """An alert that fires always and at once fails its stories of silence."""
    expression = "label_replace(vector(1), 'topic', 'T1', '', '')"
    assert _mutant(tmp_path, name, {"expr": expression, "for": "0m"})[0] != 0


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_are_complete_and_without_values_in_labels(name: str) -> None:
    """Severity, patience, texts in both languages, a runbook; no label carries a value or a template."""
    rule = ALERTS[name]
    assert set(rule) <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
    assert DURATION.match(rule["for"])
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == ANNOTATIONS
    assert rule["annotations"]["runbook_url"] == f"alerts/runbooks/{name}.md"
    assert "$value" not in rule["annotations"]["summary"] + rule["annotations"]["summary_ja"]


def test_rules_load_on_old_and_new_prometheus() -> None:
    """Nothing that 2.42 refuses (group labels, query_offset, UTF-8 names) stands in the rules."""
    for group in alerting.groups():
        assert set(group) == {"name", "rules"}
    names = [rule.name for rule in alerting.recordings()] + list(ALERTS)
    assert all(re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name) for name in names)


def test_alerts_stand_in_one_group_with_their_recordings() -> None:
    """Rules of one group share an instant: no evaluation interval can part an alert from its recordings."""
    [group] = alerting.groups()
    kinds = ["record" if "record" in rule else "alert" for rule in group["rules"]]
    assert kinds == sorted(kinds, reverse=True)


def test_ranges_only_remember() -> None:
    """2.42 and 3.x count the limits of a range differently; one rule remembers a day, where a minute is no matter."""
    expressions = [rule["expr"] for rule in ALERTS.values()] + [r.expression for r in alerting.recordings()]
    ranges = [found for text in expressions for found in re.findall(r"\w+\(\w+\[\d\w*\]\)", text)]
    assert ranges == ["last_over_time(mdm_exporter_build_info[1d])"]
