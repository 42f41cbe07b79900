"""A folder with everything a web config may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.corpus import furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`server.pem` and the rest (see `corpus`); only to be read."""
    folder = tmp_path_factory.mktemp("web")
    furnish(folder)
    return folder
