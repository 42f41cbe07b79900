"""API nodes in a process of their own, so that they do not share a Python with whoever is measured.

`python -m tests.bench.api_server FOLDER TOPIC COUNT` prints one JSON line, name -> node as an inventory writes it,
and answers until its standard input ends. Beside what NanoMDM 0.9 answers it tells what later releases do
(`GET /v1/pushcert?topic=…`: topic and end date): what a rival made of stock modules can read back.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cryptography import x509

from tests.support.scripted_nanomdm import Node, ask, new_store, send


class _Telling(Node):
    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.command != "GET" or not request.path.startswith("/v1/pushcert"):
            return super().answer(request)
        [(topic, pem)] = ask(self.store, "SELECT topic, cert_pem FROM push_certs")
        ends = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
        return send(request, 200, {"topic": topic, "not_after": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})


def main(folder: Path, topic: str, count: int) -> None:
    """Start them all, say where, answer until nobody listens."""
    old = (folder / "old.pem").read_bytes()
    mappings = {}
    for number in range(count):
        name = f"n{number}"
        node = _Telling(new_store(folder / f"{name}.sqlite", topic, old))
        threading.Thread(target=node.server.serve_forever, daemon=True).start()
        mappings[name] = node.mapping(name, folder)
    sys.stdout.write(json.dumps(mappings) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
