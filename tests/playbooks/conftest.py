"""One push service for a test process; a world of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.playbook_world import World, world
from tests.support.sandbox_parts import Pushes, push_service


@pytest.fixture(scope="session")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushes]:
    """Apple's push service, as the sandbox plays it."""
    with push_service(tmp_path_factory.mktemp("push-service")) as running:
        yield running


@pytest.fixture
def mdm(tmp_path: Path, pushes: Pushes) -> Iterator[World]:
    """A world without nodes; the test adds them."""
    with world(tmp_path, pushes) as built:
        yield built
