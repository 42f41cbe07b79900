"""The whole page: one document, no script, nothing fetched. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from xml.etree.ElementTree import Element

from exporter.snapshot import Snapshot
from exporter.status import others as beside
from exporter.status.others_view import Others, others_status
from exporter.status.tables import Cell, table
from exporter.status.topic import anchor, section, turn
from exporter.status.view import Level, TopicStatus, topics_status
from exporter.status.words import SYMBOLS, Words
from renewctl import __version__
from renewctl.inventory.reading import Inventory
from renewctl.markup import Content, page, style, tag

RELOAD_SECONDS = 60
"""The page is loaded anew this often, unless its reader stopped that. Nodes are asked every 30 s."""

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: this very style sheet, and nothing else at all."""

_LANGUAGES = {"en": "English", "ja": "日本語"}
"""Each in its own words, for those who cannot read the other."""

_LINKS = ("/metrics", "/-/healthy", "/-/ready")


@dataclass(frozen=True)
class Reader:
    """Who reads.

    Attributes:
        language: `en` or `ja`.
        reloads: the page is loaded anew by itself.
    """

    language: str
    reloads: bool = True

    def address(self, language: str, *, reloads: bool) -> str:
        """The address of this page in a language, for a link."""
        return f"?lang={language}" if reloads else f"?lang={language}&reload=off"


def render(inventory: Inventory, snapshot: Snapshot, now: datetime, reader: Reader) -> bytes:
    """The page as bytes of UTF-8."""
    zones = {topic.zone for topic in inventory.topics}
    words = Words(reader.language, zones.pop() if len(zones) == 1 else "UTC", now)
    topics, others = topics_status(inventory, snapshot, now), others_status(inventory, snapshot, now)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{' · '.join(_summary(topics, others, words))} – renewctl"),
        style(_STYLE),
    )
    header = _header(topics, others, snapshot, words, reader)
    body = tag("body", header, _main(topics, others, words), _footer(words))
    return page(tag("html", head, body, lang=reader.language))


def _summary(topics: Sequence[TopicStatus], others: Others, words: Words) -> list[str]:
    """What needs somebody: topics if there are any, then the rest."""
    said = []
    count = sum(topic.level is not Level.OK for topic in topics)
    if count:
        said.append(words.text("page.title", count=count, total=len(topics)))
    elif topics:
        said.append(words.text("page.title_ok"))
    if others.wrong:
        said.append(words.text("page.title_others", count=others.wrong))
    return said or [words.text("page.title_nothing")]


def _header(
    topics: Sequence[TopicStatus], others: Others, snapshot: Snapshot, words: Words, reader: Reader
) -> Element:
    wrong = others.wrong > 0 or any(topic.level is not Level.OK for topic in topics)
    symbol = tag("span", SYMBOLS[Level.ATTENTION if wrong else Level.OK], aria_hidden="true")
    summary = tag("p", symbol, class_="summary bad" if wrong else "summary good")
    said: list[Content] = list(_summary(topics, others, words))
    if others.wrong:
        said[-1] = tag("a", said[-1], href=f"#{beside.ANCHOR}")
    for number, sentence in enumerate(said):
        summary.append(tag("span", " · " if number else " ", sentence))
    return tag(
        "header",
        _languages(words, reader),
        tag("h1", words.text("page.heading")),
        summary,
        _store(snapshot, words),
        _reloading(words, reader),
    )


def _languages(words: Words, reader: Reader) -> Element:
    """The switch: two links."""
    entries = tag("ul")
    for language, name in _LANGUAGES.items():
        link = tag("a", name, href=reader.address(language, reloads=reader.reloads), lang=language)
        link.set("hreflang", language)
        if language == reader.language:
            link.set("aria-current", "true")
        entries.append(tag("li", link))
    return tag("nav", entries, aria_label=words.text("page.language"))


def _store(snapshot: Snapshot, words: Words) -> Element:
    """How old the facts of renewals are."""
    read = snapshot.store_read
    if snapshot.store_up is None:
        return tag("p", words.text("page.store.none"))
    if read is None:
        return tag("p", words.text("page.store.unread"), class_="bad")
    if snapshot.store_up:
        return tag("p", words.text("page.store.read", age=words.age(read)))
    return tag("p", words.text("page.store.down", at=read, age=words.age(read)), class_="bad")


def _reloading(words: Words, reader: Reader) -> Element:
    """What time it is on this page, and how it gets newer; a reader may stop that (WCAG 2.2.2)."""
    now, other = ("on", "stop") if reader.reloads else ("off", "start")
    as_of = words.text("page.as_of", at=words.now)
    told = words.text(f"page.reload.{now}", seconds=RELOAD_SECONDS)
    again = reader.address(reader.language, reloads=reader.reloads)
    change = reader.address(reader.language, reloads=not reader.reloads)
    return tag(
        "p",
        f"{as_of} · {told} · ",
        tag("a", words.text("page.reload.now"), href=again),
        " · ",
        tag("a", words.text(f"page.reload.{other}", seconds=RELOAD_SECONDS), href=change),
        class_="quiet",
    )


def _main(topics: Sequence[TopicStatus], others: Others, words: Words) -> Element:
    made = tag("main")
    if len(topics) > 1:
        made.append(_overview(topics, words))
    for number, topic in enumerate(topics, start=1):
        own = Words(words.language, topic.view.topic.zone, words.now)
        made.append(section(topic, number, own))
    made.extend(beside.sections(others, words))
    return made


def _overview(topics: Sequence[TopicStatus], words: Words) -> Element:
    names = ("column.topic", "column.level", "expires", "column.left", "column.answers", "turn")
    headings = [words.text(f"page.{name}") for name in names]
    rows = [_overview_row(topic, number, words) for number, topic in enumerate(topics, start=1)]
    return table(words.text("page.overview"), headings, rows)


def _overview_row(topic: TopicStatus, number: int, words: Words) -> list[Cell]:
    own = Words(words.language, topic.view.topic.zone, words.now)
    not_after = topic.view.not_after
    up = sum(node.facts.up is True for node in topic.nodes)
    return [
        tag("a", topic.view.topic.name, href=f"#{anchor(number)}"),
        own.level(topic.level),
        None if not_after is None else own.day(not_after),
        None if not_after is None else own.left_in_colour(not_after, topic.view.topic.window),
        own.text("page.answering", up=up, total=len(topic.nodes)),
        turn(topic, own),
    ]


def _footer(words: Words) -> Element:
    links = tag("ul", *(tag("li", tag("a", link, href=link)) for link in _LINKS))
    version = tag("p", f"renewctl-exporter {__version__}")
    return tag("footer", tag("nav", links, aria_label=words.text("page.links")), version)
