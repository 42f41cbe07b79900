"""A push certificate as a file on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from renewctl import localfile
from renewctl.certificate.pushcert import Pair
from renewctl.errors import Refused
from renewctl.inventory.reading import FileInstall, Node, Place, Product
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers.files import Files
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.registry import connect
from tests.support.certs import TOPIC, Issued, apple_like

AT = datetime(2026, 11, 23, tzinfo=UTC)


def files_node(path: Path | str, **variables: str | int) -> Node:
    """A node of product `files`, on this machine unless told otherwise."""
    two = Place(certificate=str(path), key="/nowhere")
    placed = FileInstall((two,), variables=variables or {"ansible_host": "127.0.0.1"})
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
        ({"ansible_host": "localhost", "ansible_port": 22}, True),
        ({"ansible_host": "localhost", "ansible_port": "22", "ansible_connection": "ssh"}, True),
        ({"ansible_host": "::1"}, True),
        ({"ansible_host": os.uname().nodename}, True),
        ({"ansible_host": os.uname().nodename, "ansible_port": 2222}, True),
        ({"ansible_host": "localhost", "ansible_port": 2222, "ansible_connection": "local"}, True),
        ({"ansible_host": "localhost", "ansible_port": 2222}, False),
        ({"ansible_host": "127.0.0.1", "ansible_port": "2222", "ansible_connection": "ssh"}, False),
        ({"ansible_host": "::1", "ansible_port": 2222}, False),
        ({"ansible_host": "192.0.2.9"}, False),
        ({"ansible_port": 22}, False),
    ],
)
def test_a_file_of_another_host_is_never_mistaken_for_one_here(
    variables: dict[str, str | int], here: bool, tmp_path: Path
) -> None:
    """The same path exists on many hosts, one at the other end of a tunnel too; only this one's is read."""
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


def test_the_end_of_a_tunnel_is_named_with_its_port() -> None:
    """`127.0.0.1` alone would read as this host."""
    seen = connect(files_node("/x", ansible_host="127.0.0.1", ansible_port=2222)).observe(AT)
    assert [failure.values["got"] for failure in seen.failures] == ["127.0.0.1:2222"]


def test_files_want_no_credential() -> None:
    """There is no API that could refuse one; what cannot be read is told by the look."""
    node = files_node("/nowhere/push.pem")
    Files(node).require_access()
    assert Files(node).observe(AT).failures


def placed(*places: Place) -> Node:
    """A node on this machine with these places."""
    install = FileInstall(places, variables={"ansible_host": "127.0.0.1"})
    return Node("f1", Product.FILES, (), "f1", install=install)


def laid_out(folder: Path, name: str, content: bytes, certificate: bytes | None) -> Path:
    """A file the way a roll-out leaves it: a link through `current`, the certificate alone beside it."""
    release = folder / ".renewctl" / name / "releases" / "1"
    release.mkdir(parents=True)
    (release / "pair").write_bytes(content)
    if certificate is not None:
        (release / "cert.pem").write_bytes(certificate)
    (folder / ".renewctl" / name / "current").symlink_to("releases/1")
    (folder / name).symlink_to(f".renewctl/{name}/current/pair")
    return folder / name


@pytest.mark.parametrize("key_first", [True, False])
def test_the_certificate_of_a_file_that_holds_the_key_too(tmp_path: Path, key_first: bool) -> None:
    """The certificate alone is told, wherever it stands; nothing of the key reaches the observation."""
    issued = apple_like().push()
    parts = [issued.key_pem, issued.pem]
    (tmp_path / "both.pem").write_bytes(b"".join(parts if key_first else reversed(parts)))
    seen = connect(placed(Place(pem=str(tmp_path / "both.pem")))).observe(AT)
    assert [one.serial for one in seen.certificates] == [issued.serial]
    assert "PRIVATE" not in repr(seen)


def test_a_file_with_a_key_is_not_opened_where_a_roll_out_left_the_certificate_alone(tmp_path: Path) -> None:
    """An exporter that may not read the key sees the date all the same; of PKCS#12, too."""
    issued = apple_like().push()
    pem = laid_out(tmp_path, "both.pem", b"not to be read", issued.pem)
    p12 = laid_out(tmp_path, "push.p12", b"not to be read", issued.pem)
    secret = SecretRef(Kind.FILE, ("/nowhere",))
    node = placed(Place(pem=str(pem)), Place(pkcs12=str(p12), password=secret))
    seen = connect(node).observe(AT)
    assert [one.serial for one in seen.certificates] == [issued.serial]
    assert (seen.failures, seen.answered, seen.unseen) == ((), (Source.FILE,), None)


@pytest.mark.parametrize("kind", ["foreign", "no certificate beside it", "another's link", "missing"])
def test_a_pkcs12_file_nobody_can_see_into_is_unknown_with_a_reason(tmp_path: Path, kind: str) -> None:
    """The password is never read for a look; what other places hold is told."""
    issued = apple_like().push()
    path = tmp_path / "push.p12"
    if kind == "foreign":
        path.write_bytes(b"0")
    elif kind == "no certificate beside it":
        laid_out(tmp_path, "push.p12", b"0", None)
    elif kind == "another's link":
        path.symlink_to(laid_out(tmp_path, "other.p12", b"0", issued.pem))
    (tmp_path / "push.pem").write_bytes(issued.pem)
    two = Place(certificate=str(tmp_path / "push.pem"), key="/nowhere")
    secret = SecretRef(Kind.FILE, ("/nowhere",))
    seen = connect(placed(two, Place(pkcs12=str(path), password=secret))).observe(AT)
    assert [one.serial for one in seen.certificates] == [issued.serial]
    expected = Reason.NODE_CERTIFICATE_UNREADABLE if kind == "missing" else Reason.NODE_CERTIFICATE_LOCKED
    assert [failure.reason for failure in seen.failures] == [expected]
    assert seen.failures[0].values["path"] == str(path)
    assert seen.answered == ()


def test_places_that_differ_are_all_told(tmp_path: Path) -> None:
    """A consumer that was forgotten last year."""
    apple = apple_like()
    ours, theirs = apple.push(), apple.push(key="other")
    (tmp_path / "a.pem").write_bytes(ours.pem)
    (tmp_path / "b.pem").write_bytes(theirs.key_pem + theirs.pem)
    two = Place(certificate=str(tmp_path / "a.pem"), key="/nowhere")
    seen = connect(placed(two, Place(pem=str(tmp_path / "b.pem")))).observe(AT)
    assert {one.serial for one in seen.certificates} == {ours.serial, theirs.serial}
