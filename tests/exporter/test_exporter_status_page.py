"""The status page's HTML: what a person reads on it, in both languages, whatever the names hold."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import status
from exporter.collectors.nodes import REASONS
from exporter.snapshot import NodeFacts
from exporter.status.page import POLICY, Reader, render
from exporter.status.view import REACHABLE_SECONDS
from exporter.status.words import Words
from renewctl import messages
from renewctl.inventory.reading import Account
from renewctl.observation import DeviceCounts, Failure, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.visible import visible
from tests.support.exporter_values import NOW, UID, inventory, node, seen, served, topic
from tests.support.html_page import facts, of_class, read, rows, text
from tests.support.status_pages import READ, TWO, both, in_phase, nodes, page, section, sections, steps


@pytest.mark.parametrize(
    ("days", "level", "english", "japanese", "left"),
    [
        (300, "ok", "✓ in order", "✓ 有効期限内", "あと300日"),
        (42, "due", "▲ due", "▲ 更新時期", "あと42日"),
        (3, "critical", "▲▲ critical", "▲▲ 至急", "あと3日"),
        (-4, "expired", "✕ expired", "✕ 有効期限切れ", "有効期限切れ（3日前）"),
    ],
)
def test_every_level_has_a_word_a_symbol_and_a_colour(
    days: int, level: str, english: str, japanese: str, left: str
) -> None:
    """Never by colour alone: a word beside a symbol that is not read aloud; red from the window on."""
    certificate = replace(served(), not_after=NOW + timedelta(days=days, minutes=1))
    for language, words in (("en", english), ("ja", japanese)):
        found = section(page(both(certificate), language=language))
        [badge] = of_class(found, "level")
        assert (text(badge), badge.get("class")) == (words, f"level {level}")
        [symbol] = badge.findall("span")
        assert symbol.get("aria-hidden") == "true"
        [date] = of_class(found, "date")
        assert ("bad" in date.get("class", "").split()) == (level != "ok")
    assert left in facts(found)["有効期限"]


@pytest.mark.parametrize(
    ("left", "class_", "state"),
    [(timedelta(days=60, seconds=1), "good", "✓ current"), (timedelta(days=60), "bad", "current")],
)
def test_days_left_in_tables_are_red_from_the_window_on(left: timedelta, class_: str, state: str) -> None:
    """In the table of all topics and in a node's row; a certificate that is due is no reason for a tick."""
    known = inventory(topic(), topic("osaka", uid="other"), node("a"))
    told = NodeFacts().after(seen(replace(served(), not_after=NOW + left)))
    found = page(READ.with_node("a", told), known)
    days = [one for one in found.iter("span") if text(one).endswith("days left")]
    assert [one.get("class") for one in days] == [class_, class_]
    [row] = [row for row in found.iter("tr") if "API" in text(row)]
    assert text(row).startswith(f"a {state} answers")


def test_what_is_wrong_with_a_node_is_red() -> None:
    """Silence and faults are; that its files lie elsewhere, or when it was asked, is not."""
    silent = NodeFacts().failing(NOW, Reason.NODE_TIMEOUT)
    elsewhere = NodeFacts().after(seen(up=None, failures=(Failure(Reason.NODE_CERTIFICATE_ELSEWHERE),)))
    found = section(page(READ.with_node("a", silent).with_node("b", elsewhere)))
    bad = [text(one) for one in of_class(found, "bad")]
    quiet = [text(one) for one in of_class(found, "quiet")]
    assert "does not answer, asked: just now" in bad
    assert "gave no whole answer in time (node_timeout)" in bad
    assert "cannot be asked from here, asked: just now" in quiet
    assert "its files lie on another host (node_certificate_elsewhere)" in quiet


def test_the_page_itself_is_in_the_zone_of_its_topics() -> None:
    """In UTC where they have several; each topic keeps its own."""
    assert "As of 2026-11-23 (Mon) 21:00 JST" in text(page(READ))
    known = inventory(
        topic(zone="Asia/Tokyo"),
        topic("paris", uid="other", zone="Europe/Paris"),
        node("a", "tokyo", "paris"),
    )
    told = NodeFacts().after(seen(served(), served(uid="other")))
    found = text(page(READ.with_node("a", told), known))
    assert "As of 2026-11-23 (Mon) 12:00 UTC" in found
    for words in ("2027-09-19 (Sun) 21:00 JST", "2027-09-19 (Sun) 14:00 CEST"):
        assert words in found


def test_the_date_is_told_in_the_topics_zone() -> None:
    """Date, weekday, time and zone in words; ISO 8601 for programs."""
    certificate = replace(served(), not_after=datetime(2027, 1, 20, 23, 30, tzinfo=UTC))
    english, japanese = page(both(certificate)), page(both(certificate), language="ja")
    assert facts(section(english))["Expires"] == "2027-01-21 (Thu) 08:30 JST, 58 days left"
    assert facts(section(japanese))["有効期限"] == "2027年1月21日(木) 08:30 JST、あと58日"
    assert nodes(english)["a"]["Expires"] == "2027-01-21 58 days left"
    assert "2027-01-20T23:30:00+00:00" in {found.get("datetime") for found in english.iter("time")}


def test_an_unknown_date_says_so() -> None:
    """Nobody was asked yet, nothing is known: words instead of a gap."""
    found = page(READ)
    assert "unknown" in facts(section(found))["Expires"]
    assert nodes(found)["a"]["Expires"] == "–"
    assert "not asked yet" in nodes(found)["a"]["State"]
    assert "有効期限不明" in text(section(page(READ, language="ja")))


def test_a_certificate_that_never_ends() -> None:
    """Year 9999 is shown; it breaks no zone."""
    endless = replace(served(), not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert "9999-12-31 (Fri) 23:59 UTC" in facts(section(page(both(endless))))["Expires"]


def test_what_each_node_serves() -> None:
    """Serial, source, date and age, a row a node, named by its first cell."""
    snapshot = READ.with_node("a", NodeFacts().after(seen(served(serial="0a11"), minutes=-3)))
    other = seen(served(Source.DATABASE, serial="0b22"), minutes=-120)
    found = nodes(page(snapshot.with_node("b", NodeFacts().after(other))))
    assert (found["a"]["Serial"], found["a"]["Source"], found["a"]["Seen"]) == ("0a11", "API", "3 min ago")
    assert (found["b"]["Serial"], found["b"]["Source"], found["b"]["Seen"]) == ("0b22", "database", "2 h ago")


def test_nodes_that_disagree() -> None:
    """Said in words, in both languages; the topic needs somebody though no date is near."""
    snapshot = READ.with_node("a", NodeFacts().after(seen(served(days=300))))
    snapshot = snapshot.with_node("b", NodeFacts().after(seen(served(days=200))))
    english, japanese = page(snapshot), page(snapshot, language="ja")
    assert "nodes serve different push certificates" in text(of_class(english, "warnings")[0])
    assert "ノードごとにApple Push証明書が異なります" in text(of_class(japanese, "warnings")[0])
    assert text(of_class(section(english), "level")[0]) == "! needs attention"


def test_a_source_that_says_otherwise_is_named() -> None:
    """One node, two stories: both are shown."""
    found = page(both(served(Source.API, 300, serial="0a"), served(Source.FILE, 100, serial="0b")))
    assert "API says otherwise: " in nodes(found)["a"]["State"]
    assert "serial 0a" in nodes(found)["a"]["State"]


def test_a_silent_node_shows_its_kept_date_and_why() -> None:
    """It does not answer, since when it told what is shown, and the reason in words and as a label."""
    told = NodeFacts().after(seen(served(serial="0a"), minutes=-60 * 30))
    snapshot = both(served(serial="0a")).with_node("b", told.failing(NOW, Reason.NODE_UNREACHABLE))
    english, japanese = nodes(page(snapshot)), nodes(page(snapshot, language="ja"))
    assert "does not answer, asked: just now cannot be reached (node_unreachable)" in english["b"]["State"]
    assert (english["b"]["Seen"], english["b"]["Serial"]) == ("1 d ago", "0a")
    assert "応答なし" in japanese["b"]["状態"]
    assert "到達できません（node_unreachable）" in japanese["b"]["状態"]
    assert "renewctl node observe b" in steps(page(snapshot))


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_reason_of_a_node_has_a_few_words(reason: Reason, language: str) -> None:
    """What stands beside a node in `mdm_node_failures` is told in words, without gaps for values."""
    told = Words(language, "UTC", NOW).fault(reason)
    assert told != reason
    assert "–" not in told
    assert str(reason) in told


def test_a_reason_without_words_is_told_by_its_code() -> None:
    """A missing word hides nothing."""
    assert Words("ja", "UTC", NOW).fault(Reason.STORE_DAMAGED) == "store_damaged"


def test_devices_reachable() -> None:
    """How many of how many, once a storage, and how old that is; unknown is not none."""
    counts = (DeviceCounts(UID, 200, {REACHABLE_SECONDS: 183}),)
    shared = inventory(topic(), node("a", storage="s"), node("b", storage="s"))
    found = page(both(served(), devices=counts), shared)
    assert facts(section(found))["Devices reachable"] == "183 of 200 checked in within 7 days"
    assert nodes(found)["a"]["Devices reachable"] == "183 of 200 (just now)"
    assert nodes(found)["b"]["Devices reachable"] == "as a, same storage"
    assert "200台中183台" in text(page(both(served(), devices=counts), shared, "ja"))
    assert facts(section(page(both(served()))))["Devices reachable"].startswith("unknown")


def test_kept_devices_have_their_own_age() -> None:
    """While a node is silent its last counts stay, and are told as old as they are."""
    counts = (DeviceCounts(UID, 9, {REACHABLE_SECONDS: 9}),)
    told = NodeFacts().after(seen(served(), devices=counts, minutes=-60 * 24 * 3))
    later = told.after(seen(served(), failures=(Failure(Reason.DATABASE_UNREACHABLE),)))
    found = nodes(page(READ.with_node("a", later)))
    assert (found["a"]["Seen"], found["a"]["Devices reachable"]) == ("just now", "9 of 9 (3 d ago)")


HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u202e{now}"


def test_what_comes_from_outside_stays_text() -> None:
    """Names, owners, serials, issuers and reasons hold markup: not an element, not an attribute comes of it."""
    named = replace(topic(owner=HOSTILE), name=HOSTILE, account=Account(HOSTILE))
    known = inventory(named, node("a" + HOSTILE))
    told = NodeFacts().after(seen(served(serial=HOSTILE, issuer=HOSTILE)))
    snapshot = in_phase(Kind.OPENED, snapshot=READ.with_node("a" + HOSTILE, told))
    found = page(snapshot, known)
    tags = {element.tag for element in found.iter()}
    assert tags & {"script", "img", "iframe", "object", "link", "form", "base"} == set()
    attributes = {name for element in found.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or name in {"style", "src"}}
    assert visible(HOSTILE) in text(section(found))
    assert "\u202e" not in text(found)


@given(names=st.lists(st.text(max_size=20), min_size=3, max_size=3))
def test_any_names_give_a_page(names: list[str]) -> None:
    """Whatever an inventory or a node says: a page whose elements are closed, in both languages."""
    name, owner, serial = (one.encode("utf-8", "replace").decode() for one in names)
    known = inventory(replace(topic(owner=owner), name=name), node("a"))
    snapshot = READ.with_node("a", NodeFacts().after(seen(served(serial=serial))))
    for language in messages.LANGUAGES:
        assert len(sections(page(snapshot, known, language))) == 1


def test_many_topics_have_a_table_of_all() -> None:
    """The most urgent first, each with a link to its section; a lone topic needs none."""
    known = inventory(
        *(topic(f"t{number}", uid=f"u{number}") for number in range(30)),
        node("a", *(f"t{number}" for number in range(30))),
    )
    told = seen(*(served(uid=f"u{number}", days=100 - number * 4) for number in range(30)))
    found = page(READ.with_node("a", NodeFacts().after(told)), known)
    table = next(found.iter("table"))
    listed = rows(table)
    assert len(listed) == len(sections(found)) == 30
    assert (listed[0]["Topic"], listed[0]["State"]) == ("Office t29", "✕ expired")
    assert (listed[-1]["Topic"], listed[-1]["Days left"]) == ("Office t0", "100 days left")
    assert listed[0]["Nodes"] == "1 of 1 answer"
    links = [link.get("href", "") for link in table.iter("a")]
    assert [f"#{heading.get('id')}" for heading in found.iter("h2")] == links
    assert len(list(page(both(served())).iter("table"))) == 1


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_it_is_built_for_a_screen_reader(language: str) -> None:
    """Language, title, landmarks, one h1, sections named by headings, tables with captions and scopes."""
    found = page(both(served(days=3)), language=language)
    assert found.get("lang") == language
    assert [len(list(found.iter(landmark))) for landmark in ("header", "main", "footer", "h1")] == [
        1,
        1,
        1,
        1,
    ]
    assert {one.get("aria-labelledby") for one in found.iter("section")} == {
        one.get("id") for one in found.iter("h2")
    }
    assert all(one.get("aria-label") for one in found.iter("nav"))
    for table in found.iter("table"):
        assert text(table.find("caption"))  # type: ignore[arg-type]
        # Browsers differ in what they take from a table whose rows are stacked: roles are spelled out.
        roles = {
            one.tag: one.get("role") for one in table.iter() if one.tag in {"table", "thead", "tr", "td"}
        }
        assert roles == {"table": "table", "thead": "rowgroup", "tr": "row", "td": "cell"}
        assert {one.get("role") for one in table.iter("th")} == {"columnheader", "rowheader"}
        assert all(cell.get("scope") in {"col", "row"} for cell in table.iter("th"))
    assert found.find("head/meta[@name='viewport']") is not None
    title = found.find("head/title")
    assert title is not None
    assert "1" in text(title)


def test_the_title_counts_what_needs_somebody() -> None:
    """A tab tells at a glance: one topic, or none."""
    assert text(page(both(served(days=3))).find("head/title")) == "1 of 1 topics needs attention – renewctl"  # type: ignore[arg-type]
    assert text(page(both(served())).find("head/title")) == "no topic needs attention – renewctl"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reader", "switch", "others"),
    [
        (Reader("en"), "?lang=ja", {"?lang=en", "?lang=en&reload=off"}),
        (Reader("ja", reloads=False), "?lang=en&reload=off", {"?lang=ja", "?lang=ja&reload=off"}),
    ],
)
def test_links_keep_what_the_reader_chose(reader: Reader, switch: str, others: set[str]) -> None:
    """The switch keeps the choice about reloading, and the other way round; the current language is marked."""
    found = read(render(TWO, READ, NOW, reader))
    links = {link.get("hreflang"): link for link in found.iter("a")}
    here = links[reader.language]
    other = next(link for language, link in links.items() if language not in {None, reader.language})
    assert here.get("aria-current") == "true"
    assert other.get("href") == switch
    assert others <= {link.get("href") for link in found.iter("a")}


def test_the_policy_allows_this_style_sheet_and_nothing_else() -> None:
    """The hash is of the style as it stands in the page; no script, no address of anybody else."""
    content = render(TWO, READ, NOW, Reader("ja"))
    style = content.split(b"<style>")[1].split(b"</style>")[0]
    digest = b64encode(hashlib.sha256(style).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY
    for word in (b"<script", b"url(", b"@import", b" src=", b"//"):
        assert word not in content
    assert Path(status.__file__).with_name("page.css").read_bytes() == style
