"""The certificate somebody shows in a TLS handshake, whatever it is worth: expired ones have a date too."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from renewctl.errors import NodeFault
from renewctl.reasons import Reason
from renewctl.servers.deadline import Deadline

DEADLINE_SECONDS = 10.0
"""For the connection and the handshake together."""

_HTTPS = 443


def certificate_of(name: str, url: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> bytes:
    """The server's own certificate, DER; nothing is sent after the handshake.

    Args:
        name: of what is asked, for errors.
        url: `https://host[:port]/…`.
        deadline_seconds: for all of it.

    Raises:
        NodeFault: `node_unreachable`, `node_tls_failed`, `node_timeout`.
    """
    parts = urlsplit(url)
    address = parts.hostname or "", parts.port or _HTTPS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not to trust it, but to read a date in it: that of an expired certificate is the one that matters.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    values = {"node": name, "address": f"{address[0]}:{address[1]}"}
    with Deadline(deadline_seconds) as deadline:
        try:
            plain = socket.create_connection(address, timeout=deadline_seconds)
        except TimeoutError:
            raise NodeFault(Reason.NODE_TIMEOUT, **values, seconds=f"{deadline_seconds:g}") from None
        except (OSError, UnicodeError) as error:
            raise NodeFault(Reason.NODE_UNREACHABLE, **values, got=type(error).__name__) from None
        with plain:
            try:
                with context.wrap_socket(deadline.watch(plain), server_hostname=address[0]) as greeted:
                    return greeted.getpeercert(binary_form=True) or b""
            except (OSError, ValueError) as error:
                if deadline.expired or isinstance(error, TimeoutError):
                    raise NodeFault(Reason.NODE_TIMEOUT, **values, seconds=f"{deadline_seconds:g}") from None
                raise NodeFault(Reason.NODE_TLS_FAILED, **values, got=type(error).__name__) from None
