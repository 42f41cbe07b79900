"""The corpus of web config files, judged by us; `make prometheus3` lets promtool judge it, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from renewctl import messages
from renewctl.errors import Unusable
from renewctl.web.config import HEADERS, load
from renewctl.web.tls import greeting
from tests.web.corpus import CASES, HASH, Case, inline

ROOT = Path(__file__).parents[2]


def judged(path: Path) -> Unusable | None:
    """What is wrong with a file and what it names."""
    try:
        config = load(path)
        if config.tls is not None:
            greeting(config.tls)
    except Unusable as error:
        return error
    return None


@pytest.fixture
def judge(furnished: Path, tmp_path: Path) -> Callable[[str], Unusable | None]:
    """Judges a text as a file that stands among what it names."""

    def judge(text: str) -> Unusable | None:
        path = tmp_path / "web.yml"
        for name in furnished.iterdir():
            if not (tmp_path / name.name).exists():
                (tmp_path / name.name).symlink_to(name)
        path.write_text(text)
        return judged(path)

    return judge


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_is_judged_as_it_should_be(case: Case, judge: Callable[[str], Unusable | None]) -> None:
    """Taken or refused; what is refused is told in both languages, and never shows a password."""
    fault = judge(case.text)
    assert (fault is None) is case.ours, fault
    if fault is None:
        return
    for language in messages.LANGUAGES:
        for one in (fault, *fault.others):
            told = "\n".join(messages.sentence(one.reason, language, one.values))
            assert "web.yml" in told or ".pem" in told or ".key" in told or "/" in told
            assert "swordfish" not in told
            assert HASH[:50] not in told


@pytest.mark.parametrize(
    ("certificate", "key", "named"),
    [
        ("server.pem", "junk.pem", "junk.pem"),
        ("junk.pem", "server.key", "junk.pem"),
        ("server.pem", "other.key", "other.key"),
        ("server.pem", "locked.key", "locked.key"),
        ("server.pem", "ca.pem", "ca.pem"),
        ("other.key", "server.key", "other.key"),
        ("junk.pem", "other.key", "junk.pem"),
    ],
)
def test_the_file_that_is_at_fault_is_named(
    certificate: str, key: str, named: str, judge: Callable[[str], Unusable | None]
) -> None:
    """OpenSSL itself does not say which of the two it was."""
    fault = judge(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}")
    assert fault is not None
    assert Path(str(fault.values["path"])).name == named


def test_everything_may_stand_in_the_file_itself(
    furnished: Path, judge: Callable[[str], Unusable | None]
) -> None:
    """Certificate, key and CA as PEM text."""
    assert judge(inline(furnished)) is None


def test_every_difference_from_exporter_toolkit_is_listed() -> None:
    """Whoever brings a file from another exporter can read what will be refused."""
    page = (ROOT / "exporter/WEB.md").read_text(encoding="utf-8").lower()
    refused = page.split("## differences")[1].split("taken, but different")[0]
    listed = re.findall(r"^- \*\*`?([^*`]+)`?\*\*:? ", refused, re.MULTILINE)
    assert set(listed) == {case.differs.lower() for case in CASES if case.differs}


def test_every_header_that_can_be_set_is_listed() -> None:
    """The page and the program know the same ones."""
    page = (ROOT / "exporter/WEB.md").read_text(encoding="utf-8")
    assert [name for name in HEADERS if name not in page] == []
