"""The corpus of web config files, judged by promtool 3.x: run by `make prometheus3`, which builds it.

Not `test_…`: Debian's promtool 2.42, which `make test` has, does not know `rate_limit`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.web.corpus import CASES, Case, furnish, inline


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the files name."""
    made = tmp_path_factory.mktemp("promtool")
    furnish(made)
    return made


def takes(path: Path) -> bool:
    """Whether promtool takes a file."""
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: make prometheus3"
    done = subprocess.run(
        [promtool, "check", "web-config", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_promtool_judges_as_we_do_but_for_the_listed_differences(case: Case, folder: Path) -> None:
    """A file that goes from one exporter to another is taken or refused by both."""
    path = folder / f"{CASES.index(case)}.yml"
    path.write_text(case.text)
    assert takes(path) is case.promtool


def test_promtool_takes_everything_in_the_file_itself(folder: Path) -> None:
    """Certificate, key and CA as PEM text."""
    (folder / "inline.yml").write_text(inline(folder))
    assert takes(folder / "inline.yml")
