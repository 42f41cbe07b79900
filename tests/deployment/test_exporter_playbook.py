"""The playbook `exporter` against a host with a real systemd: installed, upgraded, put back, taken back by hand."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.deployment import HOME, NEVER_READY, Site, another
from tests.support.kept_output import keep

pytestmark = pytest.mark.slow

CHATTY: dict[str, object] = {"exporter_flags": ["--log.level=debug"]}
"""Another release of the same environment."""

UNKNOWN = "--no.such-flag"

FEW = 8
"""Seconds for a release that never gets ready; the one before has no more to get ready again, on a busy machine."""


def test_installed_from_nothing_and_then_nothing_more_to_do(bare: Site) -> None:
    """A dry run changes nothing and says what it would; the run installs; the next run, dry or not, changes nothing."""
    dry = bare.play("--check")
    assert "would take the place of none" in dry.text
    assert not bare.host.path(HOME).exists()
    bare.play()
    assert "mdm_exporter_build_info" in bare.page()
    assert bare.page("/-/ready") == "ready\n"
    assert bare.host.run("systemctl", "is-enabled", "renewctl-exporter").strip() == "enabled"
    pid = bare.property("MainPID")
    assert bare.play().changed == 0
    assert bare.play("--check").changed == 0
    assert bare.property("MainPID") == pid


def test_it_runs_without_any_right(site: Site) -> None:
    """Own account, no capability, no new privilege, system calls filtered, no core file; exposure at most 2.0."""
    status = site.host.path(f"/proc/{site.property('MainPID')}/status").read_text()
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in told["Uid"].split()
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"
    unit = "/etc/systemd/system/renewctl-exporter.service"
    told_of_it = site.host.run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    keep("systemd-analyze-security.txt", told_of_it)
    assert "Overall exposure level" in told_of_it
    for name in (
        "renewctl-exporter.service",
        "renewctl-exporter-shown.timer",
        "renewctl-exporter-shown.service",
    ):
        assert site.host.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}") == ""


def test_a_new_version_takes_the_place_by_one_rename(site: Site, wheel: Path, tmp_path: Path) -> None:
    """The link in use leads to the old release or to the new one at every moment; the old one is kept, older ones go."""
    with _watched(site) as seen:
        site.play(exporter_wheel=str(another(wheel, "0.1.1", tmp_path)))
    assert [name.split("-")[0] for name in seen] == ["0.1.0", "0.1.1"]
    assert site.versions() == ("0.1.1", "0.1.0")
    assert site.running_version() == "0.1.1"
    site.play("-e", "exporter_state=back")
    assert site.running_version() == "0.1.0"
    site.play("-e", "exporter_state=back")
    assert (site.versions(), site.running_version()) == (("0.1.1", "0.1.0"), "0.1.1")
    site.play(exporter_wheel=str(tmp_path / "renewctl-0.1.1-py3-none-any.whl"), **CHATTY)
    assert site.versions() == ("0.1.1", "0.1.1")
    for folder in ("releases", "environments"):
        kept = site.host.path(f"{HOME}/{folder}").iterdir()
        assert {path.name.split("-")[0] for path in kept} == {"0.1.1"}


def test_back_by_hand(site: Site) -> None:
    """`exporter_state=back` goes to the release before, and again back; a dry run of it changes nothing."""
    first = site.release()
    site.play(**CHATTY)
    second = site.release()
    assert "would take the place of" in site.play("--check", "-e", "exporter_state=back").text
    assert (site.release("current"), site.release("previous")) == (second, first)
    site.play("-e", "exporter_state=back")
    assert (site.release("current"), site.release("previous")) == (first, second)
    assert "--log.level" not in site.property("ExecStart")
    assert site.play(**CHATTY).changed
    assert (site.release("current"), site.release("previous")) == (second, first)


def test_without_a_release_before_there_is_no_way_back(site: Site) -> None:
    """It is refused with a sentence, and the exporter goes on."""
    pid = site.property("MainPID")
    assert "no release is kept from before" in site.play("-e", "exporter_state=back", code=2).text
    assert site.property("MainPID") == pid


def test_a_wheel_that_is_not_there(site: Site, tmp_path: Path) -> None:
    """Said with its path and how one is made, before anything is changed."""
    before, wheel = site.belongings(), tmp_path / "none.whl"
    text = site.play(exporter_wheel=str(wheel), code=2).text
    assert (str(wheel) in text, "pip wheel" in text) == (True, True)
    assert site.belongings() == before


def test_a_version_that_does_not_get_ready_is_put_back(site: Site, wheel: Path, tmp_path: Path) -> None:
    """The old one is in use and answers again, nothing else stays, the play says so; going on with something good works."""
    old, before = site.release(), site.belongings()
    never = another(wheel, "0.1.1", tmp_path, running=NEVER_READY)
    text = site.play(exporter_wheel=str(never), exporter_ready_seconds=FEW, code=2).text
    assert f"was not ready within {FEW} s" in text
    assert f"release {old} is back and ready" in text
    assert site.belongings() == before
    assert site.running_version() == "0.1.0"
    site.play(**CHATTY)
    assert site.release("previous") == old


def test_settings_that_do_not_get_ready_are_put_back(site: Site) -> None:
    """A flag the exporter does not know: unit and link are as before, and what it said stands in the failure."""
    unit = site.host.path("/etc/systemd/system/renewctl-exporter.service").read_text()
    played = site.play(exporter_flags=[UNKNOWN], exporter_ready_seconds=FEW, code=2)
    assert f"unrecognized arguments: {UNKNOWN}" in played.text
    assert site.host.path("/etc/systemd/system/renewctl-exporter.service").read_text() == unit
    assert site.page("/-/ready") == "ready\n"


def test_a_first_release_that_does_not_get_ready_is_taken_away(site: Site) -> None:
    """There is nothing to put back: what it made goes, and the play fails saying so; what was there before stays."""
    site.forget()
    before = site.belongings()
    played = site.play(exporter_flags=[UNKNOWN], exporter_ready_seconds=FEW, code=2)
    assert "it is stopped, there was none before" in played.text
    assert f"unrecognized arguments: {UNKNOWN}" in played.text
    assert site.belongings() == before
    assert HOME in before
    assert site.property("LoadState") == "not-found"


def test_a_first_installation_that_is_refused_leaves_nothing(bare: Site) -> None:
    """The exporter itself refuses its inventory: no account, no folder, no unit is left."""
    before = bare.belongings()
    (bare.folder / "inventory.yaml").write_text("version: 1\nnodez: []\n")
    played = bare.play(code=2)
    assert "nodez" in played.text
    assert "Nothing stays that was not there before." in played.text
    assert bare.belongings() == before


def test_a_wrong_inventory_is_refused_before_anything_is_switched(site: Site) -> None:
    """The exporter itself says what is wrong with it; the one that runs is not even restarted, and nothing is left beside."""
    pid, old, before = site.property("MainPID"), site.release(), site.belongings()
    (site.folder / "inventory.yaml").write_text("version: 1\nnodez: []\n")
    played = site.play(code=2)
    assert "nodez" in played.text
    assert f"Release {old} is in use, as before." in played.text
    assert site.property("MainPID") == pid
    assert site.belongings() == before


def test_a_play_cut_off_after_the_switch_is_no_way_back(site: Site) -> None:
    """What was never seen ready is not returned to: the release before it is."""
    old = site.release()
    site.play(**CHATTY)
    site.host.path(f"{HOME}/releases/{site.release()}/confirmed").unlink()  # as if killed while waiting
    played = site.play(exporter_flags=[UNKNOWN], exporter_ready_seconds=FEW, code=2)
    assert f"release {old} is back" in played.text
    assert site.release() == old
    assert site.page("/-/ready") == "ready\n"


def test_an_environment_cut_off_midway_is_made_anew(site: Site) -> None:
    """What lacks the mark of a whole one is removed and installed again."""
    environment = site.environment()
    (environment / "complete").unlink()
    (environment / "bin" / "renewctl-exporter").unlink()
    site.play(**CHATTY)
    assert site.environment() == environment
    assert (environment / "bin" / "renewctl-exporter").exists()
    assert (environment / "complete").exists()


def test_what_prometheus_is_given_is_a_configuration(site: Site) -> None:
    """A file that promtool takes; it names the job that the alert rules know, and the exporter's address."""
    site.play(exporter_scrape_file="scrape.yml")
    scrape = site.folder / "scrape.yml"
    subprocess.run(["promtool", "check", "config", str(scrape)], check=True, capture_output=True)
    assert "job_name: renewctl\n" in scrape.read_text()
    assert site.address in scrape.read_text()


@contextmanager
def _watched(site: Site) -> Iterator[list[str]]:
    """Every state of the link in use, in order; a moment without one would end the watching with an error."""
    path, done = site.host.path(f"{HOME}/current"), threading.Event()
    seen: list[str] = []

    def watch() -> None:
        while not done.wait(0.0005):
            release = os.readlink(path).removeprefix("releases/")  # noqa: PTH115 - the text of the link
            if not seen or seen[-1] != release:
                seen.append(release)

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    done.set()
    thread.join()
