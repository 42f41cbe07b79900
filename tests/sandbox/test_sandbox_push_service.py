"""The push service speaks Apple's protocol to any HTTP/2 client, and misbehaves on demand."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from h2.connection import H2Connection

from renewctl.sandbox.apns_answers import KnownDevice, PushFaults, answer
from renewctl.sandbox.authority import Apple, Issued, new_topic, serial_of
from tests.support import sandbox_parts as parts

PATH = f"/3/device/{parts.TOKEN}"
BODY = json.dumps({"mdm": parts.MAGIC})
TOPIC = new_topic()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Pushes]:
    """One running push service for all claims."""
    with parts.push_service(tmp_path_factory.mktemp("pushes")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(service: parts.Pushes) -> Issued:
    """A good pair of the topic."""
    return service.apple.push_pair(TOPIC, ends=parts.in_days(42))


def test_a_push_wakes_the_device_and_is_logged(service: parts.Pushes, pair: Issued) -> None:
    """200 with an apns-id; the device hears its magic; the log names serial, topic and token's beginning."""
    with service.device(TOPIC) as woken, service.client(pair) as client:
        response = client.post(PATH, content=BODY)
        assert (response.status_code, response.http_version) == (200, "HTTP/2")
        assert response.headers["apns-id"]
        assert response.content == b""
        parts.eventually(lambda: bool(woken))
    assert woken == [{"token": parts.TOKEN, "mdm": parts.MAGIC}]
    mine = (line for line in service.log() if line.get("serial") == serial_of(pair.certificate))
    line = next(line for line in mine if line["woken"])
    assert line | {"time": ""} == {
        "time": "",
        "token": parts.TOKEN[:8],
        "serial": serial_of(pair.certificate),
        "topic": TOPIC,
        "status": 200,
        "reason": None,
        "woken": True,
    }


@pytest.mark.parametrize(
    ("path", "body", "headers", "told"),
    [
        ("/3/device/" + "00" * 32, BODY, {}, (400, "BadDeviceToken")),
        ("/3/device/xyz", BODY, {}, (400, "BadDeviceToken")),
        ("/elsewhere", BODY, {}, (404, "BadPath")),
        (PATH, "", {}, (400, "PayloadEmpty")),
        (PATH, "x" * 5000, {}, (413, "PayloadTooLarge")),
        (PATH, BODY, {"apns-topic": "com.example"}, (400, "BadTopic")),
    ],
)
def test_a_push_that_cannot_be_is_refused(
    path: str,
    body: str,
    headers: dict[str, str],
    told: tuple[int, str],
    service: parts.Pushes,
    pair: Issued,
) -> None:
    """Each refusal has Apple's status and reason."""
    with service.client(pair, headers=headers) as client:
        response = client.post(path, content=body)
    assert (response.status_code, response.json()["reason"]) == told


def test_only_post_pushes(service: parts.Pushes, pair: Issued) -> None:
    """Another method is 405."""
    with service.client(pair) as client:
        assert client.get(PATH).json() == {"reason": "MethodNotAllowed"}


def test_the_topic_is_the_certificates(service: parts.Pushes) -> None:
    """A pair of another topic: 400 DeviceTokenNotForTopic, or dropped in silence when told to."""
    other = service.apple.push_pair(new_topic(), ends=parts.in_days(300))
    with service.device(TOPIC) as woken, service.client(other) as client:
        response = client.post(PATH, content=BODY)
        assert (response.status_code, response.json()["reason"]) == (400, "DeviceTokenNotForTopic")
        service.switch(drop_wrong_topic=True)
        assert client.post(PATH, content=BODY).status_code == 200
        service.switch(drop_wrong_topic=False)
    assert woken == []


def test_a_device_that_left_is_gone(service: parts.Pushes, pair: Issued) -> None:
    """410 Unregistered with a timestamp in milliseconds."""
    token = "cd" * 32
    with service.device(TOPIC, token):
        pass
    httpx.put(f"{service.courier}/gone", json=[token]).raise_for_status()
    with service.client(pair) as client:
        response = client.post(f"/3/device/{token}", content=BODY)
    assert response.status_code == 410
    assert response.json()["reason"] == "Unregistered"
    assert abs(response.json()["timestamp"] / 1000 - time.time()) < 60


def test_an_offline_device_is_pushed_to_all_the_same(service: parts.Pushes, pair: Issued) -> None:
    """200, and nobody woken: Apple's 200 is not delivery."""
    token = "ef" * 32
    with service.device(TOPIC, token):
        pass
    parts.eventually(lambda: httpx.get(service.courier).json()["online"] == 0)
    with service.client(pair) as client:
        assert client.post(f"/3/device/{token}", content="not json").status_code == 200
    assert service.log()[-1]["woken"] is False


def test_a_lost_push_wakes_nobody(service: parts.Pushes, pair: Issued) -> None:
    """With `lose` on, 200 and silence."""
    with service.device(TOPIC) as woken, service.client(pair) as client:
        service.switch(lose=True)
        assert client.post(PATH, content=BODY).status_code == 200
        service.switch(lose=False)
    assert woken == []


def test_a_certificate_can_be_refused(service: parts.Pushes, pair: Issued) -> None:
    """403 BadCertificate for everybody, or for one serial."""
    with service.client(pair) as client:
        service.switch(answer="403 BadCertificate")
        assert client.post(PATH, content=BODY).status_code == 403
        service.switch(answer=None, refuse_serials=[serial_of(pair.certificate)])
        assert client.post(PATH, content=BODY).json() == {"reason": "BadCertificate"}
        service.switch(refuse_serials=[])
        assert client.post("/3/device/" + "00" * 32, content=BODY).status_code == 400


def test_it_can_hang(service: parts.Pushes, pair: Issued) -> None:
    """With `hang` on nothing is answered, until the caller gives up."""
    service.switch(hang=True)
    try:
        with service.client(pair) as client, pytest.raises(httpx.ReadTimeout):
            client.post(PATH, content=BODY, timeout=httpx.Timeout(60, read=0.5))
    finally:
        service.switch(hang=False)


def test_an_unknown_switch_is_an_error(service: parts.Pushes) -> None:
    """A mistyped switch does not silently do nothing."""
    assert httpx.put(f"{service.courier}/faults", json={"hnag": True}).status_code == 500


def test_expired_and_foreign_certificates_are_refused_in_tls(service: parts.Pushes) -> None:
    """The client is told why by a TLS alert: expired certificate, unknown authority."""
    expired = service.apple.push_pair(TOPIC, ends=parts.in_days(-1))
    foreign = Apple.create(parts.now()).push_pair(TOPIC, ends=parts.in_days(42))
    for bad, alert in ((expired, "EXPIRED"), (foreign, "UNKNOWN_CA")):
        with service.client(bad) as client, pytest.raises(httpx.TransportError, match=alert):
            client.post(PATH, content=BODY)


def test_no_certificate_no_service(service: parts.Pushes) -> None:
    """A client without a certificate does not get in."""
    context = ssl.create_default_context(cafile=service.pki / "web-root.pem")
    with httpx.Client(http2=True, verify=context) as client, pytest.raises(httpx.TransportError):
        client.post(service.url + PATH, content=BODY)


def test_without_http2_it_hangs_up(service: parts.Pushes, pair: Issued) -> None:
    """HTTP/1.1 is not spoken here."""
    certificate, key = pair.write(service.folder / "clients", "one")
    context = ssl.create_default_context(cafile=service.pki / "web-root.pem")
    context.load_cert_chain(certificate, key)
    with httpx.Client(verify=context) as client, pytest.raises(httpx.TransportError):
        client.post(service.url + PATH, content=BODY)


def test_it_is_its_own_proxy(service: parts.Pushes, pair: Issued) -> None:
    """`CONNECT api.push.apple.com:443` leads to it under Apple's name; any other host is forbidden."""
    certificate, key = pair.write(service.folder / "clients", "two")
    context = ssl.create_default_context(cafile=service.pki / "web-root.pem")
    context.load_cert_chain(certificate, key)
    proxy = f"http://127.0.0.1:{service.port}"
    with httpx.Client(http2=True, verify=context, proxy=proxy) as client:
        response = client.post("https://api.push.apple.com/3/device/" + "00" * 32, content=BODY)
        assert response.json() == {"reason": "BadDeviceToken"}
        with pytest.raises(httpx.ProxyError, match="403"):
            client.post("https://example.com/", content=BODY)


@pytest.mark.parametrize("sent", [b"", b"CONNECT api.push", b"\x16\x03\x01nonsense", b"\x16"])
def test_nonsense_does_not_stop_it(sent: bytes, service: parts.Pushes, pair: Issued) -> None:
    """Half a request, or no TLS at all, ends that connection alone."""
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    with service.client(pair) as client:
        assert client.post("/3/device/" + "00" * 32, content=BODY).status_code == 400


def test_the_courier_tells_what_it_knows(service: parts.Pushes) -> None:
    """A summary, the switches and the log can be read over HTTP."""
    with service.device(TOPIC, "12" * 32):
        assert httpx.get(service.courier).json()["online"] == 1
    assert httpx.get(f"{service.courier}/faults").json()["hang"] is False
    assert len(httpx.get(f"{service.courier}/pushes").json()) == len(service.log())


def test_answers_are_a_pure_rule(tmp_path: Path) -> None:
    """A known token of an impossible length is still a bad token."""
    told = answer(
        token="ab", topic="t", serial="1", asked_topic="t", device=KnownDevice("t"), faults=PushFaults()
    )
    assert told.body() == {"reason": "BadDeviceToken"}


def _http2_socket(service: parts.Pushes, pair: Issued) -> ssl.SSLSocket:
    certificate, key = pair.write(service.folder / "clients", "raw")
    context = ssl.create_default_context(cafile=service.pki / "web-root.pem")
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    return context.wrap_socket(connection, server_hostname="localhost")


def test_a_client_may_change_its_mind(service: parts.Pushes, pair: Issued) -> None:
    """A stream reset halfway is forgotten; after GOAWAY the connection is closed."""
    with _http2_socket(service, pair) as connection:
        http = H2Connection()
        http.initiate_connection()
        head = [(":method", "POST"), (":path", PATH), (":scheme", "https"), (":authority", "localhost")]
        http.send_headers(1, head)
        http.reset_stream(1)
        http.close_connection()
        connection.sendall(http.data_to_send())
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("inside", [True, False])
def test_nonsense_after_the_handshake_ends_the_connection(
    inside: bool, service: parts.Pushes, pair: Issued
) -> None:
    """HTTP/1.1 where HTTP/2 was agreed, or bytes that are no TLS: that connection is closed."""
    with _http2_socket(service, pair) as connection:
        if inside:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 4)
        else:
            os.write(connection.fileno(), b"no TLS record at all" * 4)
        with contextlib.suppress(OSError):
            while connection.recv(4096):
                pass
