"""A test that hangs is ended and says where it hung."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGS = """
import time

def test_it():
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_test_that_hangs_is_named_with_its_line(tmp_path: Path, workers: str) -> None:
    """As `make test` runs them, in a worker of xdist too, with our settings but for the time they give a test."""
    (tmp_path / "test_hanging.py").write_text(HANGS)
    words = ["-q", "-n", workers, "-o", "faulthandler_timeout=5", "--rootdir", str(tmp_path), "-c", str(ROOT / "pyproject.toml")]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(tmp_path / "test_hanging.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert f'File "{tmp_path}/test_hanging.py", line 5 in test_it' in done.stderr
    if workers != "0":
        assert "crashed while running" in done.stdout
        assert "test_hanging.py::test_it" in done.stdout


def test_each_test_has_a_time_limit(pytestconfig: pytest.Config) -> None:
    """The settings are those of this run, too."""
    assert float(pytestconfig.getini("faulthandler_timeout")) == 900
    assert pytestconfig.getini("faulthandler_exit_on_timeout") is True
