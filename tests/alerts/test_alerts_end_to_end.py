"""A real Prometheus scrapes, evaluates the shipped rules and answers the dashboard's questions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.metrics import METRICS
from grafana import build
from tests.support import example_metrics, prometheus_server
from tests.support.dashboards import concrete, expressions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus_server.Server]:
    """Prometheus that has scraped the example exposition at least once."""
    with (
        example_metrics.served() as target,
        prometheus_server.running(tmp_path_factory.mktemp("prometheus"), target) as running,
    ):
        prometheus_server.wait_for("a scrape", lambda: running.query("mdm_exporter_build_info"))
        yield running


def test_renewal_due_fires_through_the_api(server: prometheus_server.Server) -> None:
    """42 days before its end, one alert for the topic comes out of Prometheus, with names and texts in it."""

    def due() -> list[dict[str, dict[str, str]]]:
        return [a for a in server.firing() if a["labels"]["alertname"] == "MdmPushCertificateRenewalDue"]

    prometheus_server.wait_for("the alert", due)
    [alert] = due()  # it is kept for 15 minutes
    assert alert["labels"]["topic"] == example_metrics.LATE
    assert alert["labels"]["owner"] == "it"
    assert "expires in 4" in alert["annotations"]["description"]
    assert "Late" in alert["annotations"]["summary_ja"]


def test_the_bad_day_fires_what_it_should_and_nothing_else(server: prometheus_server.Server) -> None:
    """Due, expired, accepted a day ago, owed, silent, a bad file, a token, a TLS certificate: each once; no other."""
    expected = {
        ("MdmPushCertificateRenewalDue", example_metrics.LATE),
        ("MdmPushCertificateExpired", example_metrics.LAPSED),
        ("RenewalAcceptedNotRolledOut", example_metrics.FRESH),
        ("RenewalNodeOwed", example_metrics.FRESH),
        ("MdmNodeSilent", None),
        ("MdmCertificateFileUnreadable", None),
        ("MdmOtherExpiryDue", None),
        ("MdmOtherExpiryCritical", None),
    }

    def firing() -> list[tuple[str, str | None]]:
        return [(alert["labels"]["alertname"], alert["labels"].get("topic")) for alert in server.firing()]

    # A scrape that takes longer than a second is lost: then for a moment the exporter is down, or less is known.
    prometheus_server.wait_for(
        "these alerts alone", lambda: sorted(firing(), key=str) == sorted(expected, key=str)
    )
    annotations = [text for alert in server.firing() for text in alert["annotations"].values()]
    assert not [text for text in annotations if "<error" in text]


@pytest.mark.parametrize("expression", sorted(set(expressions(build.dashboard()))))
def test_every_dashboard_expression_gives_data(expression: str, server: prometheus_server.Server) -> None:
    """Prometheus runs each of the dashboard's expressions and finds something."""
    prometheus_server.wait_for("data", lambda: server.query(concrete(expression)))


def test_the_example_speaks_of_every_metric(server: prometheus_server.Server) -> None:
    """Nothing the exporter defines is missing from the example these tests rest on."""

    def names() -> set[str]:
        return {series["metric"]["__name__"] for series in server.query('{__name__=~"(mdm|process)_.+"}')}

    prometheus_server.wait_for("every metric", lambda: {metric.name for metric in METRICS} <= names())
