"""The status page beside topics: what else expires, watched folders, and how little of a large one is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from exporter.expiry_look import key_of
from exporter.snapshot import ExpiryFacts, Known, NodeFacts, RenewalFacts, Snapshot
from exporter.status.others import MOST_EXPIRING, MOST_FILES
from exporter.status.others_view import OTHER_CRITICAL, OTHER_DUE, others_status
from exporter.status.view import Level
from exporter.status.words import Words
from renewctl import localfile, messages
from renewctl.inventory.reading import Expiring, ExpiryKind, Inventory, Node, Product
from renewctl.observation import Failure, SeenFile, Source
from renewctl.reasons import Reason
from renewctl.servers import certificate_files, expiring, tls_peer
from tests.support.alerting import RULES, alerts, recordings
from tests.support.exporter_values import NOW, UID, folder_node, inventory, node, seen, served, topic
from tests.support.html_page import of_class, rows, text
from tests.support.status_pages import READ, page

APPS = Expiring(ExpiryKind.VPP_TOKEN, "apps", "a", file=Path("/apps"))
PKI = folder_node()


def known(*more: Expiring | Node) -> Inventory:
    """An inventory of one topic, one node, and these."""
    entries = tuple(one for one in more if isinstance(one, Expiring))
    folders = [one for one in more if isinstance(one, Node)]
    return replace(inventory(topic(), node("a"), *folders), expires=entries)


def alone(*more: Expiring | Node) -> Inventory:
    """The same without topic and node."""
    return replace(known(*more), topics=(), nodes=tuple(one for one in more if isinstance(one, Node)))


def told(days: float | None, reason: Reason | None = None, one: Expiring = APPS) -> Snapshot:
    """What a look said of one thing that expires, two hours ago."""
    at = None if days is None else NOW - timedelta(hours=2)
    return replace(READ, expiries={key_of(one): ExpiryFacts(_end(days), reason, at)})


def holding(files: Iterable[SeenFile], *failures: Reason, of: Node = PKI, base: Snapshot = READ) -> Snapshot:
    """What a look at a folder gave."""
    looked = seen(up=None, files=tuple(files), failures=tuple(map(Failure, failures)))
    return base.with_node(of.name, NodeFacts().after(looked))


def file(name: str, days: float | None = 300, reason: Reason | None = None, uid: str = "") -> SeenFile:
    """A file of the folder, of a certificate with so many days left."""
    return SeenFile(f"/pki/{name}.pem", uid, _end(days), reason)


def _end(days: float | None) -> datetime | None:
    return None if days is None else NOW + timedelta(days=days, minutes=1)


def tables(root: Element) -> dict[str, list[dict[str, str]]]:
    """The tables below the topics, by caption."""
    found = [table for section in of_class(root, "beside") for table in section.iter("table")]
    return {text(table.findall("caption")[0]): rows(table) for table in found}


@pytest.mark.parametrize(
    ("days", "level", "english", "japanese", "left"),
    [
        (300, "ok", "✓ in order", "✓ 有効期限内", "あと300日"),
        (20, "due", "▲ due", "▲ 更新時期", "あと20日"),
        (3, "critical", "▲▲ critical", "▲▲ 至急", "あと3日"),
        (-4, "expired", "✕ expired", "✕ 有効期限切れ", "有効期限切れ（3日前）"),
    ],
)
def test_what_else_expires_has_a_date_in_words_and_never_by_colour_alone(
    days: int, level: str, english: str, japanese: str, left: str
) -> None:
    """Kind and name, level by word, symbol and colour, the day, days left, whose it is, and how old that is."""
    [row] = tables(page(told(days), known(APPS)))["All that is known, the most urgent first"]
    assert (row["What"], row["Node"], row["Seen"]) == ("Token of apps and books apps", "a", "2 h ago")
    assert row["State"] == english
    assert row["Expires"] == f"{NOW + timedelta(days=days):%Y-%m-%d}"
    found = page(told(days), known(APPS), "ja")
    [row] = tables(found)["すべての対象（急ぐ順）"]
    assert (row["対象"], row["状態"], row["残り日数"]) == ("Appとブックのトークン apps", japanese, left)
    [section] = of_class(found, "beside")
    assert f"level {level}" in {badge.get("class") for badge in of_class(section, "level")}
    [shown] = [one for one in section.iter("span") if text(one) == left]
    assert shown.get("class") == ("good" if level == "ok" else "bad")


def test_a_date_that_cannot_be_read_is_the_last_one_known_and_says_why() -> None:
    """Never read: no date is made up."""
    found = tables(page(told(300, Reason.FILE_NOT_FOUND), known(APPS)))
    [row] = found["All that is known, the most urgent first"]
    assert (row["State"], row["Days left"]) == ("! needs attention", "300 days left")
    assert row["Seen"] == "2 h ago the file is not there (file_not_found)"
    [row] = tables(page(READ, known(APPS)))["All that is known, the most urgent first"]
    assert (row["State"], row["Expires"], row["Days left"], row["Seen"]) == (
        "? date unknown",
        "–",
        "–",
        "never read",
    )


LOCAL = replace(node("a"), product=Product.FILES, url=None)


def in_file(days: float, reason: Reason | None = None, uid: str = UID, push: float = 299) -> Snapshot:
    """A node of files serves a push certificate; its file ends after so many days."""
    ends = SeenFile("/etc/mdm/push.pem", uid, _end(days), reason)
    told = seen(served(Source.FILE, int(push)), up=None, files=(ends,))
    return READ.with_node("a", NodeFacts().after(told))


@pytest.mark.parametrize(
    ("days", "state"), [(3, "▲▲ critical"), (20, "▲ due"), (200, "✓ in order"), (-1, "✕ expired")]
)
def test_what_ends_in_a_file_before_its_push_certificate_is_told(days: int, state: str) -> None:
    """A CA behind it: with path, node, date, and counted as what needs somebody, where the alerts fire too."""
    known_of = inventory(topic(), LOCAL)
    found = page(in_file(days), known_of)
    [row] = tables(found)["All that is known, the most urgent first"]
    assert (row["What"], row["Node"], row["State"]) == (
        "Certificate in the file /etc/mdm/push.pem",
        "a",
        state,
    )
    assert (row["Expires"], row["Seen"]) == (f"{NOW + timedelta(days=days):%Y-%m-%d}", "just now")
    assert ("1 other date needs attention" in text(found)) == (days < 30)
    [row] = tables(page(in_file(days), known_of, "ja"))["すべての対象（急ぐ順）"]
    assert row["対象"] == "ファイル内の証明書 /etc/mdm/push.pem"


def test_only_what_the_alerts_of_files_tell_is_told() -> None:
    """Not the push certificate itself, nor a date but last known of it; another certificate, whatever it stands with."""
    for quiet in (in_file(299), in_file(3, Reason.FILE_EMPTY), in_file(299, push=20), READ):
        assert others_status(inventory(topic(), LOCAL), quiet, NOW).expiring == ()
    for loud, level in (
        (in_file(400, uid=""), Level.OK),
        (in_file(20, uid="alice"), Level.DUE),
        (in_file(300, Reason.FILE_EMPTY, uid=""), Level.ATTENTION),
    ):
        [one] = others_status(inventory(topic(), LOCAL), loud, NOW).expiring
        assert one.level is level
    recorded = RenewalFacts(
        "tokyo", "tokyo-1", "proven", recorded={"a": Known(served(Source.RECORDED, 365), NOW)}
    )
    agreed = replace(in_file(20, push=20), renewals=(recorded,))
    assert others_status(inventory(topic(), LOCAL), agreed, NOW).expiring == ()


def test_thresholds_are_those_of_the_alerts() -> None:
    """Page and alerts never disagree on what is due or critical."""
    best = r"kind_name_node:mdm_expiry_timestamp_seconds:best - time\(\) < (\d+)"
    limits = {float(found) for found in re.findall(best, RULES.read_text())}
    assert limits == {OTHER_DUE.total_seconds(), OTHER_CRITICAL.total_seconds()}


@pytest.mark.parametrize("kind", ExpiryKind)
def test_every_kind_has_a_name_in_both_languages(kind: ExpiryKind) -> None:
    """Nobody is shown `page.kind.…`."""
    assert all(messages.has(f"page.kind.{kind}", language) for language in messages.LANGUAGES)


def test_every_reason_of_a_file_and_of_a_date_has_a_few_words() -> None:
    """Whatever the modules that read them can name."""
    sources = (Path(module.__file__ or "") for module in (certificate_files, expiring, localfile, tls_peer))
    named = {
        Reason[name] for path in sources for name in re.findall(r"Reason\.([A-Z_0-9]+)", path.read_text())
    }
    assert len(named) > 10
    for language in messages.LANGUAGES:
        wordless = {one for one in named if Words(language, "UTC", NOW).fault(one) == one}
        assert wordless == set(), language


def test_a_large_folder_makes_a_small_page() -> None:
    """Ten thousand files: the few that end first, how many there are of each kind, and where the rest is told."""
    files = [file(f"{number:05}", 20 + number / 10) for number in range(10_000)]
    files[7000], files[8000] = file("07000", -2), file("08000", 3)
    files[9000:] = [file(f"{number:05}", None, Reason.FILE_EMPTY) for number in range(9000, 10_000)]
    found = page(holding(files), known(PKI))
    assert len(list(found.iter("tr"))) < 2 * MOST_FILES + 12
    shown = tables(found)
    first, bad = shown["The files that expire first"], shown["Files that cannot be read"]
    assert (len(first), len(bad)) == (MOST_FILES, MOST_FILES)
    assert [row["File"] for row in first[:3]] == ["/pki/07000.pem", "/pki/08000.pem", "/pki/00000.pem"]
    assert [row["Days left"] for row in first[:3]] == ["expired 1 day ago", "3 days left", "20 days left"]
    [folder] = shown["All folders, the most urgent first"]
    assert folder["Files"] == "✕ expired 1 ? date unknown 1000 ▲▲ critical 1 ▲ due 100 ✓ in order 8898"
    assert (folder["State"], folder["Days left"]) == ("✕ expired", "expired 1 day ago")
    said = text(found)
    assert (
        "Shown are 10 of 9000. All of them: /metrics , mdm_certificate_file_expiry_timestamp_seconds" in said
    )
    assert "Shown are 10 of 1000. All of them: /metrics , mdm_certificate_file_failure" in said
    assert "1102 other dates need attention" in said


def test_a_small_folder_is_shown_whole() -> None:
    """Nothing is said of a rest that is not there."""
    shown = tables(found := page(holding([file("a", 20), file("b", 40)]), known(PKI)))
    assert [row["State"] for row in shown["The files that expire first"]] == ["▲ due", "✓ in order"]
    assert "Files that cannot be read" not in shown
    assert "Shown are" not in text(found)


def test_a_file_that_cannot_be_read_is_named_with_its_last_date() -> None:
    """It stays among those that expire first, too."""
    [row] = tables(page(holding([file("a", 5, Reason.FILE_EMPTY)]), known(PKI)))["Files that cannot be read"]
    assert (row["File"], row["What is wrong"]) == ("/pki/a.pem", "the file is empty (file_empty)")
    assert (row["Expires, last known"], row["Days left"]) == ("2026-11-28", "5 days left")
    later = others_status(known(PKI), holding([file("a", 300, Reason.FILE_EMPTY)]), NOW)
    assert [one.level for one in later.files] == [Level.ATTENTION]


def test_a_push_certificate_in_a_folder_has_its_topics_window() -> None:
    """Due 60 days ahead and critical 14, where another file has 30 and 7."""
    files = [file("push", 40, uid=UID), file("late", 10, uid=UID), file("other", 40), file("soon", 10)]
    shown = others_status(known(PKI), holding(files), NOW)
    levels = {one.file.path: one.level for one in shown.files}
    assert list(levels.values()) == [Level.DUE, Level.CRITICAL, Level.OK, Level.DUE]
    found = tables(page(holding([file("push", 40, uid=UID)]), known(PKI)))
    assert found["The files that expire first"][0]["State"] == "▲ due"


def test_a_push_certificate_of_no_topic_in_a_folder_has_the_thresholds_of_its_alerts() -> None:
    """Nobody's window is the 60 days that the rules give it; never in order where an alert fires."""
    [window] = [one for one in recordings() if one.name == "topic:mdm_topic_renewal_window_seconds:max"]
    [due] = re.findall(r"\+ (\d+)\)", window.expression)
    [critical] = re.findall(r"< (\d+)\)", alerts()["MdmPushCertificateRenewalCritical"]["expr"])
    ahead = [int(seconds) / 86_400 for seconds in (due, critical)]
    for days, level in zip(
        (ahead[0] + 1, ahead[0] - 1, ahead[1] + 1, ahead[1] - 1),
        (Level.OK, Level.DUE, Level.DUE, Level.CRITICAL),
        strict=True,
    ):
        stray = file("stray", days, uid=f"{UID[:-1]}9")
        told = served(Source.FILE, uid=stray.topic)
        looked = seen(replace(told, not_after=stray.not_after), up=None, files=(stray,))
        [folder] = others_status(known(PKI), READ.with_node("pki", NodeFacts().after(looked)), NOW).folders
        assert [one.level for one in folder.files] == [level], days


def test_what_stands_behind_a_push_certificate_in_a_folder_has_the_window_of_all_that_expires() -> None:
    """As in the alerts: in order 40 days ahead, due 10 days ahead; the push certificate beside it as ever."""
    for days, level in ((40, Level.OK), (10, Level.DUE)):
        looked = seen(served(Source.FILE, 300), up=None, files=(file("chain", days, uid=UID),))
        told = others_status(known(PKI), READ.with_node("pki", NodeFacts().after(looked)), NOW)
        assert [one.level for one in told.files] == [level]
        assert told.expiring == ()


@pytest.mark.parametrize(
    ("snapshot", "level", "files", "words"),
    [
        (READ, Level.UNKNOWN, "–", "not asked yet"),
        (holding([]), Level.UNKNOWN, "–", "just now"),
        (holding([], Reason.FOLDER_EMPTY), Level.UNKNOWN, "–", "no certificate file in it (folder_empty)"),
        (holding([], Reason.FOLDER_UNREADABLE), Level.UNKNOWN, "–", "folder_unreadable"),
        (
            holding([file("a")], Reason.FOLDER_UNREADABLE),
            Level.ATTENTION,
            "✓ in order 1",
            "folder_unreadable",
        ),
        (holding([file("a")]), Level.OK, "✓ in order 1", "just now"),
    ],
)
def test_a_folder_without_files_or_that_cannot_be_read(
    snapshot: Snapshot, level: Level, files: str, words: str
) -> None:
    """Nothing is never well; what is known of files stays."""
    [folder] = others_status(known(PKI), snapshot, NOW).folders
    assert folder.level is level
    [row] = tables(page(snapshot, known(PKI)))["All folders, the most urgent first"]
    assert row["Files"] == files
    assert words in row["Seen"]
    assert others_status(known(PKI), snapshot, NOW).wrong == (level is not Level.OK)


def test_failures_of_files_are_told_of_the_files_alone() -> None:
    """A look's `node_certificate_unreadable` is not said of the folder."""
    snapshot = holding([file("a", None, Reason.FILE_EMPTY)], Reason.NODE_CERTIFICATE_UNREADABLE)
    [folder] = others_status(known(PKI), snapshot, NOW).folders
    assert (folder.faults, folder.level) == ((), Level.UNKNOWN)


def test_the_most_urgent_comes_first() -> None:
    """Of what else expires, and of folders; long lists of both end somewhere."""
    entries = [replace(APPS, name=f"{number}") for number in range(MOST_EXPIRING + 5)]
    facts = {key_of(one): ExpiryFacts(_end(100 - number), None, NOW) for number, one in enumerate(entries)}
    facts[key_of(entries[3])] = ExpiryFacts(None, Reason.FILE_EMPTY)
    shown = tables(found := page(replace(READ, expiries=facts), known(*entries)))
    listed = shown["All that is known, the most urgent first"]
    assert len(listed) == MOST_EXPIRING
    assert [row["What"].rpartition(" ")[2] for row in listed[:2]] == ["3", str(MOST_EXPIRING + 4)]
    assert "Shown are 50 of 55. All of them: /metrics , mdm_expiry_timestamp_seconds" in text(found)
    other = folder_node("/other", "other")
    both = holding([file("a", 5)], of=other, base=holding([file("b")]))
    folders = tables(page(both, known(PKI, other)))["All folders, the most urgent first"]
    assert [row["Node"] for row in folders] == ["other", "pki"]


def test_an_inventory_without_any_of_it_says_nothing() -> None:
    """No empty sections."""
    assert of_class(page(READ), "beside") == []
    assert [len(of_class(page(told(300), one), "beside")) for one in (known(APPS), known(APPS, PKI))] == [
        1,
        2,
    ]


def test_the_title_counts_what_else_needs_somebody() -> None:
    """In the title and at the top, with a link to where it stands; topics first, if there are any."""
    found = page(told(3), known(APPS))
    [summary] = of_class(found, "summary")
    assert text(summary) == "! 1 of 1 topics needs attention · 1 other date needs attention"
    [link] = summary.iter("a")
    assert f"{link.get('href')}" == f"#{next(of_class(found, 'beside')[0].iter('h2')).get('id')}"
    title = found.find("head/title")
    assert title is not None
    assert text(title) == "1 of 1 topics needs attention · 1 other date needs attention – renewctl"
    assert text(of_class(page(told(300), alone(APPS)), "summary")[0]) == "✓ nothing needs attention"
    alarmed = page(holding([file("a", 3)]), alone(PKI), "ja")
    assert text(of_class(alarmed, "summary")[0]) == "! ほかに1件の有効期限が要対応です"
    [link] = of_class(alarmed, "summary")[0].iter("a")
    assert link.get("href") == f"#{next(of_class(alarmed, 'beside')[0].iter('h2')).get('id')}"
