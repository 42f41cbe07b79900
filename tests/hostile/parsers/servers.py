"""What servers answer, and what lies in their folders, files and databases."""

from __future__ import annotations

import base64
import json
import plistlib
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from renewctl import localfile, pushanswer
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, Refused, RenewctlError
from renewctl.inventory.reading import Expiring, ExpiryKind, FileInstall, Node, Place, Product
from renewctl.servers import expiring, nanomdm, nanomdm_database, nanomdm_folder, tls_peer
from renewctl.servers.files import Files
from renewctl.servers.transport import Answer, Transport
from tests.hostile.parser import Made, Parser
from tests.support.certs import NOW, TOPIC, apple_like

_NODE = Node("n1", Product.NANOMDM, (TOPIC,), "n1", url="http://127.0.0.1:1")
_DEVICE = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE"


def _http() -> Made:
    """Whatever comes back on the connection, byte by byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    node = replace(_NODE, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    said = [b""]

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(said[0])

    threading.Thread(target=serve, daemon=True).start()

    def take(data: bytes) -> None:
        said[0] = data
        answer = Transport(node, deadline_seconds=0.7).ask("GET", "/version")
        answer.brief()
        answer.json()

    good = [
        b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"version":1}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ]
    return Made(take, good)


def _api() -> Made:
    """The body of an answer, under each status, to each question."""
    pair = Pair(PushCertificate.from_der(apple_like().push().der), apple_like().push().key_pem)

    def asked(answer: Answer) -> None:
        server = nanomdm.NanoMDM(_NODE, [TOPIC])
        server._transport = lambda: _Said(answer)  # type: ignore[assignment, method-assign]
        server.observe(NOW)
        server.push(_DEVICE)
        with suppress(RenewctlError):
            server.require_access()
        with suppress(RenewctlError):
            server.install(pair)
        with suppress(NodeFault):
            nanomdm.judge_push(_DEVICE, answer)

    def take(data: bytes) -> None:
        for status in (200, 400, 500):
            asked(Answer("n1", status, data))

    good = [
        {"version": "v0.9.0"},
        {"topic": TOPIC, "not_after": "2027-11-22T12:00:00Z"},
        {"error": "missing required query parameter: topic"},
        {"status": {_DEVICE: {"push_result": "id"}}},
        {"status": {_DEVICE: {"push_error": "APNs push error: BadDeviceToken"}}, "push_error": "x"},
        {"push_error": "push HTTP status: 400"},
    ]
    return Made(take, [json.dumps(one).encode() for one in good])


class _Said:
    """A transport that got one answer, whatever was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def ask(self, *_words: Any, **_more: Any) -> Answer:
        return self._answer

    get = ask

    @contextmanager
    def conversation(self) -> Iterator[_Said]:
        yield self


def _asked(records: Any) -> None:
    """Every question to a server's own store; each fault is one of the node."""
    for ask in (
        records.certificates,
        lambda: records.devices(NOW),
        lambda: records.canaries(TOPIC, 3),
        lambda: records.enrolled(_DEVICE, TOPIC),
        lambda: records.check_in(_DEVICE),
        lambda: records.push_target(_DEVICE),
        lambda: getattr(records, "longest_silent", lambda *_: ())(3, NOW),  # of a database alone
    ):
        with suppress(NodeFault):
            ask()


def _key_value_folder() -> Made:
    folder = Path(mkdtemp())
    names = [
        f"enrollments/AA/AA/{_DEVICE}.{what}" for what in ("topic", "last_seen_at", "push_magic", "token")
    ]
    names.append("push_cert/co/m./com.apple.mgmt.pem")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)

    def take(data: bytes) -> None:
        for name in names:
            (folder / name).write_bytes(data)
        _asked(nanomdm_folder.open_folder("n1", folder))
        (folder / names[0]).write_text(TOPIC)
        _asked(nanomdm_folder.open_folder("n1", folder))

    return Made(take, [apple_like().push().pem, b"1764374400000000", TOPIC.encode()])


def _plain_folder() -> Made:
    folder = Path(mkdtemp())
    (folder / _DEVICE).mkdir()

    def take(data: bytes) -> None:
        (folder / "a.pem").write_bytes(data)
        (folder / _DEVICE / "TokenUpdate.plist").write_bytes(data)
        _asked(nanomdm_folder.open_folder("n1", folder))

    message = {"Topic": TOPIC, "Token": b"x" * 32, "PushMagic": "m", "MessageType": "TokenUpdate"}
    good = [plistlib.dumps(message, fmt=fmt) for fmt in (plistlib.FMT_XML, plistlib.FMT_BINARY)]
    return Made(take, [*good, apple_like().push().pem])


def _database_rows() -> Made:
    """Rows as a driver may hand them over."""

    def take(data: bytes) -> None:
        database = nanomdm_database.Database("n1", "sqlite:////nowhere")
        database._select = lambda *_: _rows(data)  # type: ignore[method-assign]
        _asked(database)

    row = {
        "topic": TOPIC,
        "cert_pem": apple_like().push().pem.decode(),
        "id": _DEVICE,
        "youngest": 3,
        "age": 86400.5,
        "enabled_devices": 4,
        "last_seen_at": "2026-11-29 10:00:00",
        "token_hex": "AB",
        "push_magic": "m",
        **{f"within_{window}": 2 for window in nanomdm_database.WINDOWS},
    }
    return Made(take, [json.dumps([row, row]).encode()])


def _rows(data: bytes) -> list[dict[str, Any]]:
    """Any values, but in columns that are there: their names are our own statement's."""
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        columns = [f"within_{window}" for window in nanomdm_database.WINDOWS]
        columns += [
            "topic",
            "cert_pem",
            "id",
            "youngest",
            "age",
            "enabled_devices",
            "last_seen_at",
            "token_hex",
            "push_magic",
        ]
        rows = found if isinstance(found, list) else [found]
        return [{**dict.fromkeys(columns), **row} for row in rows if isinstance(row, dict)]
    return []


def _database_file() -> Made:
    """A file that should be SQLite."""
    path = Path(mkdtemp()) / "nanomdm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE push_certs (topic TEXT, cert_pem TEXT)")
        connection.execute(
            "CREATE TABLE enrollments (id TEXT, user_id TEXT, topic TEXT, enabled INT, last_seen_at TEXT,"
            " token_hex TEXT, push_magic TEXT)"
        )
        connection.execute("INSERT INTO push_certs VALUES (?, ?)", (TOPIC, apple_like().push().pem.decode()))
        values = (_DEVICE, None, TOPIC, 1, "2026-11-22 10:00:00", "ab", "m")
        connection.execute("INSERT INTO enrollments VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    good = path.read_bytes()

    def take(data: bytes) -> None:
        path.write_bytes(data)
        _asked(nanomdm_database.Database("n1", f"sqlite:///{path}"))

    return Made(take, [good])


def _files() -> Made:
    path = Path(mkdtemp()) / "push.pem"
    place = Place(certificate=str(path), key=str(path.with_suffix(".key")))
    node = Node("f1", Product.FILES, (), "f1", install=FileInstall((place,), host="localhost"))

    def take(data: bytes) -> None:
        path.write_bytes(data)
        Files(node).observe(NOW)
        with suppress(OSError):
            localfile.read(path)

    return Made(take, [apple_like().push().pem, apple_like().push().der])


def _folder() -> Made:
    """A folder of certificates, one of them anything at all; read anew each time, as it changed just now."""
    folder = Path(mkdtemp())
    (folder / "b.pem").write_bytes(apple_like().push().pem)
    server = Files(Node("f2", Product.FILES, (), "f2", folder=folder))

    def take(data: bytes) -> None:
        (folder / "a.pem").write_bytes(data)
        assert len(server.observe(NOW).files or ()) == 2

    return Made(take, [apple_like().push().pem, apple_like().push().der])


def _expiring() -> Made:
    """A file, as each kind of what expires; whatever is wrong with it is a reason."""
    path = Path(mkdtemp()) / "expires"
    kinds = [Expiring(kind, "x", file=path) for kind in ExpiryKind]

    def take(data: bytes) -> None:
        path.write_bytes(data)
        for one in kinds:
            with suppress(NodeFault):
                assert expiring.expiry_of(one).utcoffset() == timedelta()

    token = json.dumps({"expDate": "2027-11-22T12:00:00+0900", "token": "x"}).encode()
    told = json.dumps({"tokens": [{"access_token_expiry": "2027-11-22T12:00:00Z"}]}).encode()
    return Made(take, [token, told, base64.b64encode(token), apple_like().push().pem])


def _token() -> Made:
    """A token's JSON, its values exchanged."""

    def take(data: bytes) -> None:
        for at in expiring.token_dates(data):
            assert at.utcoffset() == timedelta()

    token = {"expDate": "2027-11-22T12:00:00+0900", "token": "x"}
    told = {"tokens": [{"access_token_expiry": "2027-11-22T12:00:00Z"}]}
    return Made(take, [json.dumps(one).encode() for one in (token, told)])


def _greeting() -> Made:
    """Whatever answers the beginning of a TLS handshake."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = [b""]

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(said[0])

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"

    def take(data: bytes) -> None:
        said[0] = data
        with suppress(NodeFault):
            tls_peer.certificate_of("x", url, deadline_seconds=0.7)

    hello = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(32) + b"\x00\x13\x01\x00"
    return Made(take, [hello, b"\x15\x03\x01\x00\x02\x02\x28"])


def _push_answer() -> Made:
    def take(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        pushanswer.reason_of_failure(text)
        pushanswer.spoken(text)
        pushanswer.shown(text)
        pushanswer.reason_of(400, text)

    return Made(
        take, [b"[SSL: TLSV1_ALERT] tlsv1 alert internal error (_ssl.c:1)", b"/3/device/" + b"ab" * 32]
    )


_NANOMDM = "renewctl.servers.nanomdm"

PARSERS = [
    Parser("servers.http", _http, ["renewctl.servers.transport"], (NodeFault,), examples=0.5, seconds=2.0),
    Parser("servers.api", _api, [_NANOMDM, "renewctl.servers.transport"], json=True),
    Parser("servers.key_value_folder", _key_value_folder, [f"{_NANOMDM}_folder"]),
    Parser("servers.plain_folder", _plain_folder, [f"{_NANOMDM}_folder"]),
    Parser("servers.database_rows", _database_rows, [f"{_NANOMDM}_database"], json=True),
    Parser("servers.database_file", _database_file, [f"{_NANOMDM}_database"], (Refused,)),
    Parser("servers.files", _files, ["renewctl.servers.files", "renewctl.localfile"]),
    Parser("servers.folder", _folder, ["renewctl.servers.certificate_files"]),
    Parser("servers.expiring", _expiring, ["renewctl.servers.expiring"]),
    Parser("servers.token", _token, ["renewctl.servers.expiring"], (ValueError, RecursionError), json=True),
    Parser("servers.greeting", _greeting, ["renewctl.servers.tls_peer"], examples=0.5, seconds=2.0),
    Parser("servers.push_answer", _push_answer, ["renewctl.pushanswer"]),
]
