"""The real Prometheus tools of the machine: promtool, amtool, prometheus. Missing ones fail, by package name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_PACKAGES = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager"}


def program(name: str) -> str:
    """Path of a tool.

    Raises:
        AssertionError: it is not installed; the text names the apt package.
    """
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install {_PACKAGES[name]} (or `make test` as root)"
    return found


def run(name: str, *arguments: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """Run a tool to its end: exit code, and what it said on both channels."""
    ended = subprocess.run(
        [program(name), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr
