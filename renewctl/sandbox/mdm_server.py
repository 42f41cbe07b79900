"""A NanoMDM v0.9.0 look-alike: its API and its MDM endpoint, as observed on the running server.

API with basic authentication `nanomdm:<key>`: `/v1/pushcert` (stores on any method that has a body) and
`/v1/push/<id>[,<id>…]`. `/version` needs none. Devices speak to `PUT /mdm`. Of our own: `/sandbox/faults`,
GET and PUT. Each request leaves a JSON line (time, method, path, status): the proof of what did, and did not,
reach a node.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import hmac
import json
import plistlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import pkcs7
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from renewctl.sandbox.courier import set_switches
from renewctl.sandbox.mdm_pair import BadPair, StoredPair, parse
from renewctl.sandbox.mdm_push import PushClient, PushOutcome
from renewctl.sandbox.mdm_storage import PushInfo, Storage
from renewctl.sandbox.serving import JsonLines, serve

_FAULTS_PATH = "/sandbox/faults"
_NO_PUSH_DATA = "push data missing for id"
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]


@dataclass
class NodeFaults:
    """Switches that make a server misbehave.

    Attributes:
        down: every connection is dropped without an answer (except to this switch).
        error_after_storing: the pair is stored, the answer is 500.
        keeps_old_pair: the answer is 200, nothing is stored.
        pushes_old_pair: stored and answered 200, but pushes go on with the pair from before.
        slow_seconds: every API call waits so long first.
        lies_about_topic: what PUT answers as the topic.
    """

    down: bool = False
    error_after_storing: bool = False
    keeps_old_pair: bool = False
    pushes_old_pair: bool = False
    slow_seconds: float = 0.0
    lies_about_topic: str | None = None


class NoPair(Exception):
    """The server has no pair for an enrollment's topic; its words."""


class Tabbed(JSONResponse):
    """JSON indented with tabs, as the server writes it."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - starlette's signature
        """The bytes."""
        return (json.dumps(content, indent="\t", sort_keys=True) + "\n").encode()


class MdmServer:
    """One node."""

    def __init__(
        self, storage: Storage, push_client: PushClient, api_key: str, device_issuer: x509.Certificate
    ) -> None:
        self.faults = NodeFaults()
        self._storage = storage
        self._push_client = push_client
        self._credentials = b"Basic " + base64.b64encode(f"nanomdm:{api_key}".encode())
        self._device_issuer = device_issuer
        self._stale: dict[str, StoredPair] = {}

    def application(self, log: JsonLines) -> ASGIApp:
        """The HTTP application, logging each request."""
        return Starlette(
            routes=[
                Route("/version", self._version),
                Route("/v1/pushcert", self._pushcert, methods=_METHODS),
                Route("/v1/push/{ids:path}", self._push, methods=_METHODS),
                Route("/mdm", self._device, methods=["PUT"]),
                Route(_FAULTS_PATH, self._switch, methods=["GET", "PUT"]),
            ],
            middleware=[Middleware(RequestLog, log=log)],
        )

    async def _version(self, _request: Request) -> Response:
        return Tabbed({"version": "v0.9.0"})

    async def _switch(self, request: Request) -> Response:
        if request.method == "PUT":
            set_switches(self.faults, await request.json())
        return Tabbed(dataclasses.asdict(self.faults))

    async def _refusal(self, request: Request) -> Response | None:
        """Wait if told to; then 401 unless the password is right."""
        await asyncio.sleep(self.faults.slow_seconds)
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, self._credentials):
            return None
        return PlainTextResponse("Unauthorized\n", 401, headers={"WWW-Authenticate": 'Basic realm="nanomdm"'})

    async def _pushcert(self, request: Request) -> Response:
        refusal = await self._refusal(request)
        if refusal:
            return refusal
        try:
            pair = parse(await request.body())
        except BadPair as error:
            return Tabbed({"error": str(error)}, 400)
        if not self.faults.keeps_old_pair:
            self._store(pair)
        if self.faults.error_after_storing:
            return Tabbed({"error": "sandbox: stored, and then something broke"}, 500)
        ends = pair.certificate.not_valid_after_utc
        return Tabbed(
            {"not_after": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "topic": self.faults.lies_about_topic or pair.topic}
        )

    def _store(self, pair: StoredPair) -> None:
        before = self._storage.pair(pair.topic)
        self._stale.clear()
        if self.faults.pushes_old_pair and before:
            self._stale[pair.topic] = before
        self._storage.put_pair(pair)

    async def _push(self, request: Request) -> Response:
        refusal = await self._refusal(request)
        if refusal:
            return refusal
        ids = [one for one in str(request.path_params["ids"]).split(",") if one]
        if not ids:
            return Tabbed({"push_error": "getting enrollment ids: empty path"}, 500)
        try:
            outcomes = {one: await self._push_to(one) for one in ids}
        except NoPair as error:  # then the server tells of no enrollment but those without push data
            unknown = [one for one in ids if not self._storage.push_info(one)]
            told = {one: {"push_error": _NO_PUSH_DATA} for one in unknown}
            return Tabbed(({"status": told} if told else {}) | {"push_error": str(error)}, 500)
        failed = sum(1 for outcome in outcomes.values() if outcome.error)
        status = 200 if not failed else 500 if failed == len(outcomes) else 207
        return Tabbed({"status": {one: outcome.as_json() for one, outcome in outcomes.items()}}, status)

    async def _push_to(self, enrollment: str) -> PushOutcome:
        info = self._storage.push_info(enrollment)
        if info is None:
            return PushOutcome(error=_NO_PUSH_DATA)
        pair = self._stale.get(info.topic) or self._storage.pair(info.topic)
        if pair is None:
            raise NoPair(f'retrieving push cert for topic "{info.topic}": sql: no rows in result set')
        return await run_in_threadpool(self._push_client.push, pair, info)

    async def _device(self, request: Request) -> Response:
        if not self._knows_identity(request.headers.get("mdm-signature")):
            return PlainTextResponse("Bad Request\n", 400)
        body = await request.body()
        message = plistlib.loads(body)
        udid = str(message["UDID"])
        match message.get("MessageType"):
            case "Authenticate":
                self._storage.authenticate(udid, str(message.get("SerialNumber", "")), body.decode())
            case "TokenUpdate":
                info = PushInfo(str(message["Topic"]), str(message["PushMagic"]), message["Token"].hex())
                self._storage.token_update(udid, info, body.decode())
            case "CheckOut":
                self._storage.check_out(udid)
            case _:
                if not self._storage.seen(udid):
                    return PlainTextResponse("Internal Server Error\n", 500)
        return Response()  # nothing is queued in this world: an empty answer ends the session

    def _knows_identity(self, signature: str | None) -> bool:
        """Whether a certificate in the Mdm-Signature was issued by the devices' authority.

        Signed content is not checked again: that needs a CMS parser, and real servers do it in the stories.
        """
        try:
            certificates = pkcs7.load_der_pkcs7_certificates(base64.b64decode(signature or "", validate=True))
            certificates[0].verify_directly_issued_by(self._device_issuer)
        except (ValueError, TypeError, IndexError, InvalidSignature):
            return False
        return True


class RequestLog:
    """One JSON line for each request that reached the server."""

    def __init__(self, app: ASGIApp, log: JsonLines) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching for the status."""
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if scope["path"] != _FAULTS_PATH:
                self._log.write(method=scope["method"], path=scope["path"], status=status)


def droppable(server: MdmServer) -> type[HttpToolsProtocol]:
    """An HTTP protocol that hangs up while the server is switched down."""

    class Droppable(HttpToolsProtocol):
        """Looks at the first line of what arrives."""

        _switching = False  # a switch is being set; its body may arrive after its head

        def data_received(self, data: bytes) -> None:
            """Hang up, or go on as usual."""
            self._switching = self._switching or _FAULTS_PATH.encode() in data.split(b"\r\n", 1)[0]
            if server.faults.down and not self._switching:
                self.transport.abort()
                return
            super().data_received(data)

    return Droppable


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="A NanoMDM v0.9.0 look-alike, for the sandbox")
    parser.add_argument("--fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--database", type=Path, required=True, help="SQLite file; may be shared")
    parser.add_argument("--push-service", required=True, help="URL")
    parser.add_argument("--push-ca", type=Path, required=True, help="root of the push service's certificate")
    parser.add_argument("--password-file", type=Path, required=True, help="file with the API key")
    parser.add_argument("--device-ca", type=Path, required=True, help="issuer of device identities, PEM")
    parser.add_argument("--log", type=Path, required=True, help="one JSON line a request")
    options = parser.parse_args()
    server = MdmServer(
        Storage(options.database),
        PushClient(options.push_service, options.push_ca),
        options.password_file.read_text().strip(),
        x509.load_pem_x509_certificate(options.device_ca.read_bytes()),
    )
    serve(server.application(JsonLines(options.log)), options.fd, droppable(server))


if __name__ == "__main__":
    main()
