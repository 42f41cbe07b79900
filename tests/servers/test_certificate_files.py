"""Every kind of bad file beside good ones: told by name and reason, and nobody is held up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from renewctl.errors import NodeFault
from renewctl.inventory.reading import Expiring, ExpiryKind, Node, Product
from renewctl.observation import Observation, SeenFile
from renewctl.reasons import Reason
from renewctl.servers import certificate_files
from renewctl.servers.certificate_files import read_file
from renewctl.servers.expiring import expiry_of
from renewctl.servers.files import Files
from tests.support.certs import TOPIC, Issued, apple_like, issue, rsa_key

AT = datetime(2026, 11, 23, tzinfo=UTC)
ENDS = datetime(2027, 3, 1, tzinfo=UTC)
GOOD = 5


def topic(number: int) -> str:
    """A topic of its own."""
    return f"{TOPIC[:-4]}{number:04}"


def push(number: int = 0, not_after: datetime = ENDS) -> Issued:
    """A push certificate of a topic of its own."""
    return apple_like().push(topic(number), not_before=not_after - timedelta(days=365), not_after=not_after)


def odd_names() -> bytes:
    """A certificate whose subject is no UTF-8."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Muenchen")])
    made = issue(name, rsa_key("odd"), issuer=None, not_before=AT, not_after=ENDS)
    der = made.certificate.public_bytes(Encoding.DER)
    broken = der.replace(b"Muenchen", b"M\xfcnch\xe4en")
    assert broken != der
    return broken


def many_names() -> bytes:
    """A thousand alternative names."""
    names = x509.SubjectAlternativeName([x509.DNSName(f"host-{n}.example") for n in range(1000)])
    subject = x509.Name([x509.NameAttribute(NameOID.USER_ID, TOPIC)])
    made = issue(
        subject, rsa_key("many"), issuer=None, not_before=AT, not_after=ENDS, extensions=[(names, False)]
    )
    return made.pem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good certificates, with room at the end: a serial, and so a file, may be a byte longer or shorter."""
    for number in range(GOOD):
        (tmp_path / f"{number}.pem").write_bytes(push(number).pem + b"\n" * 9)
    return tmp_path


def node(folder: Path) -> Node:
    """A node that is watched alone."""
    return Node("pki", Product.FILES, (), "pki", folder=folder)


def looked(folder: Path, server: Files | None = None) -> Observation:
    """One look at the folder."""
    return (server or Files(node(folder))).observe(AT)


def told(seen: Observation, name: str) -> SeenFile:
    """What was said of one file."""
    (found,) = [file for file in seen.files or () if file.path.endswith(f"/{name}")]
    return found


Make = Callable[[Path], object]

BAD: dict[str, tuple[Make, Reason, datetime | None]] = {
    "empty": (lambda p: p.touch(), Reason.FILE_EMPTY, None),
    "blank": (lambda p: p.write_text(" \n\n"), Reason.FILE_EMPTY, None),
    "folder": (lambda p: p.mkdir(), Reason.FILE_NOT_REGULAR, None),
    "garbage base64": (
        lambda p: p.write_text("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        Reason.CERTIFICATE_UNREADABLE,
        None,
    ),
    "good base64, no DER": (
        lambda p: p.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        Reason.CERTIFICATE_UNREADABLE,
        None,
    ),
    "50 MB of zeros": (lambda p: p.write_bytes(bytes(50_000_000)), Reason.FILE_TOO_LARGE, None),
    "certificate and 50 MB": (
        lambda p: p.write_bytes(push().pem + b"#" * 50_000_000),
        Reason.FILE_TOO_LARGE,
        None,
    ),
    "key": (lambda p: p.write_bytes(push().key_pem), Reason.FILE_IS_PRIVATE_KEY, None),
    "bytes": (lambda p: p.write_bytes(bytes(range(256))), Reason.FILE_NOT_RECOGNISED, None),
    "no UTF-8": (lambda p: p.write_bytes(odd_names()), Reason.CERTIFICATE_NAME_UNREADABLE, ENDS),
    "pipe": (os.mkfifo, Reason.FILE_NOT_REGULAR, None),
    "link to itself": (lambda p: p.symlink_to(p.name), Reason.FILE_LINK_LOOP, None),
    "link to nothing": (lambda p: p.symlink_to("nothing"), Reason.FILE_NOT_FOUND, None),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_file_is_named_with_its_reason_and_the_good_ones_are_told(folder: Path, kind: str) -> None:
    """Whatever lies there, at once: no hanging."""
    make, reason, not_after = BAD[kind]
    make(folder / "bad.pem")
    seen = looked(folder)
    assert {served.topic for served in seen.certificates} == {topic(n) for n in range(GOOD)}
    bad = told(seen, "bad.pem")
    assert (bad.reason, bad.not_after, bad.topic) == (reason, not_after, "")
    assert [file.reason for file in seen.files or () if file is not bad] == [None] * GOOD
    assert [failure.values["path"] for failure in seen.failures] == [str(folder / "bad.pem")]


MEASURED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from renewctl.inventory.reading import Node, Product
from renewctl.servers.files import Files

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

peaks = []
for folder in sys.argv[1:]:
    Files(Node("pki", Product.FILES, (), "pki", folder=Path(folder))).observe(datetime.now(UTC))
    peaks.append(peak())
print(*peaks)
"""


@pytest.mark.parametrize("kind", ["50 MB of zeros", "certificate and 50 MB"])
def test_what_is_too_large_takes_no_memory(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    """The peak of a process of its own, in kB: this one has held those 50 MB itself."""
    other = tmp_path_factory.mktemp("large")
    shutil.copytree(folder, other, dirs_exist_ok=True)
    BAD[kind][0](other / "bad.pem")
    words = [sys.executable, "-W", "ignore", "-c", MEASURED, str(folder), str(other)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before < 5_000


@pytest.mark.parametrize("kind", ["twice", "expired", "a thousand names", "DER", "beside a key"])
def test_odd_but_good_files_are_read(folder: Path, kind: str) -> None:
    """The same certificate in two files is told of twice; what is expired keeps its date."""
    past = AT - timedelta(days=400)
    content = {
        "twice": push(0).pem,
        "expired": push(7, past).pem,
        "a thousand names": many_names(),
        "DER": push(8).der,
        "beside a key": push(9).key_pem + push(9).pem,
    }[kind]
    (folder / "odd.crt").write_bytes(content)
    seen = looked(folder)
    odd = told(seen, "odd.crt")
    assert (odd.reason, odd.not_after) == (None, past if kind == "expired" else ENDS)
    assert (len(seen.files or ()), seen.failures) == (GOOD + 1, ())


CUT_OFF = b"-----BEGIN CERTIFICATE-----\nAAAA\n"
NO_DER = CUT_OFF + b"-----END CERTIFICATE-----\n"
SOON = AT + timedelta(days=3)


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_ends_when_the_first_of_its_certificates_does(folder: Path, order: int) -> None:
    """As `expires:` takes it; the push certificate at its beginning keeps its own date."""
    both = [push(7), push(8, SOON)][::order]
    (folder / "chain.pem").write_bytes(b"".join(made.pem for made in both))
    seen = looked(folder)
    chain = told(seen, "chain.pem")
    assert (chain.not_after, chain.reason, chain.topic) == (SOON, None, topic(7 if order == 1 else 8))
    assert {served.not_after for served in seen.certificates if served.topic == chain.topic} == {
        ENDS if order == 1 else SOON
    }
    assert expiry_of(Expiring(ExpiryKind.SCEP_CA, "chain", file=folder / "chain.pem")) == SOON


def test_odd_names_in_a_chain_do_not_hide_its_date(folder: Path) -> None:
    """The name is told of as unreadable, the date is the earliest all the same."""
    odd = x509.load_der_x509_certificate(odd_names()).public_bytes(Encoding.PEM)
    for name, content in (
        ("odd_first.pem", odd + push(8, SOON).pem),
        ("odd_last.pem", push(8, SOON).pem + odd),
    ):
        (folder / name).write_bytes(content)
    seen = looked(folder)
    assert [told(seen, name).not_after for name in ("odd_first.pem", "odd_last.pem")] == [SOON, SOON]
    assert told(seen, "odd_first.pem").reason is Reason.CERTIFICATE_NAME_UNREADABLE


@pytest.mark.parametrize(
    "content",
    [push().pem + CUT_OFF, push().pem + NO_DER, NO_DER + push().pem, push().pem + push(8).pem[:-40]],
    ids=["cut off", "no DER", "no DER first", "no last line"],
)
def test_a_broken_block_beside_a_good_one_is_named(folder: Path, content: bytes) -> None:
    """Nobody knows when that would have ended: no date, and the reason, here and by `expires:`."""
    (folder / "chain.pem").write_bytes(content)
    seen = looked(folder)
    chain = told(seen, "chain.pem")
    assert (chain.not_after, chain.reason) == (None, Reason.CERTIFICATE_UNREADABLE)
    assert [failure.values["path"] for failure in seen.failures] == [str(folder / "chain.pem")]
    assert {served.topic for served in seen.certificates} == {topic(n) for n in range(GOOD)}
    with pytest.raises(NodeFault) as caught:
        expiry_of(Expiring(ExpiryKind.SCEP_CA, "chain", file=folder / "chain.pem"))
    assert caught.value.reason is Reason.CERTIFICATE_UNREADABLE


def test_a_file_nobody_may_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything: the system's own answer is put in."""
    real = os.open

    def denied(path: os.PathLike[str], *arguments: int) -> int:
        if str(path).endswith("3.pem"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", denied)
    seen = looked(folder)
    assert told(seen, "3.pem").reason is Reason.FILE_UNREADABLE
    assert [failure.values["got"] for failure in seen.failures] == ["Permission denied"]
    assert len(seen.certificates) == GOOD - 1


def test_what_is_no_certificate_file_is_left_aside(folder: Path) -> None:
    """Keys, notes and hidden files are not opened."""
    for name in ("push.key", "README", ".0.pem.swp", ".hidden.pem"):
        (folder / name).write_text("nothing for us")
    assert len(looked(folder).files or ()) == GOOD


def test_a_certificate_of_something_else_is_a_file_and_no_topic(folder: Path) -> None:
    """A TLS certificate in the folder: its date by file, and no push certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mdm.example")])
    (folder / "tls.pem").write_bytes(
        issue(name, rsa_key("tls"), issuer=None, not_before=AT, not_after=ENDS).pem
    )
    seen = looked(folder)
    assert (told(seen, "tls.pem").not_after, len(seen.certificates)) == (ENDS, GOOD)


def test_a_folder_that_is_not_there_is_one_failure(tmp_path: Path) -> None:
    """Nothing is said of its files: they are not known to be gone."""
    seen = looked(tmp_path / "none")
    assert (seen.files, [failure.reason for failure in seen.failures]) == (None, [Reason.FOLDER_UNREADABLE])


def test_a_folder_without_certificates_is_one_failure(tmp_path: Path) -> None:
    """A lost mount, a wrong path, a clean-up: at every look, also once the look before saw the same; a file ends it."""
    (tmp_path / "README.txt").write_text("no certificate")
    server = Files(node(tmp_path))
    for _ in range(2):
        seen = looked(tmp_path, server)
        [failure] = seen.failures
        assert (seen.files, failure.reason, failure.values["path"]) == (
            (),
            Reason.FOLDER_EMPTY,
            str(tmp_path),
        )
    (tmp_path / "tls.pem").write_bytes(b"")
    assert [failure.reason for failure in looked(tmp_path, server).failures] == [
        Reason.NODE_CERTIFICATE_UNREADABLE
    ]


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that what lies there was written long ago."""
    monkeypatch.setattr(certificate_files, "_SETTLED_NS", -1)


def test_unchanged_files_are_not_opened_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look gives the very same values, and opens nothing."""
    settle(monkeypatch)
    server = Files(node(folder))
    first = looked(folder, server)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    second = looked(folder, server)
    assert second.files is first.files
    assert second.certificates is first.certificates


def test_a_renewed_file_of_the_same_size_and_time_is_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cp -p`, `rsync -t`, configuration management: written in place, or renamed into place."""
    settle(monkeypatch)
    server, path = Files(node(folder)), folder / "0.pem"
    looked(folder, server)
    for days, rename in ((10, False), (20, True)):
        status, size = path.stat(), path.stat().st_size
        later = push(0, ENDS + timedelta(days=days)).pem.ljust(size, b"\n")[:size]
        target = folder / "new" if rename else path
        target.write_bytes(later)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if rename:
            target.replace(path)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, status.st_mtime_ns)
        assert told(looked(folder, server), "0.pem").not_after == ENDS + timedelta(days=days)


def test_the_same_numbers_on_another_file_system_are_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system mounted over the old one: inode, times and size may be alike, as in a copy of an image."""
    settle(monkeypatch)
    server, real_stat, real_open, opened = Files(node(folder)), os.stat, os.open, []
    looked(folder, server)

    def elsewhere(path: str) -> SimpleNamespace:
        status = real_stat(path)
        values = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**values | {"st_dev": status.st_dev + (path == f"{folder}/3.pem")})

    def watched(path: os.PathLike[str], *arguments: int) -> int:
        opened.append(Path(path).name)
        return real_open(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", elsewhere)
        patched.setattr(os, "open", watched)
        looked(folder, server)
    assert opened == ["3.pem"]


def test_a_change_within_one_tick_of_the_clock_is_seen(folder: Path) -> None:
    """Nothing about the file's status may differ then: what was just changed is read again."""
    server, path, ends = Files(node(folder)), folder / "0.pem", time.monotonic() + 60

    def remembered() -> object:
        looked(folder, server)
        assert server._folder is not None
        return server._folder._known[str(path)][0]

    while os.utime(path) or remembered() is not None:  # a busy machine may look later than a tick
        assert time.monotonic() < ends
    time.sleep(2.1)
    assert remembered() is not None


def test_files_come_and_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look tells what is there now; nothing of a removed file is remembered here."""
    settle(monkeypatch)
    server = Files(node(folder))
    looked(folder, server)
    (folder / "0.pem").unlink()
    shutil.copy(folder / "1.pem", folder / "9.pem")
    seen = looked(folder, server)
    assert [Path(file.path).name for file in seen.files or ()] == [f"{n}.pem" for n in (1, 2, 3, 4, 9)]
    assert server._folder is not None
    assert len(server._folder._known) == GOOD


def test_at_most_1_mib_is_read(tmp_path: Path) -> None:
    """The limit that is promised, to the byte: a certificate in a file of that size is told, one byte more is refused."""
    path = tmp_path / "c.pem"
    for size, told in ((1_048_576, (None, ENDS)), (1_048_577, (Reason.FILE_TOO_LARGE, None))):
        path.write_bytes(push().pem.ljust(size, b"\n"))
        read = read_file(str(path)).seen
        assert (read.reason, read.not_after) == told


@given(st.binary(max_size=400), st.booleans())
def test_any_content_is_an_answer(content: bytes, armoured: bool) -> None:
    """Never an exception, and never a date out of nothing."""
    if armoured:
        content = b"-----BEGIN CERTIFICATE-----\n" + content + b"\n-----END CERTIFICATE-----\n"
    read = certificate_files._parsed("x.pem", content, whole=armoured)
    assert read.seen.reason is not None or read.served is not None
    assert read.seen.not_after is None or read.seen.reason in {None, Reason.CERTIFICATE_NAME_UNREADABLE}
