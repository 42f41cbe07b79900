"""The status page over HTTP: which language, which headers, how often it is made."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from exporter.snapshot import Snapshot
from exporter.status import route
from exporter.status.page import Reader
from exporter.status.route import Pages, preferred
from renewctl.inventory.reading import Inventory
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Answer, exporter, files_node, inventory
from tests.support.exporter_values import inventory as values


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7", "ja"),
        ("en-US,en;q=0.9,ja;q=0.8", "en"),
        ("de-DE,de;q=0.9,ja;q=0.5", "ja"),
        ("de,fr;q=0.5", "en"),
        ("en;q=0.2,JA;q=0.3", "ja"),
        ("ja;q=0", "en"),
        ("*", "en"),
        ("jaa,ja;q=broken,,;", "en"),
    ],
)
def test_the_language_a_browser_likes_best(accepted: str, language: str) -> None:
    """By quality; what we do not speak does not matter; English where nothing fits."""
    assert preferred(accepted) == language


class Making:
    """Stands in for rendering: counts, and takes as long as it is told on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.made = 0
        self.now = 1000.0
        self.seconds = seconds
        monkeypatch.setattr(route, "render", self.render)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def render(self, _inventory: Inventory, _snapshot: Snapshot, _now: datetime, reader: Reader) -> bytes:
        """A page with its number."""
        self.now += self.seconds
        self.made += 1
        return f"{reader.language} {self.made}".encode()


def test_a_page_is_not_made_more_often_than_it_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, at most a twentieth of the time goes into it; each language has its own."""
    making, known = Making(monkeypatch, seconds=0.5), values()
    pages = Pages(lambda: (known, Snapshot()))
    english, japanese = Reader("en"), Reader("ja")
    assert [pages.newest(reader) for reader in (english, english, japanese)] == [b"en 1", b"en 1", b"ja 2"]
    making.now = 1009.9
    assert pages.newest(english) == b"en 1"
    making.now = 1010.0
    assert pages.newest(english) == b"en 3"


def test_another_inventory_makes_another_page_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reload nobody sees what the inventory said before."""
    making, known = Making(monkeypatch, seconds=0.5), [values()]
    pages = Pages(lambda: (known[-1], Snapshot()))
    assert [pages.newest(Reader("en")) for _ in range(2)] == [b"en 1", b"en 1"]
    known.append(values())
    assert [pages.newest(Reader("en")) for _ in range(2)] == [b"en 2", b"en 2"]
    assert making.made == 2


@pytest.mark.slow
def test_headers_and_language(tmp_path: Path) -> None:
    """Language by query, else by header; a policy, no caching, no referrer, and a reload one can stop."""
    certificate = tmp_path / "push.pem"
    certificate.write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("a", certificate)])
    with exporter(tmp_path) as running:
        japanese = running.get("/", {"Accept-Language": "ja,en;q=0.5"})
        english = running.get("/?lang=en&reload=off", {"Accept-Language": "ja"})
        unknown = running.get("/?lang=../../etc", {"Accept-Language": "ja"})
        assert running.stop() == 0
    assert [_language(answer) for answer in (japanese, english, unknown)] == ["ja", "en", "ja"]
    for answer in (japanese, english):
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert answer.headers["vary"] == "Accept-Language"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert japanese.headers["refresh"] == "60"
    assert "refresh" not in english.headers


def _language(answer: Answer) -> str:
    language = answer.headers["content-language"]
    assert f'<html lang="{language}">' in answer.body.decode()
    return language
