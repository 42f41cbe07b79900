"""In front of every application of ours: rate limit, users, security headers, as the web config says now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from renewctl.web.config import Rate, WebConfig
from renewctl.web.users import Busy, Passwords, credentials


class Guard:
    """An application behind the web config.

    Args:
        config: gives the one that holds now.
    """

    def __init__(self, app: ASGIApp, config: Callable[[], WebConfig]) -> None:
        self._app = app
        self._config = config
        self._passwords = Passwords()
        self._bucket = Bucket(Rate(0, 0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say why not: 429, 401, 503."""
        config = self._config()
        send = _with_headers(send, config)
        answer = self._too_many(config.rate) or await self._unknown(config, scope)
        await (answer or self._app)(scope, receive, send)

    def _too_many(self, rate: Rate | None) -> PlainTextResponse | None:
        if rate is None:
            return None
        if rate != self._bucket.rate:
            self._bucket = Bucket(rate)
        if (wait := self._bucket.take()) == 0:
            return None
        headers = {"Retry-After": str(math.ceil(wait))}
        return PlainTextResponse("too many requests\n", status_code=429, headers=headers)

    async def _unknown(self, config: WebConfig, scope: Scope) -> PlainTextResponse | None:
        if not config.users:
            return None
        given = credentials(Headers(scope=scope).get("authorization", ""))
        try:
            address = (scope.get("client") or ("",))[0]
            if given is not None and await self._passwords.right(config.users, *given, address):
                return None
        except Busy:
            return PlainTextResponse(
                "too many passwords to check\n", status_code=503, headers={"Retry-After": "1"}
            )
        challenge = {"WWW-Authenticate": 'Basic realm="renewctl", charset="UTF-8"'}
        return PlainTextResponse("user and password, please\n", status_code=401, headers=challenge)


class Bucket:
    """Tokens; one is taken with each request, one comes back each interval."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._tokens = float(rate.burst)
        self._at = time.monotonic()

    def take(self) -> float:
        """0 where there was a token; else the seconds until there is one."""
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._at) / self.rate.interval, self.rate.burst)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) * self.rate.interval
        self._tokens -= 1
        return 0


def _with_headers(send: Send, config: WebConfig) -> Send:
    if not config.headers:
        return send

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in config.headers.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
