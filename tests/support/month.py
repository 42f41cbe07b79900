"""What happens around an exporter in a month: files, an API node, its inventory and its web config, all of one day.

What comes and goes has periods of two, three and six days, so that days 12 and 30 are alike.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bcrypt

from tests.support import exporter_history as history
from tests.support.certs import apple_like
from tests.support.exporter_process import files_node, inventory
from tests.support.exporter_values import UID
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config

BEGAN = datetime.now(UTC)
MOODS = ("well", "closed", "broken", "garbage", "hangs up", "slow")
"""Of the API node, day by day."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Api

    def do_GET(self) -> None:
        mood = self.server.mood
        if mood == "hangs up":
            self.close_connection = True
            return
        if mood == "slow":
            time.sleep(0.1)
        content = {"version": "v0.9.0"}
        if "pushcert" in self.path:
            content = {"topic": UID, "not_after": self.server.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")}
        body = b"\x00not JSON" * 100 if mood == "garbage" else json.dumps(content).encode()
        self.send_response({"closed": 401, "broken": 500}.get(mood, 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class _Api(ThreadingHTTPServer):
    """A NanoMDM that tells its version and one date, when it is well."""

    daemon_threads = True
    mood = "well"
    not_after = BEGAN


class Month:
    """The surroundings of an exporter in `folder`; `silent` is a port where nobody ever answers."""

    def __init__(self, folder: Path, api: _Api, silent: int) -> None:
        self.folder = folder
        self._api = api
        self._silent = silent
        self._authority = Authority()
        (folder / "pki").mkdir()
        (folder / "mount").mkdir()
        (folder / "store").mkdir()
        (folder / "ca.pem").write_bytes(self._authority.pem)
        history.write(
            f"sqlite:///{folder / 'store' / 'store.db'}",
            "tokyo-1",
            history.accepted(),
            history.rolled_out("file"),
        )
        self.day(0)

    def day(self, number: int) -> None:
        """Everything as it is on that day; the exporter is to be told to read its configuration again."""
        ends = BEGAN + timedelta(days=400 + number)
        pem = apple_like().push(UID, not_after=ends).pem
        self._api.mood, self._api.not_after = MOODS[number % len(MOODS)], ends
        self._folder(number, pem)
        self._mount(number, pem)
        self._file(number, pem)
        self.inventory(number)
        write_pair(self.folder, self._authority.server())
        users = {"prometheus": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()}
        tls = {"cert_file": "server.pem", "key_file": "server.key"}
        write_config(self.folder, {"tls_server_config": tls, "basic_auth_users": users})

    def _folder(self, number: int, pem: bytes) -> None:
        """One certificate that is renewed, one of a new name, one broken; yesterday's of those are cleared away."""
        place = self.folder / "pki"
        (place / "push.pem").write_bytes(pem)
        (place / f"backup-{number:02}.pem").write_bytes(pem)
        (place / f"broken-{number:02}.pem").write_bytes(b"\x00" * 30)
        for name in (f"backup-{number - 1:02}.pem", f"broken-{number - 1:02}.pem"):
            (place / name).unlink(missing_ok=True)

    def _mount(self, number: int, pem: bytes) -> None:
        """A folder of one certificate, lost every other day."""
        path = self.folder / "mount" / "push.pem"
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(pem)

    def _file(self, number: int, pem: bytes) -> None:
        """Well, overwritten with garbage, gone."""
        path = self.folder / "push.pem"
        if number % 3 == 2:
            path.unlink()
        else:
            path.write_bytes(pem if number % 3 == 0 else b"-----BEGIN CERTIFICATE-----\nAAAA\n")

    def inventory(self, number: int, **more: object) -> None:
        """Every other day a node more."""
        nodes: list[dict[str, object]] = [
            {"name": "pki", "product": "files", "folder": str(self.folder / "pki")},
            {"name": "mount", "product": "files", "folder": str(self.folder / "mount")},
            {"name": "api", "product": "nanomdm", "url": f"http://127.0.0.1:{self._api.server_address[1]}"},
            {"name": "silent", "product": "nanomdm", "url": f"http://127.0.0.1:{self._silent}"},
            files_node("file", self.folder / "push.pem"),
            *([files_node("spare", self.folder / "pki" / "push.pem")] if number % 2 == 0 else []),
        ]
        inventory(self.folder, nodes, topic=UID)  # type: ignore[arg-type]
        path = self.folder / "inventory.yaml"
        expires = [
            {"kind": "scep_ca", "name": "CA", "file": str(self.folder / "push.pem")},
            {"kind": "tls_certificate", "name": "mdm", "url": f"https://127.0.0.1:{self._silent}"},
        ]
        path.write_text(json.dumps({**json.loads(path.read_text()), "expires": expires, **more}))


@contextmanager
def month(folder: Path) -> Iterator[Month]:
    """With its servers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, _Api(("127.0.0.1", 0), _Answering) as api:
        thread = threading.Thread(target=api.serve_forever, daemon=True)
        thread.start()
        try:
            yield Month(folder, api, silent.getsockname()[1])
        finally:
            api.shutdown()
            thread.join()
