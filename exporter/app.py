"""The endpoints: /metrics, /-/healthy, /-/ready, and the status page. A scrape hands out bytes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.rendering import Page, accepts_gzip, choose_format


def make_app(page: Callable[[], Page], ready: Callable[[], bool], status: Route) -> Starlette:
    """The ASGI application.

    Args:
        page: gives the newest page.
        ready: whether every node has answered or failed once.
        status: the status page's route.
    """

    async def metrics(request: Request) -> Response:
        format_ = choose_format(_header(request, "accept"))
        compressed = accepts_gzip(_header(request, "accept-encoding"))
        headers = {"Content-Type": format_.value, "Vary": "Accept, Accept-Encoding"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(page().answer(format_, compressed=compressed), headers=headers)

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def is_ready(_request: Request) -> Response:
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not every node has answered or failed once\n", status_code=503)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/-/healthy", healthy),
            Route("/-/ready", is_ready),
            status,
        ]
    )


def _header(request: Request, name: str) -> str:
    """A header that may be sent in several lines, as one list."""
    return ",".join(request.headers.getlist(name))
