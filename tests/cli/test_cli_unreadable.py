"""Files and folders that are there but may not be read: named, with what the system says, whatever the command."""

from __future__ import annotations

import json

import pytest

from tests.support.cli import HEED_MODES
from tests.support.desk import Desk
from tests.support.unprivileged import python

_WALK = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
import click
from renewctl.cli import main as shell

def commands(command, words, context):
    yield command, words
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name), context)

def line(command, words, asked, value):
    for parameter in command.params:
        other = {"year": "2026"}.get(parameter.name, "in-the-way") if parameter.required else None
        given = value if parameter is asked else other
        if given is not None:
            words = (*words, *([] if isinstance(parameter, click.Argument) else [parameter.opts[0]]), given)
    return words

def told(words):
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = shell.main(list(words))
    return " ".join(words), (code, said.getvalue())

os.chdir(sys.argv[1])
found = []
for command, words in commands(shell.cli, (), click.Context(shell.cli)):
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            for value, language in (("secret.pem", "ja"), ("secret.pem", "en"), ("closed", "en"), ("closed/x", "en")):
                found.append(told(("--lang", language, *line(command, words, parameter, value))))
print(json.dumps(found))
"""
"""Calls every command once for each of its parameters that take a path; the others get a file that is in the way."""

_READ = ("inspect {}", "status --inventory {}", "renewal show --inventory {}")
_UNREADABLE = """error: {} cannot be read: Permission denied
  hint: check its permissions and those of its folder for the user you run as
"""


@pytest.fixture
def told(desk: Desk) -> dict[str, tuple[int, str]]:
    """Command line -> exit code and stderr, beside a file and a folder that may not be read."""
    for name in ("in-the-way", "secret.pem", "closed/x"):
        (desk.folder / name).parent.mkdir(exist_ok=True)
        (desk.folder / name).write_text("mine")
    for name in ("secret.pem", "closed"):
        (desk.folder / name).chmod(0)
    return {
        line: (code, said) for line, (code, said) in json.loads(python(_WALK, desk.folder, prefix=HEED_MODES))
    }


@pytest.mark.slow
def test_a_path_that_may_not_be_read_is_told_by_whoever_opens_it(told: dict[str, tuple[int, str]]) -> None:
    """No parameter of any command leaves it to click, whose refusal garbles our sentence.

    What is read at once is named with the system's word and the hint that fits: a file, a folder, a file in it.
    """
    assert {line for line, (_, said) in told.items() if "Path '" in said or "Traceback" in said} == set()
    for path in ("secret.pem", "closed", "closed/x"):
        assert "--lang en --inventory " + path in told  # the walk met the options of the whole, too
        for line in _READ:
            code, said = told[f"--lang en {line.format(path)}"]
            assert (code, said[: len(_UNREADABLE.format(path))]) == (2, _UNREADABLE.format(path)), line
    in_japanese = told["--lang ja inspect secret.pem"][1]
    assert in_japanese.startswith("エラー: secret.pem を読み込めません: アクセス権がありません\n")
    assert "error: no permission for closed/" in told["--lang en backup closed"][1]
