"""Dates of what else expires: read from files and servers as they are, and nothing but the date comes out."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from renewctl.errors import NodeFault
from renewctl.inventory.reading import Expiring, ExpiryKind
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers import tls_peer
from renewctl.servers.expiring import expiry_of, token_dates
from tests.support.certs import Issued, apple_like, issue, rsa_key

BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
ENDS = datetime(2027, 3, 1, 12, tzinfo=UTC)
PAST = datetime(2021, 3, 1, tzinfo=UTC)

DEP = {
    "consumer_key": "CK_secret1",
    "consumer_secret": "CS_secret2",
    "access_token": "AT_secret3",
    "access_secret": "AS_secret4",
    "access_token_expiry": "2027-03-01T12:00:00Z",
}


def certificate(ends: datetime = ENDS, name: str = "mdm.example") -> Issued:
    """A certificate of anything."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return issue(subject, rsa_key("else"), issuer=None, not_before=BEGAN, not_after=ends)


def vpp(date: str = "2027-03-01T21:00:00+0900") -> bytes:
    """A content token as Apple Business Manager gives it."""
    return base64.b64encode(json.dumps({"token": "secret5", "expDate": date, "orgName": "Acme"}).encode())


CONTENT: dict[str, tuple[ExpiryKind, Callable[[], bytes], datetime]] = {
    "vendor": (ExpiryKind.VENDOR_CERTIFICATE, lambda: apple_like().vendor(not_after=ENDS).pem, ENDS),
    "DER": (ExpiryKind.WWDR_INTERMEDIATE, lambda: certificate().der, ENDS),
    "expired": (ExpiryKind.TLS_CERTIFICATE, lambda: certificate(PAST).pem, PAST),
    "chain": (ExpiryKind.TLS_CERTIFICATE, lambda: certificate().pem + certificate(PAST, "ca").pem, PAST),
    "SCEP": (
        ExpiryKind.SCEP_CA,
        lambda: pkcs7.serialize_certificates([certificate().certificate], Encoding.DER),
        ENDS,
    ),
    "NanoDEP": (ExpiryKind.ADE_TOKEN, lambda: json.dumps(DEP).encode(), ENDS),
    "MicroMDM": (ExpiryKind.ADE_TOKEN, lambda: json.dumps({"dep_tokens": [DEP]}).encode(), ENDS),
    "Fleet": (
        ExpiryKind.ADE_TOKEN,
        lambda: b'{"abm_tokens": [{"id": 1, "renew_date": "2028-01-01T00:00:00Z"}, {"renew_date": "2027-03-01T12:00:00Z"}]}',
        ENDS,
    ),
    "VPP": (ExpiryKind.VPP_TOKEN, vpp, ENDS),
    "VPP in lines": (ExpiryKind.VPP_TOKEN, lambda: b"\r\n".join((vpp()[:40], vpp()[40:])), ENDS),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENT)
def test_a_date_from_a_file(tmp_path: Path, kind: str) -> None:
    """As people have it; of several the earliest; what has expired has a date too."""
    what, content, ends = CONTENT[kind]
    (tmp_path / "it").write_bytes(content())
    assert expiry_of(Expiring(what, "it", file=tmp_path / "it")) == ends


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        (ExpiryKind.ADE_TOKEN, None, Reason.FILE_NOT_FOUND),
        (ExpiryKind.ADE_TOKEN, b"", Reason.FILE_EMPTY),
        (ExpiryKind.ADE_TOKEN, b"Content-Type: application/pkcs7-mime;\n\nAAAA", Reason.FILE_IS_ENCRYPTED_MESSAGE),
        (ExpiryKind.ADE_TOKEN, b'{"consumer_key": "CK_secret1"}', Reason.FILE_NOT_RECOGNISED),
        (ExpiryKind.ADE_TOKEN, b'{"access_token_expiry": "soon, secret"}', Reason.FILE_NOT_RECOGNISED),
        (ExpiryKind.VPP_TOKEN, b"[" * 5000, Reason.FILE_NOT_RECOGNISED),
        (ExpiryKind.VPP_TOKEN, bytes(2_000_000), Reason.FILE_TOO_LARGE),
        (ExpiryKind.TLS_CERTIFICATE, b"nonsense", Reason.FILE_NOT_RECOGNISED),
    ],
    ids=["missing", "empty", "p7m", "no date", "bad date", "deep", "large", "nonsense"],
)  # fmt: skip
def test_a_file_without_a_date_has_a_reason(
    tmp_path: Path, kind: ExpiryKind, content: bytes | None, reason: Reason
) -> None:
    """And none of its content is told."""
    if content is not None:
        (tmp_path / "it").write_bytes(content)
    with pytest.raises(NodeFault) as caught:
        expiry_of(Expiring(kind, "it", file=tmp_path / "it"))
    assert caught.value.reason is reason
    assert "secret" not in f"{caught.value!r} {caught.value.values}"


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_token_is_dates_or_a_value_error(content: bytes) -> None:
    """Never another exception."""
    with suppress(ValueError, RecursionError):
        assert token_dates(content) == []


@contextmanager
def server(
    answer: Callable[[str, str | None], tuple[int, bytes]],
) -> Iterator[str]:
    """An HTTP server: path and Authorization in, status and body out."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_a_scep_servers_ca_is_asked_for_as_the_protocol_says() -> None:
    """GetCACert, without any credential; a query of one's own is left as it is."""
    asked: list[tuple[str, str | None]] = []

    def answer(path: str, authorization: str | None) -> tuple[int, bytes]:
        asked.append((path, authorization))
        return 200, certificate().der

    with server(answer) as url:
        one = Expiring(ExpiryKind.SCEP_CA, "scep", url=f"{url}/scep")
        assert expiry_of(one) == ENDS
        assert expiry_of(replace(one, url=f"{url}/scep?operation=GetCACert&message=ca")) == ENDS
    assert asked == [("/scep?operation=GetCACert", None), ("/scep?operation=GetCACert&message=ca", None)]


@pytest.mark.parametrize(
    ("user", "header"),
    [("depserver", "Basic " + base64.b64encode(b"depserver:hunter2").decode()), ("", "Bearer hunter2")],
)
def test_a_token_server_is_asked_with_its_credential(tmp_path: Path, user: str, header: str) -> None:
    """NanoDEP takes Basic, Fleet a Bearer token; a refusal tells its status alone."""
    (tmp_path / "pw").write_text("hunter2")

    def answer(path: str, authorization: str | None) -> tuple[int, bytes]:
        assert path == "/v1/tokens/lab"
        return (200, json.dumps(DEP).encode()) if authorization == header else (401, b"secret words")

    with server(answer) as url:
        one = Expiring(
            ExpiryKind.ADE_TOKEN, "dep", url=f"{url}/v1/tokens/lab", user=user,
            password=SecretRef(Kind.FILE, (str(tmp_path / "pw"),)),
        )  # fmt: skip
        assert expiry_of(one) == ENDS
        with pytest.raises(NodeFault) as caught:
            expiry_of(replace(one, password=None))
    assert caught.value.reason is Reason.NODE_DENIED
    assert "secret" not in f"{caught.value!r} {caught.value.values}"


def test_an_answer_without_a_date_is_unreadable() -> None:
    """200 with something else."""
    with (
        server(lambda _path, _authorization: (200, b'{"secret": 1}')) as url,
        pytest.raises(NodeFault) as caught,
    ):
        expiry_of(Expiring(ExpiryKind.VPP_TOKEN, "vpp", url=url))
    assert caught.value.reason is Reason.NODE_ANSWER_UNREADABLE
    assert "secret" not in f"{caught.value!r} {caught.value.values}"


@contextmanager
def tls(folder: Path, ends: datetime) -> Iterator[str]:
    """A TLS server with a self-signed certificate."""
    made = certificate(ends, "localhost")
    (folder / "c.pem").write_bytes(made.pem + made.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c.pem")

    def greet() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as greeted:
                        assert greeted.recv(1) == b""  # nothing is asked
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/mdm"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("ends", [ENDS, PAST])
def test_a_tls_certificate_is_seen_in_the_handshake(tmp_path: Path, ends: datetime) -> None:
    """Expired or not, whoever issued it."""
    with tls(tmp_path, ends) as url:
        assert expiry_of(Expiring(ExpiryKind.TLS_CERTIFICATE, "mdm", url=url)) == ends


def test_who_does_not_greet_holds_nobody_up() -> None:
    """Silence, something else than TLS, nobody there, no such name: a reason each, in time."""
    began = datetime.now(UTC)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NodeFault) as hung:
        tls_peer.certificate_of("x", f"https://127.0.0.1:{silent.getsockname()[1]}", deadline_seconds=0.3)
    with server(lambda _path, _authorization: (200, b"")) as url, pytest.raises(NodeFault) as plain:
        tls_peer.certificate_of("x", url.replace("http", "https"))
    with pytest.raises(NodeFault) as nobody:
        tls_peer.certificate_of("x", "https://127.0.0.1:1")
    with pytest.raises(NodeFault) as nameless:
        tls_peer.certificate_of("x", f"https://{'x' * 70}.invalid")
    reasons = [caught.value.reason for caught in (hung, plain, nobody, nameless)]
    unreachable = Reason.NODE_UNREACHABLE
    assert reasons == [Reason.NODE_TIMEOUT, Reason.NODE_TLS_FAILED, unreachable, unreachable]
    assert datetime.now(UTC) - began < timedelta(seconds=60)
