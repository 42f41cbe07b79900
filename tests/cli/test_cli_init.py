"""`init`: writes an inventory once, explained, and makes all it names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from renewctl.cli import init_ask as module
from renewctl.cli import main as shell
from renewctl.inventory.reading import load
from tests.support.cli import held, validate
from tests.support.init_place import GIVEN, device_database, versions_alone
from tests.support.inventories import RECIPIENT, TOPIC, right, write

pytestmark = pytest.mark.usefixtures("own_folder")


def test_init_makes_everything_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inventory, store, key store, identity (0600), and what to do next; the inventory can be loaded."""
    assert shell.main(["init", *GIVEN]) == 0
    shown = capsys.readouterr()
    found = load(tmp_path / "renewctl.yaml")
    identity = tmp_path / "home" / ".config" / "renewctl" / "identity.txt"
    assert (found.topics[0].topic, found.nodes[0].name) == (TOPIC, "n1")
    assert found.topics[0].id == "t-11111111"
    assert (tmp_path / "state" / "renewctl.db").is_file()
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert identity.stat().st_mode & 0o777 == 0o600
    assert f"# public key: {found.keys.recipients[0]}\n" in identity.read_text()
    assert shown.out == ""
    assert "NEXT STEPS" in shown.err
    assert "AGE-SECRET-KEY" not in shown.err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("language", "word"), [("en", "The UID the portal shows"), ("ja", "決して変わって")])
def test_the_inventory_is_explained_in_the_readers_language(language: str, word: str, tmp_path: Path) -> None:
    """Comments tell what every key is for."""
    assert shell.main(["--lang", language, "init", *GIVEN, "--recipient", RECIPIENT]) == 0
    assert word in (tmp_path / "renewctl.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_key_of_a_node_is_explained(language: str, tmp_path: Path) -> None:
    """Next steps say so; the explained file loads."""
    assert shell.main(["--lang", language, "init", *GIVEN, "--recipient", RECIPIENT]) == 0
    written = (tmp_path / "renewctl.yaml").read_text(encoding="utf-8")
    for key in ("user", "password", "topics", "devices", "canary_enrollments", "allow_api_credential"):
        assert key in written
    for key in ("insecure_http", "ca_file", "apns", "trust", "address"):
        assert key in written
    assert load(tmp_path / "renewctl.yaml").nodes


def test_a_dry_run_shows_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The YAML on stdout, what would be made beside it on stderr; the folder stays empty."""
    assert shell.main(["init", *GIVEN, "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert yaml.safe_load(shown.out)["topics"][0]["topic"] == TOPIC
    assert shown.err.splitlines() == [
        "would make the store: sqlite:///state/renewctl.db",
        f"would make the key store: {tmp_path}/keys",
        f"would make an identity, which opens the key store: {tmp_path}/home/.config/renewctl/identity.txt",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_what_is_there_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Store, key folder and identity of an earlier `init`, in words and as JSON; nothing changes."""
    assert shell.main(["init", *GIVEN]) == 0
    (tmp_path / "renewctl.yaml").unlink()
    before = held(tmp_path)
    capsys.readouterr()
    assert shell.main(["init", *GIVEN, "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert told.count("there already") == 3
    assert "would" not in told
    assert shell.main(["init", *GIVEN, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("init", document)
    assert document["there_already"] == {"store": True, "keys_folder": True, "identity": True}
    assert shell.main(["init", *GIVEN, "--dry-run", "--json", "--recipient", RECIPIENT]) == 0
    assert json.loads(capsys.readouterr().out)["there_already"]["identity"] is None
    assert held(tmp_path) == before


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs are told what was made."""
    assert shell.main(["init", "--json", *GIVEN, "--recipient", RECIPIENT]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("init", document)
    assert (document["written"], document["identity"]) == (True, None)


@pytest.mark.parametrize(
    ("language", "used", "copy"),
    [("en", "is there already is used", "a copy of it is"), ("ja", "すでにある復号鍵", "写しが安全な場所に")],
)
def test_an_identity_that_is_there_is_used(
    language: str, used: str, copy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second customer's inventory shares the operator's identity: said, with its path, and to keep a copy."""
    assert shell.main(["--lang", language, "init", *GIVEN]) == 0
    first = capsys.readouterr().err
    assert (used in first, copy in first) == (False, False)
    (tmp_path / "b").mkdir()
    assert shell.main(["--lang", language, "--inventory", "b/renewctl.yaml", "init", *GIVEN]) == 0
    identity = tmp_path / "home" / ".config" / "renewctl" / "identity.txt"
    told = capsys.readouterr().err.splitlines()
    assert [str(identity) in line for line in told if used in line] == [True]
    assert [str(identity) in line for line in told if copy in line] == [True]
    one, two = load(tmp_path / "renewctl.yaml"), load(tmp_path / "b" / "renewctl.yaml")
    assert one.keys.recipients == two.keys.recipients


def test_an_identity_is_meant_from_where_the_command_runs(tmp_path: Path) -> None:
    """As every path on a command line; the inventory in another folder names that very file."""
    (tmp_path / "b").mkdir()
    words = ["--inventory", "b/renewctl.yaml", "init", *GIVEN, "--identity", "identity.txt"]
    assert shell.main(words) == 0
    named = load(tmp_path / "b" / "renewctl.yaml").keys.identity
    assert named is not None
    assert named.where == (str(tmp_path / "identity.txt"),)
    assert (tmp_path / "identity.txt").is_file()


def test_an_identity_that_does_not_name_its_recipient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guessing would encrypt to nobody: the option is named."""
    (tmp_path / "identity.txt").write_text("AGE-SECRET-KEY-1X\n")
    assert shell.main(["init", *GIVEN, "--identity", "identity.txt"]) == 2
    assert "--recipient" in capsys.readouterr().err


def test_answers_that_make_no_inventory_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same checks as for any inventory; the folder stays empty."""
    assert shell.main(["init", *GIVEN[:-1], "n1=http://mdm.example.com"]) == 2
    assert "insecure" in capsys.readouterr().err
    assert shell.main(["init", *GIVEN[:-1], "n1"]) == 2
    assert "give --node a value of this form: NAME=URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_somebody_quicker_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two at once: the second one's file is not put over the first one's, and its identity goes."""
    link = os.link

    def quicker(source: Path, target: Path) -> None:
        if Path(target).name == "renewctl.yaml":
            Path(target).write_text("theirs")
        link(source, target)

    monkeypatch.setattr("os.link", quicker)
    assert shell.main(["init", *GIVEN, "--identity", "identity.txt"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "renewctl.yaml").read_text() == "theirs"
    assert not (tmp_path / "identity.txt").exists()


@pytest.fixture
def node() -> Iterator[str]:
    """Its URL."""
    with versions_alone(404) as url:
        yield url


def test_a_node_that_tells_no_topic(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Said with what to try: its database."""
    assert shell.main(["init", "--from", "n1", "--from-url", node, "--recipient", RECIPIENT]) == 1
    assert "--from-sql" in capsys.readouterr().err


def test_from_needs_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """`--from NODE` alone cannot be asked."""
    assert shell.main(["init", "--from", "n1", "--recipient", RECIPIENT]) == 2
    assert "--from-url" in capsys.readouterr().err


def test_every_topic_found_on_a_node_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One entry a topic; the node itself is in the inventory, with its references."""
    for name in ("pw", "dsn"):
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(module, "found", lambda *_: [TOPIC, TOPIC + "2"])
    words = ["--from", "n1", "--from-url", "https://n1", "--from-user", "api"]
    words += ["--from-password-file", "pw", "--from-sql", "dsn", "--recipient", RECIPIENT]
    assert (
        shell.main(["init", *words, "--id", "ignored-for-two"]) == 2
    )  # the same id twice: told, not written
    monkeypatch.setattr(module, "found", lambda *_: [TOPIC, "com.apple.mgmt.External.abcdef"])
    assert shell.main(["init", *words]) == 0
    found = load(tmp_path / "renewctl.yaml")
    assert [topic.id for topic in found.topics] == ["t-11111111", "t-abcdef"]
    assert found.topics[0].account.alias == "unknown"
    assert found.nodes[0].password is not None
    assert found.nodes[0].devices is not None


def test_one_topic_found_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--id` and `--name` are for the one topic there is."""
    monkeypatch.setattr(module, "found", lambda *_: [TOPIC])
    words = ["--from", "n1", "--from-url", "https://n1", "--recipient", RECIPIENT, "--id", "tokyo"]
    assert shell.main(["init", *words]) == 0
    assert load(tmp_path / "renewctl.yaml").topics[0].id == "tokyo"


def test_topics_are_found_in_a_nodes_database(node: str, tmp_path: Path) -> None:
    """The topics enrolled devices use, read with a SELECT-only role."""
    device_database(tmp_path)
    (tmp_path / "pw").write_text("x")
    words = ["--from", "n1", "--from-url", node, "--from-password-file", "pw", "--from-sql", "dsn"]
    assert shell.main(["init", *words, "--recipient", RECIPIENT]) == 0
    assert [topic.topic for topic in load(tmp_path / "renewctl.yaml").topics] == [TOPIC]


def test_an_inventory_from_git_gets_its_store_and_key_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--existing` makes what the inventory names and leaves the inventory alone; a dry run makes nothing."""
    path = write(tmp_path, right(store={"file": "store-url"}))
    (tmp_path / "store-url").write_text("sqlite:///state/renewctl.db\n")
    before = path.read_bytes()
    assert shell.main(["init", "--existing", "--dry-run"]) == 0
    assert "would make the key store" in capsys.readouterr().err
    assert not (tmp_path / "keys").exists()
    assert shell.main(["init", "--existing", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("init", document)
    assert document["store"] == f"file:{tmp_path}/store-url"
    assert (tmp_path / "state" / "renewctl.db").is_file()
    assert path.read_bytes() == before
