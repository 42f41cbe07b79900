"""Apple's push service: HTTP/2 over TLS with a client certificate, `POST /3/device/<token>`.

One port takes both TLS clients and `CONNECT api.push.apple.com:443` from clients that use it as a proxy: with
`HTTPS_PROXY=http://127.0.0.1:PORT SSL_CERT_FILE=…` a real NanoMDM is led here. A second port (plain
HTTP, `courier`) belongs to devices and to tests. Every push leaves one JSON line: time, the token's first
eight digits, serial and topic of the client certificate, status, reason, whether a device was woken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from renewctl.sandbox.apns_answers import Answer, PushFaults, answer
from renewctl.sandbox.authority import serial_of, topic_of
from renewctl.sandbox.courier import Courier
from renewctl.sandbox.serving import JsonLines, Server, configuration
from renewctl.sandbox.tls import TlsStream, server_context

SERVER_NAMES = ("api.push.apple.com", "localhost", "127.0.0.1")
"""What its TLS certificate must name."""

_PROXIED = (b"api.push.apple.com:443", b"api.push.apple.com:2197")
_DEVICE_PATH = "/3/device/"
_TLS_FIRST_BYTE = b"\x16"
_BODY_LIMIT = 4096  # bytes; Apple's limit for a payload


@dataclass
class _Request:
    """A request while it arrives."""

    headers: dict[str, str]
    body: bytes = b""


class PushService:
    """Listens for pushes and judges them."""

    def __init__(self, context: ssl.SSLContext, courier: Courier, log: JsonLines) -> None:
        self._context = context
        self._courier = courier
        self._log = log

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            first: bytes | None = await reader.read(65_536)
            if first and not first.startswith(_TLS_FIRST_BYTE):
                first = await self._tunnel(first, reader, writer)
            if first is not None:
                stream = TlsStream(reader, writer, self._context)
                await stream.handshake(first)
                if stream.speaks_http2:
                    await _Connection(self, stream).run()
        except ssl.SSLError as refused:
            reason = f"tls: {refused.reason or refused}"
            self._log.write(token=None, serial=None, topic=None, status=0, reason=reason, woken=False)
        except (OSError, ProtocolError, asyncio.CancelledError):
            pass  # the client went away, or spoke nonsense, or we end: nobody awaits this task
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _tunnel(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Answer CONNECT; None if it asks for anybody but Apple's push service."""
        while b"\r\n\r\n" not in head:
            more = await reader.read(65_536)
            if not more:
                return None
            head += more
        line, _, _ = head.partition(b"\r\n")
        method, _, rest = line.partition(b" ")
        if method != b"CONNECT" or rest.split(b" ")[0] not in _PROXIED:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        return b""

    def judge(self, request: _Request, certificate: x509.Certificate) -> Answer | None:
        """Answer one push, waking the device; None: say nothing, ever."""
        faults = self._courier.faults
        path = request.headers.get(":path", "")
        token = path.removeprefix(_DEVICE_PATH)
        serial, topic = serial_of(certificate), topic_of(certificate) or ""
        result = None if faults.hang else self._answer(request, path, token, topic, serial)
        woken = result is not None and result.wake and self._courier.wake(token, _magic(request.body))
        self._log.write(
            token=token[:8],
            serial=serial,
            topic=topic,
            status=result.status if result else None,
            reason=result.reason if result else "hang",
            woken=woken,
        )
        return result

    def _answer(self, request: _Request, path: str, token: str, topic: str, serial: str) -> Answer:
        if request.headers.get(":method") != "POST":
            return Answer(405, "MethodNotAllowed")
        if not path.startswith(_DEVICE_PATH):
            return Answer(404, "BadPath")
        if not request.body:
            return Answer(400, "PayloadEmpty")
        if len(request.body) > _BODY_LIMIT:
            return Answer(413, "PayloadTooLarge")
        return answer(
            token=token,
            topic=topic,
            serial=serial,
            asked_topic=request.headers.get("apns-topic"),
            device=self._courier.find(token),
            faults=self._courier.faults,
        )


class _Connection:
    """HTTP/2 on one TLS connection."""

    def __init__(self, service: PushService, stream: TlsStream) -> None:
        self._service = service
        self._stream = stream
        self._certificate = x509.load_der_x509_certificate(stream.peer_certificate)
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, _Request] = {}

    async def run(self) -> None:
        self._http.initiate_connection()
        await self._stream.write(self._http.data_to_send())
        while data := await self._stream.read():
            for event in self._http.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    return
                self._take(event)
            await self._stream.write(self._http.data_to_send())

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self._requests[event.stream_id] = _Request(headers)
        elif isinstance(event, DataReceived):
            self._requests[event.stream_id].body += event.data
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._reply(event.stream_id, self._requests.pop(event.stream_id))
        elif isinstance(event, StreamReset):
            self._requests.pop(event.stream_id, None)

    def _reply(self, stream: int, request: _Request) -> None:
        result = self._service.judge(request, self._certificate)
        if result is None:
            return
        body = result.body()
        identifier = request.headers.get("apns-id") or str(uuid.uuid4()).upper()
        self._http.send_headers(
            stream, [(":status", str(result.status)), ("apns-id", identifier)], end_stream=body is None
        )
        if body is not None:
            self._http.send_data(stream, json.dumps(body).encode(), end_stream=True)


def _magic(body: bytes) -> str:
    """The PushMagic in a payload `{"mdm": "…"}`; empty for anything else."""
    try:
        return str(json.loads(body)["mdm"])
    except (ValueError, KeyError, TypeError):
        return ""


async def _serve(options: argparse.Namespace) -> None:
    pki: Path = options.pki
    issuers = [pki / "apple-root.pem", pki / "apple-aai2.pem"]
    context = server_context(pki / "push-service.pem", pki / "push-service.key", issuers)
    courier = Courier(PushFaults(), options.log)
    service = PushService(context, courier, JsonLines(options.log))
    listener = socket.socket(fileno=options.fd)
    listener.setblocking(False)
    server = await asyncio.start_server(service.accept, sock=listener)
    admin = Server(configuration(courier.application()))
    try:
        await admin.serve(sockets=[socket.socket(fileno=options.admin_fd)])
    finally:
        server.close()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description="Apple's push service, for the sandbox")
    parser.add_argument("--pki", type=Path, required=True, help="folder with apple-*.pem, push-service.*")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket for pushes")
    parser.add_argument("--admin-fd", type=int, required=True, help="inherited socket for the courier")
    parser.add_argument("--log", type=Path, required=True, help="one JSON line a push")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
