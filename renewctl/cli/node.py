"""`node observe`: one look at nodes, told as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from renewctl import messages
from renewctl.certificate.pushcert import days_left
from renewctl.cli.context import Session
from renewctl.cli.devices_view import DeviceCells
from renewctl.cli.options import Command, Group, common_options, json_option, pass_session
from renewctl.cli.output import Output
from renewctl.errors import ExitCode
from renewctl.inventory.reading import Node, Topic
from renewctl.observation import Observation, ServedCertificate


@click.group(cls=Group, help="help.node")
def node() -> None:
    """Hold what asks nodes."""


@node.command(cls=Command, help="help.node.observe")
@click.argument("name", metavar="[NODE]", required=False)
@json_option
@common_options
@pass_session
def observe(session: Session, name: str | None) -> ExitCode:
    """Ask; exit 4 where something could not be learned."""
    from renewctl.cli.looking import look  # noqa: PLC0415 - HTTP and SQL

    nodes, output = session.nodes(name), session.output()
    with output.working("node.asking", count=len(nodes)):
        seen = look(session.inventory, nodes, session.now())
    output.json({"at": session.now(), "nodes": [_as_json(each, seen[each.name]) for each in nodes]})
    columns = ("node", "product", "up", "topic", "not_after", "days_left", "serial", "source", "devices")
    topics = {topic.topic: topic for topic in session.inventory.topics}
    cells = DeviceCells(output)
    rows = [row for each in nodes for row in _rows(output, each, seen[each.name], topics, cells)]
    output.table([f"column.{column}" for column in columns], rows)
    for observation in seen.values():
        _say_failures(output, observation)
    return ExitCode.ATTENTION if any(each.failures for each in seen.values()) else ExitCode.DONE


def _rows(
    output: Output,
    node: Node,
    seen: Observation,
    topics: Mapping[str, Topic],
    cells: DeviceCells,
) -> Iterator[list[object]]:
    up = output.text("word.unknown" if seen.up is None else "word.yes" if seen.up else "word.no")
    devices = {count.topic: count.enabled for count in seen.devices or ()}
    for served in seen.certificates or (None,):
        facts = [None] * 5 if served is None else _facts(output, served, seen, topics.get(served.topic))
        count = None if served is None else cells.cell(node, served.topic, devices.get(served.topic))
        yield [node.name, node.product.value, up, *facts, count]


def _facts(output: Output, served: ServedCertificate, seen: Observation, topic: Topic | None) -> list[object]:
    return [
        served.topic if topic is None else output.fitting(served.topic, topic.id),
        messages.day(served.not_after, output.zone if topic is None else topic.zone, output.language),
        messages.days(days_left(served.not_after, seen.at), output.language),
        output.serial(served.serial),
        output.text(f"source.{served.source}"),
    ]


def _say_failures(output: Output, seen: Observation) -> None:
    for failure in seen.failures:
        happened, hint = output.sentence(failure.reason, failure.values)
        output.say("node.failure", node=seen.node, happened=happened)
        output.say("node.failure_hint", hint=hint)


def _as_json(node: Node, seen: Observation) -> dict[str, object]:
    return {
        "name": node.name,
        "product": node.product,
        "storage": node.storage,
        "at": seen.at,
        "up": seen.up,
        "version": seen.version,
        "certificates": seen.certificates,
        "devices": seen.devices,
        "failures": seen.failures,
    }
