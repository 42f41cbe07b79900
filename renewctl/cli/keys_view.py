"""How keys are told: to people as a table, to programs as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from renewctl.cli.context import Session
from renewctl.cli.output import Output, steps_json
from renewctl.errors import ExitCode, RenewctlError
from renewctl.guidance import Step, command
from renewctl.lost_key import lost_key_steps
from renewctl.renewal.key_record import KeyFacts
from renewctl.secrets import SecretRef, shown
from renewctl.topic_warnings import Warn, key_warnings
from renewctl.workflow.keyring import CheckedKey, KeyState, Rekeyed, SealedTo

_SHORT = 16  # digits of a name, enough to find the file


def show_check(
    session: Session, identity: SecretRef, checked: Sequence[CheckedKey], in_doubt: Sequence[RenewctlError]
) -> ExitCode:
    """Every key, what is wrong, what to do; and the exit code.

    Args:
        in_doubt: why a topic's id and UID do not go with the record; here and below.
    """
    output, told = session.output(), key_warnings(session.inventory.keys)
    steps = _steps(session, checked)
    faults = [one.fault for one in checked if one.fault is not None]
    output.json(
        {
            "identity": shown(identity),
            "recipients": session.inventory.keys.recipients,
            "escrow": session.inventory.keys.escrow,
            "keys": [_checked_json(output, one) for one in checked],
            "topic_faults": [_fault_json(output, one) for one in in_doubt],
            "warnings": [_warn_json(output, warn) for warn in told],
            "next_steps": steps_json(steps, output, output.zone),
        }
    )
    output.table(
        ("column.key", "column.needed_by", "column.state", "column.sealed_to"),
        [_row(output, one) for one in checked],
    )
    _show_faults(output, [*in_doubt, *faults])
    for warn in told:
        output.show("warning", text=output.text(warn.key, **warn.values))
    opened = sum(one.state is KeyState.OPENS for one in checked)
    output.say("keys.checked", identity=shown(identity), count=opened, failed=len(faults))
    output.next_steps(steps, output.zone)
    if faults or in_doubt:
        return ExitCode.REFUSED
    others = any(one.sealed_to is SealedTo.OTHERS for one in checked)
    return ExitCode.ATTENTION if others else ExitCode.DONE


def show_rekey(
    session: Session,
    done: Sequence[Rekeyed],
    former: Sequence[str],
    in_doubt: Sequence[RenewctlError],
    *,
    dry_run: bool,
    head: str,
) -> ExitCode:
    """Which keys were sealed anew, and what that does not change."""
    output = session.output()
    faults = [one.fault for one in done if one.fault is not None]
    output.json(
        {
            "dry_run": dry_run,
            "recipients": session.inventory.keys.recipients,
            "removed": former,
            "keys": [
                {"fingerprint": one.fingerprint, "fault": _fault_json(output, one.fault)} for one in done
            ],
            "topic_faults": [_fault_json(output, one) for one in in_doubt],
            "head": head,
        }
    )
    for one in done:
        if one.fault is None:
            output.show("keys.would_reseal" if dry_run else "keys.resealed", key=one.fingerprint)
    _show_faults(output, [*in_doubt, *faults])
    if done or not in_doubt:
        output.say("keys.rekeyed" if done else "keys.nothing_to_rekey", count=len(done) - len(faults))
    if in_doubt:
        output.say("keys.left_in_doubt")
    for recipient in former:
        output.say("keys.removed", recipient=recipient)
    return ExitCode.REFUSED if faults or in_doubt else ExitCode.DONE


def show_destroyed(
    session: Session,
    gone: Sequence[KeyFacts],
    after: timedelta,
    in_doubt: Sequence[RenewctlError],
    *,
    dry_run: bool,
    head: str,
) -> ExitCode:
    """Which keys were taken away, and why."""
    output = session.output()
    output.json(
        {
            "dry_run": dry_run,
            "destroy_after_days": after / timedelta(days=1),
            "keys": [
                {"fingerprint": one.fingerprint, "named_by": one.named_by, "superseded_since": one.last}
                for one in gone
            ],
            "topic_faults": [_fault_json(output, one) for one in in_doubt],
            "head": head,
        }
    )
    key = "keys.would_destroy" if dry_run else "keys.destroyed"
    for one in gone:
        output.show(key, key=one.fingerprint, renewals=", ".join(one.named_by), since=one.last)
    if gone:
        output.say("keys.backups_keep")
    elif not in_doubt:
        output.say("keys.nothing_to_destroy", days=after.days)
    _show_faults(output, in_doubt)
    if in_doubt:
        output.say("keys.left_in_doubt")
    return ExitCode.REFUSED if in_doubt else ExitCode.DONE


def _row(output: Output, one: CheckedKey) -> list[object]:
    uses = () if one.facts is None else one.facts.uses
    needed = [f"{use.topic_id}: {output.text(f'key_role.{use.role}')}" for use in uses]
    return [
        output.fitting(one.fingerprint, one.fingerprint[:_SHORT]),
        "; ".join(needed) or None,
        output.text(f"key_state.{one.state}"),
        None if one.sealed_to is None else output.text(f"sealed_to.{one.sealed_to}"),
    ]


def _show_faults(output: Output, faults: Sequence[RenewctlError]) -> None:
    if not output.as_json:
        for fault in faults:
            output.error(fault)


def _steps(session: Session, checked: Sequence[CheckedKey]) -> tuple[Step, ...]:
    uses = [use for one in checked if one.fault is not None and one.facts for use in one.facts.uses]
    steps = [step for use in uses for step in lost_key_steps(session.options, use.topic_id, use.role)]
    if any(one.sealed_to in {SealedTo.OTHERS, SealedTo.UNKNOWN} for one in checked):
        steps.append(Step("next.rekey", {}, command(session.options, "keys", "rekey")))
    return tuple(step for place, step in enumerate(steps) if step not in steps[:place])


def _checked_json(output: Output, one: CheckedKey) -> dict[str, Any]:
    facts = one.facts
    return {
        "fingerprint": one.fingerprint,
        "state": one.state,
        "sealed_to": one.sealed_to,
        "recipients": None if facts is None else facts.recipients,
        "header": one.header,
        "named_by": () if facts is None else facts.named_by,
        "needed_by": [
            {
                "topic": use.topic_id,
                "role": use.role,
                "serial": None if use.pair is None else use.pair.serial,
            }
            for use in (() if facts is None else facts.uses)
        ],
        "fault": _fault_json(output, one.fault),
    }


def _fault_json(output: Output, fault: RenewctlError | None) -> dict[str, object] | None:
    if fault is None:
        return None
    happened, hint = output.sentence(fault.reason, fault.values)
    return {"reason": fault.reason, "message": happened, "hint": hint, "values": dict(fault.values)}


def _warn_json(output: Output, warn: Warn) -> dict[str, object]:
    text = output.text(warn.key, **warn.values)
    return {"key": warn.key, "text": text, "attention": warn.attention, "values": warn.values}
