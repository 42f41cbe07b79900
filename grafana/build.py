"""Builds grafana/dashboards/renewctl.json.

`python -m grafana.build` writes it; `python -m grafana.build --check` ends with 1 if it is out of date.
The JSON is committed, so that nobody needs this script to use the dashboard.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana import expressions as ask
from grafana import panels as show

UID = "renewctl-topics"
"""Fixed: alerts and bookmarks link to /d/renewctl-topics."""

TARGET = Path(__file__).parent / "dashboards" / "renewctl.json"

_LETTERS = "ABCDEFGHIJ"


def _topics() -> table.Panel:
    panel = show.rows(
        "Push certificates",
        "One row a topic. Red from the topic's renewal window on; the date is the one of its worst node.",
        [
            show.query(ask.INFO, ref="A", instant=True),
            show.query(ask.EXPIRY_DATE, ref="B", instant=True),
            show.query(ask.DAYS_LEFT, ref="C", instant=True),
            show.query(ask.STATE, ref="D", instant=True),
        ],
        {
            "name": "Name",
            "Value #D": "State",
            "Value #C": "Days left",
            "Value #B": "Expires",
            "owner": "Owner",
            "account": "Apple Account",
            "id": "Id",
            "topic": "Topic (UID)",
        },
        join="topic",
    )
    show.coloured(panel, "State", show.STATES, row=True)
    show.column(panel, "Expires", unit="dateTimeAsIso")
    return show.column(panel, "Days left", unit="none", decimals=0)


def _nodes() -> table.Panel:
    panel = show.rows(
        "Push certificates by node",
        "What each node serves, and how we know (source). Nodes of one topic should agree.",
        [show.query(ask.NODES, instant=True)],
        {
            "topic": "Topic (UID)",
            "node": "Node",
            "Value": "Expires",
            "serial": "Serial",
            "source": "Source",
            "issuer": "Issuer",
        },
    )
    return show.column(panel, "Expires", unit="dateTimeAsIso")


def _devices() -> table.Panel:
    targets = [show.query(ask.ENROLLED, ref="A", instant=True)]
    columns = {"topic": "Topic (UID)", "Value #A": "Enrolled"}
    for letter, (seconds, expression) in zip(_LETTERS[1:], ask.SEEN.items(), strict=False):
        targets.append(show.query(expression, ref=letter, instant=True))
        days = seconds // ask.DAY
        columns[f"Value #{letter}"] = f"Seen within {days} day" + ("s" if days > 1 else "")
    return show.rows(
        "Devices by last check-in",
        "Enrolled devices of each topic, and how many checked in within 1, 7, … 90 days (cumulative). "
        "Empty where no node of the topic can tell.",
        targets,
        columns,
        join="topic",
    )


def _phases() -> table.Panel:
    return show.rows(
        "Renewals",
        "The newest renewal of each topic: its phase, and how many nodes are not known to have the pair "
        "they should have; after a roll-back: the previous one.",
        [show.query(ask.PHASE, instant=True)],
        {"topic": "Topic (UID)", "renewal": "Renewal", "phase": "Phase", "Value": "Nodes owed"},
    ).span(12)


def _owed() -> table.Panel:
    return show.rows(
        "Nodes owed",
        "Nodes not known to have the pair they should have; after a roll-back: the previous one, also where "
        "they left the inventory before they were back. Empty is good.",
        [show.query(ask.NODES_OWED, instant=True)],
        {"topic": "Topic (UID)", "node": "Node"},
    ).span(12)


def _node_up() -> table.Panel:
    panel = show.rows(
        "Nodes",
        "Whether each node answered when it was last asked.",
        [show.query(ask.NODE_UP, instant=True)],
        {"node": "Node", "product": "Product", "Value": "Answers"},
    ).span(8)
    return show.coloured(panel, "Answers", show.YES_NO)


def _failures() -> table.Panel:
    return show.rows(
        "Why something is not known",
        "Reasons that are the case now, by node. The runbook MdmNodeSilent says what to do. Empty is good.",
        [show.query(ask.FAILURES, instant=True)],
        {"node": "Node", "reason": "Reason"},
    ).span(8)


def _exporters() -> table.Panel:
    panel = show.rows(
        "Exporters",
        "Version of each exporter, whether its inventory was usable and whether it can read the store.",
        [
            show.query(ask.BUILD, ref="A", instant=True),
            show.query(ask.INVENTORY_OK, ref="B", instant=True),
            show.query(ask.STORE_UP, ref="C", instant=True),
        ],
        {
            "instance": "Exporter",
            "version": "Version",
            "Value #B": "Inventory read",
            "Value #C": "Store read",
        },
        join="instance",
    ).span(8)
    show.coloured(panel, "Inventory read", show.YES_NO)
    return show.coloured(panel, "Store read", show.YES_NO)


def _figures() -> list[stat.Panel]:
    return [
        show.figure("Expired", "Topics whose push certificate has ended on a node.", ask.EXPIRED),
        show.figure("Within 14 days", "Topics that end within 14 days.", ask.WITHIN_CRITICAL),
        show.figure("Due", "Topics within their renewal window.", ask.WITHIN_WINDOW),
        show.figure("Date unknown", "Topics whose end nobody knows.", ask.UNKNOWN),
        show.figure("Nodes silent", "Nodes that did not answer when last asked.", ask.SILENT),
        show.figure("Owed", "Nodes, counted once a topic, that lack the pair they should have.", ask.OWED),
    ]


def _days_left() -> timeseries.Panel:
    return show.lines(
        "Days left",
        "Days to the end of each topic's push certificate; a jump upwards is a finished renewal.",
        ask.named(ask.DAYS_LEFT),
        "{{name}} ({{id}})",
        unit="d",
        steps=show.DAYS,
    ).span(24)


def _reachable() -> list[timeseries.Panel]:
    return [
        show.lines(
            "Share of devices seen within 7 days",
            "By storage; the alert MdmDevicesReachableFallen compares it with a week ago. A drop after a "
            "roll-out means that devices do not hear the new push certificate.",
            ask.named(ask.REACHABLE_SHARE),
            "{{name}} ({{id}}), {{storage}}",
            unit="percentunit",
        ),
        show.lines(
            "Devices silent for 7 days",
            "Enrolled devices that have not checked in for a week, by storage.",
            ask.named(ask.DEVICES_SILENT),
            "{{name}} ({{id}}), {{storage}}",
            unit="short",
        ),
    ]


def _others() -> list[table.Panel]:
    what = {"kind": "Kind", "name": "Name", "node": "Node"}
    left = show.rows(
        "What else expires",
        "Vendor certificate and intermediate, TLS certificates, SCEP CA, tokens: soonest first. "
        "The last date known where it cannot be read now.",
        [show.query(ask.OTHERS_LEFT, instant=True)],
        {**what, "Value": "Days left"},
    )
    unread = show.rows(
        "Dates that cannot be read",
        "Of these nobody is warned, or only by the last date known. Empty is good.",
        [show.query(ask.OTHERS_UNREAD, instant=True)],
        {**what, "reason": "Reason"},
    )
    return _dates(left, unread)


def _files() -> list[table.Panel]:
    where = {"file": "File", "node": "Node", "instance": "Exporter"}
    left = show.rows(
        "Certificates in files",
        "Other certificates than push certificates, of watched folders and behind push certificates: "
        "the fifty that end first.",
        [show.query(ask.FILES_LEFT, instant=True)],
        {**where, "Value": "Days left"},
    )
    unread = show.rows(
        "Files that cannot be read",
        "Fifty at most, with the last dates known. Empty is good; PKCS#12 is here until its first roll-out.",
        [show.query(ask.FILES_UNREAD, instant=True)],
        {**where, "reason": "Reason"},
    )
    return _dates(left, unread)


def _dates(left: table.Panel, unread: table.Panel) -> list[table.Panel]:
    """Days left, painted where the alerts of what else expires fire, and beside it what cannot be read."""
    show.column(left.span(14), "Days left", unit="none", decimals=0)
    return [show.stepped(left, "Days left", show.OTHER_DAYS), unread.span(10)]


def _failing() -> timeseries.Panel:
    return show.lines(
        "Nodes by what is wrong",
        "How many nodes could not tell all when last polled, by reason. Empty is good.",
        ask.FAILING,
        "{{reason}}",
        unit="short",
    ).span(24)


def _ages() -> list[timeseries.Panel]:
    return [
        show.lines(
            "Age of what is shown",
            "Seconds since each node's certificate facts were observed; a rising line is a silent node.",
            ask.FACTS_AGE,
            "{{node}}",
            unit="s",
        ),
        show.lines(
            "Age of the last round",
            "Seconds since each exporter had asked every node.",
            ask.ROUND_AGE,
            "{{instance}}",
            unit="s",
        ),
    ]


def _sections() -> dict[str, Sequence[stat.Panel | table.Panel | timeseries.Panel]]:
    return {
        "Topics": [*_figures(), _topics(), _days_left()],
        "Nodes and roll-out": [_nodes(), _phases(), _owed()],
        "Devices": [_devices(), *_reachable()],
        "What else expires": [*_others(), *_files()],
        "Watching": [_node_up(), _failures(), _exporters(), _failing(), *_ages()],
    }


def _variable(name: str, label: str, metric: str) -> board.QueryVariable:
    return (
        board.QueryVariable(name)
        .label(label)
        .datasource(show.SOURCE)
        .query(f"label_values({metric}, {name})")
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def dashboard() -> dict[str, Any]:
    """The dashboard as JSON values, panel ids counted from 1 in reading order."""
    made = (
        board.Dashboard("Apple MDM push certificates")
        .uid(UID)
        .description(
            "Every topic: when its push certificate ends, what each node serves, how far the renewal is."
        )
        .tags(["renewctl", "mdm", "apple", "certificates"])
        .readonly()
        .time("now-30d", "now")
        .timezone("browser")
        .refresh("5m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            board.DashboardLink("Alerts").type(model.DashboardLinkType.LINK).url("/alerting/list?search=Mdm")
        )
        .annotation(
            board.AnnotationQuery()
            .name("Roll-out under way")
            .datasource(show.SOURCE)
            .enable(enable=True)
            .icon_color("blue")
            .expr(ask.ROLLING_OUT)
            .title_format("{{renewal}}")
        )
        .with_variable(board.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("job", "Job", "mdm_exporter_build_info"))
        .with_variable(_variable("instance", "Instance", 'mdm_exporter_build_info{job=~"$job"}'))
        .with_variable(_variable("topic", "Topic", 'mdm_topic_info{job=~"$job", instance=~"$instance"}'))
    )
    for title, panels in _sections().items():
        made.with_row(board.Row(title))
        for panel in panels:
            made.with_panel(panel)
    built: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(made.build()))
    for number, panel_json in enumerate(built["panels"], start=1):
        panel_json["id"] = number
    return built


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` compare it."""
    if arguments == ["--check"]:
        return int(TARGET.read_text(encoding="utf-8") != text())
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
