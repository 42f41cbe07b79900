"""How a push reaches devices: they register here and hold a line on which they are woken.

`POST /courier` with `[{"token": "<hex>", "topic": "…"}, …]` registers devices and answers with a stream
of JSON lines: first `{"registered": N}`, then `{"token", "mdm"}` for every push. A token stays known when
the line ends; the device is then merely offline, and pushes to it are answered 200 and lost, as in life.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from renewctl.sandbox.apns_answers import KnownDevice, PushFaults
from renewctl.sandbox.serving import read_lines

Line = asyncio.Queue[dict[str, str] | None]


class Courier:
    """Devices known to the push service, and the lines of those online."""

    def __init__(self, faults: PushFaults, log: Path) -> None:
        self.faults = faults
        self._log = log
        self._devices: dict[str, KnownDevice] = {}
        self._lines: dict[str, Line] = {}

    def find(self, token: str) -> KnownDevice | None:
        """The device with a token."""
        return self._devices.get(token)

    def wake(self, token: str, magic: str) -> bool:
        """Hand a push to a device; False while it is offline."""
        line = self._lines.get(token)
        if line:
            line.put_nowait({"token": token, "mdm": magic})
        return line is not None

    def application(self) -> Starlette:
        """The courier and the push service's switches, over plain HTTP."""
        return Starlette(
            routes=[
                Route("/courier", self._register, methods=["POST"]),
                Route("/offline", self._offline, methods=["PUT"]),
                Route("/gone", self._gone, methods=["PUT"]),
                Route("/faults", self._switch, methods=["GET", "PUT"]),
                Route("/pushes", self._pushes),
                Route("/", self._summary),
            ]
        )

    async def _register(self, request: Request) -> Response:
        line: Line = asyncio.Queue()
        tokens = []
        for entry in await request.json():
            token = str(entry["token"])
            self._devices[token] = KnownDevice(str(entry["topic"]))
            self._lines[token] = line
            tokens.append(token)
        return StreamingResponse(self._hold(line, tokens), media_type="application/x-ndjson")

    async def _hold(self, line: Line, tokens: list[str]) -> AsyncIterator[str]:
        try:
            yield json.dumps({"registered": len(tokens)}) + "\n"
            while push := await line.get():
                yield json.dumps(push) + "\n"
        finally:
            for token in tokens:
                if self._lines.get(token) is line:
                    del self._lines[token]

    async def _offline(self, request: Request) -> Response:
        """The lines on which the tokens in the body wait are ended."""
        for line in {self._lines[token] for token in await request.json() if token in self._lines}:
            line.put_nowait(None)
        return JSONResponse({"devices": len(self._devices)})

    async def _gone(self, request: Request) -> Response:
        """Tokens in the body are answered 410 Unregistered from now on."""
        for token in await request.json():
            self._devices[token] = dataclasses.replace(
                self._devices[token], gone_since=int(time.time() * 1000)
            )
        return JSONResponse({"devices": len(self._devices)})

    async def _switch(self, request: Request) -> Response:
        if request.method == "PUT":
            set_switches(self.faults, await request.json())
        return JSONResponse(dataclasses.asdict(self.faults))

    async def _pushes(self, _request: Request) -> Response:
        return JSONResponse(list(read_lines(self._log)))

    async def _summary(self, _request: Request) -> Response:
        return JSONResponse({"devices": len(self._devices), "online": len(self._lines)})


def set_switches(faults: object, wanted: dict[str, object]) -> None:
    """Set the named attributes of a value full of switches.

    Raises:
        AttributeError: there is no such switch.
    """
    for name, value in wanted.items():
        getattr(faults, name)
        setattr(faults, name, value)
