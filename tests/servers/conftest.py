"""What tests of servers share: a push service, certificates as pairs, a node of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.inventory.reading import Node, Product
from tests.support.certs import Issued
from tests.support.postgres import cluster, database
from tests.support.sandbox_parts import Pushes, push_service

__all__ = ["cluster", "database"]


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushes]:
    """One push service for a module's tests, its switches reset by `calm`."""
    with push_service(tmp_path_factory.mktemp("pushes")) as running:
        yield running


@pytest.fixture
def calm(pushes: Pushes) -> Pushes:
    """The push service, behaving."""
    pushes.switch(answer=None, hang=False, refuse_serials=[], lose=False, drop_wrong_topic=False)
    return pushes


@pytest.fixture
def node_at() -> Callable[..., Node]:
    """A NanoMDM node with a url and whatever else a test names."""

    def make(url: str | None, **more: object) -> Node:
        values: dict[str, object] = {
            "name": "n1",
            "product": Product.NANOMDM,
            "topics": (),
            "storage": "n1",
            "url": url,
        }
        return Node(**(values | more))  # type: ignore[arg-type]

    return make


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file holding a password that no output may ever show."""
    path = tmp_path / "password"
    path.write_text("pa55-wörd\n")
    return path


@pytest.fixture
def pair_of() -> Callable[[Issued], Pair]:
    """The product's Pair of a look-alike."""

    def make(issued: Issued) -> Pair:
        return Pair(PushCertificate.from_der(issued.der), issued.key_pem)

    return make
