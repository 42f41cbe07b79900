"""A NanoMDM that tells its version to anybody and refuses everything else, whatever the password."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Refusing(ThreadingHTTPServer):
    """Notes what it was asked.

    Attributes:
        asked: path, and what came as `Authorization`, in order.
        refused: when a password came, by the monotonic clock.
        slow: seconds each answer takes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.refused: list[float] = []
        self.slow = 0.0
        self.leaving = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Refusing

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.headers.get("Authorization"):
            self.server.refused.append(time.monotonic())
        self.server.leaving.wait(self.server.slow)
        known = self.path == "/version"
        body = b'{"version": "v0.9.0"}' if known else b"Unauthorized"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def nanomdm_that_refuses() -> Iterator[Refusing]:
    """One that answers until the test ends."""
    with Refusing() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.leaving.set()
            server.shutdown()
            thread.join()
