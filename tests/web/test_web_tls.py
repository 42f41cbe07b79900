"""TLS as the web config says: certificates that change, clients that must show one, versions, ciphers."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from renewctl.web.tls import may_stay
from tests.support.https import ask, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import WebServer, web_server, write_config

pytestmark = pytest.mark.slow  # processes: `make test`

PAIR = {"cert_file": "server.pem", "key_file": "server.key"}
MUTUAL = {**PAIR, "client_ca_file": "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Vouches for server and clients."""
    return Authority()


@pytest.fixture
def place(authority: Authority, tmp_path: Path) -> Path:
    """A server's pair, two clients' and a stranger's."""
    write_pair(tmp_path, authority.server())
    names = [x509.DNSName("prometheus.example"), x509.IPAddress(ipaddress.ip_address("2001:db8::1"))]
    write_pair(tmp_path, authority.issue("known", names), "known")
    write_pair(tmp_path, authority.issue("nameless"), "nameless")
    write_pair(tmp_path, Authority("another").issue("stranger", names), "stranger")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return tmp_path


@pytest.fixture
def serving(place: Path) -> Iterator[WebServer]:
    """A server with TLS, nothing asked of clients."""
    with web_server(write_config(place, {"tls_server_config": PAIR})) as running:
        yield running


def greeted(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection after its handshake."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=120)
    try:
        return context.wrap_socket(raw, server_hostname="localhost")
    except OSError:
        raw.close()
        raise


def serial(port: int, ca: Path) -> str:
    """Of the certificate the server shows a new connection."""
    context = client(ca)
    with greeted(port, context) as tls:
        found = tls.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def let_in(port: int, place: Path, name: str | None) -> bool:
    """Whether a client with this certificate is answered."""
    tls = client(place / "ca.pem", None if name is None else place / f"{name}.pem")
    try:
        return ask(port, tls=tls).status == 200
    except (OSError, ssl.SSLError):
        return False


def test_a_renewed_certificate_is_shown_to_the_next_connection(
    authority: Authority, place: Path, serving: WebServer
) -> None:
    """Without a restart, without a signal; a half-written pair leaves the one before, and is told once."""
    first = serial(serving.port, place / "ca.pem")
    new = authority.server()
    (place / "server.pem").write_bytes(new[0])  # its key is still to come
    assert serial(serving.port, place / "ca.pem") == first
    serial(serving.port, place / "ca.pem")
    assert serving.log.read_text().count("stays in use") == 1
    write_pair(place, new)
    second = serial(serving.port, place / "ca.pem")
    assert second != first
    assert "web config read again" in serving.log.read_text()
    assert "PRIVATE KEY" not in serving.log.read_text()


def test_tls_can_be_turned_on_and_off_while_it_runs(place: Path, serving: WebServer) -> None:
    """As the file says for the next connection; a broken file changes nothing."""
    write_config(place, {"tls_server_config": PAIR, "unknown": 1})
    assert let_in(serving.port, place, None)
    write_config(place, {})
    assert ask(serving.port).status == 200
    write_config(place, {"tls_server_config": PAIR})
    assert let_in(serving.port, place, None)


@pytest.mark.parametrize(
    ("tls", "who"),
    [
        (PAIR, {None, "known", "nameless", "stranger"}),
        (MUTUAL, {"known", "nameless"}),
        ({**MUTUAL, "client_auth_type": "VerifyClientCertIfGiven"}, {None, "known", "nameless"}),
        ({**MUTUAL, "client_allowed_sans": ["prometheus.example"]}, {"known"}),
        ({**MUTUAL, "client_allowed_sans": ["other", "2001:db8::1"]}, {"known"}),
        ({**MUTUAL, "client_allowed_sans": ["example", "*.example"]}, set()),
    ],
    ids=["nobody asked", "required", "if given", "by DNS name", "by address", "by no other's name"],
)
def test_who_is_let_in(tls: dict[str, object], who: set[str | None], place: Path) -> None:
    """A client certificate is verified, always; names are compared exactly."""
    with web_server(write_config(place, {"tls_server_config": tls})) as running:
        seen = {name for name in (None, "known", "nameless", "stranger") if let_in(running.port, place, name)}
        assert seen == who
        assert "Traceback" not in running.log.read_text()


def test_another_client_ca_counts_from_the_next_connection_on(place: Path) -> None:
    """Whoever the new CA does not vouch for is out; a context that only ever gains CAs would let it in."""
    with web_server(write_config(place, {"tls_server_config": MUTUAL})) as running:
        assert let_in(running.port, place, "known")
        (place / "another.pem").write_bytes(Authority("third").pem)
        write_config(place, {"tls_server_config": {**MUTUAL, "client_ca_file": "another.pem"}})
        assert not let_in(running.port, place, "known")


def test_an_open_connection_is_answered_once_more_and_closed_when_another_ca_holds(place: Path) -> None:
    """Scrapers keep theirs for years; a web config that is broken meanwhile closes none."""
    with web_server(write_config(place, {"tls_server_config": MUTUAL})) as running:
        context = client(place / "ca.pem", place / "known.pem")
        kept = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=120, context=context)

        def closed_after() -> bool:
            kept.request("GET", "/")
            answer = kept.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello")
            return answer.getheader("Connection") == "close"

        assert [closed_after(), closed_after()] == [False, False]
        write_config(place, {"tls_server_config": {**MUTUAL, "client_ca_file": "absent.pem"}})
        assert not closed_after()
        (place / "another.pem").write_bytes(Authority("third").pem)
        write_config(place, {"tls_server_config": {**MUTUAL, "client_ca_file": "another.pem"}})
        assert closed_after()
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            closed_after()  # over a new connection, which http.client makes by itself
        kept.close()


def agreed(port: int, place: Path, version: ssl.TLSVersion) -> tuple[str, str] | None:
    """Version and cipher of a connection of at most this version."""
    context = client(place / "ca.pem")
    context.maximum_version = version
    try:
        with greeted(port, context) as tls:
            cipher = tls.cipher()
            assert cipher is not None
            return str(tls.version()), cipher[0]
    except (OSError, ssl.SSLError):
        return None


def test_versions_and_ciphers_are_the_ones_said(place: Path) -> None:
    """TLS 1.2 with the one cipher; TLS 1.3 alone where the file says so, or names only its ciphers."""
    cipher = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    with web_server(write_config(place, {"tls_server_config": PAIR})) as running:
        for more, expected in [
            ({"cipher_suites": [cipher]}, ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")),
            ({"min_version": "TLS13"}, None),
            ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, None),
            ({"prefer_server_cipher_suites": False, "cipher_suites": [cipher]}, ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")),
        ]:  # fmt: skip
            write_config(place, {"tls_server_config": {**PAIR, **more}})
            assert agreed(running.port, place, old) == expected
            modern = agreed(running.port, place, new)
            assert modern is not None
            assert modern[0] == "TLSv1.3"
        write_config(place, {"tls_server_config": {**PAIR, "max_version": "TLS12"}})
        capped = agreed(running.port, place, new)
        assert capped is not None
        assert capped[0] == "TLSv1.2"


def test_half_open_handshakes_are_ended(place: Path) -> None:
    """Whoever connects and says nothing, or stops in the middle, is gone after the deadline."""
    config = write_config(place, {"tls_server_config": PAIR})
    with web_server(config, HANDSHAKE_SECONDS=5) as running:
        began = time.monotonic()
        silent, stopped = running.connect(), running.connect()
        with silent, stopped:
            stopped.send(b"\x16\x03\x01\x02\x00\x01")  # a ClientHello's beginning
            for one in (silent, stopped):
                with contextlib.suppress(ConnectionResetError):
                    assert one.recv(100) == b""
            assert 0.3 < time.monotonic() - began < 60
            assert let_in(running.port, place, None)


def test_names_are_compared_as_they_are() -> None:
    """DNS, e-mail, URI, and addresses however OpenSSL spells them; no certificate has none."""
    names = (
        ("DNS", "a.example"),
        ("email", "x@a.example"),
        ("URI", "spiffe://a/b"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1"),
    )
    for allowed in ("a.example", "x@a.example", "spiffe://a/b", "2001:db8::1"):
        assert may_stay({"subjectAltName": names}, [allowed])
    for other in ("A.example", "b.a.example", "2001:DB8:0:0:0:0:0:1"):
        assert not may_stay({"subjectAltName": names}, [other])
    assert not may_stay({}, ["a.example"])
    assert not may_stay(None, ["a.example"])
    assert may_stay(None, [])
