"""Showing a pair to the push service: TLS, HTTP/2, and what comes back."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, StreamEnded

from renewctl.apns import IMPOSSIBLE_TOKEN, PushService
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.reasons import Reason
from renewctl.sandbox.authority import Apple, Issued, web_root
from tests.support.certs import OTHER_TOPIC, TOPIC
from tests.support.sandbox_parts import MAGIC, TOKEN, Pushes, in_days
from tests.support.scripted_http import reply, scripted, silence, slam


def as_pair(issued: Issued) -> Pair:
    """The product's Pair of a sandbox certificate."""
    return Pair(PushCertificate.from_pem(issued.certificate_pem), issued.key_pem)


@pytest.fixture
def service(calm: Pushes) -> PushService:
    """The product's way to the push service."""
    return PushService(calm.url, calm.pki / "web-root.pem")


@pytest.fixture
def pair(calm: Pushes) -> Pair:
    """A pair the service accepts."""
    return as_pair(calm.apple.push_pair(TOPIC, ends=in_days(300)))


def test_a_good_pair_is_accepted_because_only_the_token_is_refused(
    service: PushService, pair: Pair, calm: Pushes
) -> None:
    """400 BadDeviceToken is the good news: the service looked past the certificate, at the token."""
    told = service.check(pair)
    assert (told.accepted, told.reason, told.status, told.detail) == (True, None, 400, "400 BadDeviceToken")
    line = calm.log()[-1]
    assert (line["serial"], line["topic"], line["reason"]) == (
        pair.certificate.serial,
        TOPIC,
        "BadDeviceToken",
    )
    assert set(IMPOSSIBLE_TOKEN) == {"0"}


@pytest.mark.parametrize(
    ("answer", "accepted", "reason"),
    [
        ("200 ", True, None),
        ("410 Unregistered", True, None),
        ("403 BadCertificate", False, Reason.PUSH_CERTIFICATE_REFUSED),
        ("403 BadCertificateEnvironment", False, Reason.PUSH_CERTIFICATE_REFUSED),
        ("400 TopicDisallowed", False, Reason.PUSH_TOPIC_REFUSED),
        ("400 DeviceTokenNotForTopic", False, Reason.PUSH_TOPIC_REFUSED),
        ("429 TooManyRequests", None, Reason.PUSH_SERVICE_BUSY),
        ("500 InternalServerError", None, Reason.PUSH_SERVICE_BUSY),
        ("503 ServiceUnavailable", None, Reason.PUSH_SERVICE_BUSY),
        ("404 BadPath", None, Reason.PUSH_REQUEST_REFUSED),
    ],
)
def test_a_check_is_yes_no_or_unknown(
    answer: str, accepted: bool | None, reason: Reason | None, service: PushService, pair: Pair, calm: Pushes
) -> None:
    """Only answers about the certificate refuse it; a busy service proves nothing."""
    calm.switch(answer=answer)
    told = service.check(pair)
    assert (told.accepted, told.reason) == (accepted, reason)


def test_expired_and_foreign_certificates_are_refused_by_tls(service: PushService, calm: Pushes) -> None:
    """The handshake's alert is read, whichever TLS version brings it."""
    foreign = Apple.create(datetime.now(UTC)).push_pair(TOPIC, ends=in_days(100))
    for issued, word in (
        (calm.apple.push_pair(TOPIC, ends=in_days(-1)), "expired"),
        (foreign, "unknown"),
    ):
        told = service.check(as_pair(issued))
        assert (told.accepted, told.reason) == (False, Reason.PUSH_TLS_REFUSED)
        assert word in told.detail.lower()


def test_a_pair_that_is_none_is_refused_without_asking(
    service: PushService, pair: Pair, calm: Pushes
) -> None:
    """Another request's key, no key at all."""
    before = len(calm.log())
    other = as_pair(calm.apple.push_pair(TOPIC, ends=in_days(9)))
    for key in (other.key, b"rubbish"):
        told = service.check(Pair(pair.certificate, key))
        assert (told.accepted, told.reason) == (False, Reason.PUSH_PAIR_UNUSABLE)
    assert len(calm.log()) == before


def test_a_push_wakes_the_device_with_its_magic(service: PushService, pair: Pair, calm: Pushes) -> None:
    """200: taken; the device gets the magic; the log shows our serial."""
    with calm.device(TOPIC) as woken:
        told = service.push(pair, TOKEN, MAGIC)
    assert (told.accepted, told.reason, told.status, told.says_wrong_pair) == (True, None, 200, False)
    assert woken == [{"token": TOKEN, "mdm": MAGIC}]


def test_a_push_says_what_is_wrong_with_the_pair_or_with_the_device(
    service: PushService, calm: Pushes
) -> None:
    """Another topic's certificate against a device of this topic; a device nobody knows."""
    other = as_pair(calm.apple.push_pair(OTHER_TOPIC, ends=in_days(300)))
    with calm.device(TOPIC):
        told = service.push(other, TOKEN, MAGIC)
        unknown = service.push(other, "cd" * 32, MAGIC)
    assert (told.accepted, told.reason, told.says_wrong_pair) == (False, Reason.PUSH_TOPIC_REFUSED, True)
    assert (unknown.accepted, unknown.reason, unknown.says_wrong_pair) == (
        False,
        Reason.PUSH_TOKEN_BAD,
        False,
    )


def test_a_service_that_never_answers_is_unknown_at_the_deadline(pair: Pair, calm: Pushes) -> None:
    """After the handshake, and before it."""
    calm.switch(hang=True)
    begun = time.monotonic()
    hanging = PushService(calm.url, calm.pki / "web-root.pem", deadline_seconds=0.5)
    with scripted(silence) as mute:
        silent = PushService(mute.url.replace("http:", "https:"), deadline_seconds=0.5)
        for service in (hanging, silent):
            told = service.check(pair)
            assert (told.accepted, told.reason) == (None, Reason.PUSH_SERVICE_TIMEOUT)
    assert time.monotonic() - begun < 30


def test_connections_that_fail_prove_nothing(pair: Pair, calm: Pushes, tmp_path: Path) -> None:
    """Nobody listening, a reset, an untrusted service, a CA file that is not there, plain HTTP, no URL."""
    with scripted(reply(200)) as gone:
        dead = gone.url.replace("http:", "https:")
    assert PushService(dead).check(pair).reason is Reason.PUSH_SERVICE_UNREACHABLE
    with scripted(reply(200), greet=slam) as server:
        assert PushService(server.url.replace("http:", "https:")).check(pair).accepted is None
    assert PushService(calm.url).check(pair).reason is Reason.PUSH_SERVICE_NOT_TRUSTED
    missing = PushService(calm.url, tmp_path / "none.pem").check(pair)
    assert (missing.accepted, missing.reason) == (None, Reason.PUSH_SERVICE_NOT_TRUSTED)
    (tmp_path / "empty.pem").write_text("nothing in it")
    empty = PushService(calm.url, tmp_path / "empty.pem").check(pair)
    assert (empty.accepted, empty.reason) == (None, Reason.PUSH_SERVICE_NOT_TRUSTED)
    assert PushService("https://[broken").check(pair).accepted is None
    nowhere = PushService("https://push.invalid").check(pair)
    assert (nowhere.reason, nowhere.detail.startswith("host name ")) == (
        Reason.PUSH_SERVICE_UNREACHABLE,
        True,
    )


def test_proxies_of_the_environment_are_honoured(
    service: PushService, pair: Pair, calm: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one question that goes to the open Internet goes through the proxy people have."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{calm.port}")
    through = PushService("https://api.push.apple.com", calm.pki / "web-root.pem")
    assert through.check(pair).accepted is True


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1"])
def test_a_proxy_of_a_kind_nobody_here_speaks(
    proxy: str, service: PushService, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said as a push service that cannot be reached, with the cause; no error of a library comes through."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    told = service.check(pair)
    assert (told.accepted, told.reason) == (None, Reason.PUSH_SERVICE_UNREACHABLE)
    assert "proxy" in told.detail


def test_the_key_never_becomes_a_file(
    service: PushService, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair is loaded from memory: nothing is opened for writing, and no descriptor stays open."""
    opened: list[str] = []
    real = os.open

    def watched(path: str, flags: int, mode: int = 0o777) -> int:
        opened.append(str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert service.check(pair).accepted
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert not [path for path in opened if "pair" in path]
    assert "BEGIN RSA" not in repr(pair)


Act = Callable[[H2Connection, int], None]
"""What is done to the HTTP/2 connection once a request is whole; the number is its stream's."""


@contextmanager
def http2_peer(folder: Path, act: Act) -> Iterator[str]:
    """An HTTP/2 service for one connection that asks for no client certificate."""
    root = web_root(datetime.now(UTC))
    root.write(folder, "web")
    certificate, key = root.server("127.0.0.1").write(folder, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve_http2, args=(listener, context, act), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(5)


def _serve_http2(listener: socket.socket, context: ssl.SSLContext, act: Act) -> None:
    with suppress(OSError):
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as connection:
            http = H2Connection(H2Configuration(client_side=False))
            http.initiate_connection()
            while not (ended := _ended(http.receive_data(connection.recv(65_536)))):
                connection.sendall(http.data_to_send())
            act(http, ended)
            connection.sendall(http.data_to_send())
            while connection.recv(65_536):  # until the client leaves: a reset would overtake what was said
                pass


def _ended(events: list[Event]) -> int:
    return next((event.stream_id for event in events if isinstance(event, StreamEnded)), 0)


@pytest.mark.parametrize(
    ("debug", "accepted", "reason"),
    [
        (b'{"reason":"BadCertificate"}', False, Reason.PUSH_CERTIFICATE_REFUSED),
        (b'{"reason":"IdleTimeout"}', None, Reason.PUSH_SERVICE_BUSY),
        (b'{"reason":"Novel"}', None, Reason.PUSH_ANSWER_UNKNOWN),
        (b"", None, Reason.PUSH_ANSWER_UNKNOWN),
    ],
)
def test_goaway_is_read_for_its_reason(
    debug: bytes,
    accepted: bool | None,
    reason: Reason,
    pair: Pair,
    tmp_path: Path,
) -> None:
    """A GOAWAY that names the certificate refuses it; any other is a connection that ended."""

    def go_away(http: H2Connection, _: int) -> None:
        http.close_connection(additional_data=debug, last_stream_id=0)

    with http2_peer(tmp_path, go_away) as url:
        told = PushService(url, tmp_path / "web.pem").check(pair)
    assert (told.accepted, told.reason) == (accepted, reason)


def test_a_service_that_floods_is_cut_off(pair: Pair, tmp_path: Path) -> None:
    """An answer that does not end is read no further than anybody would need."""

    def flood(http: H2Connection, stream: int) -> None:
        http.send_headers(stream, [(":status", "200")])
        for _ in range(3):
            http.send_data(stream, b"x" * 16_000)

    begun = time.monotonic()
    with http2_peer(tmp_path, flood) as url:
        told = PushService(url, tmp_path / "web.pem").check(pair)
    assert (told.accepted, told.status) == (True, 200)
    assert time.monotonic() - begun < 30
