"""How a dry run of a roll-out is told: every node, also where one of them stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from renewctl.cli.output import Output
from renewctl.errors import ExitCode
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.cli.renewal_view import Voice
    from renewctl.workflow.engine import NodeAnswer
    from renewctl.workflow.rolling import Plan


def show_dry_run(voice: Voice, plan: Plan, left_out: Mapping[str, str]) -> int:
    """What a roll-out would change where; ends like the roll-out where it would not begin.

    Args:
        left_out: what was typed for `--leave-out`: the next steps repeat it.
    """
    _table(voice.output, plan)
    refused = plan.refused
    voice.output.json(
        {
            "dry_run": True,
            "waves": plan.waves,
            "nodes": [
                {
                    "node": answer.node,
                    "would_change": _changes(answer),
                    "reason": answer.reason,
                    "message": _why(voice.output, answer),
                }
                for answer in plan.answers
            ],
            "refused": None if refused is None else voice.output.error_object(refused),
        }
    )
    if refused is None:
        return ExitCode.DONE
    if not voice.session.as_json:
        voice.refused(refused, dry_run=True, left_out=left_out)
    return refused.exit_code


def _table(output: Output, plan: Plan) -> None:
    """Wave by wave; a column for reasons where there are any."""
    by_name = {answer.node: answer for answer in plan.answers}
    columns = ["column.wave", "column.node", "column.would"]
    rows: list[list[object]] = [
        [number, node, output.text(f"dry_run.{_would(by_name[node])}")]
        for number, wave in enumerate(plan.waves, start=1)
        for node in wave
    ]
    if any(answer.reason for answer in plan.answers):
        columns.append("column.why")
        for row in rows:
            row.append(_why(output, by_name[str(row[1])]))
    output.table(columns, rows)


def _would(answer: NodeAnswer) -> str:
    return {None: "unknown", True: "change", False: "keep"}[_changes(answer)]


def _changes(answer: NodeAnswer) -> bool | None:
    """Whether a node would be given the new pair; None where that cannot be known."""
    return answer.changed if answer.outcome.value in {"installed", "proven"} else None


def _why(output: Output, answer: NodeAnswer) -> str | None:
    if answer.reason is None:
        return None
    values: dict[str, Any] = {**answer.values, "node": answer.node}
    return output.sentence(Reason(answer.reason), values)[0]
