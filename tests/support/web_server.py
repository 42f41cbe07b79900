"""A small server on our web room, in a process of its own: `/` says hello."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SERVER = """
import json, logging, sys
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from renewctl.web import connection, handshake, serving
from renewctl.web.guard import Guard
from renewctl.web.live import LiveConfig

config, constants = sys.argv[1], json.loads(sys.argv[2])
for place in (connection, handshake, serving):
    for name, value in constants.items():
        if hasattr(place, name):
            setattr(place, name, value)
logging.basicConfig(stream=sys.stderr, level="INFO")

async def hello(request):
    return PlainTextResponse("hello")

async def huge(request):  # more than the kernel takes for a reader who does not read
    return PlainTextResponse("x" * 16_000_000)

async def broken(request):
    raise ValueError("what somebody sent")

app = Starlette(routes=[Route("/", hello), Route("/huge", huge), Route("/broken", broken)])
listener = serving.listen("127.0.0.1:0")
live = LiveConfig(Path(config))
print(listener.getsockname()[1], flush=True)
serving.serve([serving.Site(Guard(app, lambda: live.config), [listener], lambda: live.greeting)])
"""


class WebServer:
    """The running server."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def connect(self) -> socket.socket:
        """A new TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def rss(self) -> float:
        """Memory it holds now, MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_seconds(self) -> float:
        """CPU time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_for_log(self, words: str) -> None:
        """Until something is told."""
        end = time.monotonic() + 60
        while words not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)


@contextmanager
def web_server(config: Path, **constants: float) -> Iterator[WebServer]:
    """A server with this web config; `constants` replaces those of `renewctl.web` by name."""
    log = config.parent / "server.log"
    words = [sys.executable, "-c", _SERVER, str(config), json.dumps(constants)]
    with log.open("w") as stderr:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield WebServer(process, int(process.stdout.readline()), log)
        process.terminate()  # in good order, so that what ran is counted
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def write_config(folder: Path, config: Mapping[str, object]) -> Path:
    """`web.yml`, replaced whole (JSON is YAML)."""
    path = folder / "web.yml"
    beside = folder / "web.yml.new"
    beside.write_text(json.dumps(config))
    beside.replace(path)
    return path
