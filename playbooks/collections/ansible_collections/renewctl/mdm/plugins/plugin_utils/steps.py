# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The five states of a node, the same for every kind of target. Read back first, change, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.renewctl.mdm.plugins.plugin_utils import worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import (
    observation_json,
    of_error,
    result,
    seen_by_people,
)
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import Settings
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import Target, holds, is_at, named, now

from renewctl import verification
from renewctl.certificate.pushcert import PushCertificate
from renewctl.errors import NodeFault, Refused, RenewctlError, Unusable
from renewctl.reasons import Reason
from renewctl.servers.protocol import OUTCOME_UNKNOWN
from renewctl.verification import Proof, Verdict

_OUTCOMES = {
    Verdict.PROVEN: "proven",
    Verdict.NOT_PROVEN: "not_proven",
    Verdict.WRONG: "wrong",
    Verdict.UNKNOWN: "unknown",
}


Step = Callable[[Target, Settings], dict[str, Any]]


def chosen(settings: Settings) -> Step:
    """The step that is asked for, which can begin.

    Raises:
        Unusable, Refused: the pair it takes was not given.
    """
    if settings.state in {"present", "verified"}:
        settings.new()
    if settings.state == "put_back":
        settings.old()
    return _STEPS[settings.state]


def observed(target: Target, settings: Settings) -> dict[str, Any]:
    """What the node says now."""
    seen = target.server.observe(now())
    told = result(settings.node.name, "observed", observation=seen, values={"run": target.run()})
    told["msg"] = seen_by_people(seen)
    return told


def fenced(target: Target, settings: Settings) -> dict[str, Any]:
    """The node takes this run, or says why it must not."""
    if not settings.check:
        worker.require_watched()
    changed, values = target.fence(check=settings.check)
    reason = None
    if changed and not settings.check:
        left = Reason.NODE_STEP_UNFINISHED if values.get("unfinished") else Reason.NODE_RELEASE_DAMAGED
        reason = Reason.NODE_STEP_UNDONE if values.get("undone") else left
    return result(settings.node.name, "fenced", changed=changed, reason=reason, values=values)


def present(target: Target, settings: Settings) -> dict[str, Any]:
    """The new pair is the node's, and proven."""
    name, reference = settings.node.name, settings.new()
    if settings.check:
        return _would(target, settings, reference.certificate, "would_install")
    if target.has(reference.certificate):
        return _judged(
            settings, _prove(target, settings, reference.certificate), changed=False, done="unchanged"
        )
    pair = reference.open()
    if settings.shared:
        seen = verification.device_canary(
            target.server,
            pair,
            _push_service(settings),
            canaries=settings.canaries,
            check_in_timeout=settings.check_in_timeout,
        )
        if seen.verdict is not Verdict.PROVEN and not _no_device(seen):
            return _canary_failed(name, seen)
    worker.require_watched()
    changed = True
    try:
        changed = target.install(pair)
    except NodeFault as fault:
        told = _after_fault(target, settings, fault)
        if told is not None:
            return told
    done = "proven" if changed else "unchanged"
    return _judged(settings, _prove(target, settings, reference.certificate), changed=changed, done=done)


def verified(target: Target, settings: Settings) -> dict[str, Any]:
    """The new pair is what the node really uses."""
    if settings.check:
        return observed(target, settings)
    proof = _prove(target, settings, settings.new().certificate)
    return _judged(settings, proof, changed=False, done="proven")


def put_back(target: Target, settings: Settings) -> dict[str, Any]:
    """The previous pair is the node's again, and proven."""
    previous = settings.old()
    if settings.check:
        return _would(target, settings, previous.certificate, "would_put_back")
    there = is_at(target.server, previous.certificate)
    if not there:
        worker.require_watched()
        try:
            target.restore(previous)
        except NodeFault as fault:
            told = _after_fault(target, settings, fault, previous.certificate)
            if told is not None:
                return told
    proof = _prove(target, settings, previous.certificate)
    # A device that sleeps is no reason to call a node not put back; the proof says how well it is.
    done = _judged(settings, proof, changed=not there, done="put_back")
    if proof.verdict is Verdict.NOT_PROVEN:
        done["renewctl"]["outcome"] = "put_back"
    return done


def _would(target: Target, settings: Settings, certificate: PushCertificate, outcome: str) -> dict[str, Any]:
    """What would be done, or why it would be refused; of a node that does not answer nobody can say."""
    name = settings.node.name
    before = target.server.observe(now())
    try:
        target.require_ready()
    except RenewctlError as error:
        told = of_error(name, error, "unknown" if isinstance(error, NodeFault | Unusable) else "failed")
        told["renewctl"]["observation"] = observation_json(before)
        return told
    there = holds(before, certificate)
    return result(name, "unchanged" if there else outcome, changed=not there, observation=before)


def _prove(target: Target, settings: Settings, certificate: PushCertificate) -> Proof:
    return verification.verify(
        target.server,
        certificate,
        canaries=settings.canaries,
        check_in_timeout=settings.check_in_timeout,
    )


def _judged(settings: Settings, proof: Proof, *, changed: bool, done: str) -> dict[str, Any]:
    outcome = done if proof.verdict is Verdict.PROVEN else _OUTCOMES[proof.verdict]
    return result(
        settings.node.name, outcome, changed=changed, proof=proof, reason=proof.reason, values=proof.values
    )


def _after_fault(
    target: Target, settings: Settings, fault: NodeFault, certificate: PushCertificate | None = None
) -> dict[str, Any] | None:
    """What a refused or unanswered installation left: None where it arrived all the same."""
    name = settings.node.name
    if fault.values.get("put_back") is False or fault.reason is Reason.NODE_STORED_OTHER:
        return of_error(name, fault, "wrong")  # it has no longer what it had
    expected = certificate or settings.new().certificate
    try:
        seen = target.server.observe(now(), certificates_alone=True)
    except NodeFault:  # what became of it cannot be read
        return of_error(name, fault, "unknown")
    if holds(seen, expected):
        return None
    # Without an answer it may still happen after this look; a 500 may come after storing; of a step that was
    # cut off nobody knows what its consumer took.
    unread = fault.reason is Reason.NODE_ERROR and not named(seen, expected)
    cut_off = seen.cut_off is not None
    unknown = unread or cut_off or fault.reason in {*OUTCOME_UNKNOWN, Reason.NODE_UNREACHABLE}
    return of_error(name, fault, "unknown" if unknown else "failed")


def _canary_failed(name: str, proof: Proof) -> dict[str, Any]:
    """Nothing was installed. Wrong: nobody may go on. Silent: a person decides."""
    told = of_error(name, Refused(proof.reason or Reason.CANARY_HELD, **proof.values))
    if proof.verdict is not Verdict.WRONG:
        told = of_error(name, Refused(Reason.CANARY_HELD, **proof.values), "held")
    told["renewctl"]["proof"] = proof.as_json()
    return told


def _no_device(proof: Proof) -> bool:
    """No device can be woken from here (no role may read its token): then the node itself is the canary."""
    states = set(proof.rungs.values())
    return states <= {verification.RungState.NOT_AVAILABLE}


def _push_service(settings: Settings) -> Any:
    from renewctl.apns import PushService  # noqa: PLC0415 - HTTP/2, only where a device is woken from here

    return PushService(settings.apns.url, settings.apns.ca_file)


_STEPS: Mapping[str, Step] = {
    "observed": observed,
    "fenced": fenced,
    "present": present,
    "verified": verified,
    "put_back": put_back,
}
