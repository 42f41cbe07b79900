"""One HTTP connection that cannot be held open, filled up or forgotten by whoever made it.

- One total deadline for the request head: sheds idle connections and slowloris, which no per-read
  timeout does.
- A head has a longest size; uvicorn with httptools knows none.
- An answer has a deadline until its last byte is taken: sheds who reads a byte a second.
- What waits for a slow reader is a few pieces of one answer: the next request is begun when it is taken.
- It ends with its next answer when another one would begin differently: scrapers keep theirs for years.
- There is room for so many connections; one more pushes out whoever has kept us waiting longest.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from ssl import SSLContext
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from renewctl.web.pieces import PIECE_BYTES

HEAD_SECONDS = 10
"""From the first chance to send a request until its head is complete."""

ANSWER_SECONDS = 60
"""From a complete request head until the whole answer is taken; the longest usual scrape timeout."""

MAX_HEAD_BYTES = 64 * 1024
"""Of a request head; proxies of the field send at most half of it."""

MAX_PIPELINED = 8
"""Requests sent ahead of their answers; no scraper sends any."""

_LOOK_SECONDS = 0.25
"""Between looks whether an answer is taken, where somebody asks again before; no scraper does."""

SEND_BUFFER_BYTES = 128 * 1024
"""The kernel keeps twice as much for a reader who does not read (socket(7)); by itself it would keep
megabytes (tcp(7), tcp_wmem), and a service's memory limit counts them."""

MAX_CONNECTIONS = 512
"""At once. Half of the 1,024 files a process may usually open."""


@dataclass(frozen=True)
class Greeting:
    """How a TLS connection begins.

    Attributes:
        context: for the handshake.
        admits: whether a client with this certificate (as `SSLObject.getpeercert` gives it) may stay.
    """

    context: SSLContext
    admits: Callable[[Mapping[str, Any] | None], bool]


class Crowd:
    """Everybody who is connected, whoever has kept us waiting longest first.

    Args:
        limit: how many there is room for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[object, asyncio.Transport] = {}

    def moved(self, transport: asyncio.Transport) -> None:
        """Somebody came, or did what was waited for; whoever did nothing for longest may have to leave."""
        key = transport.get_extra_info("socket")  # the same object with TLS around it and without
        self._waiting.pop(key, None)
        self._waiting[key] = transport
        if len(self._waiting) > self._limit:
            self._waiting.pop(next(iter(self._waiting))).abort()

    def left(self, key: object) -> None:
        """Somebody is gone: whose transport's `socket` this is."""
        self._waiting.pop(key, None)


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, on the clock whenever it is the other side's turn.

    Args:
        greeting: what it began with; None: plain HTTP.
        newest: gives what a connection would begin with now.
    """

    def __init__(
        self,
        crowd: Crowd,
        config: Config,
        state: ServerState,
        greeting: Greeting | None,
        newest: Callable[[], Greeting | None],
    ) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._crowd = crowd
        self._greeting = greeting
        self._newest = newest
        self._in_head = True
        self._head_bytes = 0
        self._head_clock: asyncio.TimerHandle | None = None
        self._answer_clock: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent connection is on the clock from its beginning."""
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")  # a TLS transport closed twice can no longer tell
        # asyncio does so for sockets it made itself; without it the end of a long answer comes 40 ms late.
        self._set_tcp(socket.TCP_NODELAY, 1)
        self._set(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        # With TLS asyncio's own is 512 KiB. TLS is told to go on when TCP is, below TCP's upper limit:
        # with a lower limit beneath that one it could wait for ever.
        transport.set_write_buffer_limits(high=2 * PIECE_BYTES, low=PIECE_BYTES)
        if self._greeting is not None and not self._greeting.admits(transport.get_extra_info("peercert")):
            transport.abort()
            return
        self._crowd.moved(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Until a head is complete its bytes are counted; so is what still comes of an answered request."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if self._in_head or (cycle is not None and cycle.response_complete):
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > 0:  # not complete yet
            self._expect_head()
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"request head larger than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """The head is here; uvicorn's idle tick would have kept the date."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_head_clock()
        if self.transport.is_closing():
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            return
        self._crowd.moved(self.transport)
        self._expect_reader()
        outdated = self._newest() is not self._greeting  # who was let in then may have to stay out now
        self.server_state.default_headers = _common(int(time.time()), outdated)
        if not self.expect_100_continue:
            self._set_tcp(socket.TCP_CORK, 1)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Head and body of an answer were written one after the other; they leave together."""
        self._set_tcp(socket.TCP_CORK, 0)
        super().on_response_complete()

    def on_message_complete(self) -> None:
        """The next thing to come is a head."""
        self._in_head = True
        if self.cycle is not None:  # None: the head was turned away
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_head_clock()
        self._stop_answer_clock()
        self._crowd.left(self._socket)
        if self._answering is not None:  # uvicorn tells the latest request alone
            self._answering.disconnected = True
        super().connection_lost(exc)

    # uvicorn has types of its own for what ASGI passes on.
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._answering = cycle
        waits = self.transport.get_write_buffer_size() > 0
        super()._start_asgi_task(cycle, self._once_taken(cycle, app) if waits else app)  # type: ignore[arg-type]

    def _once_taken(self, cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
        """The application, begun when nothing is left of the answer before."""

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await self.flow.drain()
                await self._taken()
            except asyncio.CancelledError:  # the end of the program
                self.transport.abort()
            if self.transport.is_closing():
                cycle.disconnected = True
                return
            self._expect_reader()
            await app(scope, receive, send)

        return waiting

    async def _taken(self) -> None:
        """Until nothing waits to be sent; asyncio tells no sooner than when little is left."""
        while self.transport.get_write_buffer_size() > 0 and not self.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)

    def _set_tcp(self, option: int, value: int) -> None:
        self._set(socket.IPPROTO_TCP, option, value)

    def _set(self, level: int, option: int, value: int) -> None:
        with contextlib.suppress(OSError):  # closed: with TLS we are told a moment later
            self._socket.setsockopt(level, option, value)

    def _expect_head(self) -> None:
        if self._head_clock is None:
            self._head_clock = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _expect_reader(self) -> None:
        if self._answer_clock is not None and self.transport.get_write_buffer_size() > 0:
            return  # asking again is not taking what was answered
        self._stop_answer_clock()
        self._answer_clock = self.loop.call_later(ANSWER_SECONDS, self._reader_is_late)

    def _reader_is_late(self) -> None:
        """An answer is not complete, or not taken."""
        self._answer_clock = None
        cycle: RequestResponseCycle | None = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering or self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def _stop_head_clock(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None

    def _stop_answer_clock(self) -> None:
        if self._answer_clock is not None:
            self._answer_clock.cancel()
            self._answer_clock = None


@lru_cache(1)
def _common(second: int, last: bool) -> list[tuple[bytes, bytes]]:
    """Headers of every answer; the last one of a connection says so."""
    closing = [(b"connection", b"close")] if last else []
    return [(b"date", formatdate(second, usegmt=True).encode()), *closing]
