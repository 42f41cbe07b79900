"""The list of metrics is the public contract: complete, told once, documented."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import promql_parser

from exporter import reference
from exporter.definition import POLLED
from exporter.keeping import Keeper
from exporter.metrics import METRICS
from exporter.process import PROCESS
from exporter.reloads import Reloads
from exporter.rendering import Format
from exporter.snapshot import Snapshot
from tests.support.exporter_values import NOW, families, inventory

ROOT = Path(__file__).parents[2]

PROMISED = """
mdm_push_certificate_expiry_timestamp_seconds{topic,node,source}
mdm_push_certificate_info{topic,node,source,serial,issuer}
mdm_certificate_file_expiry_timestamp_seconds{node,file,topic}
mdm_certificate_file_readable{node,file}
mdm_certificate_file_failure{node,file,reason}
mdm_expiry_timestamp_seconds{kind,name,node}
mdm_expiry_known{kind,name,node}
mdm_expiry_failure{kind,name,node,reason}
mdm_expiry_last_success_timestamp_seconds{kind,name,node}
mdm_node_up{node,product}
mdm_node_failures{node,reason}
mdm_node_last_success_timestamp_seconds{node}
mdm_node_snapshot_timestamp_seconds{node}
mdm_node_poll_duration_seconds{node}
mdm_node_polls_total{node}
mdm_node_poll_failures_total{node}
mdm_devices_enrolled{node,storage,topic}
mdm_devices_seen{node,storage,topic,within}
mdm_device_last_seen_timestamp_seconds{node,storage,topic,device}
mdm_device_series_dropped{node,storage}
mdm_topic_renewal_window_seconds{topic}
mdm_topic_info{topic,id,name,owner,account}
mdm_topic_node{topic,node}
mdm_topic_expiry_known{topic}
mdm_renewal_phase{topic,renewal,phase}
mdm_renewal_accepted_timestamp_seconds{topic}
mdm_renewal_nodes_owed{topic}
mdm_renewal_node_owed{topic,node}
mdm_store_up{}
mdm_store_last_success_timestamp_seconds{}
mdm_store_head_info{head}
mdm_exporter_build_info{version}
mdm_exporter_last_round_timestamp_seconds{}
mdm_exporter_snapshot_written{}
mdm_exporter_config_last_reload_successful{}
mdm_exporter_config_last_reload_success_timestamp_seconds{}
process_virtual_memory_bytes{}
process_resident_memory_bytes{}
process_start_time_seconds{}
process_cpu_seconds_total{}
process_open_fds{}
process_max_fds{}
"""


def test_the_promised_metrics_are_defined_with_the_promised_labels() -> None:
    """Alerts and dashboards build on exactly these names and labels."""
    assert [f"{m.name}{{{','.join(m.labels)}}}" for m in METRICS] == PROMISED.split()


def test_collectors_publish_each_defined_metric_and_nothing_else() -> None:
    """Every family that is defined has a collector, once."""
    given = [family.definition.name for family in families(inventory(), Snapshot(store_up=True))]
    of_configuration = gzip.decompress(Reloads(NOW).part.packed[Format.TEXT]).decode()
    given += re.findall(r"^# TYPE (\S+)", of_configuration, re.MULTILINE)
    given += [family.definition.name for family in Keeper(Path("snapshot.json")).families()]
    assert sorted(given) == sorted(metric.name for metric in METRICS if metric not in PROCESS)


def test_without_a_store_renewals_are_not_spoken_of() -> None:
    """No store configured: absent, not zero."""
    given = {family.definition.name for family in families(inventory(store=""), Snapshot())}
    assert not {name for name in given if name.startswith(("mdm_renewal", "mdm_store"))}


def test_help_says_that_values_are_polled() -> None:
    """Prometheus's writing guide asks caches to be told of in HELP."""
    now = re.compile("mdm_topic_(renewal_window|info|node$)|mdm_exporter_(build|config)|process_")
    assert all(m.help.endswith(POLLED) for m in METRICS if not now.match(m.name))


def test_the_reference_page_is_up_to_date() -> None:
    """`python -m exporter.reference > exporter/METRICS.md` was run after the last change."""
    done = subprocess.run(
        [sys.executable, "-m", "exporter.reference"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (ROOT / "exporter/METRICS.md").read_text(encoding="utf-8") == done.stdout == reference.page()


def test_worked_examples_are_promql_over_our_metrics() -> None:
    """Each example parses and asks for the metric it explains."""
    for metric in METRICS:
        expression, answers = metric.example
        promql_parser.parse(expression)
        assert metric.name in expression
        assert answers


def test_no_example_leads_forward_where_a_roll_back_is_to_be_finished() -> None:
    """Who is owed the previous pair is counted as well; what to do with them the phase tells."""
    told = {metric.name: metric.example[1] for metric in METRICS if "_owed > 0" in metric.example[0]}
    told["mdm_renewal_node_owed"] = next(m.example[1] for m in METRICS if m.name == "mdm_renewal_node_owed")
    assert len(told) == 3
    forward = re.compile("roll.out|on every node")
    assert [name for name, words in told.items() if forward.search(words)] == []
