"""The ladder on a server that does what the test wrote down, with a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from renewctl import messages
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Node, Product
from renewctl.observation import Failure, Observation, ServedCertificate, Source
from renewctl.pushanswer import PushResult
from renewctl.reasons import Reason
from renewctl.servers.protocol import PushAnswer
from renewctl.verification import Proof, Rung, RungState, Verdict, device_canary, verify
from tests.support.certs import NOW, OTHER_TOPIC, Issued, apple_like
from tests.support.fake_server import DOWN, OK, Clock, FakePushService, FakeServer, whole

YES, NO, UNKNOWN, ABSENT = RungState.YES, RungState.NO, RungState.UNKNOWN, RungState.NOT_AVAILABLE
TLS = PushAnswer(accepted=False, reason=Reason.PUSH_TLS_REFUSED, says_wrong_pair=True, detail="tls: expired")
GONE = PushAnswer(accepted=False, reason=Reason.PUSH_DEVICE_GONE)
RESET = PushAnswer(accepted=False, reason=Reason.PUSH_CONNECTION_RESET)
BUSY = PushAnswer(accepted=False, reason=Reason.PUSH_SERVICE_BUSY)
SILENT = PushAnswer(accepted=None, reason=Reason.NODE_TIMEOUT)


@pytest.fixture
def new() -> Issued:
    """The certificate that was installed."""
    return apple_like().push(key="new")


@pytest.fixture
def old() -> Issued:
    """The one before."""
    return apple_like().push(key="old", not_after=NOW + timedelta(days=42))


def shown(
    *certificates: ServedCertificate, answered: bool = True, failed: Reason | None = None
) -> Observation:
    """One look."""
    failures = (Failure(failed, {"node": "n1"}),) if failed else ()
    sources = (Source.DATABASE,) if answered else ()
    return Observation("n1", NOW, up=True, certificates=certificates, answered=sources, failures=failures)


def climb(server: FakeServer, issued: Issued, clock: Clock | None = None, *, canaries: int = 3) -> Proof:
    """Verify without waiting."""
    expected = PushCertificate.from_der(issued.der)
    return verify(server, expected, canaries=canaries, timing=(clock or Clock()).timing())


def states(proof: Proof) -> list[RungState]:
    """The rungs from below."""
    return [proof.rungs[rung] for rung in Rung]


def test_all_rungs_yes_is_proven(new: Issued) -> None:
    """Read back whole, one push, the device seen checking in; nothing is waited for that is there."""
    clock, server = Clock(), FakeServer([shown(whole(new))])
    proof = climb(server, new, clock)
    assert (proof.verdict, states(proof), proof.reason) == (Verdict.PROVEN, [YES] * 4, None)
    assert (proof.values, proof.enrollment, server.asked) == ({}, "A", ["A"])
    assert clock.slept == []


def test_a_first_refusal_is_not_believed(new: Issued) -> None:
    """A server that switches a moment later refuses the first push with its old client."""
    clock, server = Clock(), FakeServer([shown(whole(new))], pushes=[TLS, OK])
    assert climb(server, new, clock).verdict is Verdict.PROVEN
    assert clock.slept == [1.5]


def test_a_late_read_back_is_looked_at_twice(new: Issued, old: Issued) -> None:
    """What still shows the old certificate is asked again before it is called wrong."""
    server = FakeServer([shown(whole(old)), shown(whole(new))])
    assert climb(server, new).verdict is Verdict.PROVEN
    server = FakeServer([shown(), shown(whole(new))])
    assert climb(server, new).verdict is Verdict.PROVEN


def test_another_certificate_is_wrong_and_nothing_is_pushed(new: Issued, old: Issued) -> None:
    """Got and expected are told by serial and date."""
    server = FakeServer([shown(whole(old))])
    proof = climb(server, new)
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.PROOF_CERTIFICATE_DIFFERS)
    assert states(proof) == [NO, NO, ABSENT, ABSENT]
    assert old.serial in proof.values["got"]
    assert new.serial in proof.values["expected"]
    assert server.asked == []


def test_dates_in_a_proof_are_shown_in_the_topics_zone(new: Issued, old: Issued) -> None:
    """A day of UTC would be the day before in Tokyo: the instant, with its zone, as everywhere else."""
    proof = climb(FakeServer([shown(whole(old))]), new)
    values = {name: messages.readable(value, "Asia/Tokyo", "ja") for name, value in proof.values.items()}
    told = messages.text("proof_certificate_differs", "ja", **values)
    for end in (old.certificate.not_valid_after_utc, new.certificate.not_valid_after_utc):
        assert messages.instant(end, "Asia/Tokyo", "ja") in told
    assert told.count("JST") == 2


def test_the_same_date_with_another_serial_is_wrong(new: Issued) -> None:
    """Two certificates made the same minute are still two."""
    twin = apple_like().push(key="twin")
    proof = climb(FakeServer([shown(whole(twin))]), new)
    assert (proof.verdict, states(proof)[:2]) == (Verdict.WRONG, [YES, NO])


def test_one_source_that_differs_is_enough(new: Issued, old: Issued) -> None:
    """filekv: the folder has the new one while the process answers with the old one from memory."""
    api = replace(whole(old, Source.API), serial=None, fingerprint=None)
    proof = climb(FakeServer([shown(whole(new, Source.FILE), api)]), new)
    assert (proof.verdict, states(proof)[:2], proof.values["source"]) == (Verdict.WRONG, [NO, YES], "api")


def test_a_source_that_answers_without_the_topic_says_it_is_not_there(new: Issued) -> None:
    """Absent where the source answered: wrong. Where nothing can be read a check-in alone is no proof."""
    elsewhere = whole(apple_like().push(OTHER_TOPIC))
    proof = climb(FakeServer([shown(elsewhere)]), new)
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.PROOF_CERTIFICATE_ABSENT)
    proof = climb(FakeServer([shown(answered=False)]), new)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NOT_READ_BACK)
    assert states(proof) == [ABSENT, ABSENT, YES, YES]


def test_a_date_alone_leaves_the_serial_open(new: Issued) -> None:
    """An API that tells topic and date gives the first rung only."""
    api = replace(whole(new, Source.API), serial=None, fingerprint=None)
    proof = climb(FakeServer([shown(api)]), new)
    assert (proof.verdict, states(proof)) == (Verdict.PROVEN, [YES, ABSENT, YES, YES])


def test_a_source_that_failed_leaves_it_unknown(new: Issued) -> None:
    """Even if the push goes through: what could not be read is not proven, nor wrong."""
    looks = [shown(answered=False, failed=Reason.DATABASE_UNREACHABLE)]
    proof = climb(FakeServer(looks), new)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.DATABASE_UNREACHABLE)
    assert states(proof) == [UNKNOWN, ABSENT, YES, YES]


def test_a_look_that_breaks_leaves_it_unknown(new: Issued) -> None:
    """A file read over a connection of its own: its fault is the read-back's, and the climb goes on."""
    server = FakeServer([shown(whole(new))])

    def observe(now: object, *, certificates_alone: bool) -> Observation:
        raise NodeFault(Reason.NODE_FILE_UNREADABLE, node="n1", path="/x", got="EACCES")

    server.observe = observe  # type: ignore[method-assign]
    proof = climb(server, new)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.NODE_FILE_UNREADABLE)
    assert states(proof) == [UNKNOWN, ABSENT, YES, YES]


def test_a_file_on_another_host_is_no_failure_of_the_ladder(new: Issued) -> None:
    """It is not available from here, which is no fault, and no proof either: it is said by its own reason."""
    looks = [shown(answered=False, failed=Reason.NODE_CERTIFICATE_ELSEWHERE)]
    proof = climb(FakeServer(looks), new)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NOT_READ_BACK)


@pytest.mark.parametrize(
    "reason", [Reason.PUSH_TLS_REFUSED, Reason.PUSH_CERTIFICATE_REFUSED, Reason.PUSH_TOPIC_REFUSED]
)
def test_an_answer_that_says_wrong_is_wrong(reason: Reason, new: Issued) -> None:
    """Said three times over, and no further device is bothered."""
    answer = PushAnswer(accepted=False, reason=reason, says_wrong_pair=True, detail="no")
    server = FakeServer([shown(whole(new))], pushes=[answer])
    proof = climb(server, new)
    assert (proof.verdict, proof.reason, states(proof)) == (Verdict.WRONG, reason, [YES, YES, NO, ABSENT])
    assert proof.values == {"node": "n1", "got": "no", "enrollment": "A"}
    assert server.asked == ["A"] * 3


def test_a_reset_connection_is_tried_again_and_then_taken_for_a_refusal(new: Issued) -> None:
    """A refusal's alert may be overtaken by a reset; a reset that goes away was one."""
    server = FakeServer([shown(whole(new))], pushes=[RESET, RESET, OK])
    assert climb(server, new).verdict is Verdict.PROVEN
    server = FakeServer([shown(whole(new))], pushes=[RESET])
    proof = climb(server, new)
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.PUSH_CONNECTION_RESET)
    assert server.asked == ["A"] * 3


def test_a_device_that_left_hands_over_to_the_next(new: Issued) -> None:
    """410, an unknown token: the next canary is asked."""
    server = FakeServer([shown(whole(new))], pushes=[GONE, OK])
    proof = climb(server, new)
    assert (proof.verdict, proof.enrollment, server.asked) == (Verdict.PROVEN, "B", ["A", "B"])


def test_devices_that_all_left_prove_nothing(new: Issued) -> None:
    """Installed, not proven: it is the devices, not the pair."""
    server = FakeServer([shown(whole(new))], pushes=[GONE])
    proof = climb(server, new)
    assert (proof.verdict, proof.reason, states(proof)[2]) == (
        Verdict.NOT_PROVEN,
        Reason.PUSH_DEVICE_GONE,
        UNKNOWN,
    )
    assert server.asked == ["A", "B", "C"]


@pytest.mark.parametrize("answer", [BUSY, SILENT, PushAnswer(accepted=None)])
def test_no_usable_answer_is_unknown(answer: PushAnswer, new: Issued) -> None:
    """A push service or node that is away is away for all devices: the others are not bothered."""
    server = FakeServer([shown(whole(new))], pushes=[answer])
    proof = climb(server, new)
    assert (proof.verdict, states(proof)) == (Verdict.UNKNOWN, [YES, YES, UNKNOWN, ABSENT])
    assert proof.reason is (answer.reason or Reason.PUSH_ANSWER_UNKNOWN)
    assert server.asked == ["A"]


def test_a_gone_device_does_not_hide_a_service_that_is_away(new: Issued) -> None:
    """The reason that is left is the one that matters."""
    server = FakeServer([shown(whole(new))], pushes=[GONE, BUSY])
    proof = climb(server, new)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.PUSH_SERVICE_BUSY)


def test_a_sleeping_device_hands_over_to_the_next(new: Issued) -> None:
    """The first does not check in for ten seconds; the second does."""
    clock, server = Clock(), FakeServer([shown(whole(new))], awake="B")
    proof = climb(server, new, clock)
    assert (proof.verdict, proof.enrollment, server.asked) == (Verdict.PROVEN, "B", ["A", "B"])
    assert 10 <= clock.now <= 11


def test_devices_that_all_sleep_leave_it_installed_not_proven(new: Issued) -> None:
    """As many as were asked for, each its time; what is said names how many and how long."""
    clock, server = Clock(), FakeServer([shown(whole(new))], awake="")
    proof = climb(server, new, clock, canaries=2)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NO_CHECK_IN)
    assert states(proof) == [YES, YES, YES, NO]
    assert proof.values == {"node": "n1", "devices": "2", "seconds": "10", "enrollment": "A, B"}
    assert 20 <= clock.now <= 21


def test_a_device_that_wakes_late_still_counts(new: Issued) -> None:
    """While the second is waited for, the first checks in after all."""
    clock, server = Clock(), FakeServer([shown(whole(new))], awake="", names=("A", "B"))
    real = server.push

    def push(enrollment: str) -> PushAnswer:
        if enrollment == "B":
            server.awake = "A"
            server.wake("A")
            server.awake = ""
        return real(enrollment)

    server.push = push  # type: ignore[method-assign]
    proof = climb(server, new, clock)
    assert (proof.verdict, proof.enrollment) == (Verdict.PROVEN, "A")


def test_a_server_that_shows_no_check_ins_is_proven_by_the_rest(new: Issued) -> None:
    """Not available is not no."""
    proof = climb(FakeServer([shown(whole(new))], sees_check_ins=False), new)
    assert (proof.verdict, states(proof)) == (Verdict.PROVEN, [YES, YES, YES, ABSENT])


def test_a_database_that_stumbles_while_we_wait_is_forgiven(new: Issued) -> None:
    """One look that fails is not the end; looks that fail until the end are unknown."""
    server = FakeServer([shown(whole(new))], broken_looks=0)
    real = server.check_in
    calls: list[str] = []

    def check_in(enrollment: str) -> str | None:
        calls.append(enrollment)
        if len(calls) in {2, 3}:
            raise DOWN
        return real(enrollment)

    server.check_in = check_in  # type: ignore[method-assign]
    assert climb(server, new).verdict is Verdict.PROVEN
    server = FakeServer([shown(whole(new))], broken_looks=10_000)
    proof = climb(server, new)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.DATABASE_UNREACHABLE)
    assert states(proof)[2:] == [YES, UNKNOWN]


def test_without_a_known_device_nothing_is_proven(new: Issued) -> None:
    """Devices there are, but none of this topic, or none that anybody can name."""
    for enrolled in (None, {OTHER_TOPIC: 4}):
        proof = climb(FakeServer([shown(whole(new))], names=(), enrolled=enrolled), new)
        assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NO_CANARY)


def test_a_server_without_any_devices_is_proven_by_its_read_back(new: Issued) -> None:
    """A fresh node: nobody could be woken, and nobody is missing."""
    server = FakeServer([shown(whole(new))], names=(), enrolled={})
    proof = climb(server, new)
    assert (proof.verdict, states(proof), server.asked) == (Verdict.PROVEN, [YES, YES, ABSENT, ABSENT], [])


def test_devices_that_cannot_be_looked_up_are_unknown(new: Issued) -> None:
    """The database that knows them is down."""
    proof = climb(FakeServer([shown(whole(new))], enrolled=DOWN, names=DOWN), new)
    assert (proof.verdict, proof.reason, states(proof)[2]) == (
        Verdict.UNKNOWN,
        Reason.DATABASE_UNREACHABLE,
        UNKNOWN,
    )


def test_a_node_without_url_is_proven_by_its_files(new: Issued) -> None:
    """Files cannot push; what they can give is the certificate, whole."""
    node = Node("f1", Product.FILES, (), "f1")
    proof = climb(FakeServer([shown(whole(new, Source.FILE))], node=node), new)
    assert (proof.verdict, states(proof)) == (Verdict.PROVEN, [YES, YES, ABSENT, ABSENT])


def test_a_node_that_can_tell_nothing_is_not_proven(new: Issued) -> None:
    """No read-back, no push: nothing speaks for the pair."""
    node = Node("f1", Product.FILES, (), "f1")
    proof = climb(FakeServer([shown(answered=False)], node=node), new)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NOTHING_TO_TELL)
    assert proof.values == {"node": "f1"}


def test_a_proof_goes_through_json_and_back(new: Issued, old: Issued) -> None:
    """Plain values for events and task results."""
    for proof in (climb(FakeServer([shown(whole(new))]), new), climb(FakeServer([shown(whole(old))]), new)):
        assert Proof.from_json(json.loads(json.dumps(proof.as_json()))) == proof


@pytest.fixture
def pair(new: Issued, pair_of: Callable[[Issued], Pair]) -> Pair:
    """The new pair."""
    return pair_of(new)


def canary(server: FakeServer, pair: Pair, *answers: PushResult) -> tuple[Proof, FakePushService]:
    """A device canary without waiting."""
    service = FakePushService(server, list(answers))
    return device_canary(server, pair, service, timing=Clock().timing()), service


TAKEN = PushResult(accepted=True, status=200)


def test_a_device_woken_from_here_proves_the_pair_before_any_install(pair: Pair) -> None:
    """The push carries the new pair; the node itself is not asked to push, nor given anything."""
    server = FakeServer()
    proof, service = canary(server, pair, TAKEN)
    assert (proof.verdict, states(proof)) == (Verdict.PROVEN, [ABSENT, ABSENT, YES, YES])
    assert service.tokens == [f"ab/m/{pair.certificate.serial}"]
    assert server.asked == []
    assert "ab/m" not in repr(proof)


def test_a_device_canary_needs_the_check_in(pair: Pair) -> None:
    """Apple may accept and drop a push: accepted alone lets nobody go on."""
    proof, _ = canary(FakeServer(awake=""), pair, TAKEN)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NO_CHECK_IN)
    proof, _ = canary(FakeServer(sees_check_ins=False), pair, TAKEN)
    assert (proof.verdict, proof.reason) == (Verdict.NOT_PROVEN, Reason.PROOF_NOTHING_TO_TELL)


def test_a_refused_pair_is_wrong_before_it_is_installed_anywhere(pair: Pair) -> None:
    """The push service's own words."""
    proof, _ = canary(
        FakeServer(), pair, PushResult(accepted=False, reason=Reason.PUSH_TOPIC_REFUSED, status=400)
    )
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.PUSH_TOPIC_REFUSED)


@pytest.mark.parametrize(
    "server",
    [
        FakeServer(target=None),
        FakeServer(names=()),
        FakeServer(target=NodeFault(Reason.DATABASE_DENIED, node="n1", got="permission denied")),
    ],
    ids=["no-target", "no-device", "no-grant"],
)
def test_where_no_device_can_be_woken_from_here_every_rung_is_open(server: FakeServer, pair: Pair) -> None:
    """A role without the grant is a closed way, not a fault: the first node is the canary then."""
    proof, service = canary(server, pair, TAKEN)
    assert (set(proof.rungs.values()), proof.verdict) == ({ABSENT}, Verdict.NOT_PROVEN)
    assert service.tokens == []


def test_a_database_that_is_down_is_no_closed_way(pair: Pair) -> None:
    """Whether there is a canary is unknown then."""
    proof, _ = canary(FakeServer(target=DOWN), pair, TAKEN)
    assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.DATABASE_UNREACHABLE)
