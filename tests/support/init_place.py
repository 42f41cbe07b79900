"""What tests of `init` share: options that are enough, a node's API that tells little, a database of devices."""

from __future__ import annotations

import http.server
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.inventories import TOPIC

GIVEN = ("--topic", TOPIC, "--account", "mdm", "--node", "n1=http://127.0.0.1:9")

_DATABASE = """
CREATE TABLE enrollments (id TEXT, user_id TEXT, topic TEXT, enabled INTEGER, last_seen_at TEXT);
CREATE TABLE push_certs (topic TEXT, cert_pem TEXT);
INSERT INTO enrollments VALUES ('A', NULL, 'TOPIC', 1, '2026-01-01 00:00:00');
"""


def device_database(folder: Path) -> Path:
    """A file with the URL of a database in which one device uses `TOPIC`."""
    with sqlite3.connect(folder / "mdm.db") as connection:
        connection.executescript(_DATABASE.replace("TOPIC", TOPIC))
    (folder / "dsn").write_text(f"sqlite:///{folder}/mdm.db\n")
    return folder / "dsn"


@contextmanager
def versions_alone(otherwise: int) -> Iterator[str]:
    """The URL of an API that tells everybody its version, as NanoMDM 0.9 does, and answers the rest with a status."""

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/version"
            self.send_response(200 if known else otherwise)
            self.end_headers()
            self.wfile.write(b'{"version": "v0.9.0"}' if known else b"")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
