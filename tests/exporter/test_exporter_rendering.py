"""Bytes for scrapers: the right format, readable by the usual readers, no series twice."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.process_collector import PROCESS_COLLECTOR
from prometheus_client.registry import Collector

from exporter.families import LABEL_LIMIT, Family, bounded, seconds, single
from exporter.metrics import CERTIFICATE_INFO, METRICS, NODE_UP, STORE_UP, TOPIC_INFO
from exporter.rendering import Format, Page, Part, accepts_gzip, choose_format
from tests.support.exporter_values import NOW

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"
    "application/openmetrics-text;version=0.0.1;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    + PROMETHEUS_3.replace("0.7", "0.65")
)

ODD = replace(METRICS[0], name="mdm_odd", help='Of "quotes", \\ and\nlines.', kind="gauge")


class Given(Collector):
    """Families for prometheus_client's own renderers."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> list[Metric]:
        """As they are."""
        return self.families


PARSERS = {Format.TEXT: parse_text, Format.OPENMETRICS: parse_openmetrics}


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (PROMETHEUS_2, Format.OPENMETRICS),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.9,*/*;q=0.1", Format.OPENMETRICS),
        (PROTOBUF_FIRST, Format.TEXT),
        ("application/openmetrics-text;version=0.0.1", Format.TEXT),
        ("text/plain, application/openmetrics-text;q=0.9", Format.TEXT),
        ("application/openmetrics-text;q=0", Format.TEXT),
        ("application/openmetrics-text;q=high", Format.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT),
        ("", Format.TEXT),
        (";;,=,", Format.TEXT),
    ],
)  # fmt: skip
def test_openmetrics_is_for_those_who_want_it_first(accept: str, chosen: Format) -> None:
    """Everybody else, protobuf lovers and browsers among them, is given text."""
    assert choose_format(accept) is chosen


@pytest.mark.parametrize(
    ("header", "yes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("", False),
        ("*;q=1, gzip;q=0", False),
    ],
)
def test_gzip_only_where_it_is_accepted(header: str, yes: bool) -> None:
    """Quality 0 is a no."""
    assert accepts_gzip(header) is yes


@given(st.text())
def test_any_accept_header_is_answered(header: str) -> None:
    """Unknown, broken and hostile headers choose a format, they never fail."""
    assert choose_format(header) in Format
    assert accepts_gzip(header) in {True, False}


label_values = st.text(st.characters(blacklist_categories=())).map(lambda text: text.replace("\x00", ""))


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("compressed", [False, True])
@given(rows=st.lists(st.tuples(*[label_values] * 5), max_size=5))
def test_any_label_value_is_read_back_as_it_was(
    format_: Format, compressed: bool, rows: list[tuple[str, ...]]
) -> None:
    """Quotes, backslashes, line ends, half characters: prometheus_client's own reader sees the bounded value, once."""
    family = Family(CERTIFICATE_INFO)
    for row in rows:
        family.add(row, 1)
    body = Page([Part([family])]).body(format_, compressed=compressed).whole()
    text = (gzip.decompress(body) if compressed else body).decode("utf-8")
    read = [
        tuple(sample.labels[name] for name in CERTIFICATE_INFO.labels)
        for metric in PARSERS[format_](text)
        for sample in metric.samples
        if sample.name == "mdm_push_certificate_info"
    ]
    assert sorted(read) == sorted({tuple(map(bounded, row)) for row in rows})


values = st.floats() | st.booleans() | st.integers(-(2**60), 2**60)


@pytest.mark.parametrize("format_", Format)
@given(data=st.data())
def test_every_byte_is_what_prometheus_client_writes(format_: Format, data: st.DataObject) -> None:
    """Any family, any label values, any numbers, in any order."""
    drawn = []
    for definition in data.draw(st.lists(st.sampled_from([*METRICS, ODD]), max_size=4, unique=True)):
        further = ("label_team", "label_a") if definition.open_labels else ()
        family = Family(definition, further)
        width = len(definition.labels) + len(further)
        for row, value in data.draw(
            st.lists(st.tuples(st.tuples(*[label_values] * width), values), max_size=4)
        ):
            family.add(row, value)
        drawn.append(family)
    registry = CollectorRegistry()
    registry.register(Given([family.metric() for family in drawn]))
    theirs = generate_latest(registry) if format_ is Format.TEXT else generate_openmetrics(registry)
    ours = gzip.decompress(Part(drawn).packed[format_])
    assert ours == theirs.removesuffix(b"# EOF\n")


@pytest.mark.parametrize("format_", Format)
def test_large_families_are_whole(format_: Format) -> None:
    """They are rendered in pieces; nothing is lost between two."""
    family = Family(NODE_UP)
    for number in range(4001):
        family.add((f"n{number}", "files"), 1)
    lines = gzip.decompress(Part([family]).packed[format_]).splitlines()
    assert len([line for line in lines if line.startswith(b"mdm_node_up{")]) == 4001


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_large_answer_in_pieces_is_the_whole_one(format_: Format, compressed: bool) -> None:
    """Its size is told before; as text, no piece is large."""
    family = Family(NODE_UP)
    for number in range(9000):
        family.add((f"n{number}", "files"), 1)
    body = Page([Part([family]), Part([])]).body(format_, compressed=compressed)
    pieces = list(body.pieces())
    assert b"".join(pieces) == body.whole()
    assert len(body.whole()) == body.size
    assert compressed or max(map(len, pieces)) <= 2**16


@pytest.mark.parametrize("format_", Format)
def test_the_processes_own_metrics_come_with_each_answer(format_: Format) -> None:
    """They are as of now, not as of the snapshot, and OpenMetrics ends once."""
    text = Page([]).body(format_, compressed=False).whole().decode()
    assert "process_resident_memory_bytes" in text
    assert text.count("# EOF\n") == (format_ is Format.OPENMETRICS)
    assert text.endswith("# EOF\n" if format_ is Format.OPENMETRICS else "\n")


@pytest.mark.parametrize("format_", Format)
def test_the_processes_metrics_are_prometheus_clients(format_: Format) -> None:
    """Names, types, help and, within a moment, values: dashboards for Python programs fit."""
    registry = CollectorRegistry()
    registry.register(PROCESS_COLLECTOR)
    theirs = generate_latest(registry) if format_ is Format.TEXT else generate_openmetrics(registry)
    ours = Page([]).body(format_, compressed=False).whole()
    for mine, other in zip(ours.decode().splitlines(), theirs.decode().splitlines(), strict=True):
        if mine.startswith("#"):
            assert mine == other
        else:
            assert mine.split()[0] == other.split()[0]
            # One more where prometheus_client counts the folder it reads the open files from.
            assert float(mine.split()[1]) == pytest.approx(float(other.split()[1]), rel=0.1, abs=1)


def test_further_families_of_the_process_come_before_its_own() -> None:
    """What the caller knows as of now."""
    text = Page([]).body(Format.TEXT, compressed=False, own=Part([single(STORE_UP, 1)])).whole().decode()
    assert "mdm_store_up 1.0\n# HELP process_virtual" in text


def test_a_label_set_given_twice_is_one_series() -> None:
    """The first stays: a duplicate would cost the whole scrape on Prometheus 3."""
    family = Family(NODE_UP)
    family.add(("a", "nanomdm"), 1)
    family.add(("a", "nanomdm"), 0)
    assert [sample.value for sample in family.metric().samples] == [1]


@pytest.mark.parametrize(
    ("good", "expired"),
    [
        ("x" * LABEL_LIMIT + "1", "x" * LABEL_LIMIT + "2"),
        ("/pki/c\udcfe.pem", "/pki/c\udcff.pem"),
        ("/pki/c?.pem", "/pki/c\udcff.pem"),
        ("é" * LABEL_LIMIT, "é" * LABEL_LIMIT + "2"),
    ],
)
def test_values_that_begin_alike_stay_two_series(good: str, expired: str) -> None:
    """A good file must not hide an expired one, whether their names were cut or are no UTF-8."""
    family = Family(NODE_UP)
    family.add((good, "nanomdm"), 1)
    family.add((expired, "nanomdm"), 0)
    names = [sample.labels["node"] for sample in family.metric().samples]
    assert len(set(names)) == len(names) == 2
    assert all(len(name) <= LABEL_LIMIT for name in names)


def test_labels_are_the_defined_ones() -> None:
    """A collector cannot publish other labels than the reference page tells."""
    with pytest.raises(ValueError, match="mdm_node_up"):
        Family(NODE_UP).add(("a",), 1)
    with pytest.raises(ValueError, match="mdm_node_up"):
        Family(NODE_UP, ("more",))
    labels: Mapping[str, str] = {}
    family = Family(TOPIC_INFO, ("label_team",))
    family.add(("t", "i", "n", "o", "a", "it"), 1)
    labels = family.metric().samples[0].labels
    assert labels["label_team"] == "it"


def test_times_are_unix_time_and_never_is_zero() -> None:
    """A time without a zone, from wherever, is taken as UTC."""
    assert seconds(None) == 0
    assert seconds(NOW) == seconds(NOW.replace(tzinfo=None)) == 1795435200
