"""A NanoMDM-like node in a few lines, with faults on demand. Shares no code with the product or its sandbox.

Speaks what NanoMDM v0.9.0 speaks (facts/lab.md §3): `GET /version`, `PUT /v1/pushcert`, `GET /v1/push/<id>`;
its store is an SQLite file with the columns of NanoMDM's SQL schema. Every request is logged.
"""

from __future__ import annotations

import base64
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

PASSWORD = "api-password-of-one-test"

_SCHEMA = """
CREATE TABLE push_certs (topic TEXT PRIMARY KEY, cert_pem TEXT NOT NULL, key_pem TEXT NOT NULL);
CREATE TABLE enrollments (id TEXT PRIMARY KEY, user_id TEXT, topic TEXT NOT NULL, enabled INTEGER NOT NULL,
  last_seen_at TEXT NOT NULL, token_hex TEXT NOT NULL, push_magic TEXT NOT NULL);
"""


@dataclass
class Script:
    """What the node does wrong.

    Attributes:
        refuse: serials (hex) the push service is said to refuse.
        asleep: no device ever checks in.
        put_status: answer this status to a PUT; `put_stores` says whether it stores all the same.
        put_hangs: seconds before a PUT is looked at.
        put_stores_late: seconds between the answer to a PUT and the storing.
        put_answers_late: seconds between the storing and the answer.
        on_put: told how far a PUT is: `taken`, `stored`, `answered`.
        pushes_old: pushes go on with the certificate the node had when it started; `used` tells which.
    """

    refuse: set[str] = field(default_factory=set)
    asleep: bool = False
    put_status: int | None = None
    put_stores: bool = True
    put_hangs: float = 0.0
    put_stores_late: float = 0.0
    put_answers_late: float = 0.0
    on_put: Callable[[str], None] = lambda _stage: None
    pushes_old: bool = False


class Node:
    """One running node; several may share a store.

    Attributes:
        requests: method and path of every request, as it came.
        arrivals: when each came, by the monotonic clock.
    """

    def __init__(
        self, store: Path, script: Script | None = None, listener: socket.socket | None = None
    ) -> None:
        self.store = store
        self.script = script or Script()
        self.requests: list[tuple[str, str]] = []
        self.arrivals: list[float] = []
        self.used: list[str | None] = []
        self._first = self.serial()
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                node.answer(self)

            def do_PUT(self) -> None:
                node.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = _server(Handler, listener)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """Base URL."""
        host, port = self.server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def changes(self) -> list[str]:
        """Paths of requests that change something, in order."""
        return [path for method, path in self.requests if method == "PUT"]

    def mapping(self, name: str, folder: Path, **more: object) -> dict[str, object]:
        """The node as an inventory writes it."""
        password = folder / "api-password"
        password.write_text(PASSWORD + "\n")
        return {
            "name": name,
            "product": "nanomdm",
            "url": self.url,
            "password": {"file": str(password)},
            "devices": {"sql": f"sqlite:///{self.store}"},
            **more,
        }

    def serial(self) -> str | None:
        """Serial of the stored certificate, hex."""
        row = ask(self.store, "SELECT cert_pem FROM push_certs")
        return None if not row else serial_of(row[0][0].encode())

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        self.arrivals.append(time.monotonic())
        self.requests.append((request.command, request.path))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.path == "/version":
            return send(request, 200, {"version": "scripted"})
        expected = "Basic " + base64.b64encode(f"nanomdm:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            return send(request, 401, {"error": "Unauthorized"})
        if request.path == "/v1/pushcert" and request.command == "PUT":
            return self._put(request, body)
        if request.path.startswith("/v1/push/"):
            return self._push(request, request.path.rpartition("/")[2])
        return send(request, 400, {"error": "tls: failed to find any PEM data in certificate input"})

    def _put(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        script = self.script
        script.on_put("taken")
        time.sleep(script.put_hangs)
        certificate = x509.load_pem_x509_certificate(body)
        topic = str(certificate.subject.get_attributes_for_oid(NameOID.USER_ID)[0].value)
        split = body.index(b"-----END CERTIFICATE-----") + 26
        if script.put_stores and script.put_stores_late:
            late = (self.store, topic, body[:split], body[split:])
            threading.Timer(script.put_stores_late, install, late).start()
        elif script.put_stores:
            install(self.store, topic, body[:split], body[split:])
            script.on_put("stored")
        time.sleep(script.put_answers_late)
        ends = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        if script.put_status is None:
            send(request, 200, {"topic": topic, "not_after": ends})
        else:
            send(request, script.put_status, {"error": "scripted"})
        script.on_put("answered")

    def _push(self, request: BaseHTTPRequestHandler, enrollment: str) -> None:
        self.used.append(self._first if self.script.pushes_old else self.serial())
        if self.used[-1] in self.script.refuse:
            said = {"push_error": "push HTTP status: 403: APNs push error: BadCertificate"}
            return send(request, 500, {"status": {enrollment: said}})
        if not self.script.asleep:
            check_in(self.store, enrollment)
        return send(request, 200, {"status": {enrollment: {"push_result": "an-apns-id"}}})


def serial_of(pem: bytes) -> str:
    """Serial number, lower-case hex in whole bytes."""
    number = x509.load_pem_x509_certificate(pem).serial_number
    return number.to_bytes((number.bit_length() + 7) // 8, "big").hex()


def send(request: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
    """A JSON answer; a client that went away is none of our business."""
    content = json.dumps(body).encode()
    try:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
    except OSError:
        request.close_connection = True


def new_store(path: Path, topic: str, pem: bytes, devices: int = 2) -> Path:
    """A store with one certificate and some enrolled devices."""
    with closing(sqlite3.connect(path)) as store, store:
        store.executescript(_SCHEMA)
        for number in range(devices):
            row = (
                f"DEVICE-{number}",
                None,
                topic,
                1,
                f"2026-11-01 00:00:0{number}",
                f"{number:064x}",
                "magic",
            )
            store.execute("INSERT INTO enrollments VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    install(path, topic, pem)
    return path


def install(path: Path, topic: str, pem: bytes, key: bytes = b"") -> None:
    """Store a pair, as a PUT does."""
    with closing(sqlite3.connect(path)) as store, store:
        row = (topic, pem.decode(), key.decode())
        store.execute("INSERT OR REPLACE INTO push_certs VALUES (?, ?, ?)", row)


def check_in(path: Path, enrollment: str) -> None:
    """A device checks in."""
    with closing(sqlite3.connect(path)) as store, store:
        store.execute(
            "UPDATE enrollments SET last_seen_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = ?",
            (enrollment,),
        )


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows."""
    with closing(sqlite3.connect(path)) as store:
        return store.execute(statement).fetchall()


def _server(handler: type[BaseHTTPRequestHandler], listener: socket.socket | None) -> ThreadingHTTPServer:
    if listener is None:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server = ThreadingHTTPServer(listener.getsockname()[:2], handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    return server


@contextmanager
def running(
    store: Path, script: Script | None = None, listener: socket.socket | None = None
) -> Iterator[Node]:
    """A node that answers until the block ends; `listener`: where, if not at a free port of the loopback."""
    node = Node(store, script, listener)
    thread = threading.Thread(target=node.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.server.shutdown()
        node.server.server_close()
        thread.join(5)
