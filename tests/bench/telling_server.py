"""Answers as NanoMDM's main branch does: its version, and the date of any topic; below `/closed` the version alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from urllib.parse import parse_qs, urlsplit


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keeps a connection open, as Go's servers do, for whoever wants that."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while b"Connection: close" not in (head := await reader.readuntil(b"\r\n\r\n")):
            writer.write(_answer(head))
        writer.write(_answer(head))
    writer.close()


def _answer(head: bytes) -> bytes:
    parts = urlsplit(head.split()[1].decode())
    status, content = "200 OK", {"version": "unknown"}
    if parts.path.endswith("/v1/pushcert"):
        topic = parse_qs(parts.query).get("topic")
        if parts.path.startswith("/closed"):
            status, content = "401 Unauthorized", {"error": "unauthorized"}
        elif topic:
            content = {"topic": topic[0], "not_after": "2027-03-01T12:00:00Z"}
        else:
            status, content = "400 Bad Request", {"error": "missing required query parameter: topic"}
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
