"""What the world's HTTP servers share: uvicorn on an inherited socket, JSON lines, UTC times."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from renewctl.sandbox.children import say_ready


class Server(uvicorn.Server):
    """Says it is ready once it listens; signals and shutdown stay uvicorn's."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell the parent."""
        await super().startup(sockets)
        say_ready(pid=os.getpid())


def configuration(app: ASGIApp, http: type[HttpToolsProtocol] = HttpToolsProtocol) -> uvicorn.Config:
    """Quiet, without lifespan, ended within a second."""
    return uvicorn.Config(
        app,
        http=http,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=130,  # clients let go first: after 5 s both might, and a request meets the end
    )


def serve(app: ASGIApp, fd: int, http: type[HttpToolsProtocol] = HttpToolsProtocol) -> None:
    """Serve an application on an inherited listening socket until a signal comes."""
    Server(configuration(app, http)).run(sockets=[socket.socket(fileno=fd)])


def utc_text(at: datetime | None = None) -> str:
    """An instant as logs of the world write it: UTC, microseconds, Z."""
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class JsonLines:
    """A log of one JSON object a line, written through at once."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a", encoding="utf-8", buffering=1)

    def write(self, **facts: object) -> None:
        """Append a line; `time` is added."""
        self._file.write(json.dumps({"time": utc_text(), **facts}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path, since: datetime | None = None) -> Iterator[dict[str, object]]:
    """The objects of a log, oldest first, from an instant on; a line still being written is left out."""
    if not path.exists():
        return
    start = utc_text(since) if since else ""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        record: dict[str, object] = json.loads(line)
        if str(record["time"]) >= start:
            yield record
