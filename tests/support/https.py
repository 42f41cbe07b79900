"""One HTTP request on a connection of its own, plain or TLS, by the standard library alone."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path

from tests.support.exporter_process import Answer


def client(ca: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """What a careful client brings along; `certificate` names `X.pem`, its key stands in `X.key`."""
    context = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def ask(
    port: int,
    path: str = "/",
    *,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    seconds: float = 240,
    source: str = "127.0.0.1",
) -> Answer:
    """Ask once, from this address."""
    host, whence = "127.0.0.1", (source, 0)
    if tls is None:
        connection = http.client.HTTPConnection(host, port, timeout=seconds, source_address=whence)
    else:
        connection = http.client.HTTPSConnection(
            host, port, timeout=seconds, context=tls, source_address=whence
        )
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )
    finally:
        connection.close()


def basic(user: str, password: str) -> dict[str, str]:
    """The header of user and password."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
