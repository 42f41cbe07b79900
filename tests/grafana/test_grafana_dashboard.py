"""The committed dashboard is the generated one, speaks of what the exporter publishes, and passes the linter's rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from exporter.metrics import METRICS
from exporter.status import others_view
from grafana import build
from tests.support import alerting
from tests.support.dashboards import concrete, expressions, panels
from tests.support.promql import contract_breaches, uses

FOLDER = alerting.ROOT / "grafana"
DASHBOARD: dict[str, Any] = json.loads(build.TARGET.read_text(encoding="utf-8"))
PANELS = panels(DASHBOARD)
EXPRESSIONS = sorted(set(expressions(DASHBOARD)))
PUBLISHED = {metric.name: metric.labels for metric in METRICS}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

panel_by_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


@pytest.mark.parametrize("title", ["Renewals", "Nodes owed"])
def test_what_is_said_of_owed_nodes_holds_after_a_roll_back_too(title: str) -> None:
    """Then it is the previous pair they should have: nobody is told that the next roll-out does what is left."""
    [words] = [panel["description"] for panel in PANELS if panel["title"] == title]
    assert "not known to have the pair they should have" in words
    assert "previous" in words
    assert [
        wrong for wrong in ("lack its pair", "next one", "left out of a roll-out") if wrong in words
    ] == []


def test_committed_file_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m grafana.build` would change nothing; `--check` says so, and notices when it would."""
    assert build.main(["--check"]) == 0
    monkeypatch.setattr(build, "TARGET", tmp_path / "renewctl.json")
    build.TARGET.write_text("{}", encoding="utf-8")
    assert build.main(["--check"]) == 1
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0


def test_grafana_types_read_the_file_without_loss() -> None:
    """Grafana's published types read the file and give the same JSON back: no misspelt or lost key at their level."""
    # Imported here: loading it warns, unless our package did so first.
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415

    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert again == DASHBOARD


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_use_published_metrics_and_labels(expression: str) -> None:
    """Every metric and label of every expression is one the exporter publishes."""
    assert contract_breaches(concrete(expression), PUBLISHED) == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_selector_matches_job_and_instance(expression: str) -> None:
    """Each selector is limited by the variables, also by topic where the metric has one."""
    for metric, matchers in uses(expression).selectors:
        assert {"job", "instance"} <= matchers
        if "topic" in PUBLISHED[metric]:
            assert "topic" in matchers


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_topics_are_never_summed_into_one_date(expression: str) -> None:
    """An aggregation over expiry keeps the topic, or counts topics (`sum` of comparisons)."""
    for kind, labels in re.findall(r"\b(min|max|avg) by \(([^)]*)\) \(+mdm_push_certificate", expression):
        assert "topic" in labels, kind


@panel_by_panel
def test_panels_are_complete(panel: dict[str, Any]) -> None:
    """Title, description, unit, targets, and the data source chosen at the top."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    chosen = {"type": "prometheus", "uid": "$datasource"}
    assert [panel["datasource"]] + [target["datasource"] for target in panel["targets"]] == [chosen] * (
        1 + len(panel["targets"])
    )


@panel_by_panel
def test_targets_of_a_panel_have_their_own_letters(panel: dict[str, Any]) -> None:
    """No two targets share a ref id, and stat and table panels ask for the present only."""
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    if panel["type"] in {"stat", "table"}:
        assert all(target["instant"] and target["format"] == "table" for target in panel["targets"])


@panel_by_panel
def test_tables_show_columns_that_exist(panel: dict[str, Any]) -> None:
    """Each column is a label of some target's result or a target's value; headings of overrides exist."""
    if panel["type"] != "table":
        return
    columns = next(t["options"]["renameByName"] for t in panel["transformations"] if t["id"] == "organize")
    letters = {target["refId"] for target in panel["targets"]}
    values = {"Value"} if len(letters) == 1 else {f"Value #{letter}" for letter in letters}
    labels = {label for target in panel["targets"] for label in uses(target["expr"]).labels}
    assert set(columns) <= values | labels
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= set(
        columns.values()
    )


def test_panel_ids_are_set_and_unique() -> None:
    """Ids count from 1 in reading order, so that links to a panel last."""
    assert [panel["id"] for panel in DASHBOARD["panels"]] == list(range(1, len(DASHBOARD["panels"]) + 1))


def test_panels_do_not_overlap() -> None:
    """Every cell of the grid belongs to one panel at most."""
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own


def test_dashboard_has_fixed_uid_and_is_not_edited_by_hand() -> None:
    """Links to /d/renewctl-topics last; the file is provisioned, so nothing in it asks for input."""
    assert DASHBOARD["uid"] == "renewctl-topics"
    assert DASHBOARD["editable"] is False
    assert not DASHBOARD.keys() & {"__inputs", "__requires", "id"}


def test_one_data_source_variable() -> None:
    """Exactly one, named and labelled as the linter wants."""
    sources = [variable for variable in VARIABLES.values() if variable["type"] == "datasource"]
    assert [(source["name"], source["label"], source["query"]) for source in sources] == [
        ("datasource", "Data source", "prometheus")
    ]


@pytest.mark.parametrize("name", ["job", "instance", "topic"])
def test_query_variables_offer_all_and_follow_the_time_range(name: str) -> None:
    """Multi-value, All as `.+`, refreshed when the time range changes, from metrics that exist."""
    variable = VARIABLES[name]
    assert variable["multi"]
    assert variable["includeAll"]
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2
    assert variable["datasource"]["uid"] == "$datasource"
    [metric] = re.findall(r"label_values\((\w+)", variable["query"])
    assert metric in PUBLISHED


def test_certificates_are_red_from_the_window_on() -> None:
    """The table of topics paints the whole row: green while valid, red once due, critical or expired."""
    table = next(panel for panel in PANELS if panel["title"] == "Push certificates")
    [state] = [o for o in table["fieldConfig"]["overrides"] if o["matcher"]["options"] == "State"]
    properties = {item["id"]: item["value"] for item in state["properties"]}
    options = properties["mappings"][0]["options"]
    assert options["0"]["color"] == "green"
    assert all("red" in options[value]["color"] for value in "123")
    assert properties["custom.cellOptions"]["applyToRow"]


@pytest.mark.parametrize("title", ["What else expires", "Certificates in files"])
def test_what_else_expires_is_painted_where_its_alerts_fire(title: str) -> None:
    """Red where the critical alert does, orange from the due one on: as on the status page."""
    [panel] = [panel for panel in PANELS if panel["title"] == title]
    [left] = [o for o in panel["fieldConfig"]["overrides"] if "custom.cellOptions" in _ids(o)]
    properties = {item["id"]: item["value"] for item in left["properties"]}
    steps = [(step["value"], step["color"]) for step in properties["thresholds"]["steps"]]
    limits = [others_view.OTHER_CRITICAL.days, others_view.OTHER_DUE.days]
    assert steps == list(zip([None, *limits], ["red", "orange", "green"], strict=True))


def _ids(override: dict[str, Any]) -> set[str]:
    return {item["id"] for item in override["properties"]}


def test_provisioning_points_at_files_and_forbids_edits() -> None:
    """The provisioning example is Grafana's version 1, read-only."""
    loaded = yaml.safe_load((FOLDER / "provisioning/dashboards/renewctl.yaml").read_text(encoding="utf-8"))
    [provider] = loaded["providers"]
    assert loaded["apiVersion"] == 1
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"].startswith("/")
