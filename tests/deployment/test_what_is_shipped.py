"""What the wheel carries for those who install with it."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

from tests.support.deployment import REQUIREMENTS, ROLE
from tests.support.host import ROOT

COLLECTIONS = ROOT / "playbooks" / "collections"


def _pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Library -> version with its conditions, hashes."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
    return {
        line.split("==")[0]: (line.split(" --hash")[0].strip(), frozenset(re.findall(r"sha256:(\w+)", line)))
        for line in lines
    }


def test_the_wheel_holds_the_whole_collection(wheel: Path) -> None:
    """Every file of the collection that git knows, the role and the playbooks among them, links as files."""
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", str(COLLECTIONS)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    wanted = {str((ROOT / name).relative_to(COLLECTIONS)) for name in known}
    assert f"{ROLE.relative_to(COLLECTIONS)}/tasks/main.yml" in wanted
    with zipfile.ZipFile(wheel) as file:
        assert wanted <= set(file.namelist())
        playbook = file.read("ansible_collections/renewctl/mdm/playbooks/exporter.yml")
    assert playbook == (ROOT / "playbooks" / "exporter.yml").read_bytes()


def test_the_role_installs_what_the_project_pins() -> None:
    """Version and hashes of each library are those of constraints.txt; all that the exporter names is there."""
    role, project = _pins(REQUIREMENTS), _pins(ROOT / "constraints.txt")
    assert {name: project.get(name) for name in role} == role
    assert all(hashes for _, hashes in role.values())
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = named["optional-dependencies"]
    wanted = [*named["dependencies"], *extras["exporter"], *extras["postgresql"], *extras["mysql"]]
    assert {re.split(r"[<>=\[;]", item)[0].lower() for item in wanted} <= set(role)


def test_the_service_waits_for_the_clock_and_pulls_nothing_in_for_it() -> None:
    """As systemd.special(7) has it of `time-sync.target`: ordered after it; whoever sets the clock pulls it in."""
    unit = (ROLE / "templates" / "renewctl-exporter.service.j2").read_text()
    [after], [wants] = (re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE) for key in ("After", "Wants"))
    assert "time-sync.target" in after.split()
    assert "time-sync.target" not in wants.split()
