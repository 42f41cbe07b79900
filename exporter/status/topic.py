"""One topic as a section of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from exporter.status.tables import Cell, table
from exporter.status.view import NodeStatus, TopicStatus, reachable_of
from exporter.status.words import Words
from renewctl.inventory.reading import Topic
from renewctl.markup import Content, tag, terms
from renewctl.node_view import NodeView, State, is_fault
from renewctl.observation import DeviceCounts, ServedCertificate
from renewctl.overview import TopicView
from renewctl.reasons import Word
from renewctl.renewal.rules import Direction, Phase, Renewal, but, missing

_GOOD = frozenset({State.SAME, State.INSTALLED, State.PROVEN, State.BACK, State.BACK_PROVEN})


def section(topic: TopicStatus, number: int, words: Words) -> Element:
    """Everything there is to say of one topic.

    Args:
        number: its place on the page, for the address of its heading.
    """
    heading = tag("h2", f"{topic.view.topic.name} ", words.level(topic.level), id=anchor(number))
    made = tag("section", heading, aria_labelledby=anchor(number), class_=f"topic {topic.level}")
    made.append(_facts(topic, words))
    if warnings := [*map(words.warning, topic.warnings), *_left_out(topic, words)]:
        made.append(tag("h3", words.text("page.warnings")))
        made.append(_list("ul", warnings, "warnings"))
    made.append(_nodes(topic, words))
    if topic.view.steps:
        made.append(tag("h3", words.text("page.steps")))
        made.append(_list("ol", _steps(topic, words), "steps"))
    return made


def anchor(number: int) -> str:
    """The id of a topic's heading; names may hold anything."""
    return f"topic-{number}"


def _list(kind: str, entries: Iterable[Content], class_: str) -> Element:
    return tag(kind, *(tag("li", entry) for entry in entries), class_=class_)


def _left_out(topic: TopicStatus, words: Words) -> Iterable[str]:
    """Nodes that are owed because somebody left them out, and the reason they gave."""
    for node, why in topic.view.left_out.items():
        yield words.text("status.left_out", node=node, why=why)


def _facts(topic: TopicStatus, words: Words) -> Element:
    said = topic.view.topic
    return terms(
        [
            (words.text("page.expires"), _expires(topic, words)),
            (words.text("page.turn"), turn(topic, words)),
            (words.text("page.renewal"), _renewal(topic, words)),
            (words.text("page.devices"), _devices(topic, words)),
            (words.text("page.uid"), tag("code", said.topic)),
            (words.text("page.account"), said.account.alias),
            (words.text("page.owner"), said.owner),
        ]
    )


def _expires(topic: TopicStatus, words: Words) -> Element:
    """Date and days left; red from the renewal window on."""
    class_ = "date bad" if topic.level.of_the_date else "date"
    not_after = topic.view.not_after
    if not_after is None:
        return tag("strong", words.text("page.expires_unknown"), class_=class_)
    served = any(node.view.serving is not None for node in topic.nodes)
    key = "page.expires_is" if served else "page.expires_adopted"
    return tag("strong", words.text(key, not_after=not_after, left=words.left(not_after)), class_=class_)


def turn(topic: TopicStatus, words: Words) -> str | None:
    """Whose turn it is; nothing where no store could tell."""
    if not topic.stored:
        return None
    return words.text("page.turn_unknown" if topic.turn is None else f"turn.{topic.turn}")


def _renewal(topic: TopicStatus, words: Words) -> str | None:
    if not topic.stored:
        return None
    renewal, kept = topic.view.renewal, topic.renewal
    if renewal is None:
        if kept is None:
            return words.text("page.renewal_none" if topic.turn is not None else "page.turn_unknown")
        left = kept.owed if kept.bound_for is Direction.PREVIOUS else ()
        phase = _phase(Phase(kept.phase), but(Phase.ROLLED_BACK), left, words)
        return words.text("page.renewal_is", renewal=kept.renewal, phase=phase)
    phase = _phase(renewal.phase, *_left(renewal, topic.view), words)
    key = "page.renewal_last" if renewal.ended else "page.renewal_since"
    return words.text(key, renewal=renewal.name, phase=phase, since=renewal.last_at)


def _phase(phase: Phase, but_left: str, left: Iterable[str], words: Words) -> str:
    """The phase in words, never without the nodes it does not speak for."""
    told, nodes = words.text(f"phase.{phase}"), ", ".join(dict.fromkeys(left))
    return words.text(but_left, phase=told, nodes=nodes) if nodes else told


def _left(renewal: Renewal, shown: TopicView) -> tuple[Word, Iterable[str]]:
    """Nodes without the pair they should have, those seen without it among them, and in which words."""
    if renewal.let_go:
        return but(renewal.phase), renewal.let_go
    if renewal.bound_for is Direction.NEW:
        return but(Phase.PROVEN), shown.owed
    names = [node.node.name for node in shown.nodes]
    again = shown.owed if renewal.phase is Phase.ROLLED_BACK else ()
    return but(Phase.ROLLED_BACK), (*missing(renewal, names), *again)


def _devices(topic: TopicStatus, words: Words) -> str:
    if topic.devices is None:
        return words.text("page.devices_unknown")
    reachable, enrolled = topic.devices
    return words.text("page.devices_are", reachable=reachable, enrolled=enrolled)


def _nodes(topic: TopicStatus, words: Words) -> Element:
    names = ("node", "state", "expires", "serial", "source", "seen", "devices")
    headings = [words.text("page.expires" if name == "expires" else f"page.column.{name}") for name in names]
    caption = words.text("page.nodes", name=topic.view.topic.name)
    return table(caption, headings, (_row(node, topic.view.topic, words) for node in topic.nodes))


def _row(node: NodeStatus, topic: Topic, words: Words) -> list[Cell]:
    at = node.view.at
    return [
        node.view.node.name,
        _state(node, topic, words),
        *_serving(node.view.serving, topic, words),
        None if at is None else tag("time", words.age(at), datetime=at.isoformat()),
        _node_devices(node, node.view.devices, words),
    ]


def _serving(serving: ServedCertificate | None, topic: Topic, words: Words) -> list[Cell]:
    """Date, serial, and where that is known from."""
    if serving is None:
        return [None, None, None]
    left = words.left_in_colour(serving.not_after, topic.window)
    serial = None if serving.serial is None else tag("code", serving.serial)
    source = words.text(f"source.{serving.source}")
    return [tag("div", words.day(serving.not_after), left, class_="lines"), serial, source]


def _state(node: NodeStatus, topic: Topic, words: Words) -> Element:
    """What is to be said of the node, whether it answers, and what it did not tell."""
    lines = [_judgement(node.view, topic, words)]
    lines.append(tag("span", _answer(node, words), class_="bad" if node.silent else "quiet"))
    lines += [
        tag("span", words.fault(failure.reason), class_="bad" if is_fault(failure) else "quiet")
        for failure in node.view.failures
    ]
    lines += [tag("span", _other(known.served, words), class_="bad") for known in node.others]
    return tag("div", *lines, class_="lines")


def _judgement(node: NodeView, topic: Topic, words: Words) -> Element:
    """The node's state; a certificate that is due is no reason to look pleased."""
    state = words.text(f"state.{node.state}")
    if node.state not in _GOOD:
        return tag("span", tag("span", "✕ ", aria_hidden="true"), state, class_="bad")
    if node.serving is not None and node.serving.not_after - words.now <= topic.window:
        return tag("span", state)
    return tag("span", tag("span", "✓ ", aria_hidden="true"), state, class_="good")


def _other(served: ServedCertificate, words: Words) -> str:
    source = words.text(f"source.{served.source}")
    return words.text("page.other", source=source, not_after=served.not_after, serial=served.serial)


def _answer(node: NodeStatus, words: Words) -> str:
    facts = node.facts
    if facts.looked_at is None:
        return words.text("page.up.never")
    key = {True: "page.up.yes", False: "page.up.no", None: "page.up.none"}[facts.up]
    return words.text("page.asked", answer=words.text(key), age=words.age(facts.looked_at))


def _node_devices(node: NodeStatus, counts: DeviceCounts | None, words: Words) -> str | None:
    if node.devices_of is not None:
        return words.text("devices.shared", node=node.devices_of)
    at = node.facts.devices_at
    if counts is None:
        return None
    age = None if at is None else words.age(at)
    return words.text("page.device_cell", reachable=reachable_of(counts), enrolled=counts.enabled, age=age)


def _steps(topic: TopicStatus, words: Words) -> Iterable[Element]:
    for step in topic.view.steps:
        command = None if step.command is None else tag("pre", tag("code", step.command))
        yield tag("div", tag("span", words.text(step.key, **step.values)), command)
