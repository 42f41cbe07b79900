"""What else expires, as a scraper sees it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.expiry_look import ExpiryLook, expiring, key_of
from exporter.looks import looks
from exporter.poller import Poller
from exporter.snapshot import ExpiryFacts, Snapshot
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Expiring, ExpiryKind, Vendor
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers import expiring as server
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, exporter, files_node, inventory
from tests.support.exporter_values import NOW, node, topic, value
from tests.support.exporter_values import inventory as values_inventory

DEP = Expiring(ExpiryKind.ADE_TOKEN, "dep", file=Path("/nowhere"))
KEY = ("ade_token", "dep", "")


def test_what_the_inventory_tells_of_anyway_is_watched_unasked() -> None:
    """Vendor certificates, the intermediate above each, the TLS certificates of nodes; what is named too, once."""
    own = Vendor(Path("/own.pem"), (Path("/wwdr.pem"), Path("/root.pem")))
    known = values_inventory(topic(vendor=own), node("a", url="https://mdm.example:9000/x"), node("b"))
    tls = Expiring(ExpiryKind.TLS_CERTIFICATE, "mdm.example:9000", "a", file=Path("/tls.pem"))
    known = replace(known, vendor=Vendor(Path("/v.pem"), (Path("/wwdr.pem"),)), expires=(DEP, tls))
    assert [key_of(one) for one in expiring(known)] == [
        KEY,
        ("tls_certificate", "mdm.example:9000", "a"),
        ("vendor_certificate", "/v.pem", ""),
        ("wwdr_intermediate", "/wwdr.pem", ""),
        ("vendor_certificate", "/own.pem", ""),
    ]
    assert expiring(known)[1].file == Path("/tls.pem")
    assert len(looks(known)) == 2 + 1 + 5


def test_before_the_first_look_what_is_expected_is_zero_not_gone() -> None:
    """Known 0, never read; no date out of nothing."""
    known = replace(values_inventory(), expires=(DEP,))
    assert value(known, Snapshot(), "mdm_expiry_known", kind="ade_token", name="dep", node="") == 0
    assert value(known, Snapshot(), "mdm_expiry_last_success_timestamp_seconds", name="dep") == 0
    assert value(known, Snapshot(), "mdm_expiry_timestamp_seconds") is None


def test_a_clock_that_ran_ahead_silences_nobody() -> None:
    """Last read in 2036, says the clock of then: while it cannot be read now, its age counts from now on at the latest."""
    ahead = datetime.now(UTC) + timedelta(days=3650)
    snapshot = Snapshot(expiries={KEY: ExpiryFacts(NOW, None, ahead)})
    first = ExpiryLook(DEP).look()(snapshot)
    second = ExpiryLook(DEP).overdue()(first)
    last = first.expiries[KEY].last_success
    assert last is not None
    assert last <= datetime.now(UTC)
    assert second.expiries[KEY].last_success == last


def test_a_date_that_cannot_be_read_any_more_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason beside it; expired ones keep theirs as well."""
    known, look = replace(values_inventory(), expires=(DEP,)), ExpiryLook(DEP)
    monkeypatch.setattr(server, "expiry_of", lambda _one: NOW - timedelta(days=3))
    snapshot = look.look()(Snapshot())
    assert value(known, snapshot, "mdm_expiry_known", name="dep") == 1
    assert not look.silent(snapshot)

    def refuse(_one: Expiring) -> None:
        raise NodeFault(Reason.FILE_EMPTY, path="/nowhere")

    monkeypatch.setattr(server, "expiry_of", refuse)
    later = look.look()(snapshot)
    assert value(known, later, "mdm_expiry_known", name="dep") == 0
    assert value(known, later, "mdm_expiry_failure", name="dep", reason="file_empty") == 1
    assert (
        value(known, later, "mdm_expiry_timestamp_seconds", name="dep")
        == (NOW - timedelta(days=3)).timestamp()
    )
    assert later.expiries[KEY].last_success == snapshot.expiries[KEY].last_success
    assert look.silent(later)
    assert look.overdue()(snapshot).expiries[KEY].reason is Reason.NODE_TIMEOUT


def test_whatever_is_raised_stays_here_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours while reading a token must not put the token into the log."""
    caplog.set_level(logging.DEBUG)

    def odd(_one: Expiring) -> None:
        raise RuntimeError("AS_secret4")

    monkeypatch.setattr(server, "expiry_of", odd)
    snapshot = ExpiryLook(DEP).look()(Snapshot())
    assert snapshot.expiries[KEY] == ExpiryFacts(reason=Reason.INTERNAL)
    assert "secret" not in caplog.text


def test_no_more_rights_than_an_exporter_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential only where the entry says so, and never by a command."""
    given: list[Expiring] = []
    monkeypatch.setattr(server, "expiry_of", lambda one: given.append(one) or NOW)
    password = SecretRef(Kind.FILE, ("/pw",))
    asked = Expiring(ExpiryKind.ADE_TOKEN, "dep", url="https://dep", user="depserver", password=password)
    ExpiryLook(asked).look()
    ExpiryLook(replace(asked, allow_api_credential=True)).look()
    assert [(one.user, one.password) for one in given] == [("", None), ("depserver", password)]
    command = replace(asked, allow_api_credential=True, password=SecretRef(Kind.COMMAND, ("/bin/x",)))
    snapshot = ExpiryLook(command).look()(Snapshot())
    assert snapshot.expiries[KEY].reason is Reason.SECRET_COMMAND_NOT_ALLOWED
    assert len(given) == 2


def test_servers_are_asked_less_often_than_files_are_read() -> None:
    """A yearly date needs no look every 30 seconds; a look that failed is repeated as usual."""
    one = replace(DEP, file=None, url="https://dep")
    poller = Poller({"url": ExpiryLook(one), "file": ExpiryLook(DEP)}, Snapshot(), 30, lambda: None)
    told = Snapshot(expiries={KEY: ExpiryFacts(NOW, None, NOW)})
    poller.snapshot = told
    assert poller._pause("url") >= 270
    assert poller._pause("file") <= 33
    poller.snapshot = Snapshot(expiries={KEY: ExpiryFacts(NOW, Reason.NODE_TIMEOUT, NOW)})
    assert poller._pause("url") <= 33


def test_an_exporter_tells_the_dates_of_an_inventory(tmp_path: Path) -> None:
    """By kind, name and node, from the vendor's file and a token's; and nothing else of the token, anywhere."""
    vendor = apple_like().vendor()
    (tmp_path / "vendor.pem").write_bytes(vendor.pem)
    (tmp_path / "wwdr.pem").write_bytes(apple_like().wwdr.pem)
    token = {"access_token_expiry": "2027-03-01T12:00:00Z", "access_secret": "AS_secret4"}
    (tmp_path / "dep.json").write_text(json.dumps(token))
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("mdm-1", tmp_path / "push.pem")])
    whole = json.loads((tmp_path / "inventory.yaml").read_text())
    whole["vendor"] = {"certificate": "vendor.pem", "chain": ["wwdr.pem"]}
    whole["expires"] = [
        {"kind": "ade_token", "name": "dep", "file": "dep.json", "node": "mdm-1"},
        {"kind": "vpp_token", "name": "apps", "file": "none.vpptoken"},
    ]
    (tmp_path / "inventory.yaml").write_text(json.dumps(whole))
    with exporter(tmp_path, "--log.level=debug") as running:
        date = 'mdm_expiry_timestamp_seconds{kind="%s",name="%s",node="%s"}'
        series = running.wait_for(date % ("ade_token", "dep", "mdm-1"), 1803902400)
        ends = vendor.certificate.not_valid_after_utc.timestamp()
        running.wait_for(date % ("vendor_certificate", tmp_path / "vendor.pem", ""), ends)
        running.wait_for(
            f'mdm_expiry_known{{kind="wwdr_intermediate",name="{tmp_path}/wwdr.pem",node=""}}', 1
        )
        missing = 'mdm_expiry_failure{kind="vpp_token",name="apps",node="",reason="file_not_found"}'
        series = running.wait_for(missing, 1)
        assert series['mdm_expiry_known{kind="vpp_token",name="apps",node=""}'] == 0
        assert b"AS_secret4" not in running.get("/metrics").body
        assert running.stop() == 0
        assert "AS_secret4" not in running.log.read_text() + (tmp_path / "snapshot.json").read_text()
    with exporter(tmp_path) as again:
        assert again.series()[date % ("ade_token", "dep", "mdm-1")] == 1803902400
