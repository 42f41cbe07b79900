"""uvicorn, with what it lacks for a server that stands in the open.

- One total deadline for the request head: sheds idle connections and slowloris, which no per-read
  timeout does.
- No idle tick: uvicorn wakes ten times a second to look whether it should leave; here the signal tells it.
- SIGTERM and SIGINT: no new connections, answers under way are finished, then `serve` returns.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason

_PORT = re.compile(r"[0-9]{1,5}")

HEAD_SECONDS = 10
"""From the first chance to send a request until its head is complete."""

KEEP_ALIVE_SECONDS = 130
"""An idle connection after an answer; above the usual scrape intervals of 15 to 120 s."""

DRAIN_SECONDS = 5
"""What answers under way get after SIGTERM; kubelet's and systemd's patience is longer."""


class HeadDeadlineProtocol(HttpToolsProtocol):
    """One connection whose request heads must be complete within `HEAD_SECONDS`."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent connection is on the clock from its beginning."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """The first byte after an answer puts the connection on the clock again."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete:
            self._expect_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is here; uvicorn's idle tick would have kept the date."""
        self._stop_clock()
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop_clock()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class QuietServer(Server):
    """uvicorn's server, asleep until a signal comes."""

    _leave: asyncio.Event

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Note SIGTERM and SIGINT; unlike uvicorn's own, do not raise them again after a clean end."""
        loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        handled = (signal.SIGTERM, signal.SIGINT)
        for number in handled:
            loop.add_signal_handler(number, self._leave.set)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    async def main_loop(self) -> None:
        """Sleep until told to leave."""
        await self._leave.wait()


def listen(address: str) -> socket.socket:
    """A listening socket for `HOST:PORT`, `:PORT` (all interfaces) or `[IPV6]:PORT`.

    Raises:
        Unusable: `listen_address_invalid`: not such an address.
        Refused: `listen_failed`: the address is taken, not ours, or not permitted.
    """
    host, found, port = address.rpartition(":")
    if not found or not _PORT.fullmatch(port) or int(port) > 65535:  # noqa: PLR2004 - ports have 16 bits
        raise Unusable(Reason.LISTEN_ADDRESS_INVALID, got=address, expected="HOST:PORT | :PORT | [IPV6]:PORT")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if host:
            family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, int(port)), family=family, backlog=512)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
            )
        return socket.create_server(("0.0.0.0", int(port)), backlog=512)  # noqa: S104 - asked for
    except OSError as error:
        raise Refused(Reason.LISTEN_FAILED, address=address, got=error.strerror or str(error)) from None


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is under way. Main thread only."""
    # Anybody can send bytes that are no HTTP; a log line for each would fill the disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = Config(
        app,
        http=HeadDeadlineProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    QuietServer(config).run(sockets=[listener])
