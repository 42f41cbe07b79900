"""What has to be done next, as data: computed from the state, rendered in the reader's language elsewhere.

A step names the account, the UID, the file and the button, so that somebody who does this once a
year can follow it without knowing anything else. What the portal shows was taken from the public
pages of Apple and of MDM vendors (shared facts: mdm.md §4, §11).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from renewctl.errors import RenewctlError
from renewctl.lost_key import lost_key_steps
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, Kind, Outcome
from renewctl.renewal.key_record import Role
from renewctl.renewal.rules import Phase, Renewal, may
from renewctl.situation import Situation, Step, command

__all__ = ["PORTAL", "Situation", "Step", "command", "next_steps"]

PORTAL = "https://identity.apple.com/pushcert/"
"""Apple Push Certificates Portal (Apple's own address for it)."""


_NODE_AWAY = frozenset(
    {
        Reason.NODE_NO_ANSWER,
        Reason.NODE_SSH_FAILED,
        Reason.NODE_TIMEOUT,
        Reason.NODE_UNREACHABLE,
        Reason.DATABASE_UNREACHABLE,
    }
)
"""Why a node may be left out: it gives no answer."""


_KEY_GONE = frozenset(
    {
        Reason.IDENTITY_CANNOT_OPEN,
        Reason.KEY_NAME_DIFFERS,
        Reason.KEY_NOT_IN_STORE,
        Reason.SEALED_KEY_DAMAGED,
        Reason.SEALED_KEY_MISSING,
    }
)

_CANNOT_SIGN_HERE = frozenset(
    {
        Reason.VENDOR_CHAIN_EXPIRED,
        Reason.VENDOR_CHAIN_INCOMPLETE,
        Reason.VENDOR_EXPIRED,
        Reason.VENDOR_KEY_DIFFERS,
        Reason.VENDOR_KEY_MISSING,
        Reason.VENDOR_KEY_UNREADABLE,
        Reason.VENDOR_MARK_MISSING,
        Reason.VENDOR_NOT_CONFIGURED,
        Reason.VENDOR_NOT_YET_VALID,
    }
)
"""Signing with the inventory's vendor certificate was refused; it would be again."""

_TOUCHED = frozenset({Phase.ROLLING_OUT, Phase.INSTALLED, Phase.PROVEN})


def next_steps(situation: Situation) -> tuple[Step, ...]:
    """What has to be done next for one topic, in order; never empty."""
    if situation.store_missing:
        make = command(situation.options, "init", "--existing")
        bring_back = Step("next.restore_store", {}, command(situation.options, "restore", "FILE"))
        return (bring_back, Step("next.make_store", {}, make), *_between(situation))
    if (first := _first_of_all(situation)) is not None:
        return (first,)
    reason = None if situation.refused is None else situation.refused.reason
    latest = situation.history.latest
    if latest is None or latest.ended:
        return _between(situation)
    if reason in _KEY_GONE:
        return _key_gone(situation, latest)
    steps = _BY_PHASE[latest.phase](situation, latest)
    if reason is Reason.RENEWAL_OPEN_ALREADY and latest.phase is not Phase.ROLLED_BACK:
        return (*steps, *_abort(situation, latest, "next.abort_instead"))
    past = _after_refusal(situation, latest, reason)
    return (*past, *(step for step in steps if step.command not in _refused_again(situation, reason)))


def _first_of_all(situation: Situation) -> Step | None:
    """Without which no command goes on."""
    wrong, refused = situation.wrong_id, situation.refused
    if wrong is not None:
        values = {"topic": situation.topic.name, **wrong.values}
        if wrong.reason is Reason.RENEWAL_OF_OTHER_UID:
            began = situation.history.latest
            if began is None or began.phase is not Phase.REQUESTED:
                return Step("next.uid_back", values)
            return Step("next.uid_put_right", values, situation.command("renewal", "accept", "FILE"))
        back = wrong.reason is Reason.TOPIC_UNDER_OTHER_ID
        return Step("next.give_id_back", values) if back else Step("next.other_id", values)
    if refused is not None and refused.reason is Reason.RUN_HELD:
        return Step("next.wait_for_holder", {}, situation.command("renewal", "show"))
    return None


_NOT_BACK = frozenset({Reason.ROLL_BACK_OWED, Reason.ROLL_BACK_GONE, Reason.ROLL_BACK_USELESS})

_BACK_IN_DOUBT = frozenset(
    {Reason.ROLL_BACK_TO_EXPIRED, Reason.ROLL_BACK_TO_REFUSED, Reason.ROLL_BACK_FORWARD_ONLY}
)


def _refused_again(situation: Situation, reason: Reason | None) -> tuple[str, ...]:
    """Commands that would be refused once more: nothing here brings the way back that is missing."""
    if reason in _BACK_IN_DOUBT:
        return (situation.command("renewal", "roll-back"),)
    if reason not in {Reason.PREVIOUS_PAIR_MISSING, Reason.PREVIOUS_PAIR_REFUSED}:
        return ()
    roll_out = situation.command("renewal", "roll-out")
    return (roll_out, f"{roll_out} --dry-run")


def _key_gone(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    """The key of the request or of the accepted certificate is gone: doing the same again would not help."""
    if renewal.phase in _TOUCHED:
        return (
            Step("next.lost_key.restore", {"topic": situation.topic.id}),
            Step("next.or_roll_back", {}, situation.command("renewal", "roll-back")),
        )
    role = Role.PENDING if renewal.accepted is None else Role.ACCEPTED
    return lost_key_steps(situation.options, situation.topic.id, role)


def _after_refusal(situation: Situation, renewal: Renewal, reason: Reason | None) -> tuple[Step, ...]:
    """What gets past a refusal, where doing the same again would not."""
    forward = f"{situation.command('renewal', 'roll-out')} --forward-only"
    if reason in {Reason.PREVIOUS_PAIR_MISSING, Reason.PAIR_NOT_ON_RECORD}:
        first = _abort(situation, renewal, "next.adopt_first")
        return (*first, Step("next.forward_only", {}, forward))
    if reason is Reason.PREVIOUS_KEY_LOST:
        restore = Step("next.lost_key.restore", {"topic": situation.topic.id})
        return (restore, Step("next.forward_only", {}, forward))
    if reason is Reason.PREVIOUS_PAIR_REFUSED:
        return (Step("next.forward_only", {}, forward),)
    if reason in _BACK_IN_DOUBT:
        back = shlex.join(["--without-push", "--reason", "why it is wanted"])
        return (Step("next.back_without_push", {}, f"{situation.command('renewal', 'roll-back')} {back}"),)
    return _leave_out(situation, renewal)


def _abort(situation: Situation, renewal: Renewal, key: str) -> tuple[Step, ...]:
    """To end the renewal, where that is possible: never once a node was touched."""
    possible = may(renewal, Kind.ABORTED)
    return (Step(key, {}, situation.command("renewal", "abort")),) if possible else ()


def _leave_out(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    """The way past nodes that give no answer, unless that is all of them; no way for who is going back."""
    if situation.refused is not None and situation.refused.reason in _NOT_BACK:
        return ()
    away = _away(situation.refused, renewal)
    if not away or not {*situation.owed, *renewal.nodes} - set(away):
        return ()
    left_out = {**renewal.left_out, **situation.left_out, **away}
    words = [word for node, why in left_out.items() for word in ("--leave-out", f"{node}={why}")]
    roll_out = situation.command("renewal", "roll-out")
    return (Step("next.leave_out", {"nodes": ", ".join(away)}, f"{roll_out} {shlex.join(words)}"),)


def _away(refused: RenewctlError | None, renewal: Renewal) -> dict[str, str]:
    """Node -> why it may be left out, in a word that can stand in the record."""
    if refused is None:
        return {}
    named = str(refused.values.get("nodes", "")).split(", ")
    if refused.reason is Reason.FENCE_FAILED:
        return {name: refused.reason.value for name in named if name}
    unknown = {Outcome.UNKNOWN, None}
    away = {}
    if refused.reason is Reason.NODES_UNKNOWN:
        states = {name: state.outcome for name, state in renewal.nodes.items()}
        answered = {error.values.get("node") for error in refused.others if error.reason not in _NODE_AWAY}
        away = {n: "no_answer" for n in named if states.get(n) in unknown and n not in answered}
    for error in (refused, *refused.others):
        if error.reason in _NODE_AWAY and "node" in error.values:
            away[str(error.values["node"])] = error.reason.value
    return {node: why for node, why in away.items() if not renewal.has_new(node)}  # only `verify` asked those


def _between(situation: Situation) -> tuple[Step, ...]:
    if situation.refused is not None and situation.refused.reason is Reason.RENEWAL_CLOSED:
        return _after_close(situation)
    steps: list[Step] = []
    if situation.history.current is None or situation.renewed_elsewhere:
        adopt = situation.command("adopt", "--certificate", "FILE", "--key", "FILE")
        steps.append(Step("next.adopt", {"topic": situation.topic.name}, adopt))
    if situation.not_after is None:
        steps.append(Step("next.date_unknown", {}, situation.command("renewal", "open")))
    elif situation.not_after <= situation.now:
        steps.append(Step("next.open_expired", {}, situation.command("renewal", "open")))
    elif situation.not_after - situation.now <= situation.topic.window:
        steps.append(Step("next.open", {}, situation.command("renewal", "open")))
    elif not steps:
        due = situation.not_after - situation.topic.window
        steps.append(Step("next.nothing_due", {"due": due}))
    return tuple(steps)


def _after_close(situation: Situation) -> tuple[Step, ...]:
    """Back to the pair before, by a renewal of its own; on to a new certificate where that is of no use."""
    begin = situation.command("renewal", "open", "--reason", "why the certificate is wrong")
    back = _accept_before(situation, "next.accept_previous")
    if not back:
        return (Step("next.open_for_another", {}, begin),)
    roll_out = situation.command("renewal", "roll-out")
    return (Step("next.open_to_go_back", {}, begin), *back, Step("next.roll_out_previous", {}, roll_out))


def _accept_before(situation: Situation, key: str) -> tuple[Step, ...]:
    """To take the pair that was in use before, where it could still be of use."""
    before = situation.history.before
    if before is None or before.key_fingerprint is None or before.not_after <= situation.now:
        return ()
    values = {"serial": before.serial, "not_after": before.not_after}
    return (Step(key, values, situation.command("renewal", "accept", "--previous")),)


def _open(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    current = renewal.previous
    early = current is not None and current.not_after - situation.now > situation.topic.window
    back = _accept_before(situation, "next.or_accept_previous") if early else ()
    if situation.vendor_refuses is not None:
        return (*_csr_made(situation, renewal), *back)
    return (Step("next.request", {}, situation.command("renewal", "request")), *back)


def _csr_made(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    written = situation.csr_file
    steps = [
        Step("next.send_csr", {"file": str(written or f"{renewal.name}.csr")}),
        Step("next.take_signed", {}, situation.command("renewal", "request", "--signed", "FILE")),
    ]
    if written is None:
        steps.insert(0, Step("next.write_csr", {}, situation.command("renewal", "request", "--csr-only")))
    return (*steps, *_or_sign(situation))


def _or_sign(situation: Situation) -> tuple[Step, ...]:
    """Signing here, where the inventory names the vendor's key; or what that would take."""
    vendor = situation.topic.vendor
    if vendor is None or vendor.key is None:
        return ()
    if situation.vendor_refuses is not None:
        return (Step("next.valid_vendor", {"path": str(vendor.certificate)}),)
    if _cannot_sign(situation):
        return ()
    return (Step("next.or_sign", {}, situation.command("renewal", "request")),)


def _cannot_sign(situation: Situation) -> bool:
    """It was refused just now, or would be."""
    refused = situation.refused is not None and situation.refused.reason in _CANNOT_SIGN_HERE
    return refused or situation.vendor_refuses is not None


def _requested(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    made = renewal.request
    if made is None or made.last_day <= situation.now:
        if _cannot_sign(situation):
            return _csr_made(situation, renewal)
        return (Step("next.sign_again", {}, situation.command("renewal", "request")),)
    account = situation.topic.account
    address = account.address or account.alias
    steps = [Step("next.portal.sign_in", {"account": address, "portal": PORTAL})]
    if account.second_factor is not None:
        steps.append(Step("next.portal.second_factor", {"where": account.second_factor}))
    accept = situation.command("renewal", "accept", "FILE")
    return (
        *((Step("next.accept_restored", {}, accept),) if renewal.restored else ()),
        *steps,
        Step("next.portal.row", {"topic": situation.topic.topic}),
        *((Step("next.portal.again"),) if situation.history.asked_before else ()),
        Step("next.portal.no_row", {"account": address, "topic": situation.topic.topic}),
        Step(
            "next.portal.renew", {"file": str(situation.request_file or made.file or f"{renewal.name}.plist")}
        ),
        Step("next.portal.download", {}),
        Step("next.accept", {}, accept),
        Step("next.request_lasts", {"last_day": made.last_day}),
    )


def _accepted(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    roll_out = situation.command("renewal", "roll-out")
    return (
        Step("next.dry_run", {}, f"{roll_out} --dry-run"),
        Step("next.roll_out", {"count": len(situation.owed)}, roll_out),
    )


def _rolling_out(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    roll_out = situation.command("renewal", "roll-out")
    roll_back = situation.command("renewal", "roll-back")
    if renewal.moving is Direction.PREVIOUS:
        return _back_again(situation, renewal)
    held = renewal.previous is not None and renewal.previous.key_fingerprint is not None
    or_back = (Step("next.or_roll_back", {}, roll_back),) if held else ()
    if renewal.moving is Direction.NEW:
        return (Step("next.interrupted", {}, roll_out), *or_back)
    again = Step("next.roll_out_again", {"nodes": ", ".join(situation.owed)}, roll_out)
    if situation.gone and not situation.owed:
        again = Step("next.gone_roll_out", {"nodes": ", ".join(situation.gone)}, roll_out)
    unproven = [
        name
        for name, state in renewal.nodes.items()
        if state.direction is Direction.NEW and state.outcome is Outcome.INSTALLED
    ]
    verify = (Step("next.verify", {}, situation.command("renewal", "verify")),) if unproven else ()
    return (*verify, again, *or_back)


def _installed(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    verify = Step("next.prove", {}, situation.command("renewal", "verify"))
    return (verify, *_owed(situation))


def _proven(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    close = Step("next.close", {}, situation.command("renewal", "close"))
    silent = ", ".join(name for name, state in renewal.nodes.items() if state.unanswered is not None)
    again = Step("next.verify_again", {"nodes": silent}, situation.command("renewal", "verify"))
    return (*((again,) if silent else ()), *(_owed(situation) or (close,)))


def _rolled_back(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    if _not_back(situation):
        return _back_again(situation, renewal)
    roll_out = Step("next.roll_out_after_back", {}, situation.command("renewal", "roll-out"))
    abort = situation.command("renewal", "abort")
    if situation.gone:
        let_go = Step("next.gone_let_go", {"nodes": ", ".join(situation.gone)}, abort)
        return (*_name_back(situation), let_go, roll_out)
    return (Step("next.rolled_back", {}), roll_out, Step("next.abort", {}, abort))


def _name_back(situation: Situation) -> tuple[Step, ...]:
    """Touched nodes that left the inventory, where all nodes are to have the previous pair."""
    if not situation.gone:
        return ()
    back = situation.command("renewal", "roll-back")
    return (Step("next.gone_name_back", {"nodes": ", ".join(situation.gone)}, back),)


def _not_back(situation: Situation) -> tuple[str, ...]:
    """As the situation tells, and as the command that ends here has found."""
    refused = situation.refused
    found = refused is not None and refused.reason is Reason.ROLL_BACK_OWED
    named = str(refused.values["nodes"]).split(", ") if refused is not None and found else ()
    return tuple(dict.fromkeys((*situation.owed_previous, *named)))


def _back_again(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    """Nodes are not known to be back. Where the previous pair does not work, doing so again will not help."""
    left = _not_back(situation)
    roll_out = situation.command("renewal", "roll-out")
    nodes = {"nodes": ", ".join(left)}
    key = "next.roll_back_again" if left else "next.interrupted_back"
    again = Step(key, nodes, situation.command("renewal", "roll-back"))
    states = [renewal.nodes[name] for name in left if name in renewal.nodes]
    if any((one.direction, one.outcome) == (Direction.PREVIOUS, Outcome.WRONG) for one in states):
        return (Step("next.roll_out_instead", nodes, roll_out), again)
    return (*_name_back(situation), again, Step("next.or_roll_out", {}, roll_out))


def _owed(situation: Situation) -> tuple[Step, ...]:
    if not situation.owed:
        return ()
    nodes = ", ".join(situation.owed)
    return (
        Step("next.owed", {"nodes": nodes}, situation.command("renewal", "roll-out")),
        Step("next.not_owed_any_more", {}),
    )


_BY_PHASE: Mapping[Phase, Callable[[Situation, Renewal], tuple[Step, ...]]] = {
    Phase.OPEN: _open,
    Phase.CSR_MADE: _csr_made,
    Phase.REQUESTED: _requested,
    Phase.ACCEPTED: _accepted,
    Phase.ROLLING_OUT: _rolling_out,
    Phase.INSTALLED: _installed,
    Phase.PROVEN: _proven,
    Phase.ROLLED_BACK: _rolled_back,
}
