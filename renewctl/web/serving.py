"""uvicorn, with what it lacks for a server that stands in the open.

- Connections that cannot be held open (`connection`).
- TLS whose certificate may change while it runs; the handshake is on the clock, too.
- Several addresses, and several applications, in one process.
- No idle tick: uvicorn wakes ten times a second to look whether it should leave; here the signal tells it.
- SIGTERM and SIGINT: no new connections, answers under way are finished, then `serve` returns.
- What an application did not expect is one line in the log, never a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server

from renewctl.errors import Refused
from renewctl.reasons import Reason
from renewctl.web.addresses import host_and_port
from renewctl.web.connection import MAX_CONNECTIONS, Crowd, Greeting, HttpConnection
from renewctl.web.pieces import in_pieces

log = logging.getLogger("web")

KEEP_ALIVE_SECONDS = 130
"""An idle connection after an answer; above the usual scrape intervals of 15 to 120 s."""

DRAIN_SECONDS = 5
"""What answers under way get after SIGTERM; kubelet's and systemd's patience is longer."""

_BACKLOG = 512


@dataclass(frozen=True)
class Site:
    """One application and where it is served.

    Attributes:
        listeners: bound sockets; `serve` closes them.
        tls: gives what a new connection is to be greeted with, None for plain HTTP; never raises.
    """

    app: ASGIApp
    listeners: Sequence[socket.socket]
    tls: Callable[[], Greeting | None] = lambda: None


class QuietServer(Server):
    """uvicorn's server for several sites, asleep until a signal comes.

    Args:
        sites: what to serve, each on its own sockets.
    """

    _leave: asyncio.Event

    def __init__(self, sites: Sequence[Site]) -> None:
        super().__init__(_config(sites[0].app))
        self._sites = sites

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - in the sites
        """Accept on every socket of every site; they share the room for connections."""
        loop = asyncio.get_running_loop()
        crowd = Crowd(MAX_CONNECTIONS)
        self.servers = [
            await loop.create_server(self._greeting(site, crowd), sock=listener, backlog=_BACKLOG)
            for site in self._sites
            for listener in site.listeners
        ]
        self.started = True

    def _greeting(self, site: Site, crowd: Crowd) -> Callable[[], asyncio.BaseProtocol]:
        config = _config(_calm(site.app))
        config.load()

        def greet() -> asyncio.BaseProtocol:
            greeting = site.tls()
            http = HttpConnection(crowd, config, self.server_state, greeting, site.tls)
            if greeting is None:
                return http
            from renewctl.web.handshake import TlsConnection  # noqa: PLC0415 - only where TLS is used

            return TlsConnection(crowd, http, greeting.context)

        return greet

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
    host, port = host_and_port(address)
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 - asked for
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of the host is too long
        got = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Refused(Reason.LISTEN_FAILED, address=address, got=got) from None


def serve(sites: Sequence[Site]) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is under way. Main thread only."""
    # Anybody can send bytes that are no HTTP; a log line for each would fill the disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    QuietServer(sites).run(sockets=[one for site in sites for one in site.listeners])


def _config(app: ASGIApp) -> Config:
    return Config(
        app,
        http=HttpConnection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,  # whoever asks could say to be somebody else
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _calm(app: ASGIApp) -> ASGIApp:
    """The application, whose faults are a line in the log and a 500 to whoever asked."""

    async def calm(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        handing_on = in_pieces(send)

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await handing_on(message)

        try:
            await app(scope, receive, noting)
        except asyncio.CancelledError:
            log.warning("%s was not answered in time before the end", scope["path"])
        except Exception as error:
            # No traceback: it may hold what was asked. `debug` tells all.
            log.error("%s failed: %s", scope["path"], type(error).__name__)  # noqa: TRY400
            log.debug("%s", scope["path"], exc_info=error)
            if not begun:
                await PlainTextResponse("internal error\n", status_code=500)(scope, receive, send)

    return calm
