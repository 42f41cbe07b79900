"""Each alert has a runbook in two languages whose commands exist and whose first one works when pasted."""

from __future__ import annotations

import functools
import http.server
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.main import DEFAULT_PORT
from exporter.metrics import METRICS
from renewctl.messages import text
from tests.support import alerting

RUNBOOKS = alerting.ALERTS / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
JAPANESE = [page for page in PAGES if page.name.endswith(".ja.md")]

SECTIONS = {
    "en": ["Meaning", "Impact", "Diagnosis", "Mitigation"],
    "ja": ["意味", "影響", "診断", "対処"],
}

#: Renderings DESIGN.md §4 decided against; 失効 means revoked and is not said of dates.
REFUSED_WORDS = re.compile(
    r"Apple ID|サーバ(?!ー)|ユーザ(?!ー)|エクスポータ(?!ー)|インベントリ(?!ー)|フォルダ(?!ー)|失効|プッシュ証明書|ロールバック|ロールアウト|カナリア|フリート|ランブック|(?<!有効)期限切れ"
)

_FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(renewctl (?!-)[^`]+)`")


def _language(page: Path) -> str:
    return "ja" if page.name.endswith(".ja.md") else "en"


def _fenced(page: Path) -> list[str]:
    blocks = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def _commands(page: Path) -> set[str]:
    inline = set(_INLINE.findall(page.read_text(encoding="utf-8")))
    return {line for line in _fenced(page) if line.startswith("renewctl ")} | inline


@pytest.mark.parametrize("language", ["en", "ja"])
def test_phases_are_named_as_status_prints_them(language: str) -> None:
    """A person looks for the very words on the screen."""
    name = "MdmPushCertificateRenewalCritical" + (".ja" if language == "ja" else "")
    page = "".join((RUNBOOKS / f"{name}.md").read_text(encoding="utf-8").split())
    for phase in ("requested", "accepted"):
        assert "".join(text(f"phase.{phase}", language).split()) in page
    nothing = text("status.no_renewal", language).removeprefix("年次更新: ")
    assert "".join(nothing.split()) in page


def test_pages_are_exactly_one_an_alert_and_language() -> None:
    """No alert without its two pages, no page without its alert."""
    expected = {f"{name}{suffix}" for name in alerting.alerts() for suffix in (".md", ".ja.md")}
    assert {page.name for page in PAGES} == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_title_and_sections_in_order(page: Path) -> None:
    """The page is named after its alert and goes from meaning to mitigation."""
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name.split('.')[0]}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS[_language(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_pages_lead_somewhere(page: Path) -> None:
    """A link to another runbook stays in its language and is not dead."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (RUNBOOKS / target).is_file()
        assert target.endswith(".ja.md") == (_language(page) == "ja")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_first_command_can_be_pasted_as_it_stands(page: Path) -> None:
    """It holds no placeholder, so that nobody has to think before the first look."""
    first = _fenced(page)[0]
    assert first.startswith(("renewctl ", "curl "))
    assert not re.search(r"\b(FILE|NODE|TOPIC_ID)\b", first)


@pytest.mark.parametrize("name", alerting.alerts())
def test_both_languages_give_the_same_commands(name: str) -> None:
    """Whoever reads Japanese runs what whoever reads English runs."""
    assert _fenced(RUNBOOKS / f"{name}.md") == _fenced(RUNBOOKS / f"{name}.ja.md")


@functools.cache
def _help(words: tuple[str, ...]) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "renewctl", *words, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, (words, ended.stderr)
    return ended.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_renewctl_commands_exist_with_their_options(page: Path) -> None:
    """Each `renewctl …` of a page, first or not, is a command of the real CLI, and so are its options."""
    for command in _commands(page):
        words = shlex.split(command)[1:]
        options = [word for word in words if word.startswith("--")]
        path = tuple(word for word in words if re.fullmatch(r"[a-z-]+", word) and word[0] != "-")
        text = _help(path)
        assert not [option for option in options if not re.search(rf"{re.escape(option)}\b", text)], command


class _Exposition(http.server.BaseHTTPRequestHandler):
    """`/metrics` with one series a metric the exporter defines, and one node that fails."""

    def do_GET(self) -> None:
        lines = [f"{metric.name} 1.0" for metric in METRICS]
        lines += [
            'mdm_node_failures{node="a",reason="node_denied"} 1.0',
            'mdm_node_failures{node="b",reason="x"} 0.0',
        ]
        body = "\n".join(lines).encode()
        self.send_response(200 if self.path == "/metrics" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def exposition() -> Iterator[str]:
    """Address of an exporter's look-alike."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Exposition) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_curl_commands_find_what_they_look_for(page: Path, exposition: str) -> None:
    """Each `curl … | grep …` names the exporter's default address and prints at least one line."""
    here = f"http://127.0.0.1:{DEFAULT_PORT}"
    for command in (line for line in _fenced(page) if line.startswith("curl ")):
        assert here in command
        ended = subprocess.run(
            ["sh", "-c", command.replace(here, exposition)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert 'reason="x"' not in ended.stdout  # a reason that is not the case is not shown


@pytest.mark.parametrize("page", JAPANESE, ids=lambda page: page.name)
def test_japanese_pages_use_our_words(page: Path) -> None:
    """No rendering that DESIGN.md §4 decided against stands in a Japanese runbook, nor in the alerts' texts."""
    assert REFUSED_WORDS.findall(page.read_text(encoding="utf-8")) == []
    annotations = alerting.alerts()[page.name.split(".")[0]]["annotations"]
    assert REFUSED_WORDS.findall(annotations["summary_ja"] + annotations["description_ja"]) == []
