"""Addresses to listen on, as people write them."""

from __future__ import annotations

import re

from renewctl.errors import Unusable
from renewctl.reasons import Reason

_PORT = re.compile(r"[0-9]{1,5}")


def host_and_port(address: str) -> tuple[str, int]:
    """Of `HOST:PORT`, `:PORT` (all interfaces, the host is "") or `[IPV6]:PORT`.

    Raises:
        Unusable: `listen_address_invalid`.
    """
    host, found, port = address.rpartition(":")
    if not found or not _PORT.fullmatch(port) or int(port) > 65535:  # noqa: PLR2004 - ports have 16 bits
        raise Unusable(Reason.LISTEN_ADDRESS_INVALID, got=address, expected="HOST:PORT | :PORT | [IPV6]:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
