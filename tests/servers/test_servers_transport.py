"""One request to a node: what may go wrong between two machines, and what we make of it."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from renewctl.errors import Attention, NodeFault
from renewctl.inventory.reading import Node
from renewctl.reasons import Reason
from renewctl.sandbox.authority import web_root
from renewctl.servers import deadline
from renewctl.servers.transport import MAX_ANSWER_BYTES, Answer, Credential, Transport
from tests.support.scripted_http import (
    Act,
    drip,
    hang_up,
    raw,
    reply,
    scripted,
    silence,
    slam,
)

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

NodeAt = Callable[..., Node]
HEAD = b"HTTP/1.1 200 OK\r\n"


def fault_of(node: Node, *, deadline: float = 60.0, body: bytes | None = None) -> NodeFault:
    """The error one GET ends in."""
    with pytest.raises(NodeFault) as caught:
        Transport(node, deadline_seconds=deadline).ask("GET", "/x", body=body)
    return caught.value


def test_an_answer_comes_back_whole_with_its_status(node_at: NodeAt) -> None:
    """Any status is an answer: what it means is for those who asked."""
    with scripted(reply(418, b'{"a": 1}')) as server:
        answer = Transport(node_at(server.url + "/")).ask("GET", "/v1/x?y=z")
    assert (answer.status, answer.json()) == (418, {"a": 1})
    assert (server.requests[0].method, server.requests[0].target) == ("GET", "/v1/x?y=z")


def test_a_get_has_no_body_and_a_put_has_all_of_it(node_at: NodeAt) -> None:
    """NanoMDM v0.9.0 stores whatever body comes with any method, so a look must bring none."""
    with scripted(reply(200)) as server:
        transport = Transport(node_at(server.url))
        transport.ask("GET", "/a")
        transport.ask("PUT", "/b", body=b"pair" * 10_000)
    assert [request.body for request in server.requests] == [b"", b"pair" * 10_000]
    assert "content-length" not in server.requests[0].headers


def test_credentials_are_sent_in_utf8_only_where_given(node_at: NodeAt) -> None:
    """HTTP Basic where a credential was given, nothing where none was."""
    with scripted(reply(200)) as server:
        Transport(node_at(server.url)).ask("GET", "/a")
        Transport(node_at(server.url)).ask("GET", "/a", credential=Credential("nanomdm", "pa55-wörd"))
    expected = base64.b64encode("nanomdm:pa55-wörd".encode()).decode()
    assert [request.headers.get("authorization") for request in server.requests] == [
        None,
        f"Basic {expected}",
    ]


@pytest.mark.parametrize(
    "act",
    [
        silence,
        drip(HEAD, b"X: y\r\n", pause=0.05),
        drip(HEAD + b"Content-Length: 900\r\n\r\n", pause=0.05),
        drip(HEAD + b"\r\n", pause=0.05),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", pause=0.05),
    ],
    ids=["silent", "drips-headers", "drips-body", "drips-body-without-length", "drips-chunks"],
)
def test_no_server_holds_us_longer_than_the_deadline(act: Act, node_at: NodeAt) -> None:
    """However a slow server spreads its bytes, the deadline is one for the whole request."""
    begun = time.monotonic()
    with scripted(act) as server:
        fault = fault_of(node_at(server.url), deadline=0.4)
        assert time.monotonic() - begun < 60
    assert fault.reason is Reason.NODE_TIMEOUT
    assert fault.values == {"node": "n1", "address": server.url, "seconds": "0.4"}


def test_a_request_body_nobody_reads_meets_the_deadline_too(node_at: NodeAt) -> None:
    """A peer that takes the connection and reads nothing cannot hold an upload."""
    with scripted(silence) as server, pytest.raises(NodeFault) as caught:
        Transport(node_at(server.url), deadline_seconds=0.4).ask("PUT", "/x", body=b"x" * 50_000_000)
    assert caught.value.reason is Reason.NODE_TIMEOUT


def test_a_tls_handshake_that_never_ends_meets_the_deadline(node_at: NodeAt) -> None:
    """A plain, silent listener behind an https url."""
    with scripted(silence) as server:
        fault = fault_of(node_at(server.url.replace("http://", "https://")), deadline=0.4)
    assert fault.reason is Reason.NODE_TIMEOUT


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (hang_up, Reason.NODE_NO_ANSWER),
        (slam, Reason.NODE_NO_ANSWER),
        (raw(b"\x00\x01nonsense"), Reason.NODE_NO_ANSWER),
        (raw(HEAD + b"Content-Length: 10\r\n\r\nabc"), Reason.NODE_ANSWER_UNREADABLE),
        (reply(200, b"x" * (MAX_ANSWER_BYTES + 1)), Reason.NODE_ANSWER_UNREADABLE),
    ],
    ids=["empty-reply", "reset", "nonsense", "cut-short", "too-large"],
)
def test_half_an_answer_is_no_answer(act: Act, reason: Reason, node_at: NodeAt) -> None:
    """After a broken answer the request may have been done: never reported as refused."""
    with scripted(act) as server:
        assert fault_of(node_at(server.url)).reason is reason


def test_nobody_listening_means_nothing_was_sent(node_at: NodeAt) -> None:
    """A refused connection is told from a lost answer, with the system's own words."""
    with scripted(reply(200)) as server:
        url = server.url
    fault = fault_of(node_at(url))
    assert (fault.reason, fault.values["got"]) == (Reason.NODE_UNREACHABLE, "Connection refused")


def test_what_forbids_a_request_is_asked_last_of_all(node_at: NodeAt) -> None:
    """When the connection stands and no byte has left; a refusal comes out as it is, and none leaves."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def gone() -> None:
            theirs, _ = listener.accept()
            with theirs, pytest.raises(BlockingIOError):
                theirs.recv(1, socket.MSG_DONTWAIT)
            raise Attention(Reason.CONTROLLER_GONE)

        node = node_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Attention, match="controller_gone"):
            Transport(node).ask("PUT", "/x", body=b"pair", before_sending=gone)
    with scripted(reply(200)) as server:
        answer = Transport(node_at(server.url)).ask("PUT", "/x", before_sending=lambda: asked.append("now"))
    assert (answer.status, asked) == (200, ["now"])


def test_nothing_is_sent_by_who_slept_through_its_deadline(
    node_at: NodeAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop closed between connecting and sending: the request ends as one that took too long."""
    awake, watch = deadline._now, deadline.Deadline.watch

    def slept(self: deadline.Deadline, connection: socket.socket) -> socket.socket:
        monkeypatch.setattr(deadline, "_now", lambda: awake() + 3600)
        return watch(self, connection)

    monkeypatch.setattr(deadline.Deadline, "watch", slept)
    with scripted(reply(200)) as server:
        assert fault_of(node_at(server.url), body=b"pair").reason is Reason.NODE_TIMEOUT
    assert server.requests == []


def test_an_unknown_host_is_unreachable(node_at: NodeAt) -> None:
    """A name that does not resolve, in words."""
    fault = fault_of(node_at("https://mdm.invalid"))
    assert fault.reason is Reason.NODE_UNREACHABLE
    assert str(fault.values["got"]).startswith("host name ")


@pytest.mark.parametrize(
    ("act", "greet", "https", "got"),
    [
        (hang_up, None, False, "connection closed without an answer"),
        (slam, None, False, "Connection reset by peer"),
        (raw(b"\x00\x01nonsense"), None, False, "what came is not HTTP"),
        (raw(HEAD + b"X" * 70_000), None, False, "what came is not HTTP"),
        (raw(HEAD + b"Content-Length: 10\r\n\r\nabc"), None, False, "the answer was cut short"),
        (reply(200), hang_up, True, "connection closed without an answer"),
        (reply(200), reply(400), True, "no TLS at this port"),
    ],
)
def test_what_went_wrong_is_said_in_words(
    act: Act, greet: Act | None, https: bool, got: str, node_at: NodeAt
) -> None:
    """No name of an exception, no place in somebody's source, none of the peer's bytes."""
    with scripted(act, greet=greet) as server:
        url = server.url.replace("http:", "https:") if https else server.url
        assert fault_of(node_at(url)).values["got"] == got


def test_redirects_are_not_followed(node_at: NodeAt) -> None:
    """A pair must not travel where an answer points to."""
    with scripted(reply(200)) as other, scripted(reply(307, b"", f"Location: {other.url}/y")) as server:
        answer = Transport(node_at(server.url)).ask("PUT", "/x", body=b"pair")
    assert answer.status == 307
    assert other.requests == []


def test_environment_proxies_are_ignored(node_at: NodeAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are inside; a proxy of the environment must not see keys and passwords."""
    with scripted(reply(502)) as proxy, scripted(reply(200)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert Transport(node_at(server.url)).ask("GET", "/x").status == 200
    assert proxy.requests == []


@pytest.mark.parametrize("url", ["http://192.0.2.1:9000", "http://mdm.example.com"])
def test_plain_http_beyond_this_machine_is_refused_before_connecting(url: str, node_at: NodeAt) -> None:
    """Unless the node says `insecure_http: true`."""
    fault = fault_of(node_at(url))
    assert (fault.reason, fault.values["got"]) == (Reason.NODE_INSECURE_HTTP, url)


def test_insecure_http_is_possible_when_asked_for(node_at: NodeAt) -> None:
    """`insecure_http: true` lifts the refusal; here the name does not resolve, so it got that far."""
    fault = fault_of(node_at("http://mdm.invalid", insecure_http=True))
    assert fault.reason is Reason.NODE_UNREACHABLE


def test_tls_is_verified_and_an_own_authority_may_be_named(node_at: NodeAt, tmp_path: Path) -> None:
    """Without the right authority nothing is sent; with it, the answer comes."""
    root = web_root(datetime.now(UTC) - timedelta(days=1))
    certificate, key = root.server("127.0.0.1").write(tmp_path, "server")
    authority, _ = root.write(tmp_path, "root")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with scripted(reply(200, b"{}"), tls=context) as server:
        asked: list[str] = []
        with pytest.raises(NodeFault) as caught:
            Transport(node_at(server.url)).ask("GET", "/x", before_sending=lambda: asked.append("too early"))
        fault = caught.value
        assert (fault.reason, asked) == (Reason.NODE_TLS_FAILED, [])
        assert "unable to get local issuer certificate" in str(fault.values["got"])
        assert server.requests == []
        trusted = Transport(node_at(server.url, ca_file=authority))
        assert trusted.ask("GET", "/x", before_sending=lambda: asked.append("now")).status == 200
        assert asked == ["now"]


def test_a_missing_authority_file_is_a_tls_fault(node_at: NodeAt, tmp_path: Path) -> None:
    """A ca_file that is not there is said as such, not as a traceback."""
    fault = fault_of(node_at("https://127.0.0.1:1", ca_file=tmp_path / "none.pem"))
    assert fault.reason is Reason.NODE_TLS_FAILED
    assert fault.values["got"] == f"ca_file cannot be read: {tmp_path / 'none.pem'}"


def test_errors_show_no_credentials(node_at: NodeAt) -> None:
    """Neither the url's user information nor a password is in an error, or in its chain."""
    with scripted(reply(200)) as server:
        dead = server.url.replace("http://", "http://user:hunter2@")
    with pytest.raises(NodeFault) as caught:
        Transport(node_at(dead)).ask("GET", "/x", credential=Credential("u", "hunter3"))
    told = f"{caught.value!r} {caught.value} {caught.value.values} {Credential('u', 'hunter3')!r}"
    assert "hunter" not in told
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    """Also JSON that is no object, and JSON nested too deep to be parsed."""
    with pytest.raises(NodeFault) as caught:
        Answer("n1", 200, body).json()
    assert caught.value.reason is Reason.NODE_ANSWER_UNREADABLE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.NODE_DENIED),
        (403, Reason.NODE_DENIED),
        (500, Reason.NODE_ERROR),
        (503, Reason.NODE_ERROR),
        (404, Reason.NODE_ANSWER_UNREADABLE),
        (302, Reason.NODE_ANSWER_UNREADABLE),
    ],
)
def test_statuses_have_reasons(status: int, reason: Reason) -> None:
    """Who is at fault: the password, the server, or whoever answers there."""
    fault = Answer("n1", status, b"Unauthorized\n").fault()
    assert (fault.reason, fault.values["got"]) == (reason, f"{status} Unauthorized")


def test_a_node_without_url_has_no_transport(node_at: NodeAt) -> None:
    """Asking for one is a mistake of ours."""
    with pytest.raises(ValueError, match="without url"):
        Transport(node_at(None))
