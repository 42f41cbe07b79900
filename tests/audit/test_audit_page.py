"""The page for an auditor: what it tells, that nothing in it runs, and that nothing in it is taken for markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewctl import messages
from renewctl.audit.checks import verify
from renewctl.audit.page import Report, render
from renewctl.audit.year import TopicNames, of_year, topics_of
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.visible import visible
from tests.support.chained import Chained
from tests.support.history import ACCEPTED, NEW, OLD, TOPIC, told

MADE = datetime(2027, 1, 8, 3, 0, tzinfo=UTC)
TOKYO = {"tokyo": TopicNames("tokyo", "Tokyo <office>", "Asia/Tokyo")}
_VOID = {"meta", "link", "br", "img", "input"}


@dataclass
class Page(HTMLParser):
    """The page as a browser sees it."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must be the one that is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        self.text += data + "\n"

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


def report(store: Chained, year: int = 2026, language: str = "en") -> bytes:
    """The page of a year."""
    verdict = verify(store.raw())
    topics = [of_year(verdict, names, year) for names in topics_of(verdict, TOKYO)]
    return render(Report(year, topics, verdict, MADE, "0.1.0", language))


def read(content: bytes) -> Page:
    """Read as a browser would; every element is closed."""
    page = Page()
    page.feed(content.decode())
    page.close()
    assert page.open == []
    return page


def rolled(**changes: str) -> Chained:
    """Adopted, renewed, rolled out over two nodes."""
    store = Chained()
    store.append("tokyo-0", Kind.ADOPTED, **changes)
    for kind in ACCEPTED:
        store.append("tokyo-1", kind, reason="yearly", ticket="CHG-7", **changes)
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body={"left_out": {"n3": "in repair"}})
    store.append("tokyo-1", Kind.WAVE_STARTED, body={"nodes": ["n1", "n2"]})
    kind, body = told("n1", "proven")
    store.append("tokyo-1", kind, body=body)
    kind, body = told("n2", "failed")
    store.append("tokyo-1", kind, body={**body, "reason": "node_refused_pair", "values": {"got": "500"}})
    store.runs.append(
        {"number": 1, "token": "t", "renewal": "tokyo-1", "holder": "tanaka@ops1", "host": "ops1",
         "since": "2026-11-01T09:00:00.000000+00:00", "beat": 0, "ended": None}
    )  # fmt: skip
    return store


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_it_tells_who_did_what_when_with_which_certificate_and_what_nodes_answered(language: str) -> None:
    """Topic, UID, zone, certificates, people, ticket, reason, nodes, head: all on the page, in the topic's zone."""
    store = rolled()
    page = read(report(store, language=language))
    wanted = [
        TOPIC, "Tokyo <office>", "Asia/Tokyo", "tokyo-1", NEW["serial"], OLD["serial"], NEW["fingerprint"],
        "tanaka@ops1", "CHG-7", "yearly", "n1", "n2", "in repair", "d" * 64, store.heads[-1],
        messages.instant(datetime(2026, 11, 2, 9, tzinfo=UTC), "Asia/Tokyo", language),
        messages.text("node.new.proven", language), messages.text("node.new.failed", language),
        messages.text("event.accepted", language), messages.text("audit.page.no_findings", language),
    ]  # fmt: skip
    assert [words for words in wanted if words not in page.text] == []
    assert page.named("html") == [{"lang": language}]
    assert not re.search(r"\baudit\.\w+|\bevent\.\w+|\bphase\.\w+", page.text)


@pytest.mark.parametrize(
    ("language", "but"),
    [("en", "proven, but still without the new pair: n3"), ("ja", "（未展開のノードがあります: n3）")],
)
def test_a_node_left_out_stands_beside_the_phase(language: str, but: str) -> None:
    """Overview and renewal: the others are proven, n3 never was; once it was reached, nothing is added."""
    store = Chained()
    for kind in ACCEPTED:
        store.append("tokyo-1", kind)
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body={"waves": [["n1"]], "left_out": {"n3": "in repair"}})
    _one_node(store, "n1")
    content = read(report(store, language=language)).text
    assert content.count(but) == 2
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body={"waves": [["n1"], ["n3"]]})
    _one_node(store, "n3")
    assert but not in read(report(store, language=language)).text


@pytest.mark.parametrize(
    ("language", "but"),
    [
        ("en", "rolled back, but not known to have the previous pair back: n1"),
        ("ja", "切り戻し済み（前の証明書と秘密鍵の組に戻ったか不明なノードがあります: n1）"),
    ],
)
def test_a_node_that_was_not_put_back_stands_beside_the_phase(language: str, but: str) -> None:
    """A roll-back that did not reach n1 is never told as rolled back alone."""
    store = Chained()
    for kind in ACCEPTED:
        store.append("tokyo-1", kind)
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body={"waves": [["n1"]]})
    _one_node(store, "n1")
    store.append("tokyo-1", Kind.ROLL_BACK_STARTED)
    store.append("tokyo-1", Kind.WAVE_STARTED, body={"nodes": ["n1"], "direction": "previous"})
    store.append("tokyo-1", Kind.ROLL_BACK_FINISHED)
    assert read(report(store, language=language)).text.count(but) == 2


@pytest.mark.parametrize(
    ("language", "counted"),
    [
        ("en", "new pair proven: 1, put back and proven: 1"),
        ("ja", "新しい組の動作確認ができました: 1, 切り戻し、動作確認ができました: 1"),
    ],
)
def test_nodes_are_counted_by_the_pair_they_have(language: str, counted: str) -> None:
    """What was put back is never counted with what has the new pair, whose serial stands beside it."""
    store = Chained()
    for kind in ACCEPTED:
        store.append("tokyo-1", kind)
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED, body={"waves": [["n1", "n2"]]})
    _one_node(store, "n1")
    kind, body = told("n2", "proven", "previous")
    store.append("tokyo-1", kind, body=body)
    assert counted in read(report(store, language=language)).text


def _one_node(store: Chained, node: str) -> None:
    """A wave of one node, which is proven; the roll-out ends."""
    store.append("tokyo-1", Kind.WAVE_STARTED, body={"nodes": [node]})
    kind, body = told(node, "proven")
    store.append("tokyo-1", kind, body=body)
    store.append("tokyo-1", Kind.ROLL_OUT_FINISHED)


def test_it_runs_nothing_and_fetches_nothing() -> None:
    """No script, no link, no image, no address; and a policy that would forbid them."""
    content = report(rolled())
    page = read(content)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a", "form"} == set()
    assert not any(
        name.startswith("on") or name in {"src", "href", "style"} for _, a in page.tags for name in a
    )
    assert b"http:" not in content
    assert b"https:" not in content
    assert b"url(" not in content
    [policy] = [a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert b"\nbody { font" in content  # a style sheet as it was written


def test_it_can_be_read_by_a_screen_reader_and_on_paper() -> None:
    """One h1, headings without a gap, a caption and scoped headings for each table, rows for print."""
    page = read(report(rolled()))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= before + 1 for before, later in pairwise(levels))
    assert len(page.named("caption")) == len(page.named("table")) > 2
    assert {heading.get("scope") for heading in page.named("th")} == {"col", "row"}
    assert b"@media print" in report(rolled())


def test_a_year_is_a_year_where_the_topic_is() -> None:
    """New Year in Tokyo comes nine hours before UTC's: an event of 31 December 20:00 UTC is of the next year."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED, at="2026-12-31T14:59:59.000000+00:00", actor="old@year")
    store.append("tokyo-1", Kind.KEY_MADE, at="2026-12-31T15:00:00.000000+00:00", actor="new@year")
    old, new = read(report(store, 2026)).text, read(report(store, 2027)).text
    assert ("old@year" in old, "new@year" in old, "new@year" in new) == (True, False, True)
    assert messages.text("phase.open", "en") in old
    assert messages.text("audit.page.nothing", "en") in read(report(store, 2031)).text


def test_findings_stand_on_the_page() -> None:
    """What is not as it was written is named, and the rest is told all the same."""
    store = rolled()
    store.events[3]["body"] = "{"
    page = read(report(store))
    assert "tokyo-1, event 3: this is not as we write events: body '{'" in page.text
    assert messages.text("audit.page.no_findings", "en") not in page.text
    assert "n1" in page.text


def test_a_story_that_does_not_add_up_is_still_listed() -> None:
    """Events that cannot follow each other: no state is claimed, every event is shown."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED)
    store.append("tokyo-1", Kind.CLOSED, actor="who@else")
    page = read(report(store))
    assert "who@else" in page.text
    assert "would never have written it here" in page.text


def test_a_topic_that_left_the_inventory_is_told_in_utc() -> None:
    """Events outlive the inventory."""
    store = Chained()
    store.append("osaka-1", Kind.OPENED, body={"topic_id": "osaka"})
    page = read(report(store))
    assert "Topic osaka (osaka)" in page.text
    assert "2026-11-02 (Mon) 09:00 UTC" in page.text


HOSTILE: Sequence[str] = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "&lt;b&gt;&#x3c;",
    "]]><!--",
    "{actor} {0.__class__} %s",
    "a\u202eb\x00\x1b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_typed_stays_text(text: str) -> None:
    """Actor, host, reason, ticket, node, reason code, proof: shown to the letter, and no element more."""
    plain = Chained()
    hostile = Chained()
    for store, word in ((plain, "word"), (hostile, text)):
        body = {"node": word, "outcome": word, "direction": word, "reason": word, "values": {"got": word}}
        body["proof"] = {"rungs": {word: word}}
        store.append("tokyo-1", Kind.OPENED, actor=word, host=word, version=word, reason=word, ticket=word)
        store.append("tokyo-1", Kind.NODE_FINISHED, body=body, authenticated=word, inventory_digest=word)
    expected, page = read(report(plain)), read(report(hostile))
    spaces = text.count(" ") * 2  # a proof's words are split at spaces, each in a line of its own
    assert 0 <= len(page.tags) - len(expected.tags) <= spaces
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in expected.tags}
    assert visible(text) in page.text


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(
        st.text(max_size=12).map(lambda t: t.encode("utf-8", "replace").decode()), min_size=3, max_size=3
    )
)
def test_any_text_gives_a_page(words: list[str]) -> None:
    """Whatever was typed: a page that closes its elements, in both languages."""
    actor, reason, node = words
    store = Chained()
    store.append("tokyo-1", Kind.OPENED, actor=actor, reason=reason)
    store.append(
        "tokyo-1", Kind.NODE_FINISHED, body={"node": node, "reason": "node_error", "values": {"got": node}}
    )
    for language in messages.LANGUAGES:
        assert visible(actor).strip() in read(report(store, language=language)).text


def test_a_certificate_without_an_end() -> None:
    """Year 9999 cannot be told in every zone; it is told in UTC."""
    store = Chained()
    for kind in ACCEPTED:
        endless = {"pair": {**NEW, "not_after": "9999-12-31T23:59:59+00:00"}} if kind is Kind.ACCEPTED else {}
        store.append("tokyo-1", kind, body=endless)
    assert "9999-12-31 (Fri) 23:59 UTC" in read(report(store)).text


def test_keys_sealed_anew_and_destroyed_are_told_under_the_key_store() -> None:
    """Which key, by whom; it is no topic, and has no renewal."""
    store = rolled()
    store.append(KEY_STORE, Kind.KEY_DESTROYED, body={"key_fingerprint": "ab" * 32}, actor="key@keeper")
    page = read(report(store))
    assert messages.text("audit.page.key_store", "en") in page.text
    assert "_keys (" not in page.text
    for words in ("ab" * 32, "key@keeper", messages.text("event.key_destroyed", "en")):
        assert words in page.text
    assert page.text.count(messages.text("audit.page.no_renewal", "en")) == 0
