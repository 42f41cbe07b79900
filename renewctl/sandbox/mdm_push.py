"""The MDM server's push client: HTTP/2, the pair as client certificate, errors in Go's words."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from renewctl.sandbox.mdm_pair import StoredPair
from renewctl.sandbox.mdm_storage import PushInfo

_ALERTS = {
    "CERTIFICATE_EXPIRED": "expired certificate",
    "UNKNOWN_CA": "unknown certificate authority",
    "BAD_CERTIFICATE": "bad certificate",
    "CERTIFICATE_REVOKED": "revoked certificate",
    "DECRYPT_ERROR": "error decrypting message",
    "HANDSHAKE_FAILURE": "handshake failure",
}
"""OpenSSL's names of TLS alerts, and Go's."""

_ALERT = re.compile(r"ALERT_([A-Z_]+)|(CERTIFICATE_[A-Z]+)")


@dataclass(frozen=True)
class PushOutcome:
    """An answer as the API shows it; a failure may carry an apns-id all the same."""

    apns_id: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, str]:
        """The object under an enrollment's id."""
        shown = {"push_error": self.error, "push_result": self.apns_id}
        return {name: value for name, value in shown.items() if value}


class PushClient:
    """Keeps one connection for each pair seen; no time limit, as NanoMDM has none."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self._url = url.rstrip("/")
        self._ca_file = ca_file
        self._clients: dict[str, httpx.Client] = {}

    def push(self, pair: StoredPair, info: PushInfo) -> PushOutcome:
        """Push to one device."""
        try:
            response = self._client(pair).post(
                f"{self._url}/3/device/{info.token}", content=json.dumps({"mdm": info.magic}).encode()
            )
        except httpx.TransportError as error:
            self._forget(pair)
            return PushOutcome(
                error=f'Post "https://api.push.apple.com/3/device/{info.token}": {_go_words(error)}'
            )
        apns_id = response.headers.get("apns-id")
        if response.status_code == httpx.codes.OK:
            return PushOutcome(apns_id)
        facts = response.json()
        stamp = f": timestamp {facts['timestamp']}" if "timestamp" in facts else ""
        status = f"push HTTP status: {response.status_code}: APNs push error: {facts['reason']}{stamp}"
        return PushOutcome(apns_id, status)

    def _client(self, pair: StoredPair) -> httpx.Client:
        name = _name(pair)
        if name not in self._clients:
            self._clients[name] = httpx.Client(
                http2=True, verify=self._context(pair), timeout=httpx.Timeout(None), trust_env=False
            )
        return self._clients[name]

    def _forget(self, pair: StoredPair) -> None:
        self._clients.pop(_name(pair)).close()

    def _context(self, pair: StoredPair) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca_file)
        with tempfile.NamedTemporaryFile(suffix=".pem") as both:  # ssl loads from files alone
            both.write(pair.certificate_pem + pair.key_pem)
            both.flush()
            context.load_cert_chain(both.name)
        return context


def _name(pair: StoredPair) -> str:
    return hashlib.sha256(pair.certificate_pem + pair.key_pem).hexdigest()


def _go_words(error: BaseException) -> str:
    for cause in _causes(error):
        match = _ALERT.search(str(cause))
        if match:
            name = match.group(1) or match.group(2)
            return f"remote error: tls: {_ALERTS.get(name, name.lower().replace('_', ' '))}"
    return "unexpected EOF" if isinstance(error, httpx.RemoteProtocolError) else str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
