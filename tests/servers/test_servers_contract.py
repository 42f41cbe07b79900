"""One suite over a real NanoMDM v0.9.0 on each of its stores: what we believe of it, asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from renewctl.apns import PushService
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Devices, Node, Product
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.sandbox.authority import Apple, new_topic
from renewctl.secrets import Kind, SecretRef
from renewctl.servers.nanomdm import NanoMDM as Client
from renewctl.verification import Proof, Rung, RungState, Timing, Verdict, device_canary, verify
from tests.support.nanomdm import DeviceGroup, NanoMDM, devices, load_schema, nanomdm
from tests.support.postgres import Database
from tests.support.sandbox_parts import Pushes, in_days

pytestmark = pytest.mark.slow

TIMING = Timing(check_in_timeout=60.0, second_try_after=0.3, poll_every=0.05)


@dataclass
class Stage:
    """A real server, its node in an inventory, devices, and pairs of one topic."""

    server: NanoMDM
    node: Node
    group: DeviceGroup
    pushes: Pushes
    topic: str

    @property
    def client(self) -> Client:
        """The product's client."""
        return Client(self.node, [self.topic])

    def pair(self, days: float = 300, topic: str | None = None, apple: Apple | None = None) -> Pair:
        """A pair that ends in so many days."""
        issued = (apple or self.pushes.apple).push_pair(topic or self.topic, ends=in_days(days))
        return Pair(PushCertificate.from_pem(issued.certificate_pem), issued.key_pem)

    def enroll(self, count: int = 1) -> tuple[str, ...]:
        """New devices of the topic."""
        return tuple(self.group.enroll(self.server.mdm_url, self.topic, count))

    def climb(self, pair: Pair, canaries: int = 3, timing: Timing = TIMING) -> Proof:
        """The whole ladder, quickly."""
        return verify(self.client, pair.certificate, canaries=canaries, timing=timing)

    def last_push(self) -> dict[str, object]:
        """The latest push that arrived at the push service."""
        return self.pushes.log()[-1]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test started."""
    with ExitStack() as running:
        yield running


@pytest.fixture(params=["filekv", "file", "pgsql"])
def stage(request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, calm: Pushes) -> Stage:
    """A NanoMDM on each of its stores."""
    return make_stage(str(request.param), request, stack, tmp_path, calm)


@pytest.fixture
def on_sql(request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, calm: Pushes) -> Stage:
    """A NanoMDM on PostgreSQL, read with a role that has the few grants it needs."""
    return make_stage("pgsql", request, stack, tmp_path, calm)


def make_stage(
    storage: str, request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, pushes: Pushes
) -> Stage:
    """Start everything; where the store is a database, the node reads it with SELECT alone."""
    dsn, store = None, Devices(folder=tmp_path / "server" / "storage")
    if storage == "pgsql":
        database: Database = request.getfixturevalue("database")
        dsn = load_schema(database)
        columns = "id, user_id, topic, enabled, last_seen_at, token_hex, push_magic"
        grants = ("push_certs(topic, cert_pem)", f"enrollments({columns})")
        store = Devices(sql=database.select_only(*grants))
    server = stack.enter_context(nanomdm(tmp_path / "server", pushes, storage, dsn))
    node = Node(
        "n1",
        Product.NANOMDM,
        (),
        "n1",
        url=server.url,
        password=SecretRef(Kind.FILE, (str(server.password_file),)),
        devices=store,
    )
    return Stage(server, node, stack.enter_context(devices(pushes)), pushes, new_topic())


def test_a_renewed_pair_is_proven_and_so_is_the_way_back(stage: Stage) -> None:
    """Old, new, old again: each is read back whole, carried by the next push, and wakes a device."""
    old, new = stage.pair(42), stage.pair(365)
    stage.client.install(old)
    stage.enroll(2)
    for pair in (old, new, old):
        stage.client.install(pair)
        proof = stage.climb(pair)
        assert (proof.verdict, set(proof.rungs.values())) == (Verdict.PROVEN, {RungState.YES})
        assert stage.last_push()["serial"] == pair.certificate.serial
        served = stage.client.observe(datetime.now(UTC)).serving(stage.topic)
        assert served is not None
        assert (served.serial, served.not_after) == (pair.certificate.serial, pair.certificate.not_after)


def test_what_a_server_tells_of_itself_is_whole(stage: Stage) -> None:
    """Up, a version that means nothing, no failure; v0.9.0's API tells no certificate, its store does."""
    stage.client.install(stage.pair())
    stage.enroll(2)
    seen = stage.client.observe(datetime.now(UTC))
    assert (seen.up, seen.version, seen.failures) == (True, "unknown", ())
    source = Source.DATABASE if stage.server.storage == "pgsql" else Source.FILE
    assert seen.answered == (source,)
    assert [(count.topic, count.enabled) for count in seen.devices or ()] == [(stage.topic, 2)]
    windows = set((seen.devices or ())[0].seen_within.values())
    assert windows == (set() if stage.server.storage == "file" else {2})


def test_looking_changes_nothing(stage: Stage) -> None:
    """Three looks: GET alone, no body, and what is stored stays stored."""
    pair = stage.pair()
    stage.client.install(pair)
    before = len(stage.server.requests())
    for _ in range(3):
        stage.client.observe(datetime.now(UTC))
    asked = stage.server.requests()[before:]
    assert {method for method, _ in asked} == {"GET"}
    assert {path for _, path in asked} == {"/version", "/v1/pushcert"}
    served = stage.client.observe(datetime.now(UTC)).serving(stage.topic)
    assert served is not None
    assert served.serial == pair.certificate.serial


@pytest.mark.parametrize("kind", ["expired", "foreign", "revoked"])
def test_a_pair_the_server_takes_but_apple_does_not_is_wrong(kind: str, stage: Stage) -> None:
    """The server says 200 to all of them; the push shows what is wrong, and the old pair works again."""
    old = stage.pair(42)
    stage.client.install(old)
    stage.enroll()
    foreign = Apple.create(datetime.now(UTC)) if kind == "foreign" else None
    bad = stage.pair(-1 if kind == "expired" else 300, apple=foreign)
    stage.pushes.switch(refuse_serials=[bad.certificate.serial] if kind == "revoked" else [])
    stage.client.install(bad)
    proof = stage.climb(bad)
    # An alert may be overtaken by the end of the connection: then that is the reason, the verdict the same.
    cut = Reason.PUSH_CONNECTION_RESET
    expected = {Reason.PUSH_CERTIFICATE_REFUSED} if kind == "revoked" else {Reason.PUSH_TLS_REFUSED, cut}
    assert (proof.verdict, proof.rungs[Rung.PUSH]) == (Verdict.WRONG, RungState.NO), proof
    assert proof.reason in expected
    device = next(iter(stage.group.enrolled.values()))
    assert device.token.hex() not in repr(proof)
    stage.client.install(old)
    assert stage.climb(old).verdict is Verdict.PROVEN


def test_a_pair_the_server_refuses_leaves_everything_as_it_was(stage: Stage) -> None:
    """The key of another request: 400 with the server's words, the old pair still in use."""
    old = stage.pair(42)
    stage.client.install(old)
    stage.enroll()
    with pytest.raises(NodeFault) as caught:
        stage.client.install(Pair(stage.pair().certificate, old.key))
    assert caught.value.reason is Reason.NODE_REFUSED_PAIR
    assert "private key does not match" in str(caught.value.values["got"])
    assert stage.climb(old).verdict is Verdict.PROVEN


def test_another_topics_pair_is_never_called_proven(stage: Stage) -> None:
    """A valid pair from Create: stored beside, the devices go on with the old one; no device proves it."""
    stage.client.install(stage.pair(42))
    stage.enroll()
    other = stage.pair(365, topic=new_topic())
    stage.client.install(other)
    proof = verify(stage.client, other.certificate, timing=TIMING)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NO_CANARY)
    assert stage.client.enrolled_topics() == {stage.topic: 1}


def test_who_left_is_no_canary_and_who_sleeps_hands_over(stage: Stage) -> None:
    """CheckOut takes a device out of counts and canaries; a device that is offline is waited for, then the next."""
    pair = stage.pair()
    stage.client.install(pair)
    left, present = stage.enroll(2)
    stage.group.leave(left)
    assert stage.client.canaries(stage.topic, 9) == (present,)
    assert stage.client.enrolled_topics() == {stage.topic: 1}
    stage.pushes.switch(lose=True)
    proof = stage.climb(pair, timing=replace(TIMING, check_in_timeout=2.0))
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NO_CHECK_IN)
    stage.pushes.switch(lose=False)
    assert stage.climb(pair).verdict is Verdict.PROVEN


def test_a_gone_device_says_nothing_of_the_pair(stage: Stage) -> None:
    """410 Unregistered for the first canary; the second proves it."""
    pair = stage.pair()
    stage.client.install(pair)
    stage.enroll(2)
    first = stage.client.canaries(stage.topic, 1)[0]
    token = stage.group.enrolled[first].token.hex()
    httpx.put(f"{stage.pushes.courier}/gone", json=[token]).raise_for_status()
    assert stage.client.push(first).reason is Reason.PUSH_DEVICE_GONE
    proof = stage.climb(pair)
    assert (proof.verdict, proof.enrollment != first) == (Verdict.PROVEN, True)


def test_a_push_service_that_hangs_leaves_the_pair_unknown(stage: Stage) -> None:
    """NanoMDM itself would wait for ever: our own deadline ends it."""
    pair = stage.pair()
    stage.client.install(pair)
    stage.enroll()
    stage.pushes.switch(hang=True)
    hasty = Client(stage.node, [stage.topic], deadline_seconds=5.0)
    proof = verify(hasty, pair.certificate, timing=TIMING)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.NODE_TIMEOUT)


def test_a_wrong_password_installs_nothing(stage: Stage, tmp_path: Path) -> None:
    """401 to the upload, to the push, to the look; never a traceback, never the password."""
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2")
    client = Client(replace(stage.node, password=SecretRef(Kind.FILE, (str(wrong),))), [stage.topic])
    with pytest.raises(NodeFault) as caught:
        client.install(stage.pair())
    assert caught.value.reason is Reason.NODE_DENIED
    assert client.push("X").reason is Reason.NODE_DENIED
    seen = client.observe(datetime.now(UTC))
    assert (seen.up, seen.certificates) == (True, ())
    assert Reason.NODE_DENIED in {failure.reason for failure in seen.failures}
    assert "hunter2" not in f"{caught.value} {seen}"


def test_a_server_that_is_down_comes_back_with_its_pair(stage: Stage) -> None:
    """Killed: unreachable, its store still tells the certificate. Started again: proven without an upload."""
    pair = stage.pair()
    stage.client.install(pair)
    stage.enroll()
    stage.server.stop()
    seen = stage.client.observe(datetime.now(UTC))
    assert (seen.up, seen.serving(stage.topic) is not None) == (False, True)
    assert Reason.NODE_UNREACHABLE in {failure.reason for failure in seen.failures}
    assert stage.climb(pair).verdict is Verdict.UNKNOWN
    stage.server.start()
    assert stage.climb(pair).verdict is Verdict.PROVEN


def test_a_device_is_woken_with_the_new_pair_before_the_server_has_it(on_sql: Stage) -> None:
    """The device canary of shared storage: token and magic from the database, the push from here."""
    old, new = on_sql.pair(42), on_sql.pair(365)
    on_sql.client.install(old)
    on_sql.enroll()
    service = PushService(on_sql.pushes.url, on_sql.pushes.pki / "web-root.pem")
    proof = device_canary(on_sql.client, new, service, timing=TIMING)
    assert proof.verdict is Verdict.PROVEN
    assert on_sql.last_push()["serial"] == new.certificate.serial
    served = on_sql.client.observe(datetime.now(UTC)).serving(on_sql.topic)
    assert served is not None
    assert served.serial == old.certificate.serial


def test_a_role_without_token_and_magic_closes_that_way(on_sql: Stage, database: Database) -> None:
    """Nothing else is lost: read-back, counts, canaries and check-ins need no such grant."""
    url = database.select_only(
        "push_certs(topic, cert_pem)", "enrollments(id, user_id, topic, enabled, last_seen_at)"
    )
    on_sql.node = replace(on_sql.node, devices=Devices(sql=url))
    pair = on_sql.pair()
    on_sql.client.install(pair)
    on_sql.enroll()
    proof = device_canary(on_sql.client, pair, PushService(on_sql.pushes.url), timing=TIMING)
    assert set(proof.rungs.values()) == {RungState.NOT_AVAILABLE}
    assert on_sql.climb(pair).verdict is Verdict.PROVEN


def test_one_upload_serves_all_nodes_of_a_database(on_sql: Stage, stack: ExitStack, tmp_path: Path) -> None:
    """Installed through one process, proven through another: the second switches at its next push."""
    second = stack.enter_context(nanomdm(tmp_path / "second", on_sql.pushes, "pgsql", on_sql.server.dsn))
    password = SecretRef(Kind.FILE, (str(second.password_file),))
    other = Client(replace(on_sql.node, name="n2", url=second.url, password=password), [on_sql.topic])
    on_sql.enroll()
    for days in (42, 365):
        pair = on_sql.pair(days)
        on_sql.client.install(pair)
        assert verify(other, pair.certificate, timing=TIMING).verdict is Verdict.PROVEN
        assert on_sql.last_push()["serial"] == pair.certificate.serial
    assert not [path for method, path in second.requests() if method == "PUT" and path == "/v1/pushcert"]


def test_a_database_in_another_zone_is_found_out(on_sql: Stage, database: Database) -> None:
    """Check-ins written nine hours ahead of our role's zone are reported, not believed; proof works all the same."""
    pair = on_sql.pair()
    on_sql.client.install(pair)
    on_sql.enroll()
    with database.connect() as connection:
        connection.execute(f"ALTER ROLE {database.owner} SET timezone TO 'Asia/Tokyo'")
    on_sql.server.stop()
    on_sql.server.start()
    assert on_sql.climb(pair).verdict is Verdict.PROVEN
    seen = on_sql.client.observe(datetime.now(UTC))
    assert [failure.reason for failure in seen.failures] == [Reason.DATABASE_ZONE]
    assert [(count.enabled, count.seen_within) for count in seen.devices or ()] == [(1, {})]


def test_a_database_that_is_gone_fails_the_look_not_the_node(
    on_sql: Stage, database: Database, silent_url: Callable[[Database], str]
) -> None:
    """The process lives; certificates, devices and proof are unknown, neither done nor failed."""
    pair = on_sql.pair()
    on_sql.client.install(pair)
    on_sql.node = replace(on_sql.node, devices=Devices(sql=silent_url(database)))
    seen = on_sql.client.observe(datetime.now(UTC))
    assert (seen.up, seen.certificates, seen.devices, seen.answered) == (True, (), None, ())
    assert {failure.reason for failure in seen.failures} == {Reason.DATABASE_UNREACHABLE}
    assert on_sql.climb(pair).verdict is Verdict.UNKNOWN


@pytest.fixture
def silent_url() -> Callable[[Database], str]:
    """The same role on a port where nobody listens."""
    return lambda database: f"postgresql://nobody:none@127.0.0.1:1/{database.name}"
