"""What the exporter cannot do without ends it: no answers for ever from what was seen last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.vital import vital_thread

ROOT = Path(__file__).parents[2]

FAULTS = {
    "poller": "from exporter.poller import Poller as P; P._begin_due = broken",
    "publisher": "from exporter import collectors; collectors.basis = broken",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_end_of_a_vital_thread_ends_the_process(name: str, tmp_path: Path) -> None:
    """Exit 1, so that whatever started it starts it again; a line in the log, no traceback."""
    (tmp_path / "inventory.yaml").write_text(
        f"{{version: 1, store: none, nodes: [{{name: pki, product: files, folder: {tmp_path}}}]}}"
    )
    code = f"""
import sys
from exporter import main, watching
start = watching.Watching.start
def broken(*_): raise KeyError("odd")
def start_broken(self):
    {FAULTS[name].replace("; ", chr(10) + "    ")}
    start(self)
watching.Watching.start = start_broken
sys.exit(main.main(["--config.file={tmp_path}", "--web.listen-address=127.0.0.1:0"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False, cwd=ROOT
    )
    assert done.returncode == 1, done.stderr
    assert f"the exporter ends, as its {name} did: KeyError" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_vital_thread_may_come_to_its_end() -> None:
    """As it does when the exporter is told to leave."""
    done: list[int] = []
    thread = vital_thread("worker", lambda: done.append(1))
    thread.start()
    thread.join(60)
    assert (done, thread.name, thread.daemon) == ([1], "worker", True)
