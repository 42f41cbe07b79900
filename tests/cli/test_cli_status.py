"""`status`: the vendor certificate is watched, an accepted certificate ends the talk of uploads, serials fit."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.cli.output import Output
from renewctl.keys.unseal import new_identity
from tests.support.certs import NOW, apple_like
from tests.support.cli import validate
from tests.support.desk import Desk
from tests.support.inventories import TOPIC, with_files_node
from tests.support.scripted_nanomdm import new_store

APPLE = apple_like()
PUSH = APPLE.push(not_after=NOW + timedelta(days=200), key="push")


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' today, in the test's own folder, in English."""
    monkeypatch.setattr(Session.__init__, "__defaults__", (None, None, False, lambda: NOW))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.delenv("RENEWCTL_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)


def with_vendor(folder: Path, days: int, *chain: bytes) -> None:
    """An inventory in which all is well, but for the day its vendor certificate ends."""
    path = with_files_node(folder, PUSH.pem)
    (folder / "vendor.pem").write_bytes(APPLE.vendor(not_after=NOW + timedelta(days=days)).pem)
    above = chain or (APPLE.wwdr.pem, APPLE.root.pem)
    names = [f"above{number}.pem" for number in range(len(above))]
    for name, content in zip(names, above, strict=True):
        (folder / name).write_bytes(content)
    whole = yaml.safe_load(path.read_text()) | {"vendor": {"certificate": "vendor.pem", "chain": names}}
    path.write_text(yaml.safe_dump(whole))


@pytest.mark.parametrize(
    ("days", "code", "told"),
    [(31, 0, None), (29, 4, "ends at 2026-12-22"), (0, 4, "expired"), (-5, 4, "expired: got 2026-11-18")],
)
def test_the_vendor_certificates_end_is_watched(
    days: int, code: int, told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thirty days before its end and ever after: a warning of the topic, with what to do."""
    with_vendor(tmp_path, days)
    assert shell.main(["status"]) == code
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if line.startswith("warning: ") and "vendor" in line]
    assert len(lines) == (told is not None)
    assert all(str(told) in line and "renew" in line for line in lines)
    assert shell.main(["status", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    validate("status", document)
    assert [warn["key"] for warn in document["topics"][0]["warnings"]] == ["warning.vendor"] * len(lines)


def test_a_chain_in_the_wrong_order_hides_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`request` puts it in order by itself, so only the end is told."""
    with_vendor(tmp_path, 20, APPLE.root.pem, APPLE.wwdr.pem)
    assert shell.main(["status"]) == 4
    assert capsys.readouterr().out.count(": the chain of the MDM vendor certificate") == 1


def test_a_vendor_certificate_that_lies_elsewhere_calls_for_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, and the exit code stays 0."""
    with_vendor(tmp_path, 200)
    (tmp_path / "vendor.pem").unlink()
    assert shell.main(["status"]) == 0
    assert f"{tmp_path}/vendor.pem does not exist" in capsys.readouterr().out


def test_once_a_certificate_was_accepted_nothing_is_to_be_uploaded(desk: Desk) -> None:
    """The last day of the request is of interest while somebody still has to upload it."""
    desk.to_request()
    assert "can be uploaded until" in desk.run("status", "--offline").out
    assert desk.run("renewal", "accept", desk.downloaded()).code == 0
    assert "can be uploaded until" not in desk.run("status", "--offline").out


@pytest.mark.parametrize("language", ["en", "ja"])
def test_eighty_columns_hold_serial_and_date(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the serial is shown by its ends, and neither it nor the date is folded."""
    with_files_node(tmp_path, PUSH.pem)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert shell.main(["status", "--lang", language]) == 0
    shown = capsys.readouterr().out
    assert f" {PUSH.serial[:8]}…{PUSH.serial[-4:]} " in shown
    assert {"en": " 2027-06-11 ", "ja": " 2027年6月11日 "}[language] in shown
    assert PUSH.serial not in shown


def test_on_a_terminal_a_node_names_its_topic_by_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The UID would fold over fifteen lines; without a terminal it is whole."""
    with_files_node(tmp_path, PUSH.pem)
    assert shell.main(["node", "observe"]) == 0
    assert TOPIC in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert shell.main(["node", "observe"]) == 0
    shown = capsys.readouterr().out
    assert " tokyo " in shown
    assert TOPIC not in shown


def test_serials_are_whole_where_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    """And short or unknown ones are shown as they are."""
    assert Output("en").serial(PUSH.serial) == PUSH.serial
    assert Output("en").serial(None) is None
    assert capsys.readouterr().out == ""


def test_an_exporters_inventory_renews_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`store: none` is said in so many words, not as a URL that cannot be used."""
    with_vendor(tmp_path, 200)
    path = tmp_path / "renewctl.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"store": "none"}))
    assert shell.main(["--inventory", str(path), "status", "--offline"]) == 2
    assert "`store: none`: it is an exporter's inventory" in capsys.readouterr().err


def test_keys_that_one_alone_can_open_are_warned_of(desk: Desk) -> None:
    """One recipient, or several and no escrow: said, and no reason to fail; silent with an escrow."""
    [own], other = desk.inventory["keys"]["recipients"], new_identity()[1]

    def warned(**changes: object) -> list[str]:
        desk.rewrite(keys=desk.inventory["keys"] | changes)
        done = desk.run("status", "--offline", "--json")
        return [warn["key"] for warn in done.document["warnings"] if warn["key"].startswith("warning.")]

    assert "warning.recipients_one" in warned()
    assert "warning.escrow_none" in warned(recipients=[own, other])
    assert warned(recipients=[own], escrow=[other]) == []


@pytest.mark.parametrize(("language", "shared"), [("en", "as n2, same storage"), ("ja", "n2 と同じ保存先")])
def test_devices_of_one_storage_stand_once(desk: Desk, language: str, shared: str) -> None:
    """n2 and n3 share a storage of seven devices, n1 has two: each number once, by whom it is shared beside."""
    nodes = desk.inventory["nodes"]
    for node, name, devices in ((nodes[0], "a", 2), (nodes[1], "b", 7)):
        store = new_store(desk.folder / f"{name}.db", TOPIC, PUSH.pem, devices)
        node["devices"] = {"sql": f"sqlite:///{store}"}
    nodes[2]["devices"] = nodes[1]["devices"]
    desk.rewrite(nodes=nodes)
    for words in (("status",), ("node", "observe")):
        lines = desk.run(*words, "--lang", language).out.splitlines()
        rows = {line.split()[0]: line for line in lines if line.startswith(("n1 ", "n2 ", "n3 "))}
        assert [shared in rows[name] for name in ("n1", "n2", "n3")] == [False, False, True]
        assert [name for name, row in rows.items() if "7" in row.split()] == ["n2"]
    (topic,) = desk.told("status", code=4)["topics"]
    counted = {(node["storage"], node["devices"]) for node in topic["nodes"]}
    assert counted == {("a", 2), ("b", 7)}


@pytest.mark.parametrize(("language", "why"), [("en", "lie on another host"), ("ja", "別のホストにあり")])
def test_why_a_file_node_on_another_host_is_unknown(desk: Desk, language: str, why: str) -> None:
    """`status` logs in nowhere: it says so and who reads it there; once it was read, nothing is added."""
    install = {"host": "192.0.2.9", "paths": {"certificate": "/etc/push.pem", "key": "/etc/push.key"}}
    desk.rewrite(nodes=[{"name": "f1", "product": "files", "install": install}])
    shown = desk.run("status", "--lang", language).out
    [line] = [line for line in shown.splitlines() if why in line]
    assert "f1" in line
    assert "SSH" in line
    warnings = desk.told("status", code=4)["topics"][0]["warnings"]
    [told] = [warn for warn in warnings if warn["key"] == "warning.elsewhere"]
    assert (told["values"]["nodes"], told["attention"]) == ("f1", False)
    desk.to_accepted()
    desk.told("renewal", "roll-out")
    assert why not in desk.run("status", "--lang", language).out


@pytest.mark.parametrize(
    ("language", "added", "removed"),
    [
        ("en", "who was added cannot open it", "whoever was removed can still open it"),
        ("ja", "加えた暗号化先（公開鍵）では開けません", "外した相手が今も開けるおそれがあります"),
    ],
)
def test_keys_sealed_to_others_are_told(desk: Desk, language: str, added: str, removed: str) -> None:
    """Somebody was added or removed, and the keys are as they were: exit 4, and which of the two, until `keys rekey`."""
    desk.adopt()
    [own], other = desk.inventory["keys"]["recipients"], new_identity()[1]
    for recipients, told, untold in (([own, other], added, removed), ([own], removed, added)):
        assert "warning.sealed_" not in desk.run("status", "--offline", "--json").out
        desk.rewrite(keys=desk.inventory["keys"] | {"recipients": recipients})
        done = desk.run("status", "--offline", "--lang", language)
        assert (done.code, told in done.out, untold in done.out) == (4, True, False)
        desk.told("keys", "rekey")
    assert "warning.sealed_" not in desk.run("status", "--offline", "--json").out
