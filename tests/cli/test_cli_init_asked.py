"""`init` on a terminal: everything is asked, a bad answer is explained and asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewctl.cli import init_ask as module
from renewctl.cli import main as shell
from renewctl.inventory.reading import load
from renewctl.secrets import Kind, SecretRef
from tests.support.cli import held, renewctl
from tests.support.init_place import GIVEN
from tests.support.inventories import RECIPIENT, TOPIC
from tests.support.terminal import on_terminal

NODE = "n1=http://127.0.0.1:9"


def test_everything_an_inventory_needs_is_asked(tmp_path: Path) -> None:
    """Node, its user, where the password is, where devices are read, topic, names, account, its address, zone."""
    typed = [
        NODE,
        "api",
        "{file: pw}",
        "{env: DSN}",
        TOPIC,
        "tokyo",
        "東京",
        "mdm",
        "push@example.com",
        "Asia/Tokyo",
    ]
    code, shown = on_terminal(["init", "--recipient", RECIPIENT], typed, cwd=tmp_path)
    assert code == 0, shown
    found = load(tmp_path / "renewctl.yaml")
    (node,), (topic,) = found.nodes, found.topics
    assert (node.name, node.url, node.user) == ("n1", "http://127.0.0.1:9", "api")
    assert node.password == SecretRef(Kind.FILE, (str(tmp_path / "pw"),))
    assert node.devices is not None
    assert node.devices.sql == SecretRef(Kind.ENV, ("DSN",))
    assert (topic.id, topic.topic, topic.name) == ("tokyo", TOPIC, "東京")
    assert (topic.account.alias, topic.account.address) == ("mdm", "push@example.com")
    assert topic.zone == "Asia/Tokyo"


def test_enter_takes_what_is_usual(tmp_path: Path) -> None:
    """No user, password or device source yet; id from the topic, the id as name, UTC."""
    code, shown = on_terminal(
        ["init", "--recipient", RECIPIENT], [NODE, "", "", "", TOPIC, "", "", "mdm", "", ""], cwd=tmp_path
    )
    assert code == 0, shown
    found = load(tmp_path / "renewctl.yaml")
    node, topic = found.nodes[0], found.topics[0]
    assert (node.user, node.password, node.devices) == (None, None, None)
    assert (topic.id, topic.name, topic.zone) == ("t-11111111", "t-11111111", "UTC")


@pytest.mark.parametrize(
    ("language", "heading"),
    [("C.UTF-8", "which cannot be used; expected: "), ("ja_JP.UTF-8", "は使えません。")],
)
def test_a_bad_answer_is_explained_and_asked_again(language: str, heading: str, tmp_path: Path) -> None:
    """One line each: what came and what is expected; no answer given before is lost."""
    bad = {
        "mdm1": "NAME=URL",
        "ftp://x": "http://… | https://…",
        "hunter2": "{file: PATH} | {env: NAME} | {credential: NAME}",
        "nowhere": "{file: PATH} | {env: NAME} | {credential: NAME}",
        "com.example": "com.apple.mgmt.…",
        "a b": "A-Z a-z 0-9 . _ - (<= 63)",
        "Japan/Tokyo": "Asia/Tokyo",
    }
    typed = ["mdm1", "n1=ftp://x", NODE, "", "hunter2", "{file: pw}", "nowhere", "/srv/mdm"]
    typed += ["com.example", TOPIC, "a b", "tokyo", "東京", "mdm", "", "Japan/Tokyo", "Asia/Tokyo"]
    code, shown = on_terminal(["init", "--recipient", RECIPIENT], typed, cwd=tmp_path, language=language)
    assert code == 0, shown
    told = [line for line in shown.splitlines() if heading in line]
    assert len(told) == len(bad)
    for (answer, expected), line in zip(bad.items(), told, strict=True):
        assert expected in line
        assert (answer in line) == (answer not in {"hunter2", "nowhere"})
    found = load(tmp_path / "renewctl.yaml")
    assert (found.topics[0].id, found.topics[0].zone) == ("tokyo", "Asia/Tokyo")
    assert found.nodes[0].devices is not None
    assert found.nodes[0].devices.folder == Path("/srv/mdm")


def test_an_answer_is_shown_on_one_line_that_moves_no_cursor(tmp_path: Path) -> None:
    """Control characters are spelled out, a long answer is cut; a password in a URL is not repeated."""
    secret = "postgresql://u:hunter2@h/mdm"
    typed = ["\x1b[31m" + "x" * 200, "n1=http://" + secret.partition("://")[2], NODE, "", "", secret, ""]
    typed += [TOPIC, "tokyo", "東京", "mdm", "", ""]
    code, shown = on_terminal(["init", "--recipient", RECIPIENT], typed, cwd=tmp_path)
    assert code == 0, shown
    told = [line for line in shown.splitlines() if "cannot be used" in line]
    assert [line.count("\x1b") for line in told] == [0, 0, 0]
    assert "\\x1b[31mxxx" in told[0]
    assert "x" * 80 not in told[0]
    assert [line for line in told if "hunter2" in line] == []


def test_options_that_cannot_be_used_are_told_before_anything_is_asked(tmp_path: Path) -> None:
    """Nobody answers nine questions for nothing: exit 2, and no question was shown."""
    for words, told in (
        (("--zone", "Japan/Tokyo"), "--zone is Japan/Tokyo"),
        (("--topic", "x"), "--topic is x"),
        (("--node", "n1"), "--node is n1"),
        (("--from", "n1", "--from-url", "ftp://x"), "--from-url is ftp://x"),
    ):
        code, shown = on_terminal(["init", "--recipient", RECIPIENT, *words], [], cwd=tmp_path)
        assert (code, told in shown) == (2, True)
        assert "Enter" not in shown
    assert held(tmp_path) == {}


def test_a_node_to_be_asked_for_its_topics_is_asked_for_too(
    own_folder: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--from NODE` on a terminal: its URL, user, password, devices; nodes given beside it stay as given."""
    answers = iter(["ftp://x", "https://n1", "api", "{env: PW}", "sqlite:////srv/mdm.db", "mdm", "", "UTC"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *_, **__: next(answers))
    monkeypatch.setattr(module, "found", lambda *_: [TOPIC])
    words = ["--from", "n1", "--node", "n2=https://n2", "--recipient", RECIPIENT]
    assert shell.main(["init", *words]) == 0
    first, second = load(tmp_path / "renewctl.yaml").nodes
    assert (first.url, first.user, first.password) == ("https://n1", "api", SecretRef(Kind.ENV, ("PW",)))
    assert first.devices is not None
    assert first.devices.sql == "sqlite:////srv/mdm.db"
    assert (second.user, second.password, second.devices) == (None, None, None)


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    """All that is needed is named at once; user, password, devices and zone need not be given."""
    given = ["--recipient", RECIPIENT]
    needed = ["--node", "--topic", "--account"]
    for at, option in enumerate(needed):
        done = renewctl("init", *given, "--json", cwd=tmp_path)
        error = done.document["error"]
        told = [fault["values"]["option"] for fault in (error, *error.get("others", ()))]
        assert (done.code, told) == (2, needed[at:])
        given += GIVEN[GIVEN.index(option) : GIVEN.index(option) + 2]
        given += {"--topic": ["--id", "tokyo"]}.get(option, [])
    assert held(tmp_path) == {}
    assert renewctl("init", *given, "--node-sql", "dsn", cwd=tmp_path).code == 0
    node = load(tmp_path / "renewctl.yaml").nodes[0]
    assert node.devices is not None
    assert node.devices.sql == SecretRef(Kind.FILE, (str(tmp_path / "dsn"),))
