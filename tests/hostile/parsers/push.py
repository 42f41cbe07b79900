"""What Apple's push service answers, and what an HTTP/2 connection to it may bring."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.x509.oid import NameOID

from renewctl import apns
from renewctl.certificate.pushcert import Pair, PushCertificate
from tests.hostile.parser import Made, Parser
from tests.support.certs import apple_like, issue, rsa_key

_SETTINGS = bytes.fromhex("000000040000000000")
_HEADERS = bytes.fromhex("000001010400000001") + b"\x88"  # :status 200, END_HEADERS
_BODY = b'{"reason":"BadDeviceToken"}'
_DATA = len(_BODY).to_bytes(3, "big") + bytes.fromhex("000100000001") + _BODY
_GOAWAY = bytes.fromhex("000008070000000000" + "00000000" + "00000001")


def _answer() -> Made:
    def take(data: bytes) -> None:
        for status in (200, 400, 403, 410, 500):
            apns._answered(status, data[: apns.MAX_ANSWER_BYTES])

    return Made(take, [_BODY, b"", b'{"reason":"Unregistered","timestamp":1764374400000}'])


def _connection() -> Made:
    """Raw frames after a TLS handshake that is well."""
    folder = Path(mkdtemp())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    served = issue(
        name,
        rsa_key("web"),
        issuer=None,
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=1),
        extensions=[(alternative, False), (x509.BasicConstraints(ca=True, path_length=None), True)],
    )
    (folder / "web.pem").write_bytes(served.pem + served.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "web.pem")
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("localhost", 0))
    said = [b""]

    def serve() -> None:
        while True:
            plain, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                connection.settimeout(0.5)
                connection.recv(65_536)
                connection.sendall(said[0])
                while connection.recv(65_536):
                    pass

    threading.Thread(target=serve, daemon=True).start()
    push = apple_like().push()
    pair = Pair(PushCertificate.from_der(push.der), push.key_pem)
    url = f"https://localhost:{listener.getsockname()[1]}"
    service = apns.PushService(url, folder / "web.pem", deadline_seconds=0.1)

    def take(data: bytes) -> None:
        said[0] = data
        service.check(pair)

    return Made(take, [_SETTINGS + _HEADERS + _DATA, _SETTINGS + _GOAWAY])


PARSERS = [
    Parser("push.answer", _answer, ["renewctl.apns", "renewctl.pushanswer"]),
    Parser("push.connection", _connection, ["renewctl.apns"], examples=0.2, seconds=2.0),
]
