"""A TLS connection of asyncio, with a deadline for the handshake, little memory, and a context of its own.

asyncio's servers are given one context for life; greeting each connection with the newest one is how a
renewed certificate, another CA or other users' demands count from the next connection on.
"""

from __future__ import annotations

import asyncio
from asyncio.sslproto import SSLProtocol
from ssl import SSLContext

from renewctl.web.connection import Crowd

HANDSHAKE_SECONDS = 5
"""Until the handshake is complete; a second round trip around the world takes half a second."""

SHUTDOWN_SECONDS = 2
"""For the other side's close_notify; nothing of the answer waits for it."""


class TlsConnection(SSLProtocol):
    """TLS around one connection."""

    max_size = 32 * 1024  # of the read buffer, which each connection has for life; asyncio's own has 256 KiB

    def __init__(self, crowd: Crowd, inner: asyncio.Protocol, context: SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type] # nobody waits for the handshake; the code allows it
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._crowd = crowd
        self._outer: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Also who never says a word of TLS takes up room."""
        self._outer = transport
        self._crowd.moved(transport)
        super().connection_made(transport)

    def _get_write_buffer_size(self) -> int:
        """With what waits beneath TLS: asyncio counts what is not encrypted yet, and that never waits."""
        waiting = 0 if self._outer is None else self._outer.get_write_buffer_size()
        return super()._get_write_buffer_size() + waiting  # type: ignore[misc,no-any-return] # not in typeshed

    def connection_lost(self, exc: BaseException | None) -> None:
        """Also of a handshake that never ended."""
        if self._outer is not None:
            self._crowd.left(self._outer.get_extra_info("socket"))
        super().connection_lost(exc)
