"""The exporter installed from a package index by version and hash: a folder on loopback, as pip asks any index."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.deployment import HOME, Site, another

pytestmark = pytest.mark.slow

VERSION = "0.1.1"
WHEEL = f"renewctl-{VERSION}-py3-none-any.whl"


class Index:
    """A running index, and what it was asked for."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        place = folder / "simple" / "renewctl"
        place.mkdir(parents=True)
        self.sha256 = hashlib.sha256(another(wheel, VERSION, place).read_bytes()).hexdigest()
        self.asked: list[str] = []


@contextmanager
def _index(folder: Path, wheel: Path, site: Site) -> Iterator[Index]:
    made = Index(folder, wheel)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            made.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        conf = f"[global]\nindex-url = {url}\nfind-links = /srv/wheels\n[install]\nno-compile = true\n"
        site.host.path("/etc/pip.conf").write_text(conf)
        yield made
        server.shutdown()


@pytest.fixture
def index(site: Site, wheel: Path, tmp_path: Path) -> Iterator[Index]:
    """It has version 0.1.1; the host's pip asks it, and takes libraries from their folder."""
    with _index(tmp_path / "index", wheel, site) as running:
        yield running


def test_the_version_with_this_hash_is_installed(site: Site, index: Index) -> None:
    """It runs and came from the index; the same again changes nothing."""
    asked = {"exporter_wheel": "", "exporter_version": VERSION, "exporter_sha256": index.sha256}
    site.play(**asked)
    assert site.running_version() == VERSION
    assert site.versions() == (VERSION, "0.1.0")
    assert f"/simple/renewctl/{WHEEL}" in index.asked
    assert site.play(**asked).changed == 0


@pytest.mark.parametrize("other", ["hash", "version"])
def test_what_the_index_does_not_have_is_refused_and_nothing_is_changed(
    site: Site, index: Index, other: str
) -> None:
    """The failure names what was asked and, of another hash, what was found; the exporter in use goes on."""
    pid, release, environments = site.property("MainPID"), site.release(), _environments(site)
    version = "0.1.2" if other == "version" else VERSION
    sha256 = "0" * 64 if other == "hash" else index.sha256
    text = site.play(exporter_wheel="", exporter_version=version, exporter_sha256=sha256, code=2).text
    assert f"renewctl {version} with exporter_sha256 {sha256} was not installed" in text
    assert f"Release {release} is in use, as before." in text
    found = (
        f"Got        {index.sha256}"
        if other == "hash"
        else "No matching distribution found for renewctl==0.1.2"
    )
    assert found in text
    assert (site.property("MainPID"), site.release()) == (pid, release)
    assert _environments(site) == environments


def test_another_hash_at_a_first_installation_leaves_nothing(bare: Site, wheel: Path, tmp_path: Path) -> None:
    """No account, no folder, no unit."""
    before = bare.belongings()
    with _index(tmp_path / "index", wheel, bare):
        asked = {"exporter_wheel": "", "exporter_version": VERSION, "exporter_sha256": "0" * 64}
        text = bare.play(**asked, code=2).text
    assert f"renewctl {VERSION} with exporter_sha256 {'0' * 64} was not installed" in text
    assert "Nothing stays that was not there before." in text
    assert bare.belongings() == before


def test_half_a_hash_is_refused_before_anything_is_asked(site: Site, index: Index) -> None:
    """As is a version without one."""
    for sha256 in (index.sha256[:32], ""):
        text = site.play(exporter_wheel="", exporter_version=VERSION, exporter_sha256=sha256, code=2).text
        assert "both exporter_version and exporter_sha256 (64 digits, as sha256sum prints them)" in text
    assert index.asked == []


def _environments(site: Site) -> set[str]:
    return {path.name for path in site.host.path(f"{HOME}/environments").iterdir()}
