"""Hosts with a real systemd; the exporter is installed once for all tests that begin with an installed one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.deployment import Site
from tests.support.exporter_process import files_node, inventory
from tests.support.host import host
from tests.support.sandbox_parts import Pushes, push_service


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return deployment.wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushes]:
    """Apple's push service, as the sandbox plays it."""
    with push_service(tmp_path_factory.mktemp("push-service")) as running:
        yield running


@contextmanager
def _site(folder: Path, kept: Path, wheel: Path, address: str) -> Iterator[Site]:
    inventory(folder, [files_node("n1", Path("/srv/mdm/push.pem"))], store="sqlite:////srv/store/store.db")
    (folder / "mdm").mkdir()
    shared = {"/srv/wheels": deployment.libraries(), "/srv/mdm": folder / "mdm", "/srv/kept": kept}
    with host(folder, shared) as machine:
        machine.path("/etc/pip.conf").write_text(deployment.PIP_CONF)
        asked = {"exporter_wheel": str(wheel), "exporter_inventory": str(folder / "inventory.yaml")}
        yield Site(folder, machine, address, asked)


@pytest.fixture
def bare(tmp_path: Path, wheel: Path) -> Iterator[Site]:
    """A host that never had an exporter."""
    (tmp_path / "kept").mkdir()
    with _site(tmp_path, tmp_path / "kept", wheel, deployment.free_address()) as site:
        yield site


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> tuple[Path, str]:
    """What an installation leaves on a host, as a file in a folder; and the address it listens on."""
    folder, address = tmp_path_factory.mktemp("kept"), deployment.free_address()
    with _site(tmp_path_factory.mktemp("first"), folder, wheel, address) as site:
        site.play()
        site.keep()
    return folder, address


@pytest.fixture
def site(tmp_path: Path, wheel: Path, kept: tuple[Path, str]) -> Iterator[Site]:
    """A host with the exporter installed and at work."""
    with _site(tmp_path, kept[0], wheel, kept[1]) as installed:
        installed.restore()
        yield installed
