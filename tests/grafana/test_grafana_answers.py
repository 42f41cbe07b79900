"""What the dashboard's questions answer, computed by the engine of the Prometheus in use (`promtool test rules`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana import expressions as ask
from tests.support import prometheus
from tests.support.dashboards import concrete

DAY = 86_400
TOKEN, PEER = 'kind="vpp_token",name="apps",node=""', 'kind="tls_certificate",name="mdm",node="n1"'
PUSH = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001"
DEVICES = 'job="j",instance="{instance}",node="{node}",storage="{storage}",topic="t"'


def answer(folder: Path, expression: str, series: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """At time 0 the expression gives these samples of those series, and no other."""
    test = {
        "input_series": [{"series": name, "values": f"{value:.0f}"} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": concrete(expression),
                "eval_time": "0s",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(json.dumps({"tests": [test]}))
    code, said = prometheus.run("promtool", "test", "rules", path)
    assert code == 0, said


def of(instance: str, node: str, storage: str, enrolled: int, seen: int, up: int = 1) -> dict[str, float]:
    """One node as one exporter tells of it."""
    labels = DEVICES.format(instance=instance, node=node, storage=storage)
    return {
        f"mdm_devices_enrolled{{{labels}}}": enrolled,
        f'mdm_devices_seen{{{labels},within="604800"}}': seen,
        f'mdm_node_up{{job="j",instance="{instance}",node="{node}",product="nanomdm"}}': up,
    }


def test_days_left_of_what_else_expires(tmp_path: Path) -> None:
    """Whole days, rounded down; of two exporters the one that just read it counts, else whoever remembers."""
    told = {
        f'mdm_expiry_timestamp_seconds{{job="j",instance="a",{TOKEN}}}': 3 * DAY,
        f'mdm_expiry_known{{job="j",instance="a",{TOKEN}}}': 0,
        f'mdm_expiry_timestamp_seconds{{job="j",instance="b",{TOKEN}}}': 300 * DAY + 60,
        f'mdm_expiry_known{{job="j",instance="b",{TOKEN}}}': 1,
        f'mdm_expiry_timestamp_seconds{{job="j",instance="a",{PEER}}}': -60,
        f'mdm_expiry_known{{job="j",instance="a",{PEER}}}': 0,
    }
    # promtool writes no empty label.
    expected = {'{kind="vpp_token",name="apps"}': 300, f"{{{PEER}}}": -1}
    answer(tmp_path, ask.OTHERS_LEFT, told, expected)


def test_why_a_date_is_not_read(tmp_path: Path) -> None:
    """A row for each thing and reason, however many exporters say it."""
    told = {
        f'mdm_expiry_failure{{job="j",instance="{name}",{PEER},reason="node_timeout"}}': 1 for name in "ab"
    }
    answer(tmp_path, ask.OTHERS_UNREAD, told, {f'{{{PEER},reason="node_timeout"}}': 1})


def test_nodes_are_counted_by_what_is_wrong(tmp_path: Path) -> None:
    """Once, though two exporters ask them and several things failed; what no node has is left out."""
    told = {
        f'mdm_node_failures{{job="j",instance="{instance}",node="{node}",reason="{reason}"}}': count
        for instance in "ab"
        for node, reason, count in (
            ("n1", "node_timeout", 1),
            ("n2", "node_timeout", 3),
            ("n2", "node_denied", 0),
            ("n3", "database_zone", 1),
        )
    }
    expected = {'{reason="node_timeout"}': 2, '{reason="database_zone"}': 1}
    answer(tmp_path, ask.FAILING, told, expected)


def test_devices_are_told_by_storage(tmp_path: Path) -> None:
    """A storage counts once however many nodes share it; a silent node's memory does not count."""
    told = of("a", "n1", "s", 200, 150) | of("a", "n2", "s", 200, 160) | of("a", "n3", "u", 10, 5)
    told |= of("a", "n4", "s", 900, 900, up=0)
    both = ('{storage="s",topic="t"}', '{storage="u",topic="t"}')
    answer(tmp_path, ask.REACHABLE_SHARE, told, dict(zip(both, (0.8, 0.5), strict=True)))
    answer(tmp_path, ask.DEVICES_SILENT, told, dict(zip(both, (40, 5), strict=True)))


def in_file(instance: str, path: str, topic: str, days: float, *, readable: int = 1) -> dict[str, float]:
    """A file as one exporter tells of it."""
    labels = f'job="j",instance="{instance}",node="n1",file="{path}"'
    return {
        f'mdm_certificate_file_expiry_timestamp_seconds{{{labels},topic="{topic}"}}': days * DAY,
        f"mdm_certificate_file_readable{{{labels}}}": readable,
    }


def pushing(instance: str, source: str, days: float) -> dict[str, float]:
    """A push certificate of n1."""
    labels = f'job="j",instance="{instance}",node="n1",topic="{PUSH}",source="{source}"'
    return {f"mdm_push_certificate_expiry_timestamp_seconds{{{labels}}}": days * DAY}


def test_files_are_told_of_as_their_alerts_do(tmp_path: Path) -> None:
    """Other certificates, also without a UID, and what ends before the push certificate it stands behind; no push certificate."""
    told = in_file("a", "/push.pem", PUSH, 300) | pushing("a", "file", 300) | pushing("a", "recorded", 400)
    told |= in_file("a", "/chain.pem", PUSH, 3) | in_file("a", "/last.pem", PUSH, 3, readable=0)
    told |= in_file("a", "/tls.pem", "", 20) | in_file("a", "/user.pem", "alice", 40)
    told |= in_file("b", "/chain.pem", PUSH, 3)  # there nobody tells when the push certificate ends
    left = {"/chain.pem": 3, "/tls.pem": 20}
    expected = {f'{{instance="a",node="n1",file="{path}"}}': days for path, days in left.items()}
    answer(tmp_path, ask.FILES_LEFT, told, expected | {'{instance="a",node="n1",file="/user.pem"}': 40})


def test_why_a_file_is_not_read(tmp_path: Path) -> None:
    """A row for each file and exporter: a path is of one machine."""
    where = [f'instance="{name}",node="pki",file="/a.pem",reason="file_empty"' for name in "ab"]
    told = {f'mdm_certificate_file_failure{{job="j",{labels}}}': 1 for labels in where}
    answer(tmp_path, ask.FILES_UNREAD, told, {f"{{{labels}}}": 1 for labels in where})
