"""The MDM server answers like NanoMDM v0.9.0, as observed, and misbehaves on demand."""

from __future__ import annotations

import dataclasses
import plistlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from renewctl.sandbox import device_messages as say
from renewctl.sandbox.authority import Apple, Issued, device_root, new_topic, serial_of
from renewctl.sandbox.children import listen, port_of
from tests.support import sandbox_parts as parts

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

TOPIC = new_topic()
MISMATCH = "tls: private key does not match public key"
NO_KEY = "tls: failed to find any PEM data in key input"
NO_CERTIFICATE = "tls: failed to find any PEM data in certificate input"


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Pushes]:
    """A push service."""
    with parts.push_service(tmp_path_factory.mktemp("pushes")) as running:
        yield running


@pytest.fixture(scope="module")
def node(pushes: parts.Pushes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Node]:
    """A node."""
    with parts.node(pushes, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="module")
def old(pushes: parts.Pushes) -> Issued:
    """The pair in use."""
    return pushes.apple.push_pair(TOPIC, ends=parts.in_days(42))


@pytest.fixture(scope="module")
def new(pushes: parts.Pushes) -> Issued:
    """Its successor."""
    return pushes.apple.push_pair(TOPIC, ends=parts.in_days(365))


@pytest.fixture(scope="module")
def device(pushes: parts.Pushes, node: parts.Node) -> say.Device:
    """A device enrolled by hand, message by message."""
    return enrolled(pushes, node, "DEVICE-1", parts.TOKEN)


KEY = rsa.generate_private_key(65537, 2048)


def enrolled(pushes: parts.Pushes, node: parts.Node, udid: str, token: str) -> say.Device:
    """Enrol one device."""
    issuer = Issued.read(pushes.pki, "device-ca")
    identity = issuer.device_identity(udid, KEY, now=parts.now())
    one = say.Device(
        udid, "SERIAL", TOPIC, bytes.fromhex(token), parts.MAGIC, identity, f"{node.url}/mdm", "node"
    )
    assert tell(one, say.authenticate(one)).status_code == 200
    assert tell(one, say.token_update(one)).status_code == 200
    return one


def tell(device: say.Device, body: bytes) -> httpx.Response:
    """Send a signed message."""
    signature = say.signature(body, device.identity, KEY)
    return httpx.put(device.url, content=body, headers={"Mdm-Signature": signature})


def body(pair: Issued) -> bytes:
    """A pair as it is uploaded."""
    return pair.certificate_pem + pair.key_pem


def pkcs8(pair: Issued, password: bytes | None = None) -> bytes:
    """The key in the other format."""
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def test_a_pair_is_stored_and_told_back(node: parts.Node, old: Issued) -> None:
    """200, tab-indented JSON with topic and date; the row says serial and counts stale tokens."""
    response = node.put(body(old))
    assert response.status_code == 200
    ends = f"{old.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert response.text == f'{{\n\t"not_after": "{ends}",\n\t"topic": "{TOPIC}"\n}}\n'
    before = node.stored(TOPIC)[0][1]
    assert isinstance(before, int)
    node.put(body(old))
    ((pem, tally),) = node.stored(TOPIC)
    assert str(pem).encode() == old.certificate_pem
    assert tally == before + 1


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_any_method_with_a_body_stores(method: str, node: parts.Node, old: Issued) -> None:
    """As v0.9.0 does; without a body it is 400."""
    assert node.put(body(old), method).status_code == 200
    empty = node.put(b"", method)
    assert (empty.status_code, empty.json()["error"]) == (400, NO_CERTIFICATE)


def test_what_real_files_look_like_is_taken(node: parts.Node, pushes: parts.Pushes, old: Issued) -> None:
    """PKCS#8, key first, CRLF, text before, and the issuer before the leaf: 200 each."""
    issuer = pushes.apple.push_issuer.certificate_pem
    for good in (
        old.certificate_pem + pkcs8(old),
        old.key_pem + old.certificate_pem,
        body(old).replace(b"\n", b"\r\n"),
        b"Certificate:\n  Data:\n" + body(old),
        issuer + body(old),
    ):
        assert node.put(good).status_code == 200


def test_what_cannot_be_a_pair_is_refused(node: parts.Node, pushes: parts.Pushes, old: Issued) -> None:
    """400 with the server's own words."""
    other = pushes.apple.push_pair(TOPIC, ends=parts.in_days(9))
    alien = pushes.apple.push_pair("com.example.app", ends=parts.in_days(9))
    legacy = old.key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")
    )
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    garbled = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    for bad, words in (
        (old.certificate_pem + pushes.apple.push_issuer.certificate_pem + old.key_pem, MISMATCH),
        (old.certificate_pem + other.key_pem, MISMATCH),
        (old.certificate_pem, NO_KEY),
        (b"\x00" * 1000, NO_CERTIFICATE),
        (old.certificate_pem + legacy, "private key PEM appears to be encrypted"),
        (old.certificate_pem + pkcs8(old, b"x"), "tls: failed to parse private key"),
        (old.certificate_pem + garbled, "tls: failed to parse private key"),
        (body(old) + curve, 'unrecognized PEM type: "EC PARAMETERS"'),
        (body(alien), 'invalid APNs Topic: "com.example.app"'),
    ):
        response = node.put(bad)
        assert (response.status_code, response.json()["error"]) == (400, words)


def test_a_password_is_needed_for_all_but_the_version(node: parts.Node) -> None:
    """401 in plain text; `/version` answers anybody."""
    response = httpx.put(f"{node.url}/v1/pushcert", auth=("nanomdm", "wrong"))
    assert (response.status_code, response.text.strip()) == (401, "Unauthorized")
    assert response.headers["www-authenticate"] == 'Basic realm="nanomdm"'
    assert httpx.get(f"{node.url}/v1/push/X").status_code == 401
    assert httpx.get(f"{node.url}/version").json() == {"version": "v0.9.0"}


def test_a_push_uses_the_pair_just_stored(
    node: parts.Node, pushes: parts.Pushes, old: Issued, new: Issued, device: say.Device
) -> None:
    """Old, new, and old again arrive with their own serials at once."""
    with pushes.device(TOPIC):
        for pair in (old, new, old):
            assert node.put(body(pair)).status_code == 200
            response = node.push(device.udid)
            assert response.status_code == 200
            assert list(response.json()["status"][device.udid]) == ["push_result"]
            last = pushes.log()[-1]
            assert (last["serial"], last["woken"]) == (serial_of(pair.certificate), True)


def test_bad_pairs_are_taken_and_fail_at_the_push(
    node: parts.Node, pushes: parts.Pushes, old: Issued, device: say.Device
) -> None:
    """Expired and foreign pairs get 200 when stored, and Go's words with the token when pushed."""
    expired = pushes.apple.push_pair(TOPIC, ends=parts.in_days(-1))
    foreign = Apple.create(parts.now()).push_pair(TOPIC, ends=parts.in_days(42))
    words = {expired: "expired certificate", foreign: "unknown certificate authority"}
    for pair, alert in words.items():
        assert node.put(body(pair)).status_code == 200
        response = node.push(device.udid)
        told = response.json()["status"][device.udid]["push_error"]
        assert response.status_code == 500
        assert told == (
            f'Post "https://api.push.apple.com/3/device/{parts.TOKEN}": remote error: tls: {alert}'
        )
    node.put(body(old))


def test_a_wrong_topic_makes_a_second_row(node: parts.Node, pushes: parts.Pushes, old: Issued) -> None:
    """200, and the old topic's certificate stays in use."""
    node.put(body(old))
    other = new_topic()
    assert node.put(body(pushes.apple.push_pair(other, ends=parts.in_days(9)))).json()["topic"] == other
    assert {TOPIC, other} <= {row[0] for row in node.rows("SELECT topic FROM push_certs")}
    assert node.stored(TOPIC)[0][0] == old.certificate_pem.decode()


def test_error_and_result_come_together(
    node: parts.Node, pushes: parts.Pushes, old: Issued, device: say.Device
) -> None:
    """A gone device: 500 alone, 207 beside a good one; an unknown id says so; no id is an error."""
    gone = enrolled(pushes, node, "DEVICE-GONE", "cd" * 32)
    node.put(body(old))
    with pushes.device(TOPIC), pushes.device(TOPIC, "cd" * 32):
        httpx.put(f"{pushes.courier}/gone", json=["cd" * 32]).raise_for_status()
        alone = node.push(gone.udid)
        told = alone.json()["status"][gone.udid]
        assert alone.status_code == 500
        assert told["push_error"].startswith(
            "push HTTP status: 410: APNs push error: Unregistered: timestamp"
        )
        assert told["push_result"]
        assert node.push(f"{gone.udid},{device.udid}").status_code == 207
    assert node.push("NOBODY").json()["status"]["NOBODY"]["push_error"] == "push data missing for id"
    assert node.push("").json() == {"push_error": "getting enrollment ids: empty path"}


def test_without_a_pair_there_is_no_push(pushes: parts.Pushes, node: parts.Node) -> None:
    """An enrollment whose topic has no pair gets the database's words."""
    issuer = Issued.read(pushes.pki, "device-ca")
    identity = issuer.device_identity("LONELY", KEY, now=parts.now())
    lonely = say.Device("LONELY", "S", new_topic(), b"\x01" * 32, "M", identity, f"{node.url}/mdm", "node")
    tell(lonely, say.authenticate(lonely))
    tell(lonely, say.token_update(lonely))
    words = f'retrieving push cert for topic "{lonely.topic}": sql: no rows in result set'
    assert node.push("LONELY").json() == {"push_error": words}


def test_enrollments_read_as_in_nanomdm(node: parts.Node, pushes: parts.Pushes) -> None:
    """Enabled after TokenUpdate, disabled by CheckOut and by a new Authenticate; Idle moves last_seen_at."""
    one = enrolled(pushes, node, "DEVICE-ROW", "99" * 32)
    query = "SELECT enabled, last_seen_at, type, user_id, token_hex FROM enrollments WHERE id = 'DEVICE-ROW'"
    ((enabled, seen, *rest),) = node.rows(query)
    assert (enabled, rest) == (1, ["Device", None, "99" * 32])
    assert time.strptime(str(seen).split(".", maxsplit=1)[0], "%Y-%m-%d %H:%M:%S")
    assert tell(one, say.idle(one)).status_code == 200
    assert str(node.rows(query)[0][1]) > str(seen)
    assert tell(one, say.check_out(one)).status_code == 200
    assert node.rows(query)[0][0] == 0
    tell(one, say.token_update(one))
    assert node.rows(query)[0][0] == 1
    assert node.rows("SELECT serial_number FROM devices WHERE id = 'DEVICE-ROW'") == [("SERIAL",)]


def test_strangers_cannot_enrol(node: parts.Node, device: say.Device) -> None:
    """No signature, nonsense, or an identity of another issuer: 400; an unknown device's Idle: 500."""
    stranger = device_root(parts.now()).device_identity("STRANGER", KEY, now=parts.now())
    message = say.idle(device)
    forged = say.signature(message, stranger, KEY)
    for headers in ({}, {"Mdm-Signature": "%%%"}, {"Mdm-Signature": "AAAA"}, {"Mdm-Signature": forged}):
        assert httpx.put(device.url, content=message, headers=headers).status_code == 400
    nobody = plistlib.dumps({"UDID": "NOBODY", "Status": "Idle"})
    assert tell(device, nobody).status_code == 500


def test_two_servers_share_a_database(
    node: parts.Node, pushes: parts.Pushes, new: Issued, device: say.Device
) -> None:
    """A pair put to one is used by the other at its next push."""
    with parts.node(pushes, node.folder, "second") as second, pushes.device(TOPIC):
        node.put(body(new))
        assert second.push(device.udid).status_code == 200
        assert pushes.log()[-1]["serial"] == serial_of(new.certificate)


def test_every_request_is_logged(node: parts.Node) -> None:
    """Method, path and status; the switches leave no trace."""
    httpx.get(f"{node.url}/v1/push/LOGGED")
    node.switch()
    assert node.requests()[-1] == ("GET", "/v1/push/LOGGED", 401)


def test_it_can_break_after_storing(node: parts.Node, new: Issued) -> None:
    """500, and stored all the same."""
    node.switch(error_after_storing=True)
    assert node.put(body(new)).status_code == 500
    node.switch(error_after_storing=False)
    assert node.stored(TOPIC)[0][0] == new.certificate_pem.decode()


def test_it_can_keep_the_old_pair(
    node: parts.Node, pushes: parts.Pushes, old: Issued, new: Issued, device: say.Device
) -> None:
    """200 and nothing stored; or stored, and pushes go on with the old one."""
    node.put(body(old))
    node.switch(keeps_old_pair=True)
    assert node.put(body(new)).status_code == 200
    node.switch(keeps_old_pair=False, pushes_old_pair=True)
    assert node.stored(TOPIC)[0][0] == old.certificate_pem.decode()
    with pushes.device(TOPIC):
        assert node.put(body(new)).status_code == 200
        node.push(device.udid)
        assert pushes.log()[-1]["serial"] == serial_of(old.certificate)
        node.switch(pushes_old_pair=False)
        node.put(body(new))
        node.push(device.udid)
        assert pushes.log()[-1]["serial"] == serial_of(new.certificate)


def test_it_can_lie_be_slow_and_be_gone(node: parts.Node, old: Issued) -> None:
    """Another topic in the answer; half a second late; no answer at all, until switched back."""
    node.switch(lies_about_topic="com.apple.mgmt.External.lie", slow_seconds=0.5)
    began = time.monotonic()
    assert node.put(body(old)).json()["topic"] == "com.apple.mgmt.External.lie"
    assert time.monotonic() - began >= 0.5
    node.switch(lies_about_topic=None, slow_seconds=0, down=True)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{node.url}/version")
    node.switch(down=False)
    assert httpx.get(f"{node.url}/version").status_code == 200
    assert httpx.get(f"{node.url}/sandbox/faults").json()["down"] is False


def test_a_busy_push_service_is_quoted(
    node: parts.Node, pushes: parts.Pushes, old: Issued, device: say.Device
) -> None:
    """Status and reason of the push service stand in the server's text."""
    node.put(body(old))
    pushes.switch(answer="503 ServiceUnavailable")
    told = node.push(device.udid).json()["status"][device.udid]["push_error"]
    pushes.switch(answer=None)
    assert told == "push HTTP status: 503: APNs push error: ServiceUnavailable"


def test_a_push_service_that_is_away(
    node: parts.Node, pushes: parts.Pushes, old: Issued, tmp_path: Path
) -> None:
    """Nobody listens there: the enrollment's error says what the network said, and no result stands beside it."""
    with listen() as dead:
        nowhere = dataclasses.replace(pushes, url=f"https://127.0.0.1:{port_of(dead)}")
    with parts.node(nowhere, tmp_path) as lonely:
        lonely.put(body(old))
        one = enrolled(pushes, lonely, "DEVICE-1", parts.TOKEN)
        told = lonely.push(one.udid).json()["status"][one.udid]
    assert list(told) == ["push_error"]
    assert "refused" in told["push_error"]
