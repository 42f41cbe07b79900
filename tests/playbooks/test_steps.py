"""The five states over a scripted target: what is changed, what is said, what is left alone."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import seen_by_people
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import Settings

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import Attention, NodeFault, Refused, RenewctlError, Unusable
from renewctl.inventory.reading import Apns, node_from_mapping
from renewctl.observation import Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.verification import Proof, Rung, RungState, Verdict
from tests.support.certs import NOW, TOPIC, Issued, apple_like

RUNGS = dict.fromkeys(Rung, RungState.YES)


@pytest.fixture(scope="module")
def issued() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


class Target:
    """A node that does as it is told; also its own server."""

    def __init__(self, serving: bytes | None, fault: NodeFault | None = None, *, stores: bool = True) -> None:
        self.server = self
        self.serving = serving
        self.fault = fault
        self.stores = stores
        self.refusal: RenewctlError | None = None
        self.had_it = False
        self.did: list[str] = []

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:  # noqa: ARG002 - the protocol's
        """What it serves."""
        if self.serving is None:
            return Observation("n1", now, up=True)
        found = PushCertificate.from_pem(self.serving)
        served = ServedCertificate(TOPIC, found.not_after, Source.DATABASE, serial=found.serial)
        return Observation("n1", now, up=True, certificates=(served,))

    def has(self, certificate: PushCertificate) -> bool:
        """By what it serves."""
        return self.serving == certificate.pem

    def install(self, pair: Pair) -> bool:
        """Take a pair."""
        self._change("install", pair.certificate)
        return not self.had_it

    def restore(self, previous: PairReference) -> None:
        """Take the previous pair."""
        self._change("restore", previous.certificate)

    def _change(self, what: str, certificate: PushCertificate) -> None:
        self.did.append(what)
        if self.stores:
            self.serving = certificate.pem
        if self.fault is not None:
            raise self.fault

    def require_ready(self) -> None:
        """Lets us in, unless the test says why not."""
        if self.refusal is not None:
            raise self.refusal

    def fence(self, *, check: bool) -> tuple[bool, dict[str, Any]]:
        """Take a run."""
        self.did.append(f"fence {check}")
        return False, {}

    def run(self) -> int:
        """The run it carries."""
        return 3


@pytest.fixture
def settings(tmp_path: Path, issued: tuple[Issued, Issued]) -> Settings:
    """A step with both pairs at hand."""
    references = []
    for name, pair in zip(("old", "new"), issued, strict=True):
        (tmp_path / f"{name}.pem").write_bytes(pair.pem)
        (tmp_path / f"{name}.key").write_bytes(pair.key_pem)
        mapping = {"certificate": f"{name}.pem", "key": {"file": f"{name}.key"}}
        references.append(PairReference.from_mapping(mapping, tmp_path))
    node = node_from_mapping({"name": "n1", "product": "nanomdm", "url": "http://127.0.0.1:1"}, tmp_path)
    return Settings(
        state="present",
        node=node,
        topic=TOPIC,
        run=1,
        token="ab" * 8,
        pair=references[1],
        previous=references[0],
        apns=Apns(),
        shared=False,
        canaries=1,
        check_in_timeout=1.0,
        check=False,
    )


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the ladder and the device canary will say."""
    says = SimpleNamespace(verify=Proof(Verdict.PROVEN, RUNGS), canary=Proof(Verdict.PROVEN, RUNGS))
    monkeypatch.setattr(steps.verification, "verify", lambda *_, **__: says.verify)
    monkeypatch.setattr(steps.verification, "device_canary", lambda *_, **__: says.canary)
    return says


def outcome(told: dict[str, Any]) -> tuple[str, bool, bool]:
    """(outcome, changed, failed)."""
    return told["renewctl"]["outcome"], told["changed"], told["failed"]


VERDICTS = [
    (Verdict.PROVEN, ("proven", True, False)),
    (Verdict.NOT_PROVEN, ("not_proven", True, False)),
    (Verdict.WRONG, ("wrong", True, True)),
    (Verdict.UNKNOWN, ("unknown", True, True)),
]


@pytest.mark.parametrize(("verdict", "expected"), VERDICTS)
def test_present_says_what_the_ladder_says(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    verdict: Verdict,
    expected: tuple[str, bool, bool],
) -> None:
    """Installed and proven; installed, not proven (no failure yet); wrong and unknown fail."""
    proof.verify = Proof(verdict, RUNGS, Reason.PROOF_NO_CHECK_IN)
    target = Target(issued[0].pem)
    assert outcome(steps.present(target, settings)) == expected
    assert target.did == ["install"]


def test_a_node_that_finds_out_by_itself_is_unchanged(
    settings: Settings, issued: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order came, the node had the pair already: nothing was changed, and it is proven all the same."""
    monkeypatch.setattr(steps, "_prove", lambda *_: Proof(Verdict.PROVEN, RUNGS))
    target = Target(issued[0].pem)
    target.had_it = True
    told = steps.present(target, settings)  # type: ignore[arg-type]
    assert (told["renewctl"]["outcome"], told["changed"], target.did) == ("unchanged", False, ["install"])


def test_present_changes_nothing_where_the_pair_is(
    settings: Settings, proof: SimpleNamespace, issued: tuple[Issued, Issued]
) -> None:
    """Read back first: a node that has the pair is only proven again."""
    target = Target(issued[1].pem)
    assert outcome(steps.present(target, settings)) == ("unchanged", False, False)
    assert outcome(steps.present(target, replace(settings, check=True))) == ("unchanged", False, False)
    assert target.did == []


def test_check_changes_nothing(
    settings: Settings, proof: SimpleNamespace, issued: tuple[Issued, Issued]
) -> None:
    """Under check every state looks and says."""
    target, check = Target(issued[0].pem), replace(settings, check=True)
    assert outcome(steps.present(target, check)) == ("would_install", True, False)
    assert outcome(steps.verified(target, check)) == ("observed", False, False)
    assert outcome(steps.put_back(target, check)) == ("unchanged", False, False)
    assert outcome(steps.put_back(Target(issued[1].pem), check)) == ("would_put_back", True, False)
    assert outcome(steps.fenced(target, check)) == ("fenced", False, False)
    assert target.did == ["fence True"]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (NodeFault(Reason.NODE_UNREACHABLE, node="n1", address="x", got="y"), "unknown"),
        (NodeFault(Reason.NODE_TIMEOUT, node="n1"), "unknown"),
        (NodeFault(Reason.NODE_DENIED, node="n1", got="401"), "unknown"),
        (Unusable(Reason.SECRET_UNREADABLE, where="file:/none", detail="z"), "unknown"),
        (Refused(Reason.RELOAD_NOT_ALLOWED, node="n1", program="/bin/x", path="/none"), "failed"),
    ],
)
def test_nobody_can_say_what_a_silent_node_would_be_given(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    refusal: RenewctlError,
    expected: str,
) -> None:
    """Under check a node that does not answer or let us in is unknown, with its reason; what we refuse is failed."""
    target, check = Target(issued[0].pem), replace(settings, check=True)
    target.refusal = refusal
    for step in (steps.present, steps.put_back):
        told = step(target, check)
        assert outcome(told) == (expected, False, True)
        assert told["renewctl"]["reason"] == refusal.reason.value
        assert told["renewctl"]["values"]["node"] == "n1"
        assert told["renewctl"]["observation"] is not None
    assert target.did == []


@pytest.mark.parametrize(
    ("reason", "stores", "readable", "expected"),
    [
        (Reason.NODE_TIMEOUT, True, True, "proven"),
        (Reason.NODE_TIMEOUT, False, True, "unknown"),
        (Reason.NODE_ERROR, False, True, "failed"),
        (Reason.NODE_ERROR, False, False, "unknown"),
        (Reason.NODE_REFUSED_PAIR, False, True, "failed"),
        (Reason.NODE_STORED_OTHER, False, True, "wrong"),
    ],
)
def test_a_fault_is_judged_by_what_is_read_back(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    reason: Reason,
    stores: bool,
    readable: bool,
    expected: str,
) -> None:
    """No answer is unknown until read back; a refusal leaves what was there; a lying store is wrong."""
    target = Target(issued[0].pem if readable else None, NodeFault(reason, node="n1"), stores=stores)
    assert steps.present(target, settings)["renewctl"]["outcome"] == expected


def test_a_fault_that_leaves_nothing_to_read_is_unknown(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason is the first one's: what stopped the installation, not the look after it."""
    target = Target(issued[0].pem, NodeFault(Reason.NODE_WRITE_FAILED, node="n1"))

    def observe(now: datetime, *, certificates_alone: bool) -> Observation:
        raise NodeFault(Reason.NODE_FILE_UNREADABLE, node="n1")

    monkeypatch.setattr(target, "observe", observe)
    told = steps.present(target, settings)
    assert (outcome(told), told["renewctl"]["reason"]) == (("unknown", False, True), "node_write_failed")


def test_a_file_node_that_could_not_go_back_is_wrong(
    settings: Settings, proof: SimpleNamespace, issued: tuple[Issued, Issued]
) -> None:
    """Then the playbook's put-back has its turn."""
    fault = NodeFault(Reason.RELOAD_FAILED, node="n1", put_back=False)
    assert outcome(steps.present(Target(issued[0].pem, fault), settings)) == ("wrong", False, True)


@pytest.mark.parametrize(
    ("canary", "expected", "did"),
    [
        (Proof(Verdict.PROVEN, RUNGS), "proven", ["install"]),
        (Proof(Verdict.NOT_PROVEN, dict.fromkeys(Rung, RungState.NOT_AVAILABLE)), "proven", ["install"]),
        (Proof(Verdict.NOT_PROVEN, {Rung.PUSH: RungState.YES}, Reason.PROOF_NO_CHECK_IN), "held", []),
        (Proof(Verdict.WRONG, {Rung.PUSH: RungState.NO}, Reason.PUSH_TLS_REFUSED), "failed", []),
    ],
)
def test_shared_storage_asks_a_device_first(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    canary: Proof,
    expected: str,
    did: list[str],
) -> None:
    """A device that checks in, or none to ask: installed. Silence or a refusal: nothing installed."""
    proof.canary = canary
    target = Target(issued[0].pem)
    assert steps.present(target, replace(settings, shared=True))["renewctl"]["outcome"] == expected
    assert target.did == did


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.PROVEN, ("put_back", True, False)),
        (Verdict.NOT_PROVEN, ("put_back", True, False)),
        (Verdict.WRONG, ("wrong", True, True)),
    ],
)
def test_put_back(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    verdict: Verdict,
    expected: tuple[str, bool, bool],
) -> None:
    """The previous pair is restored and proven; a sleeping device is no reason to call it not put back."""
    proof.verify = Proof(verdict, RUNGS, Reason.PROOF_NO_CHECK_IN)
    target = Target(issued[1].pem)
    assert outcome(steps.put_back(target, settings)) == expected
    assert target.did == ["restore"]


def test_put_back_that_is_refused_or_has_nothing_to_put(
    settings: Settings, proof: SimpleNamespace, issued: tuple[Issued, Issued]
) -> None:
    """A node that refuses the previous pair fails; without a previous pair there is no way back."""
    refusing = Target(issued[1].pem, NodeFault(Reason.NODE_DENIED, node="n1"), stores=False)
    assert outcome(steps.put_back(refusing, settings)) == ("failed", False, True)
    arrived = Target(issued[1].pem, NodeFault(Reason.NODE_TIMEOUT, node="n1"))
    assert outcome(steps.put_back(arrived, settings)) == ("put_back", True, False)
    with pytest.raises(Refused, match="no_way_back"):
        steps.put_back(Target(None), replace(settings, previous=None))


def test_observed_and_fenced(
    settings: Settings, proof: SimpleNamespace, issued: tuple[Issued, Issued]
) -> None:
    """Observed carries the observation and the run; fenced takes the run."""
    target = Target(issued[0].pem)
    told = steps.observed(target, settings)["renewctl"]
    assert told["observation"]["certificates"][0]["serial"] == issued[0].serial
    assert told["values"] == {"run": 3}
    words = steps.observed(target, settings)["msg"]
    assert words.startswith(f"n1: serial {issued[0].serial}, until ")
    assert "topic com.apple.mgmt.External." in words
    assert steps.observed(Target(None), settings)["msg"] == "n1: no push certificate seen"
    steps.fenced(target, settings)
    assert target.did == ["fence False"]


def test_what_a_look_could_not_learn_is_said() -> None:
    """Each failure as a sentence with its code, beside what was seen."""
    failures = (Failure(Reason.NODE_TIMEOUT, {"node": "n1"}),)
    words = seen_by_people(Observation("n1", NOW, up=False, failures=failures))
    assert words.startswith("n1: no push certificate seen; ")
    assert words.endswith("(node_timeout)")


def test_nothing_is_changed_once_the_controller_is_gone(
    settings: Settings,
    proof: SimpleNamespace,
    issued: tuple[Issued, Issued],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pipe to renewctl has no reader any more: every change is refused before it begins."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv("RENEWCTL_EVENTS_FD", str(writing))
    target = Target(issued[0].pem)
    try:
        for step in (steps.present, steps.fenced):
            with pytest.raises(Attention, match="controller_gone"):
                step(target, settings)
    finally:
        os.close(writing)
    assert target.did == []


def test_a_step_begins_only_with_the_pair_it_takes(settings: Settings) -> None:
    """A playbook that names no pair is told so before the step is announced."""
    for state in ("present", "verified"):
        with pytest.raises(Unusable, match="pair_incomplete"):
            steps.chosen(replace(settings, state=state, pair=None))
    with pytest.raises(Refused, match="no_way_back"):
        steps.chosen(replace(settings, state="put_back", previous=None))
    assert steps.chosen(replace(settings, state="observed", pair=None)) is steps.observed
