"""`renewctl audit …`: what an auditor is shown, and whether the store is as it was written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import renewctl
from renewctl.cli.context import Session
from renewctl.cli.options import (
    PATH,
    Command,
    Group,
    Option,
    common_options,
    json_option,
    pass_session,
    topic_option,
)
from renewctl.cli.output import Output
from renewctl.errors import ExitCode, Refused, Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.audit.checks import Trace, Verdict
    from renewctl.audit.lines import Line
    from renewctl.audit.year import TopicNames

_HEAD = re.compile(r"[0-9a-f]{64}")
_YEAR = click.IntRange(2000, 2999)
_MARK_WITHIN = 4096
"""Bytes at the beginning of a report in which it says that it is one."""


@click.group(cls=Group, help="help.audit")
@common_options
def audit() -> None:
    """Hold the commands."""


@audit.command("verify", cls=Command, help="help.audit.verify")
@click.option("--head", "asked", cls=Option, metavar="HASH", help="help.option.head")
@common_options
@json_option
@pass_session
def verify(session: Session, *, asked: str | None) -> ExitCode:
    """Recompute every hash; exit 1 where something is not as it was written."""
    asked = None if asked is None else asked.strip().lower()
    if asked is not None and not _HEAD.fullmatch(asked):
        raise Unusable(Reason.OPTION_INVALID, got=asked, expected="64 hex digits", option="--head")
    verdict, output = _verdict(session, asked), session.output()
    counts = {
        "events": len(verdict.rows),
        "renewals": verdict.renewals,
        "documents": verdict.documents,
        "runs": verdict.runs,
    }
    output.json(
        {
            **counts,
            "intact": not verdict.traces,
            "findings": _findings_json(output, verdict.traces),
            "head": verdict.head,
            "asked": asked,
            "events_since": verdict.since,
        }
    )
    output.show("audit.checked", **counts)
    if verdict.traces:
        output.show_red("audit.broken", count=len(verdict.traces))
        rows = [(trace.renewal, trace.seq, _sentence(output, trace)) for trace in verdict.traces]
        output.table(("audit.column.renewal", "audit.column.seq", "audit.column.finding"), rows)
    else:
        output.show("audit.intact")
    if verdict.since is not None:
        output.show("audit.since", count=verdict.since)
    output.show("audit.head", head=verdict.head)
    if asked is None:
        output.say("audit.without_head")
    return ExitCode.REFUSED if verdict.traces else ExitCode.DONE


@audit.command("log", cls=Command, help="help.audit.log")
@click.option("--year", cls=Option, type=_YEAR, help="help.option.year")
@click.option(
    "--format",
    "form",
    cls=Option,
    type=click.Choice(("table", "jsonl", "csv")),
    default="table",
    help="help.option.format",
)
@topic_option
@common_options
@json_option
@pass_session
def log(session: Session, *, year: int | None, form: str, topic_id: str | None) -> ExitCode:
    """Every event, flat; exit 4 where something is not as it was written."""
    from renewctl.audit import lines  # noqa: PLC0415 - not for `--help`
    from renewctl.audit.year import year_of  # noqa: PLC0415

    verdict, output = _verdict(session), session.output()
    topics = {topic.id: topic for topic in _topics(session, verdict, topic_id)}
    told = [
        line
        for line in lines.lines(verdict.rows)
        if line.topic_id in topics and year in {None, year_of(line.at, topics[line.topic_id].zone)}
    ]
    output.json(
        {
            "events": [line.as_json() for line in told],
            "findings": _findings_json(output, verdict.traces),
            "head": verdict.head,
        }
    )
    if form == "table":
        _show_table(session, told, topics)
    for text in {"jsonl": lines.json_lines, "csv": lines.csv_lines}.get(form, lambda _told: iter(()))(told):
        output.raw(text)
    return _ended(output, verdict)


@audit.command("report", cls=Command, help="help.audit.report")
@click.option("--year", cls=Option, type=_YEAR, required=True, help="help.option.year")
@click.option(
    "--out",
    cls=Option,
    metavar="FILE",
    type=PATH,
    required=True,
    help="help.option.out_report",
)
@topic_option
@common_options
@json_option
@pass_session
def report(session: Session, *, year: int, out: Path, topic_id: str | None) -> ExitCode:
    """A year as a page; exit 4 where something is not as it was written."""
    from renewctl.audit.page import Report, render  # noqa: PLC0415 - not for `--help`
    from renewctl.audit.year import of_year  # noqa: PLC0415
    from renewctl.cli.whole_file import replace  # noqa: PLC0415

    _check_out(out)
    verdict = _verdict(session)
    topics = [of_year(verdict, topic, year) for topic in _topics(session, verdict, topic_id)]
    language = session.language()
    output = Output(language, as_json=session.as_json)
    replace(out, render(Report(year, topics, verdict, session.now(), renewctl.__version__, language)))
    output.json(
        {
            "file": str(out),
            "year": year,
            "language": language,
            "topics": [topic.names.id for topic in topics],
            "events": sum(len(renewal.lines) for topic in topics for renewal in topic.renewals),
            "findings": _findings_json(output, verdict.traces),
            "head": verdict.head,
        }
    )
    output.show("audit.report_written", path=str(out))
    return _ended(output, verdict)


def _verdict(session: Session, asked: str | None = None) -> Verdict:
    from renewctl.audit.checks import verify as check  # noqa: PLC0415 - not for `--help`
    from renewctl.store.read import StoreReader  # noqa: PLC0415 - SQL

    with StoreReader(session.store_url, recover=True) as store:
        return check(store.raw(), asked)


def _topics(session: Session, verdict: Verdict, topic_id: str | None) -> Sequence[TopicNames]:
    """Topics of the inventory and of the store, or the one asked for.

    Raises:
        Unusable: `topic_unknown`.
    """
    from renewctl.audit.year import TopicNames, topics_of  # noqa: PLC0415

    inventory = session.inventory.topics
    known = {topic.id: TopicNames(topic.id, topic.name, topic.zone) for topic in inventory}
    topics = topics_of(verdict, known)
    if topic_id is None:
        return topics
    uids = {topic.topic: topic.id for topic in inventory}
    found = [topic for topic in topics if topic.id == uids.get(topic_id, topic_id)]
    if not found:
        expected = ", ".join(topic.id for topic in topics)
        raise Unusable(Reason.TOPIC_UNKNOWN, got=topic_id, expected=expected)
    session.chosen = next((topic for topic in inventory if topic.id == found[0].id), None)
    return found


def _show_table(session: Session, told: Sequence[Line], topics: dict[str, TopicNames]) -> None:
    output = session.output()
    columns = ("when", "renewal", "event", "nodes", "who", "reason", "ticket")
    rows = [
        (
            Output(output.language, zone=topics[line.topic_id].zone).instant(line.at),
            line.renewal,
            output.text(f"event.{line.event}"),
            line.nodes or line.serial,
            line.actor,
            line.reason,
            line.ticket,
        )
        for line in told
    ]
    output.table([f"audit.column.{name}" for name in columns], rows)


def _check_out(out: Path) -> None:
    """Nobody else's file is in the way, and the folder takes files.

    Raises:
        Refused: `report_in_the_way`, `write_failed`.
    """
    from renewctl.audit.page import GENERATOR  # noqa: PLC0415
    from renewctl.cli.whole_file import check_folder  # noqa: PLC0415

    if out.is_symlink() or out.exists():
        ours = not out.is_symlink() and out.is_file() and GENERATOR.encode() in _beginning(out)
        if not ours:
            raise Refused(Reason.REPORT_IN_THE_WAY, path=str(out))
    check_folder(out)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MARK_WITHIN)


def _ended(output: Output, verdict: Verdict) -> ExitCode:
    """What was found, said beside the data."""
    for trace in verdict.traces:
        output.say("audit.finding", text=_sentence(output, trace))
    return ExitCode.ATTENTION if verdict.traces else ExitCode.DONE


def _sentence(output: Output, trace: Trace) -> str:
    return output.sentence(trace.reason, trace.values)[0]


def _findings_json(output: Output, traces: Sequence[Trace]) -> list[dict[str, object]]:
    return [
        {
            "reason": trace.reason,
            "renewal": trace.renewal,
            "seq": trace.seq,
            "text": _sentence(output, trace),
            "values": trace.values,
        }
        for trace in traces
    ]
