"""Panels of the dashboard, a function a kind: what a linter asks for is always there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="$datasource")

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"

STATES = {0: ("valid", GREEN), 1: ("renewal due", RED), 2: ("critical", RED), 3: ("expired", "dark-red")}
"""Values of `expressions.STATE`: red from the renewal window on."""

YES_NO = {1: ("yes", GREEN), 0: ("no", RED)}

Steps = Sequence[tuple[float | None, str]]

BAD_FROM_ONE: Steps = ((None, GREEN), (1, RED))
DAYS: Steps = ((None, RED), (14, ORANGE), (60, GREEN))
OTHER_DAYS: Steps = ((None, RED), (7, ORANGE), (30, GREEN))
"""Of what else expires: the thresholds of MdmOtherExpiryCritical and MdmOtherExpiryDue."""

PLAIN: Steps = ((None, GREEN),)


def query(
    expression: str, legend: str = "", ref: str = "A", *, instant: bool = False
) -> prometheus.Dataquery:
    """One target; instant ones come as a table."""
    target = prometheus.Dataquery().expr(expression).ref_id(ref).datasource(SOURCE)
    if instant:
        return target.instant().format(PromQueryFormat.TABLE)
    return target.range().legend_format(legend)


def thresholds(steps: Steps) -> board.ThresholdsConfig:
    """Absolute thresholds."""
    made = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return board.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def mapped(texts: Mapping[int, tuple[str, str]]) -> list[Any]:
    """Values shown as coloured words."""
    options = {
        str(value): model.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(texts.items())
    }
    return [model.ValueMap(options=options)]


def figure(title: str, description: str, expression: str) -> stat.Panel:
    """One number, a sixth of the width: green at 0, red from 1 on."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .thresholds(thresholds(BAD_FROM_ONE))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .with_target(query(expression, instant=True))
        .span(4)
        .height(4)
    )


def lines(
    title: str, description: str, expression: str, legend: str, *, unit: str, steps: Steps = PLAIN
) -> timeseries.Panel:
    """Series over time; more than one step is drawn as dashed lines."""
    mode = common.GraphThresholdsStyleMode
    style = GraphThresholdsStyleConfig().mode(mode.DASHED if len(steps) > 1 else mode.OFF)
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(thresholds(steps))
        .thresholds_style(style)
        .with_target(query(expression, legend))
        .span(12)
        .height(8)
    )


def rows(
    title: str,
    description: str,
    targets: Sequence[prometheus.Dataquery],
    columns: Mapping[str, str],
    join: str | None = None,
) -> table.Panel:
    """A table of instant queries.

    Args:
        title, description: as shown.
        targets: one, or several joined by the field `join`.
        columns: field name as Grafana makes it -> heading, in order. Other fields are left out.
        join: the label every target has.
    """
    panel = (
        table.Panel().title(title).description(description).datasource(SOURCE).unit("none").span(24).height(8)
    )
    for target in targets:
        panel.with_target(target)
    if join:
        panel.with_transformation(
            model.DataTransformerConfig(id_val="joinByField", options={"byField": join, "mode": "outer"})
        )
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": list(columns)}}
        )
    )
    order = {name: index for index, name in enumerate(columns)}
    options = {"indexByName": order, "renameByName": dict(columns), "excludeByName": {}}
    return panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=options))


def column(panel: table.Panel, heading: str, **properties: Any) -> table.Panel:  # noqa: ANN401 - Grafana's values
    """Set field properties of one column, by its heading; `__` in a name stands for a dot."""
    values = [model.DynamicConfigValue(name.replace("__", "."), value) for name, value in properties.items()]
    return panel.override_by_name(heading, values)


def coloured(
    panel: table.Panel, heading: str, texts: Mapping[int, tuple[str, str]], *, row: bool = False
) -> table.Panel:
    """Show a column's values as coloured words, and colour the whole row where asked."""
    options = {"type": "color-background", "mode": "basic", "applyToRow": row}
    return column(panel, heading, mappings=mapped(texts), custom__cellOptions=options)


def stepped(panel: table.Panel, heading: str, steps: Steps) -> table.Panel:
    """Paint a column's cells by thresholds; the figure stays."""
    made = [{"value": value, "color": colour} for value, colour in steps]
    options = {"type": "color-background", "mode": "basic"}
    limits = {"mode": "absolute", "steps": made}
    return column(
        panel, heading, custom__cellOptions=options, thresholds=limits, color={"mode": "thresholds"}
    )
