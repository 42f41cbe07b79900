"""`status`: every topic, its date, its nodes, its renewal, whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from renewctl import messages, secrets
from renewctl.cli.context import Session
from renewctl.cli.devices_view import DeviceCells
from renewctl.cli.holder import holder_json, show_holder
from renewctl.cli.options import Command, Option, common_options, json_option, pass_session, topic_option
from renewctl.cli.output import Output, steps_json
from renewctl.cli.record_watch import sealed_to_others, stray_renewals
from renewctl.cli.renewal_view import phase_text
from renewctl.errors import ExitCode, Unusable
from renewctl.inventory.reading import Inventory, Topic
from renewctl.node_view import NodeView, is_fault
from renewctl.observation import Observation
from renewctl.overview import TopicView, looks_first, view
from renewctl.reasons import Reason
from renewctl.renewal.history import TopicHistory, histories, history_of, misnamed
from renewctl.renewal.rules import Phase, gone, owed, owed_previous
from renewctl.secrets import SecretRef
from renewctl.topic_warnings import Warn, key_warnings

if TYPE_CHECKING:
    from datetime import datetime

    from renewctl.store.read import Run


@dataclass(frozen=True)
class Report:
    """All there is to tell.

    Attributes:
        warnings: about no topic in particular.
        seen: the looks just taken; empty when nobody was asked.
        run: what holds the store, or held it when its holder died.
    """

    topics: tuple[TopicView, ...]
    warnings: tuple[Warn, ...]
    seen: Mapping[str, Observation]
    run: Run | None

    @property
    def attention(self) -> bool:
        """Somebody must look."""
        every = [*self.warnings, *(warn for topic in self.topics for warn in topic.warnings)]
        return any(warn.attention for warn in every)


@click.command(cls=Command, help="help.status")
@topic_option
@click.option("--offline", cls=Option, is_flag=True, help="help.option.offline")
@json_option
@common_options
@pass_session
def status(session: Session, topic_id: str | None, *, offline: bool) -> ExitCode:
    """Show the state of things; exit 4 where somebody must look."""
    topics = session.topics(topic_id)
    report = _report(session, topics, offline=offline)
    output = session.output(topics[0] if len(topics) == 1 else None)
    output.json(_as_json(session, report))
    for topic in report.topics:
        _show_topic(session.output(topic.topic), topic, session)
    show_holder(output, report.run)
    for warn in report.warnings:
        output.show("warning", text=_sentence(output, warn))
    for topic in report.topics:
        session.output(topic.topic).next_steps(topic.steps)
    return ExitCode.ATTENTION if report.attention else ExitCode.DONE


def _report(session: Session, topics: Sequence[Topic], *, offline: bool) -> Report:
    from renewctl.cli.looking import look  # noqa: PLC0415 - HTTP and SQL
    from renewctl.cli.vendor_watch import vendor_refuses, vendor_warnings  # noqa: PLC0415 - cryptography

    inventory, now = session.inventory, session.now()
    ids = {topic.id for topic in topics}
    nodes = [node for node in inventory.nodes if ids & set(node.topics)]
    past, run, found = _recorded(session, now)
    seen: dict[str, Observation] = {}
    if not offline:
        with session.output().working("node.asking", count=len(nodes)):
            seen = look(inventory, nodes, now)
    views = [
        view(
            inventory,
            topic,
            history_of(past, topic.id, topic.topic),
            seen,
            now,
            session.options,
            wrong_id=misnamed(past, topic.id, topic.topic),
            store_missing=any(warn.key == "warning.store_absent" for warn in found),
            vendor_refuses=vendor_refuses(topic, now),
        )
        for topic in topics
    ]
    views = [
        replace(
            each,
            warnings=(*each.warnings, *vendor_warnings(each.topic, now)),
            steps=looks_first(each, session.options),
        )
        for each in views
    ]
    return Report(tuple(views), (*found, *_house(inventory), *_faults(seen)), seen, run)


def _recorded(session: Session, now: datetime) -> tuple[dict[str, TopicHistory], Run | None, list[Warn]]:
    """What the store tells; a store that was never made is no fault, only nothing recorded."""
    from renewctl.store.read import StoreReader  # noqa: PLC0415 - SQL

    inventory = session.inventory
    try:
        with StoreReader(session.store_url, recover=True) as store:
            events = store.renewals()
            past = histories(events)
            strays, sealed = stray_renewals(inventory, past), sealed_to_others(inventory, events, now)
            return past, store.open_run(), [*strays, *sealed]
    except Unusable as error:
        if error.reason is not Reason.STORE_MISSING:
            raise
        return {}, None, [Warn("warning.store_absent", attention=False)]


def _house(inventory: Inventory) -> list[Warn]:
    """What is lax in the inventory itself."""
    warnings = [
        Warn("warning.insecure_http", {"node": node.name, "url": node.url}, attention=False)
        for node in inventory.nodes
        if node.insecure_http
    ]
    references = [
        inventory.store,
        inventory.keys.identity,
        *(topic.vendor.key for topic in inventory.topics if topic.vendor is not None),
        *(node.password for node in inventory.nodes),
        *(node.devices.sql for node in inventory.nodes if node.devices is not None),
    ]
    lax = {ref.where[0] for ref in references if isinstance(ref, SecretRef) and secrets.lax(ref)}
    warnings += key_warnings(inventory.keys)
    return warnings + [Warn("warning.lax_file", {"path": path}, attention=False) for path in sorted(lax)]


def _faults(seen: Mapping[str, Observation]) -> list[Warn]:
    """What could not be learned from nodes: what they serve is not certain, so somebody must look."""
    return [
        Warn("warning.node_fault", {"node": name, "reason": reason.value, **values})
        for name, observation in seen.items()
        for reason, values in {
            failure.reason: failure.values for failure in observation.failures if is_fault(failure)
        }.items()
    ]


def _show_topic(output: Output, shown: TopicView, session: Session) -> None:
    topic = shown.topic
    output.show("status.topic", name=topic.name, id=topic.id)
    output.show("status.uid", topic=topic.topic)
    if shown.not_after is None:
        output.show_red("status.expiry_unknown")
    else:
        show = output.show_red if shown.urgent else output.show
        left = messages.days(shown.left or 0, output.language)
        show("status.expiry", not_after=shown.not_after, left=left)
    output.show("status.account", account=topic.account.address or topic.account.alias)
    output.show("status.owner", owner=topic.owner, deputy=topic.deputy)
    _show_renewal(output, shown)
    cells = DeviceCells(output)
    output.table(
        (
            "column.node",
            "column.not_after",
            "column.serial",
            "column.source",
            "column.age",
            "column.devices",
            "column.state",
        ),
        [_row(output, node, topic, session, cells) for node in shown.nodes],
    )
    for node, why in shown.left_out.items():
        output.show("status.left_out", node=node, why=why)
    for warn in shown.warnings:
        output.show_red("warning", text=_sentence(output, warn))
    output.raw("")


def _show_renewal(output: Output, shown: TopicView) -> None:
    renewal = shown.renewal
    if renewal is None or renewal.ended:
        output.show("status.no_renewal")
        return
    phase = phase_text(output, renewal, [each.node.name for each in shown.nodes])
    turn = output.text(f"turn.{shown.turn}")
    output.show("status.renewal", renewal=renewal.name, phase=phase, turn=turn)
    if renewal.phase is Phase.REQUESTED and renewal.request is not None:
        output.show("status.request_lasts", last_day=renewal.request.last_day)


def _row(output: Output, node: NodeView, topic: Topic, session: Session, cells: DeviceCells) -> list[object]:
    serving, devices = node.serving, node.devices
    seconds = 0.0 if node.at is None else (session.now() - node.at).total_seconds()
    return [
        node.node.name,
        None if serving is None else messages.day(serving.not_after, topic.zone, output.language),
        None if serving is None else output.serial(serving.serial),
        None if serving is None else output.text(f"source.{serving.source}"),
        None if node.at is None else messages.age(seconds, output.language),
        cells.cell(node.node, topic.topic, None if devices is None else devices.enabled),
        output.text(f"state.{node.state}"),
    ]


def _sentence(output: Output, warn: Warn) -> str:
    values = dict(warn.values)
    if "reason" in values:
        values["happened"], values["hint"] = output.sentence(Reason(str(values["reason"])), values)
    if isinstance(values.get("left"), int):
        values["left"] = messages.days(int(str(values["left"])), output.language)
    return output.text(warn.key, **values)


def _as_json(session: Session, report: Report) -> dict[str, object]:
    output = session.output()
    return {
        "at": session.now(),
        "inventory": session.inventory.path,
        "attention": report.attention,
        "run": holder_json(report.run),
        "topics": [_topic_json(session, topic) for topic in report.topics],
        "warnings": [_warn_json(output, warn) for warn in report.warnings],
    }


def _topic_json(session: Session, shown: TopicView) -> dict[str, object]:
    topic, renewal, output = shown.topic, shown.renewal, session.output(shown.topic)
    names = [node.node.name for node in shown.nodes]
    return {
        "id": topic.id,
        "topic": topic.topic,
        "name": topic.name,
        "account": topic.account.alias,
        "not_after": shown.not_after,
        "days_left": shown.left,
        "owed": shown.owed,
        "left_out": shown.left_out,
        "turn": shown.turn,
        "renewal": None
        if renewal is None
        else {
            "name": renewal.name,
            "phase": renewal.phase,
            "owed": owed(renewal, names),
            "owed_previous": owed_previous(renewal, names),
            "gone": gone(renewal, names),
            "ended": renewal.ended,
            "request_last_day": None if renewal.request is None else renewal.request.last_day,
        },
        "nodes": [node_json(node) for node in shown.nodes],
        "warnings": [_warn_json(output, warn) for warn in shown.warnings],
        "next_steps": steps_json(shown.steps, output, topic.zone),
    }


def node_json(node: NodeView) -> dict[str, object]:
    """One node of one topic."""
    return {
        "name": node.node.name,
        "product": node.node.product,
        "storage": node.node.storage,
        "insecure_http": node.node.insecure_http,
        "state": node.state,
        "up": node.up,
        "certificate": node.serving,
        "seen_at": node.at,
        "devices": None if node.devices is None else node.devices.enabled,
        "failures": node.failures,
    }


def _warn_json(output: Output, warn: Warn) -> dict[str, object]:
    return {
        "key": warn.key,
        "text": _sentence(output, warn),
        "attention": warn.attention,
        "values": warn.values,
    }
