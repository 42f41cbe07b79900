"""The shell around every command: help, lazy imports, exit codes, ends nobody planned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import renewctl as package
from renewctl import messages
from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.errors import Attention, PersonsTurn, Refused, Unusable
from renewctl.reasons import Reason
from tests.support.certs import apple_like
from tests.support.cli import renewctl
from tests.support.desk import Desk
from tests.support.exporter_process import TOPIC, files_node, inventory
from tests.support.inventories import right, write

HEAVY = {
    *("alembic", "ansible", "cryptography", "httpx", "pyrage", "requests", "rich", "sqlalchemy", "uvicorn"),
    "yaml",
}


def _loaded(*words: str) -> set[str]:
    code = f"import sys; from renewctl.cli.main import main; main({list(words)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_help_loads_nothing_heavy() -> None:
    """`renewctl --help` answers at once: no SQL, HTTP, YAML, cryptography, Ansible."""
    assert _loaded("--help") & HEAVY == set()


def test_inspect_loads_neither_sql_drivers_nor_http(tmp_path: Path) -> None:
    """Looking at a file needs neither a database nor the network."""
    (tmp_path / "push.pem").write_bytes(apple_like().push().pem)
    assert _loaded("inspect", str(tmp_path / "push.pem")) & {"sqlalchemy", "httpx", "requests"} == set()
    assert _loaded("inspect", str(tmp_path / "no.pem")) & {"sqlalchemy", "httpx", "requests"} == set()


def test_status_loads_neither_sqlalchemy_nor_http_for_nodes_it_reads_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store in a file and nodes of files need none of what takes longer to load than all the rest."""
    (tmp_path / "a.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("a", tmp_path / "a.pem")])
    monkeypatch.setenv("RENEWCTL_INVENTORY", str(tmp_path / "inventory.yaml"))
    assert shell.main(["init", "--existing"]) == 0
    loaded = _loaded("status")
    assert {"yaml", "cryptography", "sqlite3"} <= loaded  # it did look
    assert loaded & {"alembic", "asyncio", "httpx", "pyrage", "requests", "sqlalchemy", "zipfile"} == set()


def test_every_command_is_there_and_helps_in_both_languages(tmp_path: Path) -> None:
    """`--help` of the whole and of each command, in English and Japanese; exit 0, no key left untranslated."""
    for language, word in (("en", "Commands"), ("ja", "コマンド")):
        done = renewctl("--lang", language, "--help", cwd=tmp_path)
        assert done.code == 0
        assert word in done.out
        assert "help." not in done.out
        assert all(f"  {name} " in done.out for name in shell.COMMANDS)


@pytest.mark.parametrize("name", shell.COMMANDS)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_help_of_each_command(name: str, language: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups list their commands, commands their options, in the reader's language."""
    assert shell.main(["--lang", language, name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "help." not in shown.replace("--help", "")
    group = shell.cli.get_command(click.Context(shell.cli), name)
    for below in getattr(group, "commands", {}):
        assert shell.main(["--lang", language, name, below, "--help"]) == 0
        assert "help." not in capsys.readouterr().out.replace("--help", "")


def test_the_steps_of_a_renewal_stand_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    """`abort` is not the first thing a reader meets."""
    assert shell.main(["renewal", "--help"]) == 0
    names = [
        line.split()[0]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    steps = ["open", "request", "accept", "roll-out", "verify", "close", "abort"]
    assert [name for name in names if name in steps] == steps


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says which."""
    assert shell.main(["--version"]) == 0
    assert capsys.readouterr().out == f"renewctl, version {package.__version__}\n"


def test_without_a_command_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """No command is a command line that cannot be used."""
    assert shell.main([]) == 2
    assert "Usage:" in capsys.readouterr().err


def _ending(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def end(self: Session) -> object:
        raise error

    monkeypatch.setattr(Session, "inventory", property(end))


@pytest.mark.parametrize(
    ("error", "code", "label"),
    [
        (Unusable(Reason.FILE_EMPTY, path="x"), 2, "error: "),
        (Refused(Reason.WRITE_FAILED, path="x", got="y"), 1, "error: "),
        (Attention(Reason.NODES_OWED, nodes="n1"), 4, "needs attention: "),
        (PersonsTurn(Reason.NODES_OWED, nodes="n1"), 3, "your turn: "),
    ],
)
def test_whose_turn_it_is(
    error: Exception,
    code: int,
    label: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit codes and the first word say whose turn it is."""
    _ending(monkeypatch, error)
    assert shell.main(["status"]) == code
    assert capsys.readouterr().err.startswith(label)


def test_an_unexpected_exception_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and not the exception's text either: it may quote a secret."""
    _ending(monkeypatch, RuntimeError("hunter2"))
    assert shell.main(["status"]) == 1
    told = capsys.readouterr().err
    assert "RuntimeError" in told
    assert "RENEWCTL_DEBUG=1" in told
    assert "hunter2" not in told


def test_debugging_lets_it_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """`RENEWCTL_DEBUG=1` shows the traceback."""
    monkeypatch.setenv("RENEWCTL_DEBUG", "1")
    _ending(monkeypatch, RuntimeError("x"))
    with pytest.raises(RuntimeError):
        shell.main(["status"])


def test_a_system_error_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk that nobody caught is still told with its path."""
    _ending(monkeypatch, OSError(28, "No space left on device", "/srv/x"))
    assert shell.main(["status"]) == 1
    assert "the disk is full: /srv/x" in capsys.readouterr().err


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), BrokenPipeError()])
def test_a_reader_that_went_away(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be said, and what was asked for was not told: exit 1, quietly."""
    _ending(monkeypatch, error)
    monkeypatch.setattr(shell, "_quiet_end", lambda: 1)
    assert shell.main(["status"]) == 1


def test_control_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 130, as shells expect."""
    _ending(monkeypatch, KeyboardInterrupt())
    assert shell.main(["status"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_got_and_expected_have_lines_of_their_own_where_the_sentence_lacks_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Got and expected are shown once, in the sentence or below it."""
    _ending(monkeypatch, Unusable(Reason.FILE_EMPTY, path="x", got="0 bytes", expected="some"))
    shell.main(["status"])
    assert capsys.readouterr().err.splitlines()[1:3] == ["  got: 0 bytes", "  expected: some"]


def test_very_many_faults_are_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty are enough for one screen; the rest is counted."""
    error = Unusable(Reason.FILE_EMPTY, path="x")
    error.others = tuple(Unusable(Reason.FILE_EMPTY, path=str(n)) for n in range(30))
    _ending(monkeypatch, error)
    shell.main(["status"])
    assert capsys.readouterr().err.endswith("… and 11 more\n")


class TestSession:
    """What commands are handed."""

    def test_where_the_inventory_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The option, else the variable, else the folder one is in."""
        assert Session().inventory_path == Path("renewctl.yaml")
        monkeypatch.setenv("RENEWCTL_INVENTORY", "/etc/r.yaml")
        assert Session().inventory_path == Path("/etc/r.yaml")
        assert Session(inventory_option=Path("x")).inventory_path == Path("x")
        assert Session(inventory_option=Path("x")).options == ("--inventory", "x")
        assert Session().options == ()

    def test_which_language(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The option, else the topic's, else the environment's."""
        whole = right()
        whole["topics"][0]["language"] = "ja"
        (topic,) = Session(inventory_option=write(tmp_path, whole)).topics(None)
        monkeypatch.setenv("LC_ALL", "C")
        assert Session(language_option="en").language(topic) == "en"
        assert Session().language(topic) == "ja"
        assert Session().language() == "en"

    def test_the_actor_without_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A container's number without a name is named by the number."""

        def nameless() -> str:
            raise KeyError

        monkeypatch.setattr("getpass.getuser", nameless)
        assert Session().actor.partition("@")[0].isdecimal()

    def test_asking_needs_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without one a default is taken, or the missing option named; with one a person is asked."""
        assert Session(as_json=True).ask("ask.id", "--id", "x") == "x"
        with pytest.raises(Unusable):
            Session(as_json=True).ask("ask.id", "--id")
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr(click, "prompt", lambda *_, **__: "answer")
        assert Session().ask("ask.id", "--id") == "answer"

    def test_the_store_may_be_a_reference(self, tmp_path: Path) -> None:
        """A URL with a password stands in a file; SQLite paths are meant from the inventory's folder."""
        (tmp_path / "url").write_text("sqlite:///x.db\n")
        path = write(tmp_path, right(store={"file": "url"}))
        assert Session(inventory_option=path).store_url == f"sqlite:///{tmp_path}/x.db"


def test_a_system_error_without_a_file_is_told_in_the_systems_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file to name, but what the system said helps."""
    _ending(monkeypatch, OSError(24, "Too many open files"))
    assert shell.main(["status"]) == 1
    assert "error: Too many open files" in capsys.readouterr().err


USAGE: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = [
    (("--bogus",), "--bogus", ()),
    (("status", "--offlin"), "--offlin", ("--offline",)),
    (("status", "-x"), "-x", ()),
    (("statsu",), "statsu", ("status", "inspect")),
    (("renewal", "opn"), "opn", ("open", "roll-out")),
    (("renewal", "accept"), "FILE", ("renewctl renewal accept [OPTIONS] [FILE]",)),
    (("status", "x", "y"), "x y", ("renewctl status [OPTIONS]",)),
    (("status", "--json=1"), "--json", ()),
    (("status", "--topic"), "--topic", ()),
    (("--lang", "xx", "status"), "--lang", ("xx", "en | ja")),
    (("renewal", "roll-out", "--canaries", "0"), "--canaries", ("0", "1 … 20")),
    (("renewal", "roll-out", "--canaries", "many"), "--canaries", ("many", "1 … 20")),
]


@pytest.mark.parametrize(("words", "named", "told"), USAGE)
def test_a_command_line_that_cannot_be_used(
    words: tuple[str, ...],
    named: str,
    told: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 2: which option or word, and what is expected; in Japanese nothing of click's English is left."""
    for language in ("en", "ja"):
        monkeypatch.setenv("LC_ALL", {"en": "C", "ja": "ja_JP.UTF-8"}[language])
        assert shell.main(list(words)) == 2
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        assert [word for word in (named, *told) if word not in shown] == []
    assert shown.startswith("エラー: ")
    assert not re.search("No such|Missing|Invalid|Got unexpected|does not take|is not|requires", shown)


def test_programs_are_told_which_option(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason of its own, the option and what there is instead."""
    assert shell.main(["status", "--json", "--offlin"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["reason"], error["values"]["option"]) == ("option_unknown", "--offlin")
    assert error["values"]["expected"] == ["--offline"]


def test_what_click_may_yet_invent_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class we do not know: exit 2 and its sentence, nothing hidden."""
    _ending(monkeypatch, click.FileError("x.txt", "it is odd"))
    assert shell.main(["status"]) == 2
    assert "it is odd" in capsys.readouterr().err
    _ending(monkeypatch, click.NoSuchOption("--x"))
    assert shell.main(["status"]) == 2
    assert "renewctl status has no option --x" in capsys.readouterr().err
    _ending(monkeypatch, click.BadParameter("it is odd"))
    assert shell.main(["status"]) == 2
    assert "it is odd" in capsys.readouterr().err


def test_a_word_that_only_looks_like_a_language(capsys: pytest.CaptureFixture[str]) -> None:
    """`--lang=ja` works as `--lang ja` does; `--language` is no option."""
    assert shell.main(["--lang=ja", "status", "--bogus"]) == 2
    assert capsys.readouterr().err.startswith("エラー: ")
    assert shell.main(["--language", "ja"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("words", [(), ("node",), ("renewal", "accept")])
def test_help_is_wholly_in_japanese(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What click says by itself is translated too; the next reader still gets English."""
    assert shell.main(["--lang", "ja", *words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("使い方: renewctl")
    assert "この説明を表示して終了します。" in shown
    assert not {"Usage", "Options", "Commands", "Show this"} & {
        line.split(":")[0].strip() for line in shown.splitlines()
    }
    assert "Show " not in shown
    assert shell.main([*words, "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: renewctl")


def test_showing_a_renewal_where_there_is_none(desk: Desk) -> None:
    """Not "no renewal –; there are: –": what to do to begin one."""
    done = desk.run("renewal", "show")
    assert done.code == 1
    assert "–" not in done.err
    assert "renewctl renewal open" in done.err


@pytest.mark.parametrize(
    "words", [["--lang", "ja"], ["--lang", "ja", "renewal"], ["renewal", "--lang", "ja"]]
)
def test_options_without_a_command_show_the_usage_page(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As without options, in the language asked for; click's own English is not heard."""
    assert shell.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert messages.text("help.commands", "ja") in shown.err
    assert "Missing command" not in shown.err
