"""The page over HTTP: which language, which headers, and not more often than it is worth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.rendering import header_entries, header_quality
from exporter.snapshot import Snapshot
from exporter.status.page import POLICY, RELOAD_SECONDS, Reader, render
from renewctl import messages
from renewctl.inventory.reading import Inventory

Known = Callable[[], tuple[Inventory, Snapshot]]
"""Gives what is known now."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
}

_SHARE = 20
"""A page is given out this many times as long as it took to make: at most 5 % of a core for each kind
of reader, however many ask. A page of ten topics takes 10 ms, one of a thousand 1.6 s."""


def status_route(known: Known) -> Route:
    """The route `/`."""
    pages = Pages(known)

    def answer(request: Request) -> Response:  # not async: it is made in a thread, and scrapes go on
        language = request.query_params.get("lang", "")
        if language not in messages.LANGUAGES:
            language = preferred(",".join(request.headers.getlist("accept-language")))
        reader = Reader(language, reloads=request.query_params.get("reload") != "off")
        headers = {**_HEADERS, "Content-Language": language}
        if reader.reloads:
            headers["Refresh"] = str(RELOAD_SECONDS)
        return Response(pages.newest(reader), media_type="text/html; charset=utf-8", headers=headers)

    return Route("/", answer)


class Pages:
    """The last page for each kind of reader, made anew when it is asked for and old enough."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._made: dict[Reader, tuple[float, Inventory | None, bytes]] = {}
        self._one_at_a_time = threading.Lock()

    def newest(self, reader: Reader) -> bytes:
        """The page for a reader."""
        with self._one_at_a_time:
            until, of, body = self._made.get(reader, (0.0, None, b""))
            inventory, snapshot = self._known()
            began = time.monotonic()
            if began >= until or inventory is not of:  # another inventory: it was read again
                body = render(inventory, snapshot, datetime.now(UTC), reader)
                took = time.monotonic() - began
                self._made[reader] = (began + _SHARE * took, inventory, body)
            return body


def preferred(accept_language: str) -> str:
    """The language of ours a browser likes best (RFC 9110 §12.5.4); English where it names none of them."""
    best, found = 0.0, messages.DEFAULT
    for name, values in header_entries(accept_language):
        language, quality = name.partition("-")[0], header_quality(values)
        if language in messages.LANGUAGES and quality > best:
            best, found = quality, language
    return found
