"""One HTTP request to a node: verified TLS, no proxies, no redirects, a deadline that holds.

Sole owner of requests. Whatever goes wrong comes out as NodeFault with a reason.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from renewctl.errors import NodeFault
from renewctl.inventory.fields import is_loopback
from renewctl.inventory.reading import Node
from renewctl.pushanswer import shown, spoken
from renewctl.reasons import Reason
from renewctl.servers.deadline import Deadline

DEADLINE_SECONDS = 10.0
"""How long one request may take, all in all. NanoMDM itself has no limit on a push (facts/lab.md §0, 7)."""

MAX_ANSWER_BYTES = 1 << 20
"""Real answers have some hundred bytes."""

_PIECE = 1 << 16
_DENIED = (401, 403)
_SERVER_ERROR = 500
# The first that fits; what these exceptions say themselves may be the peer's bytes.
_WORDS: dict[type[BaseException], str] = {
    http.client.RemoteDisconnected: "connection closed without an answer",
    http.client.IncompleteRead: "the answer was cut short",
    http.client.HTTPException: "what came is not HTTP",
    urllib3.exceptions.IncompleteRead: "the answer was cut short",
    requests.exceptions.InvalidURL: "this is no url",
}
_HEADERS = {"User-Agent": "renewctl", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Credential:
    """User and password of HTTP Basic, or, with an empty user, a Bearer token; never shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    def auth(self) -> AuthBase:
        """UTF-8 bytes, since requests would write text as Latin-1."""
        if not self.user:
            return _Bearer(self.password.encode())
        return HTTPBasicAuth(self.user.encode(), self.password.encode())


class _Bearer(AuthBase):
    def __init__(self, token: bytes) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = (b"Bearer " + self._token).decode("latin-1")
        return request


@dataclass(frozen=True)
class Answer:
    """What a node answered.

    Attributes:
        node: the node's name.
        status: HTTP status.
        body: at most `MAX_ANSWER_BYTES`.
    """

    node: str
    status: int
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            NodeFault: `node_answer_unreadable`.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise NodeFault(Reason.NODE_ANSWER_UNREADABLE, node=self.node, got=self.brief())
        return value

    def brief(self) -> str:
        """Status and the body's first words, fit to be shown."""
        return f"{self.status} {shown(self.body[:2000].decode(errors='replace'))}".rstrip()

    @property
    def denied(self) -> bool:
        """User or password were refused, or none was sent where one is wanted."""
        return self.status in _DENIED

    def fault(self) -> NodeFault:
        """The error this status stands for, where another was expected."""
        if self.denied:
            reason = Reason.NODE_DENIED
        elif self.status >= _SERVER_ERROR:
            reason = Reason.NODE_ERROR
        else:
            reason = Reason.NODE_ANSWER_UNREADABLE
        return NodeFault(reason, node=self.node, got=self.brief())


class Transport:
    """Requests to one node's base URL; a new connection each, but in a `Conversation`."""

    def __init__(self, node: Node, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        if node.url is None:
            raise ValueError("a node without url has no transport")
        self._node = node
        self._base = node.url.rstrip("/")
        self._deadline = deadline_seconds

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        credential: Credential | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request; any status is an answer.

        Args:
            method: HTTP method.
            path: begins with a slash; already quoted.
            body: None sends no body at all (NanoMDM v0.9.0 stores whatever body comes, facts/lab.md §0, 13).
            credential: sent as HTTP Basic or Bearer; None sends none.
            before_sending: called once the connection stands, before the first byte; what it raises ends the
                request with nothing sent.

        Raises:
            NodeFault: `node_insecure_http`, `node_unreachable` (nothing was sent), `node_tls_failed`,
                `node_timeout` and `node_no_answer` (it may have been done), `node_answer_unreadable`.
        """
        with Deadline(self._deadline) as deadline, _session(deadline, before_sending) as session:
            session.headers["Connection"] = "close"
            return self.ask_in(session, deadline, method, path, body=body, credential=credential)

    @contextmanager
    def conversation(self) -> Iterator[Conversation]:
        """For several questions at once."""
        with ExitStack() as opened:
            yield Conversation(self, self._deadline, opened)

    def ask_in(
        self,
        session: requests.Session,
        deadline: Deadline,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        credential: Credential | None = None,
    ) -> Answer:
        """As `ask`, over the connections of a session, which stand under this deadline."""
        self._refuse_insecure()
        try:
            status, content = self._exchange(session, method, path, body, credential)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # `from None`: the library's words may hold the URL's user and password.
            raise self._fault(error, expired=deadline.expired) from None
        if deadline.expired:  # a body without a length just ends there
            raise self._timeout()
        if len(content) > MAX_ANSWER_BYTES:
            raise NodeFault(
                Reason.NODE_ANSWER_UNREADABLE, node=self._node.name, got=f"{status}, > {MAX_ANSWER_BYTES} B"
            )
        return Answer(self._node.name, status, content)

    def _exchange(
        self,
        session: requests.Session,
        method: str,
        path: str,
        body: bytes | None,
        credential: Credential | None,
    ) -> tuple[int, bytes]:
        with session.request(
            method,
            self._base + path,
            data=body,
            auth=None if credential is None else credential.auth(),
            verify=True if self._node.ca_file is None else str(self._node.ca_file),
            allow_redirects=False,
            stream=True,
            timeout=self._deadline,
        ) as response:
            content = b""
            # To the end, since only the read after the last byte tells that the answer was cut short.
            while len(content) <= MAX_ANSWER_BYTES and (
                piece := response.raw.read(_PIECE, decode_content=False)
            ):
                content += piece
            return response.status_code, content

    def _refuse_insecure(self) -> None:
        parts = urlsplit(self._base)
        if parts.scheme == "https" or self._node.insecure_http or is_loopback(parts.hostname or ""):
            return
        raise NodeFault(Reason.NODE_INSECURE_HTTP, node=self._node.name, got=self.address)

    @property
    def address(self) -> str:
        """Scheme, host and port, without user information."""
        parts = urlsplit(self._base)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def _timeout(self) -> NodeFault:
        return NodeFault(
            Reason.NODE_TIMEOUT, node=self._node.name, address=self.address, seconds=f"{self._deadline:g}"
        )

    def _fault(self, error: Exception, *, expired: bool) -> NodeFault:
        if expired or isinstance(error, requests.ReadTimeout) or _ended_by_a_timeout(error):
            return self._timeout()
        values = {"node": self._node.name, "address": self.address, "got": _cause(error)}
        if type(error) is OSError:  # requests looks for the CA file before it connects, and says so in prose
            values["got"] = f"ca_file cannot be read: {self._node.ca_file}"
        return NodeFault(_reason(error), **values)


class Conversation:
    """Questions one after another over one connection, as long as the node keeps it open.

    A question that gets no answer on a connection used before is asked once more on a new one, as whoever
    closed it may not have seen it: so none that changes anything. Each has a deadline of its own.
    """

    def __init__(self, transport: Transport, deadline_seconds: float, opened: ExitStack) -> None:
        self._transport = transport
        self._seconds = deadline_seconds
        self._opened = opened
        self._kept: tuple[Deadline, requests.Session] | None = None

    def get(self, path: str, credential: Credential | None = None) -> Answer:
        """Ask; arguments and faults as of `Transport.ask`."""
        used = self._kept is not None
        try:
            return self._get(path, credential)
        except NodeFault as fault:
            if not used or fault.reason is not Reason.NODE_NO_ANSWER:
                raise
        return self._get(path, credential)

    def _get(self, path: str, credential: Credential | None) -> Answer:
        if self._kept is None:
            deadline = self._opened.enter_context(Deadline(self._seconds))
            self._kept = deadline, self._opened.enter_context(_session(deadline))
        else:
            self._kept[0].again()
        deadline, session = self._kept
        try:
            answer = self._transport.ask_in(session, deadline, "GET", path, credential=credential)
        except NodeFault:
            self._kept = None  # nobody knows in which state the connection is
            self._opened.close()
            raise
        deadline.rest()
        return answer


def _session(deadline: Deadline, before_sending: Callable[[], None] | None = None) -> requests.Session:
    """One whose connections stand under a deadline, and send nothing before they have asked."""
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers.update(_HEADERS)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(deadline, before_sending))
    return session


def _reason(error: Exception) -> Reason:
    if isinstance(error, requests.exceptions.SSLError):
        return Reason.NODE_TLS_FAILED
    if isinstance(error, requests.ConnectionError):
        # requests wraps: ConnectionError(MaxRetryError(reason=NewConnectionError)), nothing was sent then.
        inner = getattr(error.args[0], "reason", None) if error.args else None
        never_sent = isinstance(error, requests.ConnectTimeout) or isinstance(
            inner, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
        )
        return Reason.NODE_UNREACHABLE if never_sent else Reason.NODE_NO_ANSWER
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return Reason.NODE_TLS_FAILED  # the ca_file; nothing was connected yet
    return Reason.NODE_ANSWER_UNREADABLE


def _ended_by_a_timeout(error: Exception) -> bool:
    """The socket's own timeout while sending: ConnectionError(ProtocolError(…, TimeoutError))."""
    inner = error.args[0] if error.args else None
    return isinstance(inner, urllib3.exceptions.ProtocolError) and isinstance(inner.args[-1], TimeoutError)


def _cause(error: BaseException) -> str:
    """The operating system's or TLS's own words at the bottom of a chain of wrappers."""
    seen: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in seen:
        seen.append(step)
        inner = getattr(step, "reason", None) or (step.args[0] if step.args else None)
        step = inner if isinstance(inner, BaseException) else (step.__cause__ or step.__context__)
    return next((words for found in reversed(seen) if (words := _words(found))), type(seen[-1]).__name__)


def _words(error: BaseException) -> str | None:
    """What a person understands of one step of the chain; None where another one says more."""
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    verify = getattr(error, "verify_message", None)
    if verify:
        return str(verify)
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return spoken(error.strerror or "") or None
    if isinstance(error, OSError) and error.errno and error.errno > 0 and not hasattr(error, "reason"):
        return os.strerror(error.errno)
    return None


class _Adapter(HTTPAdapter):
    """An adapter whose connections stand under a deadline; never retries."""

    def __init__(self, deadline: Deadline, before_sending: Callable[[], None] | None) -> None:
        self._deadline = deadline
        self._before_sending = before_sending
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        super().init_poolmanager(*args, **kwargs)
        deadline, connected = self._deadline, self._connected

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return deadline.watch(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                connected()

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return deadline.watch(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                connected()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def _connected(self) -> None:
        """Connecting took its time, and the machine may have slept in it: nothing was sent yet."""
        self._deadline.insist()
        if self._before_sending is not None:
            self._before_sending()
