"""Why `renewctl-exporter-shown` is a timer that compares, and no path unit: what a real systemd does on renames.

Should a newer systemd fail this test, a path unit would do, and be quicker.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.host import host
from tests.support.sandbox_parts import eventually

pytestmark = pytest.mark.slow

SERVICE = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cat /srv/mdm/push.pem >> /srv/mdm/acted-on; while [ -e /srv/mdm/hold ]; do sleep 0.1; done'
"""


def test_a_path_unit_never_acts_on_a_rename_while_it_acts_on_another(tmp_path: Path) -> None:
    """A file replaced while what the unit starts still runs stays unseen when that has ended, though others are seen."""
    folder = tmp_path / "mdm"
    folder.mkdir()

    def replace(text: str) -> None:
        (folder / "new").write_text(f"{text} ")
        (folder / "new").replace(folder / "push.pem")

    with host(tmp_path, {"/srv/mdm": folder}) as machine:
        units = machine.path("/etc/systemd/system")
        (units / "seen.path").write_text("[Path]\nPathChanged=/srv/mdm/push.pem\n")
        (units / "seen.service").write_text(SERVICE)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "seen.path")
        acted_on = folder / "acted-on"
        acted_on.touch()

        def waits() -> bool:
            state = machine.run("systemctl", "show", "--property=SubState", "--value", "seen.path")
            return state.strip() == "waiting"

        (folder / "hold").touch()
        replace("first")
        eventually(lambda: acted_on.read_text().split() == ["first"])
        replace("second")
        time.sleep(0.5)  # systemd is told of it while the service runs
        (folder / "hold").unlink()
        eventually(waits)
        time.sleep(1)
        assert (waits(), acted_on.read_text().split()) == (True, ["first"])
        replace("third")
        eventually(lambda: "third" in acted_on.read_text())
        eventually(waits)
        assert acted_on.read_text().split() == ["first", "third"]
