"""A year as a page for an auditor: one file, no script, nothing fetched, good on paper. Pure.

Every figure on it comes from events; what cannot be read stands in the table of findings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from renewctl import messages
from renewctl.audit.checks import Trace, Verdict
from renewctl.audit.lines import Line
from renewctl.audit.year import RenewalYear, TopicYear
from renewctl.markup import page, style, tag, terms
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE
from renewctl.renewal.rules import Renewal, but

GENERATOR = "renewctl audit report"
"""Stands in the page: a file without it is somebody else's."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Hiragino Sans", "Noto Sans CJK JP", "Yu Gothic", sans-serif;
  color: #1a1a1a; background: #fff; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #444; } h3 { margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-size: .85rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border: 1px solid #999; padding: .25rem .45rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
th { background: #eee; } thead { display: table-header-group; } tr { break-inside: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, "Noto Sans Mono CJK JP", monospace; overflow-wrap: anywhere; }
.bad { border-left: .4rem solid #a00; padding-left: .6rem; }
.scroll { overflow-x: auto; }
@media print { body { margin: 0; max-width: none; font-size: 9pt; } table { font-size: 7.5pt; }
  h2, h3, caption { break-after: avoid; } .scroll { overflow: visible; } }
@page { size: A4 landscape; margin: 14mm; }
"""
_SHORT = 12
"""Characters of a digest that stand in a cell; the whole ones are listed, or in CSV and JSON."""


@dataclass(frozen=True)
class Report:
    """What the page tells.

    Attributes:
        made_at: aware.
        version: of the renewctl that made it.
    """

    year: int
    topics: Sequence[TopicYear]
    verdict: Verdict
    made_at: datetime
    version: str
    language: str


def render(report: Report) -> bytes:
    """The page as a file."""
    words = _Words(report.language, report.topics[0].names.zone if len(report.topics) == 1 else "UTC")
    title = words.text("audit.page.title", year=report.year)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width"),
        tag("meta", name="generator", content=GENERATOR),
        tag("title", title),
        style(_STYLE),
    )
    body = tag("body", tag("header", tag("h1", title), _facts(report, words)))
    main = tag("main", _overview(report, words), _findings(report, words))
    for topic in report.topics:
        main.append(_topic(topic, report.language))
    main.append(_how_to_check(report, words))
    body.append(main)
    return page(tag("html", head, body, lang=report.language))


@dataclass(frozen=True)
class _Words:
    """One language and one zone."""

    language: str
    zone: str

    def text(self, key: str, /, **values: object) -> str:
        return messages.text(key, self.language, **values)

    def known(self, key: str, otherwise: str, /, **values: object) -> str:
        """A sentence whose key came out of an event: never taken for a sentence itself."""
        return self.text(key, **values) if messages.has(key, self.language) else otherwise

    def instant(self, at: datetime) -> str:
        return messages.instant(at.replace(tzinfo=at.tzinfo or UTC), self.zone, self.language)

    def why(self, line: Line) -> str | None:
        """Why it did not go well, as a sentence."""
        if line.node_reason not in set(Reason):
            return line.node_reason
        values = {} if line.node_values is None else json.loads(line.node_values)
        return messages.sentence(Reason(line.node_reason), self.language, values)[0]

    def finding(self, trace: Trace) -> str:
        return messages.sentence(trace.reason, self.language, trace.values)[0]


def _table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Element | str | None]]) -> Element:
    """A table whose first column names its rows."""
    body = tag("tbody")
    for first, *others in rows:
        cells = [tag("th", first, scope="row"), *(tag("td", _cell(one)) for one in others)]
        body.append(tag("tr", *cells))
    columns = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in headings)))
    return tag("div", tag("table", tag("caption", caption), columns, body), class_="scroll")


def _cell(value: Element | str | None) -> Element | str:
    return "–" if value is None or value == "" else value


def _headings(words: _Words, *names: str) -> list[str]:
    return [words.text(f"audit.column.{name}") for name in names]


def _facts(report: Report, words: _Words) -> Element:
    events = sum(len(renewal.lines) for topic in report.topics for renewal in topic.renewals)
    found = len(report.verdict.traces)
    checked = words.text("audit.page.intact") if not found else words.text("audit.page.broken", count=found)
    return terms(
        [
            (words.text("audit.page.period"), words.text("audit.page.period_is", year=report.year)),
            (words.text("audit.page.topics"), ", ".join(topic.names.name for topic in _topics(report))),
            (words.text("audit.page.events"), str(events)),
            (words.text("audit.page.made"), words.instant(report.made_at)),
            (words.text("audit.page.made_with"), f"renewctl {report.version}"),
            (words.text("audit.page.checked"), checked),
            (words.text("audit.page.head"), tag("code", report.verdict.head or "–")),
        ]
    )


def _topics(report: Report) -> list[TopicYear]:
    return [topic for topic in report.topics if not topic.is_key_store]


def _overview(report: Report, words: _Words) -> Element:
    rows: list[Sequence[Element | str | None]] = []
    for topic in _topics(report):
        own = _Words(report.language, topic.names.zone)
        renewals = [renewal for renewal in topic.renewals if renewal.state is not None]
        rows += [_overview_row(topic, renewal, own) for renewal in renewals]
        if not renewals:
            nothing = words.text("audit.page.no_renewal")
            rows.append([topic.names.name, nothing, None, None, None, None, None])
    names = ("topic", "renewal", "phase", "opened", "serial", "not_after", "nodes")
    heading = words.text("audit.page.overview")
    return tag("section", tag("h2", heading), _table(heading, _headings(words, *names), rows))


def _overview_row(topic: TopicYear, renewal: RenewalYear, words: _Words) -> Sequence[Element | str | None]:
    state = renewal.state
    assert state is not None  # noqa: S101 - chosen above
    outcomes = [words.text(f"node.{node.direction}.{node.outcome}") for node in state.nodes.values()]
    counted = [f"{one}: {outcomes.count(one)}" for one in dict.fromkeys(outcomes)]
    return [
        topic.names.name,
        renewal.name,
        _phase(renewal, state, words),
        f"{words.instant(state.opened_at)}, {state.opened_by}",
        None if state.accepted is None else tag("code", state.accepted.serial),
        None if state.accepted is None else words.instant(state.accepted.not_after),
        ", ".join(counted),
    ]


def _phase(renewal: RenewalYear, state: Renewal, words: _Words) -> str:
    """As every display says it: a renewal with a node left is never called proven, or rolled back, alone."""
    phase = words.text(f"phase.{state.phase}")
    if not renewal.left:
        return phase
    return words.text(but(state.phase), phase=phase, nodes=", ".join(renewal.left))


def _findings(report: Report, words: _Words) -> Element:
    heading = words.text("audit.page.findings")
    section = tag("section", tag("h2", heading))
    if not report.verdict.traces:
        section.append(tag("p", words.text("audit.page.no_findings")))
        return section
    section.append(tag("p", words.text("audit.page.findings_why"), class_="bad"))
    rows = [
        [trace.renewal or "–", None if trace.seq is None else str(trace.seq), words.finding(trace)]
        for trace in report.verdict.traces
    ]
    section.append(_table(heading, _headings(words, "renewal", "seq", "finding"), rows))
    return section


def _topic(topic: TopicYear, language: str) -> Element:
    words = _Words(language, topic.names.zone)
    heading = words.text("audit.page.topic", name=topic.names.name, id=topic.names.id)
    if topic.is_key_store:
        heading = words.text("audit.page.key_store")
    facts = [
        (words.text("audit.page.uid"), None if topic.uid is None else tag("code", topic.uid)),
        (words.text("audit.page.zone"), topic.names.zone),
    ]
    section = tag("section", tag("h2", heading), terms(facts))
    if not topic.renewals:
        section.append(tag("p", words.text("audit.page.nothing")))
    for renewal in topic.renewals:
        section.append(_renewal(renewal, words))
    return section


def _renewal(renewal: RenewalYear, words: _Words) -> Element:
    told = "audit.page.adopted" if renewal.name.endswith("-0") else "audit.page.renewal"
    if renewal.name == KEY_STORE:
        told = "audit.page.key_record"
    section = tag("section", tag("h3", words.text(told, name=renewal.name)), _renewal_facts(renewal, words))
    answers = [line for line in renewal.lines if line.event in {"node_finished", "node_verified"}]
    if answers:
        names = ("node", "when", "answer", "proof", "why", "serial", "run", "who")
        caption = words.text("audit.page.answers", name=renewal.name)
        section.append(_table(caption, _headings(words, *names), [_answer(one, words) for one in answers]))
    columns = ("number", "when", "event", "nodes", "who", "stored_by", "host", "version", "inventory",
             "reason", "ticket", "hash")  # fmt: skip
    caption = words.text("audit.page.all_events", name=renewal.name)
    section.append(_table(caption, _headings(words, *columns), [_event(one, words) for one in renewal.lines]))
    return section


def _renewal_facts(renewal: RenewalYear, words: _Words) -> Element:
    state = renewal.state
    digests = tag("span")
    for digest in dict.fromkeys(line.inventory_digest for line in renewal.lines):
        digests.append(tag("code", digest + " "))
    facts: list[tuple[str, Element | str | None]] = []
    if state is not None:
        for key, pair in (("before", state.previous), ("new", state.accepted)):
            if pair is not None:
                values = {"serial": pair.serial, "not_after": words.instant(pair.not_after)}
                facts.append(
                    (words.text(f"audit.page.pair_{key}"), words.text("audit.page.pair_is", **values))
                )
                facts.append((words.text("audit.page.fingerprint"), tag("code", pair.fingerprint)))
        facts.insert(0, (words.text("audit.page.phase_end"), _phase(renewal, state, words)))
        facts += [(words.text("audit.page.left_out", node=n), why) for n, why in state.left_out.items()]
    facts += [
        (words.text("audit.page.people"), _each(line.actor for line in renewal.lines)),
        (words.text("audit.page.reasons"), _each(line.reason for line in renewal.lines)),
        (words.text("audit.page.tickets"), _each(line.ticket for line in renewal.lines)),
        (words.text("audit.page.inventories"), digests),
    ]
    return terms(facts)


def _each(values: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))


def _answer(line: Line, words: _Words) -> Sequence[Element | str | None]:
    told = f"node.{line.direction}.{line.outcome}"
    return [
        line.nodes,
        words.instant(line.at),
        words.known(told, f"{line.direction} {line.outcome}"),
        _proof(line, words),
        words.why(line),
        None if line.serial is None else tag("code", line.serial),
        None if line.run is None else str(line.run),
        line.actor,
    ]


def _proof(line: Line, words: _Words) -> Element | None:
    if line.proof is None:
        return None
    made = tag("span")
    for rung in line.proof.split(" "):
        told = words.known(f"proof.{rung.replace('=', '.')}", rung, serial=line.serial)
        made.append(tag("div", told))
    return made


def _event(line: Line, words: _Words) -> Sequence[Element | str | None]:
    return [
        str(line.number or line.seq),
        words.instant(line.at),
        words.text(f"event.{line.event}"),
        line.nodes or words.why(line) or line.serial or line.keys,
        line.actor,
        line.authenticated,
        line.host,
        line.version,
        tag("code", line.inventory_digest[:_SHORT]),
        line.reason,
        line.ticket,
        tag("code", line.hash[:_SHORT]),
    ]


def _how_to_check(report: Report, words: _Words) -> Element:
    return tag(
        "section",
        tag("h2", words.text("audit.page.how")),
        tag("p", words.text("audit.page.how_head")),
        tag("pre", tag("code", f"renewctl audit verify --head {report.verdict.head or 'HEAD'}")),
        tag("p", words.text("audit.page.how_events")),
        tag("pre", tag("code", f"renewctl audit log --year {report.year} --format csv")),
        tag("p", words.text("audit.page.limits")),
    )
