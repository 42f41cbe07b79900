"""`systemctl reload` of the deployed exporter: the unit's ExecReload, a real systemd, the inventory the unit shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import HOME, Site
from tests.support.exporter_process import files_node, inventory
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

STORE = "sqlite:////srv/store/store.db"
SUCCESSFUL = "mdm_exporter_config_last_reload_successful"


def _place(site: Site, *nodes: str) -> None:
    """The inventory of the release in use, written by other means than the role."""
    watched = [files_node(node, Path(f"/srv/mdm/{node}.pem")) for node in nodes]
    inventory(site.host.path(f"{HOME}/current/inventory"), watched, STORE)


def _nodes(site: Site) -> set[str]:
    lines = [line for line in site.page().splitlines() if line.startswith("mdm_node_up{")]
    return {line.partition('node="')[2].partition('"')[0] for line in lines}


def _told(site: Site) -> float:
    [line] = [line for line in site.page().splitlines() if line.startswith(f"{SUCCESSFUL} ")]
    return float(line.rpartition(" ")[2])


def test_a_reload_takes_what_changed_and_keeps_what_cannot_be_used(site: Site) -> None:
    """A node more is watched by the same process; a bad file keeps both and the metric says 0, the journal why.

    Mended, it is taken again, also on a SIGHUP that systemd sends by itself.
    """
    eventually(lambda: site.series("mdm_node_up"))  # it answers
    pid = site.property("MainPID")
    assert (_nodes(site), _told(site)) == ({"n1"}, 1)
    _place(site, "n1", "n2")
    site.host.run("systemctl", "reload", "renewctl-exporter")
    eventually(lambda: _nodes(site) == {"n1", "n2"})
    path = site.host.path(f"{HOME}/current/inventory/inventory.yaml")
    path.write_text(path.read_text().replace('"nodes"', '"nodez"'))
    site.host.run("systemctl", "reload", "renewctl-exporter")
    eventually(lambda: _told(site) == 0)
    assert _nodes(site) == {"n1", "n2"}
    assert site.page("/-/ready") == "ready\n"
    said = site.host.run("journalctl", "--unit=renewctl-exporter.service", "--output=cat", "--no-pager")
    assert "the configuration before stays in use" in said
    assert "nodez" in said
    _place(site, "n2")
    site.host.run("systemctl", "kill", "--signal=HUP", "renewctl-exporter")
    eventually(lambda: (_nodes(site), _told(site)) == ({"n2"}, 1))
    assert site.property("MainPID") == pid
    assert site.property("ActiveState") == "active"


def test_a_reload_right_after_the_start_ends_no_service(site: Site) -> None:
    """Whether Python was there yet or not: the service is, and shows its nodes."""
    eventually(lambda: bool(site.series("mdm_node_up")))
    nodes = _nodes(site)
    unit = "renewctl-exporter.service"
    site.host.run("sh", "-c", f"systemctl restart {unit} && systemctl kill --signal=HUP {unit}")
    eventually(lambda: site.property("ActiveState") == "active" and bool(site.series("mdm_node_up")))
    assert _nodes(site) == nodes
