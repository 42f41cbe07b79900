"""Every `--json` output follows its committed schema; here the commands that need no node."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator, ValidationError

from renewctl.cli import main as shell
from renewctl.keys.unseal import new_identity
from tests.support.certs import NOW, apple_like
from tests.support.cli import SCHEMAS, validate
from tests.support.inventories import with_files_node

PUSH = apple_like().push(not_after=NOW + timedelta(days=364), key="push")


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_schemas(path: Path) -> None:
    """Each is valid draft 2020-12 and bears its file's name."""
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:renewctl:schema:{path.stem}"


def test_a_wrong_document_is_refused() -> None:
    """The check can fail: an unknown key is no part of any document."""
    with pytest.raises(ValidationError):
        validate("init", {"colour": "red"})


def test_every_command_that_speaks_json_has_a_schema() -> None:
    """`<command>.json`, or `<group>-<command>.json`; nothing printed for programs goes unpromised."""
    context = click.Context(shell.cli)
    spoken = set()
    for name in shell.COMMANDS:
        found = shell.cli.get_command(context, name)
        assert found is not None
        for below, command in getattr(found, "commands", {"": found}).items():
            if any("--json" in parameter.opts for parameter in command.params):
                spoken.add((name, f"{name}-{below}"))
    schemas = {path.stem for path in SCHEMAS.glob("*.json")}
    assert len(spoken) > len(shell.COMMANDS)
    assert [names for names in spoken if not schemas & set(names)] == []


def test_the_year_up_to_the_portal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adopt, open, request, show, abort and their dry runs, each validated; errors follow theirs."""
    text, recipient = new_identity()
    (tmp_path / "identity.txt").write_text(text)
    with_files_node(tmp_path, PUSH.pem, recipient)
    (tmp_path / "key.pem").write_bytes(PUSH.key_pem)
    monkeypatch.chdir(tmp_path)

    def told(schema: str, *words: str) -> Any:
        shell.main([*words, "--json"])
        document = json.loads(capsys.readouterr().out)
        validate(schema, document)
        return document

    told("init", "init", "--existing")
    adopt = ("adopt", "--certificate", "push.pem", "--key", "key.pem")
    assert told("adopt", *adopt, "--dry-run")["dry_run"] is True
    assert told("adopt", *adopt)["serial"] == PUSH.serial
    assert told("renewal", "renewal", "open", "--dry-run")["renewal"] == "tokyo-1"
    assert told("renewal", "renewal", "open")["renewal"]["phase"] == "open"
    assert told("error", "renewal", "open")["error"]["reason"] == "renewal_open_already"
    made = told("renewal", "renewal", "request", "--csr-only")
    assert made["renewal"]["phase"] == "csr_made"
    assert Path(made["files"]["csr_file"]).is_file()
    assert told("status", "status")["topics"][0]["turn"] == "vendor"
    assert len(told("renewal", "renewal", "show")["events"]) == 3
    assert told("renewal", "renewal", "abort")["renewal"]["phase"] == "aborted"
