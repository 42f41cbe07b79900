"""The status page of a running exporter in real Chromium; pictures are kept in test-output."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route

from exporter.snapshot import NodeFacts, Snapshot
from exporter.status.page import Reader, render
from renewctl.inventory.reading import Expiring, ExpiryKind
from renewctl.observation import SeenFile, Source
from renewctl.reasons import Reason
from tests.support import status_world
from tests.support.browser import Visit, chromium, visit
from tests.support.exporter_process import Exporter, exporter
from tests.support.exporter_values import NOW, folder_node, inventory, node, seen, served, topic

pytestmark = pytest.mark.slow  # a browser and an exporter: `make test`

TOPICS = len(status_world.UIDS)
BESIDE = [
    "All that is known, the most urgent first",
    "All folders, the most urgent first",
    "The files that expire first",
    "Files that cannot be read",
]
"""Captions of the tables below the topics."""

PHONE, DESK = 360, 1280
"""Widths in CSS pixels: a small phone, a desk."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all; each test has its own windows."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of an exporter that has asked everybody once."""
    folder = tmp_path_factory.mktemp("status")
    status_world.build(folder)
    with exporter(folder) as running:
        _wait_until_ready(running)
        yield f"http://127.0.0.1:{running.port}/"


def _wait_until_ready(running: Exporter) -> None:
    end = time.monotonic() + 60
    while running.get("/-/ready").status != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def _shown(visited: Visit) -> str:
    return str(visited.page.locator("body").inner_text())


@pytest.mark.parametrize(("width", "device"), [(PHONE, "phone"), (DESK, "desktop")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("language", "due"), [("en", "▲ due"), ("ja", "▲ 更新時期")])
def test_a_person_sees_every_topic_without_javascript(
    browser: Browser, address: str, width: int, device: str, scheme: str, language: str, due: str
) -> None:
    """The browser's own language and colours; no sideways scrolling, nothing asked of third parties."""
    settings = {"locale": language, "color_scheme": scheme, "width": width}
    with visit(browser, address, **settings) as visited:  # type: ignore[arg-type]
        visited.picture(f"status-{language}-{device}-{scheme}")
        shown = _shown(visited)
        assert visited.page.locator(".topic").count() == TOPICS
        assert due in shown
        assert "福岡 <script>alert(1)</script>" in shown
        assert visited.widths() == (width, width)
        assert visited.requests == [address]
        assert visited.complaints == []


def test_the_policy_lets_the_style_in_and_no_script(browser: Browser, address: str) -> None:
    """The hash fits: the style is in force. Another style and a script are refused by the browser."""
    with visit(browser, address, java_script_enabled=True) as visited:
        width = "getComputedStyle(document.querySelector('.topic')).borderLeftWidth"
        assert visited.page.evaluate(width) == "8px"
        visited.page.evaluate(
            "() => { for (const [kind, text] of [['style', 'body { display: none }'], ['script', 'window.ran = 1']]) {"
            " const made = document.createElement(kind); made.textContent = text; document.head.append(made) } }"
        )
        assert visited.page.evaluate("getComputedStyle(document.body).display") == "block"
        assert visited.page.evaluate("window.ran") is None
        assert len([said for said in visited.complaints if "Content Security Policy" in said]) == 2


def test_the_language_can_be_switched(browser: Browser, address: str) -> None:
    """A link each way, without JavaScript; the choice stays with reloading stopped and started."""
    with visit(browser, address, locale="en-GB") as visited:
        visited.page.get_by_role("link", name="日本語").click()
        assert "次に行うこと" in _shown(visited)
        visited.page.get_by_role("link", name="自動再読み込みを止める").click()
        assert "自動では再読み込みしません" in _shown(visited)
        visited.page.get_by_role("link", name="English").click()
        assert "This page does not reload itself" in _shown(visited)
        visited.page.get_by_role("link", name="Reload every 60 seconds").click()
        assert "This page reloads itself every 60 seconds" in _shown(visited)


def test_it_reloads_itself(browser: Browser, address: str) -> None:
    """Chromium follows the header the exporter sends, without JavaScript; the minute is made a second here."""

    def hurry(route: Route) -> None:
        answer = route.fetch()
        assert answer.headers["refresh"] == "60"
        route.fulfill(response=answer, headers={**answer.headers, "refresh": "1"})

    with visit(browser, "about:blank") as visited:
        visited.page.route("**/*", hurry)
        visited.page.goto(f"{address}?lang=ja")
        with visited.page.expect_request(f"{address}?lang=ja", timeout=30_000):
            pass


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_axe_finds_nothing(browser: Browser, address: str, language: str, scheme: str, width: int) -> None:
    """All of axe-core's rules, its best practices and contrast in both colour schemes too.

    It cannot judge the contrast of a lone symbol; each has the colour of the word beside it, which it did judge.
    """
    settings = {"locale": language, "color_scheme": scheme, "width": width, "java_script_enabled": True}
    with visit(browser, address, **settings) as visited:  # type: ignore[arg-type]
        found = visited.axe()
    assert found["violations"] == []
    symbol = 'color-contrast: <span aria-hidden="true">'
    assert [undecided for undecided in found["incomplete"] if not undecided.startswith(symbol)] == []


def test_axe_would_find_something(browser: Browser, address: str) -> None:
    """The same page without its language and with pale letters: the check is not asleep."""
    with visit(browser, address, java_script_enabled=True) as visited:
        visited.page.evaluate("document.documentElement.removeAttribute('lang')")
        visited.page.evaluate("document.querySelector('h1').style.color = '#ddd'")
        rules = {found.partition(":")[0] for found in visited.axe()["violations"]}
        assert {"html-has-lang", "color-contrast"} <= rules


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_what_a_screen_reader_is_told(browser: Browser, address: str, width: int) -> None:
    """Landmarks, headings in order, tables that stay tables on a phone, symbols that are not read aloud."""
    with visit(browser, f"{address}?lang=en", width=width) as visited:
        told = visited.accessible()
    roles = [role for role, _ in told]
    assert [roles.count(landmark) for landmark in ("banner", "main", "contentinfo", "navigation")] == [
        1,
        1,
        1,
        2,
    ]
    tables = [name for role, name in told if role == "table"]
    assert tables[0] == "All topics, the most urgent first"
    assert tables[1 + TOPICS :] == BESIDE
    assert "Nodes of Osaka office" in tables
    assert ("columnheader", "Expires") in told
    assert ("rowheader", "osaka-2") in told
    assert ("rowheader", "Token of apps and books アプリ") in told
    assert ("region", "What else expires expired") in told
    assert ("link", "10 other dates need attention") in told
    assert ("region", "福岡 <script>alert(1)</script> expired") in told
    assert told.count(("StaticText", "Serial")) == TOPICS, "a heading in a stacked cell is for the eye alone"
    headings = [name for role, name in told if role == "heading"]
    assert headings[:2] == ["Push certificates", "福岡 <script>alert(1)</script> expired"]
    assert not [name for role, name in told if role not in {"StaticText", "InlineTextBox"} and "✕" in name]


def test_nothing_is_too_long_for_a_phone(browser: Browser) -> None:
    """Names and serials without a blank, of the longest kind: nothing has to be scrolled sideways."""
    long = "W" * 250
    told = NodeFacts().after(
        seen(served(serial=long, uid=long), served(Source.FILE, 200, uid=long, serial="0a"))
    )
    known = inventory(
        topic(uid=long, owner=long), topic("osaka"), node(long, "tokyo", "osaka"), folder_node(f"/{long}")
    )
    known = replace(known, expires=(Expiring(ExpiryKind.SCEP_CA, long, long, file=Path("/nowhere")),))
    watched = NodeFacts().after(seen(files=(SeenFile(f"/{long}/{long}", reason=Reason.FILE_EMPTY),)))
    snapshot = Snapshot(store_up=True, histories={}).with_node(long, told).with_node("pki", watched)
    content = render(known, snapshot, NOW, Reader("en"))
    for width in (PHONE, DESK):
        with visit(browser, "about:blank", width=width) as visited:
            visited.page.set_content(content.decode())
            assert visited.widths() == (width, width)


def test_the_states_of_the_world(browser: Browser, address: str) -> None:
    """What the exporter learned from files, store and the snapshot of an earlier run, as a person reads it."""
    with visit(browser, f"{address}?lang=en") as visited:
        sections = {text.splitlines()[0]: text for text in visited.page.locator("section").all_inner_texts()}
    named = {name: next(text for head, text in sections.items() if name in head) for name in _EXPECTED}
    for name, words in _EXPECTED.items():
        assert [word for word in words if word not in named[name]] == [], named[name]


_EXPECTED: dict[str, tuple[str, ...]] = {
    "東京本社": (
        "due",
        "42 days left",
        "a person, at Apple's portal",
        "sign in as mdm-tokyo",
        "tokyo-1.plist",
    ),
    "Osaka": (
        "still without the new pair: osaka-2",
        "owed",
        "proven",
        "renewctl renewal roll-out --topic osaka",
    ),
    "Nagoya": ("needs attention", "nodes serve different push certificates"),
    "福岡": ("expired 3 days ago", "renewctl renewal open --topic fukuoka"),
    "Sapporo": ("critical", "9 days left", "does not answer", "3 d ago", "389 of 412", "5f0a9b3c7d21e846"),
    "神戸": ("in order", "300 days left", "nobody"),
    "What else expires": (
        "Token of apps and books",
        "アプリ",
        "expired 1 day ago",
        "18 days left",
        "900 days left",
        "never read",
        "cannot be reached (node_unreachable)",
    ),
    "Folders of certificates": (
        "customer-00.pem",
        "expired 2 days ago",
        "2 days left",
        "the file is empty (file_empty)",
        "its certificate is damaged (certificate_unreadable)",
        "its storage folder cannot be read (folder_unreadable)",
        "Shown are 10 of 12. All of them: /metrics, mdm_certificate_file_expiry_timestamp_seconds",
    ),
    "Sendai": ("date unknown", "cannot be reached (node_unreachable)", "renewctl node observe sendai"),
}
