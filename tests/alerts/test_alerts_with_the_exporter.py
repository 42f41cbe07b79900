"""The real exporter, scraped by a real Prometheus that evaluates the shipped rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import prometheus_server
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory
from tests.support.refusing import nanomdm_that_refuses

pytestmark = pytest.mark.slow


def _serve(path: Path, days: int, uid: str = TOPIC) -> None:
    certificate = apple_like().push(uid, not_after=datetime.now(UTC) + timedelta(days=days, minutes=5))
    path.write_bytes(certificate.pem)


@contextmanager
def _watched(folder: Path) -> Iterator[tuple[Exporter, prometheus_server.Server]]:
    """An exporter that has asked everybody once, then a Prometheus that scrapes it.

    In this order: before the first look nothing is known, and what that makes fire goes on for 15 minutes.
    """
    with exporter(folder) as running:
        running.wait(lambda series: series["mdm_exporter_last_round_timestamp_seconds"] > 0, "a whole round")
        with prometheus_server.running(folder, f"127.0.0.1:{running.port}") as server:
            yield running, server


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
    with _watched(tmp_path) as (_, server):
        expected = {
            ("MdmPushCertificateRenewalDue", TOPIC),
            ("MdmNodesDisagree", TOPIC),
            ("MdmNodeSilent", "gone"),
        }
        wrong = {("MdmTopicExpiryUnknown", TOPIC), ("RenewctlExporterDown", "")}
        # Without patience one scrape over a second long makes them fire, too: only that they stay would be wrong.
        prometheus_server.wait_for(
            "the alerts alone", lambda: expected <= (names := _names(server)) and not names & wrong
        )
        [due] = [a for a in server.firing() if a["labels"]["alertname"] == "MdmPushCertificateRenewalDue"]
        assert due["labels"]["name"] == "Tokyo office"
        assert due["labels"]["account"] == "mdm-tokyo"
        assert "expires in 42d" in due["annotations"]["description"]
        old.write_bytes(new.read_bytes())
        due_now = "topic:mdm_push_certificate_expiry_timestamp_seconds:min - time() < 5184000"
        prometheus_server.wait_for("nothing due", lambda: not server.query(due_now))
        # The alerts themselves rest 15 minutes later: keep_firing_for, told by the rule tests.


Alert = Mapping[str, Mapping[str, str]]


def _alert(server: prometheus_server.Server, name: str) -> list[Alert]:
    return [alert for alert in server.firing() if alert["labels"]["alertname"] == name]


def _alone(server: prometheus_server.Server, name: str, **texts: str) -> Alert:
    """Wait until this alert fires once, with these words in these of its texts; as read then, not again later.

    A scrape that takes longer than a second is lost, and what fires without patience may rest meanwhile.
    """
    read: list[list[Alert]] = []

    def fires() -> bool:
        read.append(_alert(server, name))
        return len(read[-1]) == 1 and all(
            word in read[-1][0]["annotations"][text] for text, word in texts.items()
        )

    prometheus_server.wait_for(f"{name} alone", fires)
    return read[-1][0]


def _fires_once_each(server: prometheus_server.Server, label: str, expected: Mapping[str, str]) -> None:
    """Wait until each of these alerts fires, for the one thing its label names."""
    prometheus_server.wait_for(
        "the alerts",
        lambda: all(
            [alert["labels"][label] for alert in _alert(server, name)] == [value]
            for name, value in expected.items()
        ),
    )


def _more(folder: Path, **keys: object) -> None:
    path = folder / "inventory.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}), encoding="utf-8")


def test_one_bad_file_among_good_ones_fires_and_names_itself(tmp_path: Path) -> None:
    """Five good files and a good one overwritten with garbage: one alert, for that file, with the reason.

    The node stays up: no other alert would have told.
    """
    folder = tmp_path / "pki"
    folder.mkdir()
    for number in range(6):
        _serve(folder / f"{number}.pem", 300)
    bad = folder / "3.pem"
    inventory(
        tmp_path,
        [files_node("a", folder / "0.pem"), {"name": "pki", "product": "files", "folder": str(folder)}],
    )
    with _watched(tmp_path) as (_, server):
        prometheus_server.wait_for(
            "seven files", lambda: len(server.query("mdm_certificate_file_readable == 1")) == 7
        )
        assert not _alert(server, "MdmCertificateFileUnreadable")
        bad.write_text("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", encoding="utf-8")
        alert = _alone(server, "MdmCertificateFileUnreadable", description="Reason: certificate_unreadable.")
        assert (alert["labels"]["file"], alert["labels"]["node"]) == (str(bad), "pki")
        assert not _alert(server, "MdmNodeSilent")


def test_a_node_that_answers_and_refuses_our_password_fires(tmp_path: Path) -> None:
    """Its version is told, its certificate is not: the alert names the reason, and nobody calls it silent."""
    _serve(tmp_path / "push.pem", 300)
    (tmp_path / "password").write_text("wrong", encoding="utf-8")
    with nanomdm_that_refuses() as refusing:
        api = {
            "name": "mdm-1", "product": "nanomdm", "url": refusing.url, "storage": "main", "user": "nanomdm",
            "password": {"file": str(tmp_path / "password")}, "allow_api_credential": True,
        }  # fmt: skip
        inventory(tmp_path, [files_node("a", tmp_path / "push.pem"), api])
        with _watched(tmp_path) as (_, server):
            alert = _alone(server, "MdmNodeFailing")
            assert (alert["labels"]["node"], alert["labels"]["reason"]) == ("mdm-1", "node_denied")
            assert not _alert(server, "MdmNodeSilent")


def test_other_certificates_of_a_watched_folder_fire_by_their_file(tmp_path: Path) -> None:
    """No push certificates, one ending in 20 days and one ended, fire once each; a push certificate there does not."""
    folder = tmp_path / "pki"
    folder.mkdir()
    _serve(tmp_path / "push.pem", 300)
    for name, days, uid in (
        ("soon", 20, "alice"),
        ("over", -1, "proxy"),
        ("far", 300, "far"),
        ("push", 20, TOPIC),
    ):
        _serve(folder / f"{name}.pem", days, uid)
    watched = {"name": "pki", "product": "files", "folder": str(folder)}
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem"), watched])
    expected = {"MdmCertificateFileExpiryDue": "soon", "MdmCertificateFileExpiryCritical": "over"}
    with _watched(tmp_path) as (_, server):
        _fires_once_each(
            server, "file", {name: str(folder / f"{file}.pem") for name, file in expected.items()}
        )


def test_an_older_certificate_behind_a_push_certificate_fires_by_its_file(tmp_path: Path) -> None:
    """The topic tells the push certificate's date alone; last year's push certificate beside it fires by its topic alone."""
    for name, days, uid in (("push", 300, TOPIC), ("behind", 20, "intermediate"), ("other", 20, TOPIC)):
        _serve(tmp_path / f"{name}.pem", days, uid)
    with (tmp_path / "push.pem").open("ab") as chain:
        chain.write((tmp_path / "behind.pem").read_bytes())
    inventory(tmp_path, [files_node(name, tmp_path / f"{name}.pem") for name in ("push", "other")])
    with _watched(tmp_path) as (_, server):
        _fires_once_each(server, "node", {"MdmCertificateFileExpiryDue": "push"})


def test_what_else_expires_and_a_refused_reload_fire(tmp_path: Path) -> None:
    """A certificate that ends in 20 days, one that ended, one that is not there; then an inventory with a slip.

    The last success of what was never read is 0: unknown at once, patience aside.
    """
    _serve(tmp_path / "push.pem", 300)
    for name, days in (("soon", 20), ("over", -1)):
        _serve(tmp_path / f"{name}.pem", days)
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem")])
    names = ("soon", "over", "absent")
    _more(
        tmp_path,
        expires=[{"kind": "scep_ca", "name": name, "file": str(tmp_path / f"{name}.pem")} for name in names],
    )
    expected = {
        "MdmOtherExpiryDue": "soon",
        "MdmOtherExpiryCritical": "over",
        "MdmOtherExpiryUnknown": "absent",
    }
    with _watched(tmp_path) as (running, server):
        _fires_once_each(server, "name", expected)
        unknown = _alone(server, "MdmOtherExpiryUnknown", description="was never read")
        assert "Reasons: file_not_found." in unknown["annotations"]["description"]
        assert not _alert(server, "RenewctlExporterReloadFailed")
        _more(tmp_path, version=99)
        assert running.get("/-/reload", method="POST").status == 500
        prometheus_server.wait_for("the alert", lambda: _alert(server, "RenewctlExporterReloadFailed"))
