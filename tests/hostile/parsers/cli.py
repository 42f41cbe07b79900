"""The command line over such files and rows: what is shown of them, in both languages."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

import click
import yaml

from renewctl import secrets
from renewctl.certificate import request
from renewctl.cli import main as command_line
from renewctl.errors import RenewctlError
from tests.hostile.parser import Made, Parser
from tests.hostile.parsers import store
from tests.support.certs import apple_like
from tests.support.inventories import right, write

_LANGUAGES = ("en", "ja")


def _said(words: Sequence[str]) -> None:
    """Run a command here; what would be a traceback for `RENEWCTL_DEBUG` comes through."""
    os.environ[command_line.DEBUG_VARIABLE] = "1"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        command_line.main(words)


def _all(commands: Sequence[Sequence[str]], inventory: Path) -> None:
    """Each, the languages in turn; each may be refused."""
    for words, language in zip(commands, itertools.cycle(_LANGUAGES), strict=False):
        with suppress(RenewctlError, click.ClickException):
            _said([*words, "--inventory", str(inventory), "--lang", language])


def _inspect() -> Made:
    folder = Path(mkdtemp())
    path, inventory = folder / "file", write(folder, right())

    def take(data: bytes) -> None:
        path.write_bytes(data)
        _all([["inspect", str(path)], ["inspect", str(path)], ["inspect", "--json", str(path)]], inventory)

    push, endless = (
        apple_like().push(),
        apple_like().push(not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    )
    csr = request.make_csr(push.key_pem, common_name="example")
    return Made(take, [push.pem, endless.der, push.pem + push.key_pem + apple_like().aai2.pem, csr])


def _inventory() -> Made:
    path = Path(mkdtemp()) / "renewctl.yaml"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        secrets.forget()
        _all([["status"], ["status", "--json"]], path)

    return Made(take, [yaml.safe_dump(right(nodes=[right()["nodes"][1]]), allow_unicode=True).encode()])


def _rows() -> Made:
    path, empty = store.empty_store()
    inventory = write(path.parent, right(store=f"sqlite:///{path}", nodes=[right()["nodes"][1]]))
    report = path.parent / "report.html"
    commands = [
        ["status"],
        ["status", "--json"],
        ["audit", "verify"],
        ["audit", "log"],
        ["audit", "log", "--format", "csv"],
        ["audit", "report", "--year", "2026", "--out", str(report)],
        ["keys", "check"],
        ["renewal", "show"],
        ["renewal", "show", "--json"],
    ]

    def take(data: bytes) -> None:
        store.fill(path, empty, store.rows_of(data))
        report.unlink(missing_ok=True)
        _all(commands, inventory)

    return Made(take, [json.dumps(store.tables()).encode()])


PARSERS = [
    Parser("cli.inspect", _inspect, ["renewctl.cli.inspect"], examples=0.3),
    Parser("cli.inventory", _inventory, ["renewctl.cli.context"], examples=0.3, seconds=2.0),
    Parser("cli.rows", _rows, ["renewctl.messages"], json=True, examples=0.2, seconds=9.0),
]
