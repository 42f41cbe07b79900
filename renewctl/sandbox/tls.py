"""TLS on the server's side that tells a refused client why.

asyncio's own drops the alert when it refuses a client certificate, so the client would see a bare end of
connection; Apple's push service sends `certificate_expired` or `unknown_ca`, and servers print that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

_CHUNK = 65_536
_LINGER_SECONDS = 1.0


def server_context(certificate: Path, key: Path, client_issuers: list[Path]) -> ssl.SSLContext:
    """HTTP/2 over TLS 1.2 or later; a client certificate from one of the issuers is required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    for issuer in client_issuers:
        context.load_verify_locations(issuer)
    context.set_alpn_protocols(["h2"])
    return context


class TlsStream:
    """A TLS connection over an asyncio stream."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self, already_read: bytes = b"") -> None:
        """Shake hands; a refused client is sent its alert before this raises.

        Raises:
            ssl.SSLError: the client's certificate, or its protocol, was refused.
            ConnectionError: the client went away.
        """
        self._incoming.write(already_read)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError:
                await self._flush()
                await self._linger()
                raise
            else:
                await self._flush()
                return

    @property
    def peer_certificate(self) -> bytes:
        """The client's certificate, DER."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def speaks_http2(self) -> bool:
        """The client agreed to HTTP/2."""
        return self._tls.selected_alpn_protocol() == "h2"

    async def read(self) -> bytes:
        """Some bytes; none once the client has closed."""
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                try:
                    await self._feed()
                except ConnectionError:
                    return b""
            except ssl.SSLError:
                return b""  # closed, with or without saying so

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        self._tls.write(data)
        await self._flush()

    async def _feed(self) -> None:
        data = await self._reader.read(_CHUNK)
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)

    async def _flush(self) -> None:
        self._writer.write(self._outgoing.read())
        await self._writer.drain()

    async def _linger(self) -> None:
        """Close our half and wait for theirs: a reset would overtake the alert."""
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(_CHUNK):
                    pass
