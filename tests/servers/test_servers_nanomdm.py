"""NanoMDM's API, byte by byte: what is sent, and what each answer is taken for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from renewctl.certificate.pushcert import Pair
from renewctl.errors import NodeFault, Refused, Unusable
from renewctl.inventory.reading import FileInstall, Node, Place
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers.nanomdm import NanoMDM
from renewctl.servers.protocol import PushAnswer
from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.scripted_http import Act, hang_up, reply, scripted, silence

NodeAt = Callable[..., Node]
PairOf = Callable[[Issued], Pair]
TOKEN = "0f" * 32
VERSION = reply(200, b'{"version":"v0.9.0"}')
OLD_API = reply(400, b'{\n\t"error": "tls: failed to find any PEM data in certificate input"\n}\n')
NEW_API = reply(400, b'{\n\t"error": "missing required query parameter: topic"\n}\n')


def told(topic: str, not_after: datetime) -> Act:
    """What PUT (and GET, on the main branch) answers."""
    text = json.dumps({"topic": topic, "not_after": f"{not_after:%Y-%m-%dT%H:%M:%SZ}"}, indent="\t")
    return reply(200, text.encode())


def patience(act: Act) -> float:
    """Seconds for a request: few only where no answer is going to come."""
    return 0.4 if act is silence else 30


def pushed(error: str | None, status: int = 500, name: str = "ID") -> Act:
    """An answer to a push: the result stands beside the error, as on the real server."""
    state = {"push_result": "9F6E"} | ({"push_error": error} if error else {})
    return reply(200 if error is None else status, json.dumps({"status": {name: state}}).encode())


@pytest.fixture
def pair(pair_of: PairOf) -> Pair:
    """A good pair."""
    return pair_of(apple_like().push())


def with_password(node: Node, secret: Path) -> Node:
    """The node, its API password in a file."""
    return replace(node, password=SecretRef(Kind.FILE, (str(secret),)))


def test_a_pair_is_put_as_leaf_then_key_with_the_nodes_credential(
    node_at: NodeAt, secret: Path, pair: Pair
) -> None:
    """One PUT: the certificate alone (NanoMDM keeps the last of several), then the PKCS#1 key."""
    with scripted(told(TOPIC, pair.certificate.not_after)) as server:
        NanoMDM(with_password(node_at(server.url), secret)).install(pair)
    (request,) = server.requests
    assert (request.method, request.target) == ("PUT", "/v1/pushcert")
    assert request.body == pair.certificate.pem + pair.key
    assert request.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (reply(400, b'{"error": "tls: private key does not match public key"}'), Reason.NODE_REFUSED_PAIR),
        (reply(401, b"Unauthorized\n"), Reason.NODE_DENIED),
        (reply(500, b'{"error": "dial unix /tmp/s: connect"}'), Reason.NODE_ERROR),
        (reply(404, b"404 page not found\n"), Reason.NODE_ANSWER_UNREADABLE),
        (reply(200, b"{}"), Reason.NODE_ANSWER_UNREADABLE),
        (reply(200, b'{"topic": "x", "not_after": 7}'), Reason.NODE_ANSWER_UNREADABLE),
        (reply(200, b"<html>welcome</html>"), Reason.NODE_ANSWER_UNREADABLE),
        (told("com.apple.mgmt.Other", NOW), Reason.NODE_STORED_OTHER),
        (hang_up, Reason.NODE_NO_ANSWER),
    ],
)
def test_only_the_right_answer_to_a_put_is_success(
    act: Act, reason: Reason, node_at: NodeAt, pair: Pair
) -> None:
    """The server repeats topic and end of validity: both are compared."""
    with scripted(act) as server, pytest.raises(NodeFault) as caught:
        NanoMDM(node_at(server.url)).install(pair)
    assert caught.value.reason is reason
    assert pair.key.decode() not in str(caught.value)


def test_the_stored_date_is_compared_too(node_at: NodeAt, pair: Pair) -> None:
    """The right topic with another date is another certificate."""
    other = pair.certificate.not_after - timedelta(days=365)
    with scripted(told(TOPIC, other)) as server, pytest.raises(NodeFault) as caught:
        NanoMDM(node_at(server.url)).install(pair)
    assert caught.value.reason is Reason.NODE_STORED_OTHER
    assert str(pair.certificate.not_after.year) in str(caught.value.values["expected"])


def test_a_node_installed_by_files_takes_no_pair_over_its_api(node_at: NodeAt, pair: Pair) -> None:
    """Two ways at once would leave two truths."""
    placed = FileInstall((Place(certificate="/etc/mdm/push.pem", key="/etc/mdm/push.key"),))
    with scripted(told(TOPIC, NOW)) as server:
        for node in (node_at(server.url, install=placed), node_at(None)):
            with pytest.raises(Refused) as caught:
                NanoMDM(node).install(pair)
            assert caught.value.reason is Reason.NODE_TAKES_NO_PAIR
    assert server.requests == []


@pytest.mark.parametrize(
    ("error", "reason", "wrong"),
    [
        (
            "push HTTP status: 410: APNs push error: Unregistered: timestamp 17",
            Reason.PUSH_DEVICE_GONE,
            False,
        ),
        ("push HTTP status: 400: APNs push error: BadDeviceToken", Reason.PUSH_TOKEN_BAD, False),
        ("push data missing for id", Reason.PUSH_ENROLLMENT_UNKNOWN, False),
        ("push HTTP status: 400: APNs push error: DeviceTokenNotForTopic", Reason.PUSH_TOPIC_REFUSED, True),
        ("push HTTP status: 403: APNs push error: BadCertificate", Reason.PUSH_CERTIFICATE_REFUSED, True),
        ("push HTTP status: 0: APNs push error: BadCertificate", Reason.PUSH_CERTIFICATE_REFUSED, True),
        ("push HTTP status: 429: APNs push error: TooManyRequests", Reason.PUSH_SERVICE_BUSY, False),
        ("push HTTP status: 503: APNs push error: ServiceUnavailable", Reason.PUSH_SERVICE_BUSY, False),
        ("push HTTP status: 500: decoding JSON push error: EOF", Reason.PUSH_SERVICE_BUSY, False),
        ("push HTTP status: 200: odd", Reason.PUSH_ANSWER_UNKNOWN, False),
        ("push HTTP status: 418: APNs push error: Teapot", Reason.PUSH_ANSWER_UNKNOWN, False),
        ("remote error: tls: expired certificate", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: unknown certificate authority", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: bad certificate", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: revoked certificate", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: error decrypting message", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: internal error", Reason.PUSH_TLS_REFUSED, True),
        ("remote error: tls: protocol version not supported", Reason.PUSH_ANSWER_UNKNOWN, False),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Reason.PUSH_SERVICE_NOT_TRUSTED,
            False,
        ),
        (
            "write tcp 127.0.0.1:1->127.0.0.1:2: write: connection reset by peer",
            Reason.PUSH_CONNECTION_RESET,
            False,
        ),
        ("dial tcp: lookup api.push.apple.com: no such host", Reason.PUSH_SERVICE_UNREACHABLE, False),
        ("net/http: TLS handshake timeout", Reason.PUSH_SERVICE_TIMEOUT, False),
        ("unexpected EOF", Reason.PUSH_ANSWER_UNKNOWN, False),
    ],
)
def test_each_push_error_is_told_apart(error: str, reason: Reason, wrong: bool, node_at: NodeAt) -> None:
    """Only answers that speak of the pair say that the pair is wrong; the token never comes through."""
    text = f'Post "https://api.push.apple.com/3/device/{TOKEN}": {error}'
    with scripted(pushed(text)) as server:
        answer = NanoMDM(node_at(server.url)).push("ID")
    assert (answer.accepted, answer.reason, answer.says_wrong_pair) == (False, reason, wrong)
    assert TOKEN not in answer.detail
    assert "<device token>" in answer.detail


@pytest.mark.parametrize(
    ("act", "accepted", "reason"),
    [
        (pushed(None), True, None),
        (pushed(None, name="ANOTHER"), None, Reason.PUSH_ANSWER_UNKNOWN),
        (reply(200, b'{"status": {"ID": {}}}'), None, Reason.PUSH_ANSWER_UNKNOWN),
        (reply(200, b'{"status": ["ID"]}'), None, Reason.PUSH_ANSWER_UNKNOWN),
        (reply(200, b'{"status": {"ID": "ok"}}'), None, Reason.PUSH_ANSWER_UNKNOWN),
        (reply(207, b'{"status": {"ID": {"push_result": "x"}}}'), None, Reason.PUSH_ANSWER_UNKNOWN),
        (reply(500, b'{"push_error": "push storage: dial unix"}'), False, Reason.NODE_ERROR),
        (reply(401, b"Unauthorized\n"), False, Reason.NODE_DENIED),
        (reply(502, b"Bad Gateway"), False, Reason.NODE_ERROR),
        (reply(200, b"hello"), None, Reason.NODE_ANSWER_UNREADABLE),
        (reply(404, b"404 page not found"), None, Reason.NODE_ANSWER_UNREADABLE),
        (hang_up, None, Reason.NODE_NO_ANSWER),
        (silence, None, Reason.NODE_TIMEOUT),
    ],
)
def test_success_is_a_result_for_this_id_without_an_error(
    act: Act, accepted: bool | None, reason: Reason | None, node_at: NodeAt
) -> None:
    """A missing id, a broken answer, no answer: unknown. An empty reply may be a panic after a GOAWAY."""
    with scripted(act) as server:
        answer = NanoMDM(node_at(server.url), deadline_seconds=patience(act)).push("ID")
    assert (answer.accepted, answer.reason, answer.says_wrong_pair) == (accepted, reason, False)


def test_one_push_names_one_enrollment(node_at: NodeAt) -> None:
    """A push to several ids can end a NanoMDM process; ids with a comma or none at all are not sent."""
    with scripted(pushed(None, name="A/B:C")) as server:
        nano = NanoMDM(node_at(server.url))
        assert nano.push("A/B:C") == PushAnswer(accepted=True)
        assert nano.push("A,B").reason is Reason.PUSH_NOT_POSSIBLE
        assert nano.push("").reason is Reason.PUSH_NOT_POSSIBLE
    assert NanoMDM(node_at(None)).push("A").reason is Reason.PUSH_NOT_POSSIBLE
    assert [(request.method, request.target) for request in server.requests] == [
        ("GET", "/v1/push/A%2FB%3AC")
    ]


def test_the_old_api_is_told_by_behaviour_and_asked_without_a_body(node_at: NodeAt, secret: Path) -> None:
    """v0.9.0 answers GET with a key-pair error: nothing to read there, and nothing is wrong."""
    with scripted(VERSION, OLD_API) as server:
        seen = NanoMDM(with_password(node_at(server.url), secret), [TOPIC]).observe(NOW)
    assert (seen.up, seen.version, seen.certificates, seen.failures, seen.answered) == (
        True,
        "v0.9.0",
        (),
        (),
        (),
    )
    assert [(request.method, request.target, request.body) for request in server.requests] == [
        ("GET", "/version", b""),
        ("GET", "/v1/pushcert", b""),
    ]


def test_the_new_api_tells_topic_and_date(node_at: NodeAt, secret: Path) -> None:
    """On the main branch GET names the end of validity, but no serial."""
    ends = datetime(2027, 1, 7, 4, 4, 46, tzinfo=UTC)
    with scripted(VERSION, NEW_API, told(TOPIC, ends)) as server:
        seen = NanoMDM(with_password(node_at(server.url), secret), [TOPIC]).observe(NOW)
    (found,) = seen.certificates
    assert (found.topic, found.not_after, found.source, found.serial) == (TOPIC, ends, Source.API, None)
    assert seen.answered == (Source.API,)
    assert server.requests[-1].target == f"/v1/pushcert?topic={TOPIC}"


@pytest.mark.parametrize("text", ["getting x.pem: key not found: x.pem", "sql: no rows in result set"])
def test_a_topic_the_server_does_not_have_is_absent_not_failed(
    text: str, node_at: NodeAt, secret: Path
) -> None:
    """Both stores answer 500 with their own words for it."""
    absent = reply(500, json.dumps({"error": text}).encode())
    with scripted(VERSION, NEW_API, absent) as server:
        seen = NanoMDM(with_password(node_at(server.url), secret), [TOPIC]).observe(NOW)
    assert (seen.certificates, seen.failures, seen.answered) == ((), (), (Source.API,))


def test_a_server_whose_database_is_down_has_failed(node_at: NodeAt, secret: Path) -> None:
    """The same 500 with other words: unknown, and said so."""
    with scripted(VERSION, NEW_API, reply(500, b'{"error": "dial unix"}')) as server:
        seen = NanoMDM(with_password(node_at(server.url), secret), [TOPIC]).observe(NOW)
    assert (seen.certificates, seen.answered) == ((), ())
    assert [failure.reason for failure in seen.failures] == [Reason.NODE_ERROR]


def test_a_wrong_password_is_a_failure_a_missing_one_is_not(node_at: NodeAt, secret: Path) -> None:
    """Without a credential the API is simply closed to us; the version tells that the process lives."""
    denied = reply(401, b"Unauthorized\n")
    with scripted(VERSION, denied, VERSION, denied, VERSION, denied) as server:
        node = node_at(server.url)
        without = NanoMDM(node, [TOPIC]).observe(NOW)
        wrong = NanoMDM(with_password(node, secret), [TOPIC]).observe(NOW)
        withheld = NanoMDM(with_password(node, secret), [TOPIC], credential=False).observe(NOW)
    assert (without.up, without.failures) == (True, ())
    assert [failure.reason for failure in wrong.failures] == [Reason.NODE_DENIED]
    assert (withheld.up, withheld.failures) == (True, ())
    sent = [request.headers.get("authorization") is not None for request in server.requests]
    assert sent == [False, False, False, True, False, False]


def test_an_api_that_is_closed_to_us_is_asked_once(node_at: NodeAt, secret: Path) -> None:
    """Each refused look stands in the node's log; a proxy that lets this one GET through goes on being asked."""
    with scripted(VERSION, reply(401, b"Unauthorized\n"), VERSION) as server:
        closed = NanoMDM(node_at(server.url), [TOPIC])
        assert [closed.observe(NOW).failures for _ in range(3)] == [(), (), ()]
    assert [request.target for request in server.requests].count("/v1/pushcert") == 1
    answers = [VERSION, NEW_API, told(TOPIC, NOW)] * 2
    with scripted(VERSION, reply(502, b"Bad Gateway"), *answers) as server:
        proxied = NanoMDM(node_at(server.url), [TOPIC])
        assert [len(proxied.observe(NOW).certificates) for _ in range(3)] == [0, 1, 1]
    with scripted(VERSION, reply(401, b"Unauthorized\n"), *answers) as server:
        mended = NanoMDM(with_password(node_at(server.url), secret), [TOPIC])
        assert [len(mended.observe(NOW).certificates) for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("act", [OLD_API, NEW_API, reply(405), reply(200, b"{}")])
def test_who_may_ask_has_access(act: Act, node_at: NodeAt, secret: Path) -> None:
    """One GET with the credential and without a body: nothing is stored by it, on any version."""
    with scripted(act) as server:
        NanoMDM(with_password(node_at(server.url), secret)).require_access()
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("GET", "/v1/pushcert", b"")
    assert "authorization" in request.headers


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (reply(401, b"Unauthorized\n"), Reason.NODE_DENIED),
        (reply(403, b"Forbidden\n"), Reason.NODE_DENIED),
        (reply(502, b"Bad Gateway"), Reason.NODE_ERROR),
        (reply(404, b"404 page not found\n"), Reason.NODE_ANSWER_UNREADABLE),
    ],
)
def test_who_may_not_ask_is_told_before_anything_changes(
    act: Act, reason: Reason, node_at: NodeAt, secret: Path
) -> None:
    """A wrong password, a gateway without a server behind it, somebody else's server."""
    with scripted(act) as server, pytest.raises(NodeFault) as caught:
        NanoMDM(with_password(node_at(server.url), secret)).require_access()
    assert caught.value.reason is reason


def test_access_needs_the_password_and_no_url_needs_none(node_at: NodeAt, tmp_path: Path) -> None:
    """A password file that is not there is said so; a node without an API has nothing to refuse."""
    missing = with_password(node_at("http://127.0.0.1:1"), tmp_path / "none")
    with pytest.raises(Unusable) as caught:
        NanoMDM(missing).require_access()
    assert caught.value.reason is Reason.SECRET_UNREADABLE
    NanoMDM(replace(missing, url=None)).require_access()


def test_an_unreadable_secret_is_a_failure_of_the_look(node_at: NodeAt, tmp_path: Path) -> None:
    """`observe` never raises for a node's fault, nor for a secret that is not there."""
    with scripted(VERSION) as server:
        seen = NanoMDM(with_password(node_at(server.url), tmp_path / "none"), [TOPIC]).observe(NOW)
    assert seen.up
    assert [failure.reason for failure in seen.failures] == [Reason.SECRET_UNREADABLE]


@pytest.mark.parametrize(
    ("act", "up", "version", "reasons"),
    [
        (reply(200, b'{"version":"unknown"}'), True, "unknown", []),
        (reply(200, b"{}"), True, None, []),
        (reply(404, b"only /v1/pushcert here"), True, None, []),
        (reply(502, b"Bad Gateway"), False, None, [Reason.NODE_ERROR]),
        (silence, False, None, [Reason.NODE_TIMEOUT]),
    ],
)
def test_a_node_is_up_when_its_process_answers(
    act: Act, up: bool, version: str | None, reasons: list[Reason], node_at: NodeAt
) -> None:
    """A gateway's 502 is not the process; a proxy that hides /version is no failure."""
    with scripted(act) as server:
        seen = NanoMDM(node_at(server.url), deadline_seconds=patience(act)).observe(NOW)
    assert (seen.up, seen.version, [failure.reason for failure in seen.failures]) == (up, version, reasons)


def test_a_dead_node_is_one_failure_and_nothing_more_is_asked(node_at: NodeAt, secret: Path) -> None:
    """Values of a failure are plain text, fit for a label or an event."""
    with scripted(VERSION) as server:
        url = server.url
    seen = NanoMDM(with_password(node_at(url), secret), [TOPIC]).observe(NOW)
    assert (seen.up, [failure.reason for failure in seen.failures]) == (False, [Reason.NODE_UNREACHABLE])
    assert all(isinstance(value, str) for value in seen.failures[0].values.values())


def test_what_the_api_cannot_tell_stays_unknown(node_at: NodeAt) -> None:
    """Without a store to read: no devices, no check-ins; only the canaries a person named."""
    nano = NanoMDM(node_at("http://127.0.0.1:1", canary_enrollments=("A", "B", "C")))
    assert nano.canaries(TOPIC, 2) == ("A", "B")
    assert (nano.check_in("A"), nano.push_target("A"), nano.enrolled_topics()) == (None, None, None)


def test_a_node_installed_by_files_shows_its_certificate_file(node_at: NodeAt, tmp_path: Path) -> None:
    """Where nothing else tells, the placed file does, if it lies on this machine."""
    issued = apple_like().push()
    path = tmp_path / "push.pem"
    path.write_bytes(issued.pem)
    two = Place(certificate=str(path), key="/nowhere")
    here = FileInstall((two,), variables={"ansible_host": "127.0.0.1"})
    seen = NanoMDM(node_at(None, install=here)).observe(NOW)
    assert [(found.serial, found.source) for found in seen.certificates] == [(issued.serial, Source.FILE)]
    assert (seen.up, seen.answered) == (None, (Source.FILE,))
    there = replace(here, variables={"ansible_host": "192.0.2.7"})
    seen = NanoMDM(node_at(None, install=there)).observe(NOW)
    assert [failure.reason for failure in seen.failures] == [Reason.NODE_CERTIFICATE_ELSEWHERE]
    assert seen.answered == ()


def test_an_unreadable_password_is_no_answer_of_the_node(node_at: Callable[..., Node]) -> None:
    """A push that was never sent tells where the secret was looked for."""
    missing = SecretRef(Kind.FILE, ("/nowhere/pw",))
    with pytest.raises(Unusable) as caught:
        NanoMDM(node_at("http://127.0.0.1:9", password=missing)).push("ID")
    assert caught.value.values["where"] == "file:/nowhere/pw"
