"""Does Apple's push service accept this pair, and does it wake this device? Sole owner of HTTP/2 (httpx).

Answers and their meaning: `pushanswer`. A pair is loaded through an anonymous memory file (memfd): Python's
TLS takes client keys from files only, and a key never becomes a file on a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from renewctl import pushanswer
from renewctl.certificate.pushcert import Pair
from renewctl.pushanswer import PushResult
from renewctl.reasons import Reason

__all__ = ["DEFAULT_URL", "PairCheck", "PushResult", "PushService"]

DEFAULT_URL = "https://api.push.apple.com"

DEADLINE_SECONDS = 10.0
"""One question, all in all: connecting, handshake, answer."""

MAX_ANSWER_BYTES = 16 * 1024
"""Real answers are a line of JSON."""

IMPOSSIBLE_TOKEN = "00" * 32
"""A device token that cannot exist: a pair the service accepts is told `BadDeviceToken`."""

_GRACE_SECONDS = 0.2

#: What httpcore says above the one error that tells.
_SAYS_NOTHING = ("", "All connection attempts failed")


@dataclass(frozen=True)
class PairCheck:
    """Whether the push service accepts a pair.

    Attributes:
        accepted: True; False: refused, `reason` says why; None: unknown.
        reason: None when accepted.
        status: HTTP status, where there was one.
        detail: the service's words, fit to be shown.
    """

    accepted: bool | None
    reason: Reason | None = None
    status: int | None = None
    detail: str = ""


class PushService:
    """Apple's push service, or a stand-in.

    Args:
        url: base URL, https.
        ca_file: PEM of the root to trust; None: the system's.
        deadline_seconds: how long one question may take.

    Environment proxies (`HTTPS_PROXY`) are honoured: this is the one thing we ask on the open Internet.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        ca_file: Path | None = None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._ca_file = ca_file
        self._deadline = deadline_seconds

    def check(self, pair: Pair) -> PairCheck:
        """Show the pair to the service with a push that can reach nobody."""
        result = self.push(pair, IMPOSSIBLE_TOKEN, "renewctl")
        # A complaint about the token comes from a service that has accepted the pair.
        if result.accepted or result.reason in pushanswer.ONE_DEVICE:
            return PairCheck(accepted=True, status=result.status, detail=result.detail)
        accepted = False if result.says_wrong_pair else None
        return PairCheck(accepted, result.reason, result.status, result.detail)

    def push(self, pair: Pair, token: str, magic: str) -> PushResult:
        """Wake one device. Never raises for what the service does.

        Args:
            pair: whose certificate's topic the device is enrolled with.
            token: device token, hex.
            magic: the enrollment's PushMagic.
        """
        try:
            context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        except OSError as error:  # not there, or (an SSLError) nothing in it
            detail = f"{self._ca_file}: {pushanswer.spoken(error.strerror or '')}"
            return PushResult(accepted=None, reason=Reason.PUSH_SERVICE_NOT_TRUSTED, detail=detail)
        try:
            with _memory_file(pair.certificate.pem + pair.key) as path:
                context.load_cert_chain(path, password="")  # an encrypted key would ask on the terminal
        except (ssl.SSLError, ValueError) as error:
            # A key that is not the certificate's, or no key at all.
            detail = pushanswer.spoken(error.strerror or "") if isinstance(error, ssl.SSLError) else ""
            return PushResult(accepted=False, reason=Reason.PUSH_PAIR_UNUSABLE, detail=detail)
        try:
            status, body = asyncio.run(self._ask(context, pair, token, magic))
        except (TimeoutError, httpx.TimeoutException):
            detail = f"no answer within {self._deadline:g} s"
            return PushResult(accepted=None, reason=Reason.PUSH_SERVICE_TIMEOUT, detail=detail)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return _failed(error)
        except (
            ValueError,
            ImportError,
        ):  # httpx's, of a proxy in the environment: SOCKS, or no scheme it knows
            detail = "the url, or the proxy in the environment, is of a kind that cannot be used"
            return PushResult(accepted=None, reason=Reason.PUSH_SERVICE_UNREACHABLE, detail=detail)
        return _answered(status, body)

    async def _ask(self, context: ssl.SSLContext, pair: Pair, token: str, magic: str) -> tuple[int, bytes]:
        headers = {"apns-push-type": "mdm", "apns-expiration": "0"}
        if pair.certificate.topic is not None:
            headers["apns-topic"] = pair.certificate.topic
        # httpx's timeout is one for each read, so a second one stands over everything. It comes a moment
        # later: httpcore closes its socket when its own timeout ends a handshake, not when it is cancelled.
        async with (
            asyncio.timeout(self._deadline + _GRACE_SECONDS),
            httpx.AsyncClient(http1=False, http2=True, verify=context, timeout=self._deadline) as client,
            client.stream(
                "POST", f"{self._url}/3/device/{token}", json={"mdm": magic}, headers=headers
            ) as answer,
        ):
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    break
            return answer.status_code, body[:MAX_ANSWER_BYTES]


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path that names memory of this process alone; gone when closed, never on a disk."""
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _answered(status: int, body: bytes) -> PushResult:
    word = _word(body)
    reason = pushanswer.reason_of(status, word)
    if reason is None:
        return PushResult(accepted=True, status=status)
    return _result(reason, status, f"{status} {word or ''}".strip())


def _failed(error: Exception) -> PushResult:
    """A connection that gave no HTTP answer: TLS alerts, GOAWAY, transport."""
    chain = list(_chain(error))
    for step in chain:
        # h2's ConnectionTerminated: APNs tells connection-level errors by GOAWAY with JSON in its debug data.
        data = getattr(step.args[0], "additional_data", None) if step.args else None
        if isinstance(data, bytes) and (word := _word(data)):
            return _result(pushanswer.reason_of(None, word) or Reason.PUSH_ANSWER_UNKNOWN, None, word)
    text = " · ".join(dict.fromkeys(str(step) for step in chain if str(step)))
    reason = pushanswer.reason_of_failure(text)
    if reason is Reason.PUSH_ANSWER_UNKNOWN and isinstance(error, httpx.ConnectError | httpx.ProxyError):
        reason = Reason.PUSH_SERVICE_UNREACHABLE
    told = dict.fromkeys(pushanswer.spoken(str(step)) for step in chain)
    return _result(reason, None, " · ".join(words for words in told if words not in _SAYS_NOTHING))


def _result(reason: Reason, status: int | None, detail: str) -> PushResult:
    certain = reason in pushanswer.WRONG_PAIR or reason in pushanswer.ONE_DEVICE
    return PushResult(False if certain else None, reason, status, pushanswer.shown(detail))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or step.__context__


def _word(body: bytes) -> str | None:
    """`reason` of an answer's JSON."""
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    word = content.get("reason") if isinstance(content, dict) else None
    return str(word) if word else None
