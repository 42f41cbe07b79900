"""`init` that cannot go on: the real reason with its own hint, the option named, nothing left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.cli.init_options import as_options
from renewctl.errors import Unusable
from renewctl.inventory.reading import load
from renewctl.reasons import Reason
from tests.support.cli import held
from tests.support.init_place import GIVEN, device_database, versions_alone
from tests.support.inventories import RECIPIENT, TOPIC, right, write

DEAD = "http://127.0.0.1:1"

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def denying() -> Iterator[str]:
    """Its URL."""
    with versions_alone(401) as url:
        yield url


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, str]:
    """The error of an `init` that cannot go on."""
    assert shell.main(["init", "--json", *words]) == code
    error: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
    assert "–" not in error["message"] + error["hint"]
    return error


class TestFrom:
    """A node that is to tell its topics, and does not."""

    def test_a_wrong_password(self, denying: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Denied is said as denied."""
        (tmp_path / "pw").write_text("wrong")
        words = ["--from", "n1", "--from-url", denying, "--from-password-file", "pw"]
        assert refused(capsys, 1, *words, "--recipient", RECIPIENT)["reason"] == "node_denied"

    def test_a_password_file_that_is_missing(
        self, denying: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The file is named; exit 2."""
        words = ["--from", "n1", "--from-url", denying, "--from-password-file", "nowhere"]
        error = refused(capsys, 2, *words, "--recipient", RECIPIENT)
        assert error["reason"] == "secret_unreadable"
        assert f"{tmp_path}/nowhere" in error["message"]

    def test_a_dead_node(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Unreachable is said as unreachable."""
        words = ["--from", "n1", "--from-url", DEAD, "--recipient", RECIPIENT]
        assert refused(capsys, 1, *words)["reason"] == "node_unreachable"

    def test_a_database_file_that_is_missing(
        self, denying: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The file with the URL is named; exit 2."""
        words = ["--from", "n1", "--from-url", denying, "--from-sql", "nowhere", "--recipient", RECIPIENT]
        error = refused(capsys, 2, *words)
        assert (error["reason"], f"{tmp_path}/nowhere" in error["message"]) == ("secret_unreadable", True)

    def test_a_dead_node_whose_database_answers(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The inventory is written, and that the node did not answer is said."""
        device_database(tmp_path)
        words = ["--from", "n1", "--from-url", DEAD, "--from-sql", "dsn", "--recipient", RECIPIENT]
        assert shell.main(["init", *words]) == 0
        assert "warning: n1" in capsys.readouterr().err
        assert load(tmp_path / "renewctl.yaml").topics[0].topic == TOPIC


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--node", "n1=ftp://x"), "--node is ftp://x"),
        (("--from", "n1", "--from-url", "ftp://x"), "--from-url is ftp://x"),
        (("--from", "n 1", "--from-url", DEAD), "--from is n 1"),
        (("--node", "n 1=http://127.0.0.1:9"), "--node is n 1"),
        (("--topic", "x"), "--topic is x"),
        (("--zone", "Japan/Tokyo"), "--zone is Japan/Tokyo"),
        (("--store", "mysql://x/y"), "--store is mysql://x/y"),
        (("--recipient", "age1x"), "--recipient is age1x"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_option(
    words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line of a file nobody has seen; what is expected is said; nothing is written."""
    given = ("--topic", TOPIC, "--account", "mdm") + (() if "--node" in words else GIVEN[-2:])
    error = refused(capsys, 2, *given, *words)
    assert told in error["message"]
    assert "line" not in error["message"] + error["hint"]
    assert held(tmp_path) == {}


def test_faults_of_the_node_named_by_from_name_its_options() -> None:
    """The first node of the inventory is that one; what belongs to no option stays as it is."""
    fault = Unusable(Reason.INVENTORY_BAD_VALUE, path="nodes[0].url", where="x:3", got="u", expected="e")
    fault.others = (
        Unusable(Reason.INVENTORY_DUPLICATE, path="nodes[0].password.file", where="x:4"),
        Unusable(Reason.INVENTORY_BAD_VALUE, path="nodes[1].url", where="x:5"),
        Unusable(Reason.INVENTORY_BAD_VALUE, path="apns.url", where="x:6"),
    )
    told = as_options(fault, source=True)
    assert told.values == {"option": "--from-url", "path": "nodes[0].url", "got": "u", "expected": "e"}
    assert told.others[0].values["where"] == "--from-password-file"
    assert told.others[1].values["option"] == "--node"
    assert told.others[2] is fault.others[2]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The store cannot be made: no identity, no empty folder for it, no key store."""
    (tmp_path / "state").write_text("in the way")
    before = held(tmp_path)
    assert shell.main(["init", *GIVEN, "--identity", "deep/er/identity.txt"]) in {1, 2}
    assert held(tmp_path) == before
    assert "Traceback" not in capsys.readouterr().err


def test_an_identity_nobody_may_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between folder and file: the folder goes."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("renewctl.store.write.Store.create", interrupted)
    assert shell.main(["init", *GIVEN, "--identity", "deep/identity.txt"]) == 130
    assert held(tmp_path) == {}


def test_a_last_step_that_fails_takes_the_new_store_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was made but the inventory's name: store and folders go again."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    assert shell.main(["init", *GIVEN, "--recipient", RECIPIENT]) == 1
    assert held(tmp_path) == {}


def test_existing_says_made_only_of_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time both are there already; a dry run says so too."""
    write(tmp_path, right())
    (tmp_path / "keys").mkdir(mode=0o700)
    assert shell.main(["init", "--existing"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "made the store: sqlite:///state/renewctl.db",
        f"the key store is there already: {tmp_path}/keys",
        "",
        "NEXT STEPS",
        "  1. Look at everything.",
        "       renewctl status",
    ]
    for words in (["--existing"], ["--existing", "--dry-run"]):
        assert shell.main(["init", *words]) == 0
        told = capsys.readouterr().err
        assert told.count("is there already") == 2
        assert "made the" not in told
        assert "would" not in told


def test_existing_does_not_hide_a_store_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there and is no store is an error."""
    write(tmp_path, right())
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "renewctl.db").write_text("no database, but long enough to be looked at")
    assert refused(capsys, 2, "--existing")["reason"] == "store_not_a_store"


def test_a_dry_run_names_no_recipient_nobody_can_open_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The identity would be thrown away: a placeholder stands where its recipient will be."""
    assert shell.main(["init", *GIVEN, "--dry-run"]) == 0
    (recipient,) = yaml.safe_load(capsys.readouterr().out)["keys"]["recipients"]
    assert recipient == "(recipient of the identity that will be made)"
    assert shell.main(["init", *GIVEN, "--dry-run", "--recipient", RECIPIENT]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["keys"]["recipients"] == [RECIPIENT]
    assert held(tmp_path) == {}


@pytest.mark.parametrize(
    ("language", "word"), [("en", "one MDM server process"), ("ja", "MDMサーバーのプロセス")]
)
def test_what_is_asked_is_explained_first(
    language: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence before the prompt, in the reader's language."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "n1=https://n1")
    assert Session(language_option=language).ask("ask.node", "--node") == "n1=https://n1"
    assert word in capsys.readouterr().err
    assert Session(language_option=language).ask("ask.certificate", "--certificate") == "n1=https://n1"
    assert capsys.readouterr().err == ""


def test_an_identity_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it is written, nothing bears its name; a torn one would stop every further `init`."""
    seen = []

    def watched(descriptor: int) -> None:
        seen.append((tmp_path / "home/.config/renewctl/identity.txt").exists())

    monkeypatch.setattr("os.fsync", watched)
    assert shell.main(["init", "--json", *GIVEN]) == 0
    assert seen[:2] == [False, False]  # the inventory's draft, the identity's


def test_what_a_killed_init_left_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the next process has the same id: a draft of that name must not be in the way."""
    (tmp_path / f".renewctl.yaml.{os.getpid()}").write_text("vers")
    assert shell.main(["init", "--json", *GIVEN]) == 0
