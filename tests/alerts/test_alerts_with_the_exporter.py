"""The real exporter, scraped by a real Prometheus that evaluates the shipped rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import prometheus_server
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, exporter, files_node, inventory

pytestmark = pytest.mark.slow


def _serve(path: Path, days: int) -> None:
    certificate = apple_like().push(TOPIC, not_after=datetime.now(UTC) + timedelta(days=days, minutes=5))
    path.write_bytes(certificate.pem)


def _names(server: prometheus_server.Server) -> set[tuple[str, str]]:
    return {
        (alert["labels"]["alertname"], alert["labels"].get("topic") or alert["labels"].get("node", ""))
        for alert in server.firing()
    }


def test_what_the_exporter_says_makes_the_alerts_fire_and_rest(tmp_path: Path) -> None:
    """Due, disagreeing and silent fire for 42 days here, 300 there, and a node that is gone; then nothing is due.

    The names in the due alert come from the inventory.
    """
    old, new = tmp_path / "old.pem", tmp_path / "new.pem"
    _serve(old, 42)
    _serve(new, 300)
    paths = {"a": old, "b": new, "gone": tmp_path / "absent.pem"}
    inventory(tmp_path, [files_node(name, path) for name, path in paths.items()])
    with (
        exporter(tmp_path) as running,
        prometheus_server.running(tmp_path, f"127.0.0.1:{running.port}") as server,
    ):
        expected = {
            ("MdmPushCertificateRenewalDue", TOPIC),
            ("MdmNodesDisagree", TOPIC),
            ("MdmNodeSilent", "gone"),
        }
        prometheus_server.wait_for("the alerts", lambda: expected <= _names(server))
        assert not _names(server) & {("MdmTopicExpiryUnknown", TOPIC), ("RenewctlExporterDown", "")}
        [due] = [a for a in server.firing() if a["labels"]["alertname"] == "MdmPushCertificateRenewalDue"]
        assert due["labels"]["name"] == "Tokyo office"
        assert due["labels"]["account"] == "mdm-tokyo"
        assert "expires in 42d" in due["annotations"]["description"]
        old.write_bytes(new.read_bytes())
        due_now = "topic:mdm_push_certificate_expiry_timestamp_seconds:min - time() < 5184000"
        prometheus_server.wait_for("nothing due", lambda: not server.query(due_now))
        # The alerts themselves rest 15 minutes later: keep_firing_for, told by the rule tests.
