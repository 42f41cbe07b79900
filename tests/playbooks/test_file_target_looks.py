"""What a file node's own look comes to on the controller: known, wrong, not known, or no answer of our program's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import is_at

from renewctl import verification
from renewctl.certificate.pushcert import PushCertificate
from renewctl.observation import Source
from renewctl.reasons import Reason
from renewctl.verification import Rung, RungState, Verdict
from tests.playbooks.test_file_target import Remote, fault_of, found_at, look_of, many, target
from tests.support.certs import NOW, TOPIC, Issued, apple_like


@pytest.fixture(scope="module")
def pair() -> Issued:
    """The new pair."""
    return apple_like().push(TOPIC, key="new")


@pytest.mark.parametrize("phase", ["switching", "anything else"])
def test_whatever_files_hold_after_a_step_that_was_cut_off_proves_nothing(
    tmp_path: Path, pair: Issued, phase: str
) -> None:
    """The right pair is there, or another: both are told, neither is proof or refutation, no device is woken."""
    for pem in (pair.pem, apple_like().push(TOPIC, key="other").pem):
        node = target(tmp_path, Remote(look=look_of(found_at("/etc/p.pem", pem.decode()), phase=phase)))
        certificate = PushCertificate.from_pem(pair.pem)
        seen = node.server.observe(NOW)
        assert [one.serial for one in seen.certificates] == [PushCertificate.from_pem(pem).serial]
        assert [failure.reason for failure in seen.failures] == [Reason.NODE_STEP_UNFINISHED]
        assert steps.holds(seen, certificate) is False
        timing = verification.Timing(sleep=lambda _: None)
        proof = verification.verify(node.server, certificate, timing=timing)
        assert (proof.verdict, proof.reason) == (Verdict.UNKNOWN, Reason.NODE_STEP_UNFINISHED)
        assert (proof.rungs[Rung.READ_BACK], proof.rungs[Rung.SERIAL]) == (
            RungState.UNKNOWN,
            RungState.NOT_AVAILABLE,
        )


@pytest.mark.parametrize("which", [0, 1])
def test_a_right_certificate_without_its_key_is_wrong(tmp_path: Path, pair: Issued, which: int) -> None:
    """In one place of two: neither there nor proven, with the path; no device is woken. Not known is no fault."""
    paths = ["/etc/a/push.pem", "/etc/b/push.pem"]
    found = [found_at(path, pair.pem.decode(), together=None) for path in paths]
    certificate = PushCertificate.from_pem(pair.pem)
    layout = [{"pem": path} for path in paths]
    assert steps.holds(
        target(tmp_path, Remote(look=look_of(*found)), paths=layout).server.observe(NOW), certificate
    )
    found[which]["together"] = False
    node = target(tmp_path, Remote(look=look_of(*found)), paths=layout)
    seen = node.server.observe(NOW)
    assert [(one.reason, one.values["path"]) for one in seen.failures] == [
        (Reason.NODE_PAIR_MISMATCHED, paths[which])
    ]
    assert steps.holds(seen, certificate) is False
    proof = verification.verify(node.server, certificate)
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.NODE_PAIR_MISMATCHED)
    assert proof.rungs[Rung.READ_BACK] is RungState.NO


@pytest.mark.parametrize("pem", [None, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_certificate_of_ours_that_was_damaged_is_wrong(
    tmp_path: Path, pair: Issued, pem: str | None
) -> None:
    """The node would take a pair in its place, so that is told, not an error; else it is one."""
    certificate = PushCertificate.from_pem(pair.pem)
    damaged = found_at("/etc/p.pem", pem, together=False)
    node = target(tmp_path, Remote(look=look_of(damaged)), paths={"pem": "/etc/p.pem"})
    seen = node.server.observe(NOW)
    assert Reason.NODE_PAIR_MISMATCHED in {failure.reason for failure in seen.failures}
    assert (Reason.NODE_FILE_NOT_CERTIFICATE in {failure.reason for failure in seen.failures}) is (
        pem is None
    )
    assert seen.unseen is not None
    assert Source.FILE in seen.answered
    proof = verification.verify(node.server, certificate)
    assert (proof.verdict, proof.reason) == (Verdict.WRONG, Reason.NODE_PAIR_MISMATCHED)
    for change in ({"refused": True}, {"together": None}):
        node = target(tmp_path, Remote(look=look_of({**damaged, **change})), paths={"pem": "/etc/p.pem"})
        assert fault_of(partial(node.server.observe, NOW)).reason is Reason.NODE_FILE_NOT_CERTIFICATE


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("refused", told) for told in ("yes", 1, None, ...)),
        *(("together", told) for told in ("yes", 1, ...)),
    ],
)
def test_a_look_that_leaves_open_what_it_must_say_is_no_look(
    tmp_path: Path, pair: Issued, name: str, told: object
) -> None:
    """Neither yes nor no (nor unknown, of the key): whatever answered there is not our program."""
    found = found_at("/etc/p.pem", pair.pem.decode())
    found[name] = told
    if told is ...:
        del found[name]
    node = target(tmp_path, Remote(look=look_of(found)), paths={"pem": "/etc/p.pem"})
    assert fault_of(lambda: node.server.observe(NOW)).reason is Reason.NODE_ANSWER_UNREADABLE


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    """The key, DER, half a file: a reason with the path, never an error of a library."""
    for pem in (None, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        found = found_at("/etc/my mdm/push.pem", pem)
        node = target(tmp_path, Remote(look=look_of(found)))
        fault = fault_of(partial(node.server.observe, NOW))
        assert fault.reason is Reason.NODE_FILE_NOT_CERTIFICATE
        assert str(fault.values["path"]).endswith(".pem")


def test_places_that_differ_or_hide_are_told(tmp_path: Path, pair: Issued) -> None:
    """Where all agree there is one certificate; a locked, missing or other one keeps the node from being known."""
    other = apple_like().push(TOPIC, key="other")
    place = ["/etc/a/push.pem", "/etc/b/push.pem", "/etc/c/push.p12"]
    pem = pair.pem.decode()
    for third, others, reason in [
        (found_at(place[2], pem), pem, None),
        (found_at(place[2], None), pem, Reason.NODE_CERTIFICATE_LOCKED),
        (found_at(place[2], None, there=False), pem, Reason.NODE_FILE_MISSING),
        (found_at(place[2], pem), other.pem.decode(), None),
    ]:
        found = [found_at(place[0], pem), found_at(place[1], others), third]
        seen = many(tmp_path, Remote(look=look_of(*found))).server.observe(NOW)
        expected_serials = {pair.serial} if others == pem else {pair.serial, other.serial}
        assert {one.serial for one in seen.certificates} == expected_serials
        assert [failure.reason for failure in seen.failures] == ([] if reason is None else [reason])
        assert (Source.FILE in seen.answered) is (reason is not Reason.NODE_CERTIFICATE_LOCKED)
        certificate = PushCertificate.from_pem(pair.pem)
        assert steps.holds(seen, certificate) is (reason is None and others == pem)
        proof = verification.verify(many(tmp_path, Remote(look=look_of(*found))).server, certificate)
        expected = Verdict.UNKNOWN if reason else Verdict.PROVEN if others == pem else Verdict.WRONG
        assert (proof.verdict, proof.reason if reason else None) == (expected, reason)


def test_a_key_where_the_only_file_should_be_is_no_certificate(tmp_path: Path) -> None:
    """Something is there and cannot be read as a certificate; of PKCS#12 that alone is no fault."""
    only = found_at("/etc/b/push.pem", None)
    node = target(tmp_path, Remote(look=look_of(only)), paths={"pem": "/etc/b/push.pem"})
    assert fault_of(lambda: node.server.observe(NOW)).reason is Reason.NODE_FILE_NOT_CERTIFICATE


def test_a_file_without_a_certificate_has_no_pair(tmp_path: Path, pair: Issued) -> None:
    """Damaged, say: it is not there, so it is sent. A node that cannot look has said neither."""
    certificate = PushCertificate.from_pem(pair.pem)
    damaged = found_at("/etc/p.pem", None, together=False)
    node = target(tmp_path, Remote(look=look_of(damaged)), paths={"pem": "/etc/p.pem"})
    assert is_at(node.server, certificate) is False
    locked = Remote(look={"reason": "node_locked", "values": {"path": "/etc"}})
    assert fault_of(lambda: is_at(target(tmp_path, locked).server, certificate)).reason is Reason.NODE_LOCKED
