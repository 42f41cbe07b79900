"""The endpoints. A scrape of /metrics hands out bytes; /probe answers for one node; / is for people."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from exporter.probe import Prober, Refusal
from exporter.reloads import Reloads
from exporter.rendering import Body, Page, Part, accepts_gzip, choose_format
from exporter.snapshot import Snapshot
from renewctl import messages
from renewctl.errors import RenewctlError, Unusable
from renewctl.inventory.reading import Inventory
from renewctl.web.pieces import PIECE_BYTES

if TYPE_CHECKING:
    from exporter.probe_config import Module


_CROSS_SITE = "a page of another site asked a browser for this; reload with curl -X POST, or SIGHUP\n"


class _Watching(Protocol):
    @property
    def inventory(self) -> Inventory: ...
    @property
    def snapshot(self) -> Snapshot: ...
    @property
    def page(self) -> Page: ...
    @property
    def ready(self) -> bool: ...


class _Exporter(Protocol):
    @property
    def watching(self) -> _Watching: ...
    @property
    def reloads(self) -> Reloads: ...
    @property
    def modules(self) -> Mapping[str, Module]: ...
    def reload(self) -> RenewctlError | None: ...


def make_app(exporter: _Exporter, status: Route) -> Router:
    """The ASGI application.

    Args:
        exporter: gives the newest page, whether every node was asked, and reads its configuration again.
        status: the status page's route.
    """
    prober = Prober(
        lambda: exporter.watching.inventory, lambda: exporter.watching.snapshot, lambda: exporter.modules
    )

    reloading = Reloading(exporter.reload)

    async def metrics(request: Request) -> Response:
        return _answer(request, exporter.watching.page, exporter.reloads.part)

    async def probe(request: Request) -> Response:
        asked, timeout = request.query_params, request.headers.get("x-prometheus-scrape-timeout-seconds", "")
        try:
            page = await prober.page(asked.get("target", ""), asked.get("module", ""), timeout)
        except Refusal as refusal:
            return PlainTextResponse(f"{refusal.words}\n", status_code=refusal.status)
        return _answer(request, page)

    async def reload(request: Request) -> Response:
        if of_another_site(request.headers):
            return PlainTextResponse(_CROSS_SITE, status_code=403)
        fault = await reloading.next()
        if fault is None:
            return PlainTextResponse("reloaded\n")
        return PlainTextResponse("".join(f"{line}\n" for line in words(fault)), status_code=500)

    return Router(
        routes=[
            Route("/metrics", metrics),
            Route("/probe", probe),
            Route("/-/reload", reload, methods=["POST", "PUT"]),
            *_health(lambda: exporter.watching.ready),
            status,
        ]
    )


class Reloading:
    """Reloads asked for over HTTP: one at a time, and one waits, for however many ask meanwhile.

    So each is told of a reload that began after it was asked for.

    Args:
        reload: done in a thread; gives the fault, if any.
    """

    def __init__(self, reload: Callable[[], RenewctlError | None]) -> None:
        self._reload = reload
        self._one_at_a_time = asyncio.Lock()
        self._waiting: asyncio.Task[RenewctlError | None] | None = None

    async def next(self) -> RenewctlError | None:
        """What the next one to begin comes to."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._run())
        return await asyncio.shield(self._waiting)

    async def _run(self) -> RenewctlError | None:
        async with self._one_at_a_time:
            self._waiting = None
            return await run_in_threadpool(self._reload)


def _answer(request: Request, page: Page, own: Part | None = None) -> Response:
    """A page in the format and encoding that are asked for."""
    format_ = choose_format(header(request, "accept"))
    compressed = accepts_gzip(header(request, "accept-encoding"))
    headers = {"Content-Type": format_.value, "Vary": "Accept, Accept-Encoding"}
    if compressed:
        headers["Content-Encoding"] = "gzip"
    body = page.body(format_, compressed=compressed, own=own)
    if body.size <= PIECE_BYTES:
        return Response(body.whole(), headers=headers)
    return _Streamed(body, headers)


class _Streamed(Response):
    """An answer that is made while it is taken."""

    def __init__(self, body: Body, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(body.size)})
        self._pieces = body.pieces()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def make_health_app(ready: Callable[[], bool]) -> Router:
    """Health alone: what may stand open to whoever probes it."""
    return Router(routes=_health(ready))


def words(fault: RenewctlError) -> list[str]:
    """Every fault, and what to do, in the language of the exporter's environment."""
    language = messages.language_of(os.environ)
    faults = (fault, *(fault.others if isinstance(fault, Unusable) else ()))
    return [line for one in faults for line in messages.sentence(one.reason, language, one.values)]


def of_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this for a page that is not ours; no tool but a browser says such a thing.

    Args:
        headers: names in lower case. Browsers send `sec-fetch-site` with HTTPS and to localhost alone
            (https://www.w3.org/TR/fetch-metadata/), `origin` with every POST.
    """
    if site := headers.get("sec-fetch-site"):
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def header(request: Request, name: str) -> str:
    """A header that may be sent in several lines, as one list."""
    return ",".join(request.headers.getlist(name))


def _health(ready: Callable[[], bool]) -> list[Route]:
    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def is_ready(_request: Request) -> Response:
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not every node has answered or failed once\n", status_code=503)

    return [Route("/-/healthy", healthy), Route("/-/ready", is_ready)]
