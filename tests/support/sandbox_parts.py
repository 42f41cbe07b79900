"""Parts of the sandbox started for a test, and requests for its portal made independently of the product."""

from __future__ import annotations

import base64
import contextlib
import json
import plistlib
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from renewctl.sandbox import launch
from renewctl.sandbox.authority import Apple, Issued
from renewctl.sandbox.children import Child, listen, port_of
from renewctl.sandbox.stage import write_pki

TOKEN = "ab" * 32
MAGIC = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE"
READY_SECONDS = 60.0


def now() -> datetime:
    """The present, as the sandbox sees it."""
    return datetime.now(UTC)


def in_days(days: float) -> datetime:
    """An instant so many days ahead."""
    return now() + timedelta(days=days)


def eventually(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something has happened, failing after a while."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@dataclass(frozen=True)
class Pushes:
    """A running push service."""

    folder: Path
    apple: Apple
    url: str
    courier: str
    port: int

    @property
    def pki(self) -> Path:
        """Where its certificates are."""
        return self.folder / "pki"

    def log(self) -> list[dict[str, object]]:
        """Its log so far."""
        path = self.folder / "pushes.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def client(self, pair: Issued, headers: Mapping[str, str] | None = None) -> httpx.Client:
        """An HTTP/2 client that shows a pair."""
        certificate, key = pair.write(self.folder / "clients", f"{pair.certificate.serial_number:x}")
        context = ssl.create_default_context(cafile=self.pki / "web-root.pem")
        context.load_cert_chain(certificate, key)
        return httpx.Client(http2=True, verify=context, base_url=self.url, timeout=60, headers=headers)

    def switch(self, **faults: object) -> None:
        """Set fault switches."""
        httpx.put(f"{self.courier}/faults", json=faults).raise_for_status()

    @contextmanager
    def device(self, topic: str, token: str = TOKEN) -> Iterator[list[dict[str, str]]]:
        """A device at the courier; the list fills with what wakes it."""
        woken: list[dict[str, str]] = []
        entries = [{"token": token, "topic": topic}]
        with (
            httpx.Client(timeout=None) as client,  # noqa: S113 - a line is held until the test ends
            client.stream("POST", f"{self.courier}/courier", json=entries) as line,
        ):
            lines = line.iter_lines()
            assert json.loads(next(lines)) == {"registered": 1}
            thread = threading.Thread(target=_read, args=(lines, woken), daemon=True)
            thread.start()
            yield woken
            httpx.put(f"{self.courier}/offline", json=[token]).raise_for_status()
            thread.join(60)


def _read(lines: Iterator[str], woken: list[dict[str, str]]) -> None:
    woken.extend(json.loads(line) for line in lines)


@contextmanager
def push_service(folder: Path) -> Iterator[Pushes]:
    """A push service with a fake Apple of its own."""
    apple = write_pki(folder / "pki", now())
    pushes, courier = listen(), listen()
    port = port_of(pushes)
    part = Pushes(folder, apple, f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port_of(courier)}", port)
    child = launch.push_service(folder / "pki", folder, pushes, courier)
    try:
        child.wait_ready(READY_SECONDS)
        yield part
    finally:
        child.stop()


@dataclass(frozen=True)
class Request:
    """What goes into the file for the portal; each part can be spoilt."""

    csr: x509.CertificateSigningRequest
    chain: tuple[x509.Certificate, ...]
    vendor_key: rsa.RSAPrivateKey
    hash: HashAlgorithm = field(default_factory=SHA256)

    def plist(self) -> dict[str, object]:
        """The three values."""
        der = self.csr.public_bytes(Encoding.DER)
        signature = self.vendor_key.sign(der, PKCS1v15(), self.hash)
        return {
            "PushCertRequestCSR": base64.b64encode(der).decode(),
            "PushCertCertificateChain": "".join(c.public_bytes(Encoding.PEM).decode() for c in self.chain),
            "PushCertSignature": base64.b64encode(signature).decode(),
        }

    def file(self) -> bytes:
        """The bytes to upload."""
        return base64.b64encode(plistlib.dumps(self.plist()))


def request(
    apple: Apple,
    vendor: Issued,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    *,
    sha1: bool = False,
    csr_hash: SHA256 | SHA384 | None = None,
) -> Request:
    """A good request, unless told otherwise."""
    key = key or rsa.generate_private_key(65537, 2048)
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "push")]))
        .sign(key, csr_hash or SHA256())
    )
    assert isinstance(vendor.key, rsa.RSAPrivateKey)
    chain = (vendor.certificate, apple.wwdr.certificate, apple.root.certificate)
    return Request(csr, chain, vendor.key, SHA1() if sha1 else SHA256())  # noqa: S303 - as old scripts do


@dataclass(frozen=True)
class Node:
    """A running MDM server of the sandbox."""

    url: str
    folder: Path
    child: Child
    auth: tuple[str, str] = ("nanomdm", "secret")

    def put(self, body: bytes, method: str = "PUT") -> httpx.Response:
        """Upload something as a pair."""
        return httpx.request(method, f"{self.url}/v1/pushcert", content=body, auth=self.auth, timeout=40)

    def push(self, ids: str) -> httpx.Response:
        """Ask it to push."""
        return httpx.get(f"{self.url}/v1/push/{ids}", auth=self.auth, timeout=40)

    def switch(self, **faults: object) -> None:
        """Set fault switches."""
        httpx.put(f"{self.url}/sandbox/faults", json=faults).raise_for_status()

    def requests(self) -> list[tuple[object, object, object]]:
        """Method, path and status of every request it logged."""
        lines = (self.folder / f"{self.child.name}.requests.jsonl").read_text().splitlines()
        return [(line["method"], line["path"], line["status"]) for line in map(json.loads, lines)]

    def rows(self, select: str, *values: str) -> list[tuple[object, ...]]:
        """Read its database as the product would."""
        with contextlib.closing(sqlite3.connect(self.folder / "storage.db")) as database:
            return database.execute(select, values).fetchall()

    def stored(self, topic: str) -> list[tuple[object, ...]]:
        """The certificate it keeps for a topic, and the stale token."""
        return self.rows("SELECT cert_pem, stale_token FROM push_certs WHERE topic = ?", topic)


@contextmanager
def node(pushes: Pushes, folder: Path, name: str = "node") -> Iterator[Node]:
    """An MDM server in front of a push service; two in one folder share their database."""
    (folder / "password").write_text("secret\n")
    listener = listen()
    url = f"http://127.0.0.1:{port_of(listener)}"
    child = launch.node(
        name,
        pki=pushes.pki,
        logs=folder,
        database=folder / "storage.db",
        password_file=folder / "password",
        push_service_url=pushes.url,
        listener=listener,
    )
    try:
        child.wait_ready(READY_SECONDS)
        yield Node(url, folder, child)
    finally:
        child.stop()
