"""How a dry run is told, forward and back: every node, also where one of them stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from renewctl import messages
from renewctl.cli.output import Output
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction

if TYPE_CHECKING:
    from renewctl.cli.renewal_view import Voice
    from renewctl.observation import ServedCertificate
    from renewctl.renewal.events import PairRef
    from renewctl.workflow.dry_run import Plan
    from renewctl.workflow.engine import NodeAnswer


def show_dry_run(voice: Voice, plan: Plan, left_out: Mapping[str, str]) -> int:
    """What would change where, from which certificate to which; ends like the real run where that is known.

    Args:
        left_out: what was typed for `--leave-out`: the next steps repeat it.
    """
    _table(voice, plan, left_out)
    refused = plan.refused
    voice.output.json(
        {
            "dry_run": True,
            "step": "roll-out" if plan.direction is Direction.NEW else "roll-back",
            "renewal": plan.renewal,
            "waves": plan.waves,
            "nodes": [_node_json(voice.output, plan, answer) for answer in plan.answers],
            "left_out": left_out,
            "refused": None if refused is None else voice.output.error_object(refused),
        }
    )
    if refused is None:
        return voice.was_dry()
    if not voice.session.as_json:
        voice.refused(refused, dry_run=True, left_out=left_out)
    return refused.exit_code


def _table(voice: Voice, plan: Plan, left_out: Mapping[str, str]) -> None:
    """In the order of their turns; a column for reasons where there are any; then who is left out."""
    output, forward = voice.output, plan.direction is Direction.NEW
    by_name = {answer.node: answer for answer in plan.answers}
    columns = ["column.wave" if forward else "column.turn", "column.node", "column.would"]
    columns += ["column.now", "column.after"]
    rows: list[list[object]] = []
    for number, wave in enumerate(plan.waves, start=1):
        for node in wave:
            told = output.text(f"dry_run.{plan.direction.value}.{_would(by_name[node])}")
            now, after = (_pair(voice, pair) for pair in _now_and_after(plan, by_name[node]))
            rows.append([number, node, told, now, after])
    if any(answer.reason for answer in plan.answers):
        columns.append("column.why")
        for row in rows:
            row.append(_why(output, by_name[str(row[1])]))
    output.table(columns, rows)
    for node, why in left_out.items():
        output.show("status.left_out", node=node, why=why)


def _now_and_after(plan: Plan, answer: NodeAnswer) -> tuple[ServedCertificate | None, PairRef | None]:
    """What a node serves now, and then; None where it cannot tell, or nobody can say."""
    return plan.before.get(answer.node), None if _changes(answer) is None else plan.after


def _pair(voice: Voice, pair: ServedCertificate | PairRef | None) -> str | None:
    """Serial and end date, as a cell."""
    if pair is None:
        return None
    output = voice.output
    until = messages.day(pair.not_after, voice.topic.zone, output.language)
    return output.text("dry_run.pair", serial=output.serial(pair.serial), until=until)


def _node_json(output: Output, plan: Plan, answer: NodeAnswer) -> dict[str, object]:
    now, after = _now_and_after(plan, answer)
    return {
        "node": answer.node,
        "would_change": _changes(answer),
        "now": _pair_json(now),
        "after": _pair_json(after),
        "reason": answer.reason,
        "message": _why(output, answer),
    }


def _pair_json(pair: ServedCertificate | PairRef | None) -> dict[str, object] | None:
    return None if pair is None else {"serial": pair.serial, "not_after": pair.not_after}


def _would(answer: NodeAnswer) -> str:
    return {None: "unknown", True: "change", False: "keep"}[_changes(answer)]


def _changes(answer: NodeAnswer) -> bool | None:
    """Whether a node would be given the pair; None where that cannot be known."""
    return answer.changed if answer.outcome.value in {"installed", "proven"} else None


def _why(output: Output, answer: NodeAnswer) -> str | None:
    if answer.reason is None:
        return None
    values: dict[str, Any] = {**answer.values, "node": answer.node}
    return output.sentence(Reason(answer.reason), values)[0]
