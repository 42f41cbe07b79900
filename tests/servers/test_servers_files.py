"""A push certificate as a file on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from renewctl.errors import Refused
from renewctl.inventory import FileInstall, Node, Product
from renewctl.observation import Source
from renewctl.pushcert import Pair
from renewctl.reasons import Reason
from renewctl.servers import localfile
from renewctl.servers.files import Files
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.registry import connect
from tests.support.certs import TOPIC, Issued, apple_like

AT = datetime(2026, 11, 23, tzinfo=UTC)


def files_node(path: Path | str, **variables: str | int) -> Node:
    """A node of product `files`, on this machine unless told otherwise."""
    placed = FileInstall(str(path), "/nowhere", variables=variables or {"ansible_host": "127.0.0.1"})
    return Node("f1", Product.FILES, (), "f1", install=placed)


@pytest.mark.parametrize("form", ["pem", "der"])
def test_the_certificate_in_the_file_is_what_the_node_serves(form: str, tmp_path: Path) -> None:
    """PEM or DER, whole: serial, fingerprints, issuer; with its own topic and date."""
    issued = apple_like().push()
    path = tmp_path / "push"
    path.write_bytes(getattr(issued, form))
    seen = connect(files_node(path)).observe(AT)
    (found,) = seen.certificates
    assert (found.topic, found.serial, found.source) == (TOPIC, issued.serial, Source.FILE)
    assert (found.not_after, seen.at) == (issued.certificate.not_valid_after_utc, AT)
    assert found.key_fingerprint
    assert "Apple Application Integration 2" in (found.issuer or "")
    assert (seen.up, seen.devices, seen.failures, seen.answered) == (None, None, (), (Source.FILE,))


@pytest.mark.parametrize(
    ("variables", "here"),
    [
        ({"ansible_connection": "local"}, True),
        ({"ansible_host": "localhost", "ansible_port": 2222}, True),
        ({"ansible_host": "::1"}, True),
        ({"ansible_host": os.uname().nodename}, True),
        ({"ansible_host": "192.0.2.9"}, False),
        ({"ansible_port": 22}, False),
    ],
)
def test_a_file_of_another_host_is_never_mistaken_for_one_here(
    variables: dict[str, str | int], here: bool, tmp_path: Path
) -> None:
    """The same path exists on many hosts; only this one's is read."""
    path = tmp_path / "push.pem"
    path.write_bytes(apple_like().push().pem)
    seen = connect(files_node(path, **variables)).observe(AT)
    assert bool(seen.certificates) is here
    assert [failure.reason for failure in seen.failures] == (
        [] if here else [Reason.NODE_CERTIFICATE_ELSEWHERE]
    )


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "empty", "nonsense", "huge", "request"])
def test_what_is_no_certificate_is_a_failure_and_holds_nobody_up(kind: str, tmp_path: Path) -> None:
    """A named pipe, a folder, 50 MB: each is one failure, at once."""
    path = tmp_path / "push.pem"
    make: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "empty": path.touch,
        "nonsense": lambda: path.write_bytes(bytes(range(256))),
        "huge": lambda: path.write_bytes(bytes(50_000_000)),
        "request": lambda: path.write_text("-----BEGIN CERTIFICATE REQUEST-----\nAA==\n"),
    }
    make[kind]()
    seen = connect(files_node(path)).observe(AT)
    assert [failure.reason for failure in seen.failures] == [Reason.NODE_CERTIFICATE_UNREADABLE]
    assert seen.failures[0].values["path"] == str(path)
    assert (seen.certificates, seen.answered) == ((), ())


def test_files_can_do_nothing_else(pair_of: Callable[[Issued], Pair]) -> None:
    """No API: nothing is installed, pushed or counted from here."""
    server = connect(files_node("/etc/mdm/push.pem"))
    with pytest.raises(Refused) as caught:
        server.install(pair_of(apple_like().push()))
    assert caught.value.reason is Reason.NODE_TAKES_NO_PAIR
    assert server.push("A").reason is Reason.PUSH_NOT_POSSIBLE
    assert (server.canaries(TOPIC, 3), server.check_in("A")) == ((), None)
    assert (server.push_target("A"), server.enrolled_topics()) == (None, None)


def test_a_files_node_without_a_place_tells_so() -> None:
    """The inventory refuses such a node; should one come by, nothing is guessed."""
    seen = Files(Node("f1", Product.FILES, (), "f1")).observe(AT)
    assert [failure.reason for failure in seen.failures] == [Reason.NODE_CERTIFICATE_ELSEWHERE]


def test_each_product_has_its_server(node_at: Callable[..., Node]) -> None:
    """Connecting asks nothing yet: these addresses do not exist."""
    assert isinstance(connect(node_at("http://127.0.0.1:1"), [TOPIC]), NanoMDM)
    assert isinstance(connect(files_node("/x")), Files)


def test_a_small_file_is_read_whole_and_a_larger_one_refused(tmp_path: Path) -> None:
    """The limit is exact."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert localfile.read(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4"):
        localfile.read(path, 4)


def test_files_want_no_credential() -> None:
    """There is no API that could refuse one; what cannot be read is told by the look."""
    node = files_node("/nowhere/push.pem")
    Files(node).require_access()
    assert Files(node).observe(AT).failures
