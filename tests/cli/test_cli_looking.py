"""`status`, `node observe`, `inspect`: what they show, as text and as JSON, of real files and a real store."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.cli.looking import look
from renewctl.errors import Unusable
from renewctl.inventory.reading import load
from renewctl.reasons import Reason
from tests.support.certs import NOW, OTHER_TOPIC, apple_like, rsa_key
from tests.support.cli import renewctl, validate
from tests.support.inventories import right, with_files_node, write

PUSH = apple_like().push(not_after=NOW + timedelta(days=42), key="push")


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' today, in the test's own folder, in English."""
    monkeypatch.setattr(Session.__init__, "__defaults__", (None, None, False, lambda: NOW))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RENEWCTL_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """One command, in this process: exit code, stdout, stderr."""
    code = shell.main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_status_of_a_certificate_in_its_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Date in the topic's zone, days left, source, serial; exit 4; what to do next, on stderr."""
    with_files_node(tmp_path, PUSH.pem)
    code, out, err = call(capsys, "status")
    assert code == 4
    assert "push certificate: 2027-01-04 (Mon) 21:00 JST, 42 days left" in out
    assert PUSH.serial in out
    assert "warning: 東京の学校: due: 42 days left" in out
    assert "NEXT STEPS" in err
    assert "NEXT STEPS" not in out


def test_status_in_japanese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for a Japanese reader."""
    with_files_node(tmp_path, PUSH.pem)
    _, out, err = call(capsys, "status", "--lang", "ja")
    assert "Apple Push証明書の有効期限: 2027年1月4日(月) 21:00 JST（あと42日）" in out
    assert "次に行うこと" in err


def test_status_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instants in UTC, the same facts, stderr empty."""
    with_files_node(tmp_path, PUSH.pem)
    code, out, err = call(capsys, "status", "--json")
    document = json.loads(out)
    validate("status", document)
    (topic,) = document["topics"]
    assert (code, err, document["attention"]) == (4, "", True)
    assert (topic["days_left"], topic["not_after"]) == (42, "2027-01-04T12:00:00Z")
    assert topic["nodes"][0]["certificate"]["source"] == "file"


def test_status_when_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Far from its end, exit 0."""
    with_files_node(tmp_path, apple_like().push().pem)
    assert call(capsys, "status")[0] == 0


def test_status_without_asking_anybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--offline` uses what is recorded alone; nothing is, so the date is unknown."""
    with_files_node(tmp_path, PUSH.pem)
    code, out, _ = call(capsys, "status", "--offline")
    assert code == 4
    assert "push certificate: date unknown" in out


def test_status_names_what_is_lax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain http and a password everybody can read are told of; they do not change the exit code."""
    (tmp_path / "pw").write_text("x")
    (tmp_path / "pw").chmod(0o644)
    whole = right()
    whole["nodes"][0] |= {"url": "http://192.0.2.1", "insecure_http": True}
    write(tmp_path, whole)
    _, out, _ = call(capsys, "status", "--offline")
    assert "node n1 is asked over plain http: http://192.0.2.1" in out
    assert f"others can read the secret in {tmp_path}/pw" in out


def test_status_after_a_renewal_was_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Phase and turn are told once the store holds a renewal."""
    with_files_node(tmp_path, PUSH.pem)
    _store_with_a_renewal(tmp_path)
    _, out, _ = call(capsys, "status")
    assert "renewal tokyo-1: request ready for the portal; turn: a person, at Apple's portal" in out
    assert "the request can be uploaded until 2026-12-31 (Thu) 09:00 JST" in out
    _, out, _ = call(capsys, "status", "--json")
    validate("status", json.loads(out))
    assert json.loads(out)["topics"][0]["renewal"]["phase"] == "requested"


def _store_with_a_renewal(folder: Path, key_fingerprint: str = "aa", request: str = "d") -> None:
    from renewctl.renewal.events import Kind  # noqa: PLC0415
    from renewctl.store.write import Stamp, Store  # noqa: PLC0415

    inventory = load(folder / "renewctl.yaml")
    url = f"sqlite:///{folder}/state/renewctl.db"
    Store.create(url)
    stamp = Stamp("me@here", "here", "0", inventory.digest)
    last_day = datetime(2026, 12, 31, tzinfo=UTC).isoformat()
    topic = inventory.topics[0].topic
    bodies: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.OPENED, {"topic_id": "tokyo", "topic": topic, "previous": None}),
        (Kind.KEY_MADE, {"key_fingerprint": key_fingerprint}),
        (Kind.CSR_MADE, {"key_fingerprint": key_fingerprint, "document": "d"}),
        (Kind.REQUESTED, {"document": request, "last_day": last_day, "signer": "vendor", "serial": "01"}),
    ]
    with Store(url) as store:
        for number, (kind, body) in enumerate(bodies, start=1):
            store.append("tokyo-1", kind, body, stamp=stamp, expected_seq=number)


def test_observe_a_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One look: what it serves, whence that is known; exit 0 where everything could be learned."""
    with_files_node(tmp_path, PUSH.pem)
    code, out, _ = call(capsys, "node", "observe", "here")
    assert code == 0
    assert [PUSH.serial in out, "42 days left" in out, "file" in out] == [True] * 3
    _, out, _ = call(capsys, "node", "observe", "--json")
    validate("node-observe", json.loads(out))


def test_observe_a_node_without_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What could not be learned is told with a hint; exit 4."""
    with_files_node(tmp_path, PUSH.pem)
    (tmp_path / "push.pem").unlink()
    code, out, err = call(capsys, "node", "observe")
    assert code == 4
    assert "here" in out
    assert "\n  hint: " in err
    code, out, _ = call(capsys, "node", "observe", "--json")
    validate("node-observe", json.loads(out))
    assert code == 4


def test_a_password_that_cannot_be_read_is_the_nodes_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One node's missing password does not hide the others."""
    write(tmp_path, right())
    code, _, err = call(capsys, "node", "observe")
    assert code == 4
    assert err.count("hint: ") >= 1


@pytest.mark.parametrize("language", ["en", "ja"])
def test_one_fault_is_told_once(language: str, tmp_path: Path) -> None:
    """A database URL that cannot be read keeps certificates and counts away; a second node's is its own."""
    whole = right()
    nodes = [whole["nodes"][0] | {"name": name, "devices": {"sql": {"file": "dsn"}}} for name in ("n1", "n2")]
    for node in nodes:
        node.pop("password", None)
    write(tmp_path, whole | {"nodes": nodes})
    done = renewctl("--lang", language, "node", "observe", cwd=tmp_path)
    told = [line for line in done.err.splitlines() if "/dsn" in line]
    assert [line[:2] for line in told] == ["n1", "n2"]
    done = renewctl("node", "observe", "--json", cwd=tmp_path)
    validate("node-observe", done.document)
    reasons = [[failure["reason"] for failure in node["failures"]] for node in done.document["nodes"]]
    assert [each.count("secret_unreadable") for each in reasons] == [1, 1]


class _NanoMDM(http.server.BaseHTTPRequestHandler):
    """A server that answers everything with its version and a password wanted."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def denying() -> Iterator[str]:
    """A node that takes no password."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NanoMDM) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_wrong_password(tmp_path: Path, denying: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told as such, without the password; exit 4."""
    (tmp_path / "pw").write_text("hunter2")
    (tmp_path / "pw").chmod(0o600)
    whole = right()
    whole["nodes"] = [whole["nodes"][0] | {"url": denying}]
    write(tmp_path, whole)
    code, out, err = call(capsys, "node", "observe")
    assert code == 4
    assert "hint: " in err
    assert "hunter2" not in out + err


class TestInspect:
    """What `inspect` says of files."""

    def test_a_certificate_of_ours(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Topic by name, validity in words, and whether its key is the open renewal's."""
        with_files_node(tmp_path, PUSH.pem)
        fingerprint = _key_fingerprint()
        _store_with_a_renewal(tmp_path, fingerprint)
        code, out, _ = call(capsys, "inspect", tmp_path / "push.pem")
        assert code == 0
        assert "this is the topic 東京の学校 (tokyo) of the inventory" in out
        assert "42 days left" in out
        assert "this is the key of the open renewal tokyo-1" in out
        _, out, _ = call(capsys, "inspect", "--json", tmp_path / "push.pem")
        document = json.loads(out)
        validate("inspect", document)
        assert document["certificates"][0]["renewal"] == "tokyo-1"

    def test_a_certificate_of_another_topic(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Valid, and useless: the devices were enrolled with another topic."""
        with_files_node(tmp_path, PUSH.pem)
        (tmp_path / "other.pem").write_bytes(apple_like().push(OTHER_TOPIC).pem)
        code, out, _ = call(capsys, "inspect", tmp_path / "other.pem")
        assert code == 0
        assert "the inventory has no such topic" in out

    def test_without_an_inventory(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file can be looked at anywhere; a certificate that is no push certificate is called so."""
        (tmp_path / "ca.pem").write_bytes(apple_like().wwdr.pem)
        code, out, _ = call(capsys, "inspect", tmp_path / "ca.pem")
        assert code == 0
        assert "not a push certificate" in out

    def test_a_private_key(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Named as what it is, never shown."""
        (tmp_path / "k.pem").write_bytes(PUSH.key_pem)
        code, out, _ = call(capsys, "inspect", tmp_path / "k.pem")
        assert code == 0
        assert f"holds a private key: {_key_fingerprint()}" in out
        assert "BEGIN" not in out
        _, out, _ = call(capsys, "inspect", "--json", tmp_path / "k.pem")
        validate("inspect", json.loads(out))

    def test_a_csr(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Its key is compared with the open renewal's."""
        from renewctl.certificate.request import make_csr  # noqa: PLC0415

        with_files_node(tmp_path, PUSH.pem)
        _store_with_a_renewal(tmp_path, _key_fingerprint())
        (tmp_path / "r.csr").write_bytes(make_csr(PUSH.key_pem, common_name="tokyo"))
        _, out, _ = call(capsys, "inspect", tmp_path / "r.csr")
        assert f"key of the CSR: {_key_fingerprint()}" in out
        assert "this is the key of the open renewal tokyo-1" in out
        _, out, _ = call(capsys, "inspect", "--json", tmp_path / "r.csr")
        validate("inspect", json.loads(out))
        assert json.loads(out)["renewals"] == ["tokyo-1"]

    def test_the_open_renewals_request(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The file for the portal, recognised byte for byte, with the last day it is good for."""
        from renewctl.certificate.request import make_csr, sign  # noqa: PLC0415

        apple = apple_like()
        vendor = apple.vendor()
        csr = make_csr(PUSH.key_pem, common_name="tokyo")
        request = sign(csr, vendor.pem, [apple.wwdr.pem, apple.root.pem], vendor.key_pem)
        (tmp_path / "tokyo-1.plist").write_bytes(request)
        with_files_node(tmp_path, PUSH.pem)
        _store_with_a_renewal(tmp_path, request=hashlib.sha256(request).hexdigest())
        code, out, _ = call(capsys, "inspect", "tokyo-1.plist")
        assert code == 0
        assert "this is the request of the open renewal tokyo-1" in out
        assert "2026-12-31 (Thu) 09:00 JST" in out

    def test_a_saved_web_page(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Recognised by its title."""
        page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"
        (tmp_path / "MDM_.pem").write_text(page)
        code, out, _ = call(capsys, "inspect", tmp_path / "MDM_.pem")
        assert code == 0
        assert "Sign in" in out

    def test_a_store_that_cannot_be_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The file is still explained; that renewals were not compared is said."""
        with_files_node(tmp_path, PUSH.pem)
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "renewctl.db").write_text("no database, but long enough to be looked at")
        code, out, err = call(capsys, "inspect", tmp_path / "push.pem")
        assert (code, "42 days left" in out) == (0, True)
        assert "open renewals were not compared" in err


def _key_fingerprint() -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    public = rsa_key("push").public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def test_the_real_clock(tmp_path: Path) -> None:
    """A child process, with the machine's own clock: the days left are counted from now."""
    days = (PUSH.certificate.not_valid_after_utc - datetime.now(UTC)) // timedelta(days=1)
    with_files_node(tmp_path, PUSH.pem)
    done = renewctl("status", "--json", cwd=tmp_path)
    validate("status", done.document)
    assert done.document["topics"][0]["days_left"] == days


def test_no_nodes_and_nodes_that_cannot_even_be_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody to ask gives nothing; a node whose settings cannot be used is a failure of that node."""
    inventory = load(with_files_node(tmp_path, PUSH.pem))
    assert look(inventory, (), NOW) == {}

    def broken(*_: object) -> None:
        raise Unusable(Reason.SECRET_UNREADABLE, where="file:pw", detail="gone")

    monkeypatch.setattr("renewctl.servers.registry.connect", broken)
    (failure,) = look(inventory, inventory.nodes, NOW)["here"].failures
    assert (failure.reason, failure.values["where"]) == (Reason.SECRET_UNREADABLE, "file:pw")


def test_a_store_of_another_kind_ends_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that is there and cannot be read is an error, not "nothing recorded"."""
    with_files_node(tmp_path, PUSH.pem)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "renewctl.db").write_text("no database, but long enough to be looked at")
    code, out, err = call(capsys, "status")
    assert code in {1, 2}
    assert out == ""
    assert err.startswith("error: ")
