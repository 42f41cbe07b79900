"""Options many commands share, and help that speaks the reader's language.

A help text that begins with `help.` is a key of the catalogues.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from renewctl import messages
from renewctl.cli.context import Session

_Function = TypeVar("_Function", bound=Callable[..., Any])


def localized(text: str, context: click.Context | None) -> str:
    """A help text in the reader's language."""
    if not text.startswith("help."):
        return text
    session = context.find_object(Session) if context is not None else None
    language = messages.language_of(os.environ) if session is None else session.language()
    return messages.text(text, language)


class Option(click.Option):
    """An option whose help is a key."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Names and help, for `--help`."""
        self.help = None if self.help is None else localized(self.help, ctx)
        return super().get_help_record(ctx)


class Command(click.Command):
    """A command whose help is a key."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The paragraph under the usage line."""
        self.help = None if self.help is None else localized(self.help, ctx)
        super().format_help_text(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The line in a group's list."""
        self.help = (
            None if self.help is None else localized(self.help, click.get_current_context(silent=True))
        )
        return super().get_short_help_str(limit)


class Group(click.Group):
    """A group whose help is a key, and whose commands are `Command`s."""

    command_class = Command

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The paragraph under the usage line."""
        self.help = None if self.help is None else localized(self.help, ctx)
        super().format_help_text(ctx, formatter)


def _keep_inventory(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Session).inventory_option = value


def _keep_language(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).language_option = value


def _keep_json(context: click.Context, _: click.Parameter, *, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True


def common_options(function: _Function) -> _Function:
    """`--inventory` and `--lang`, before and after the command's name; kept in the session."""
    for decorate in (
        click.option(
            "--inventory",
            cls=Option,
            metavar="PATH",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep_inventory,
            help="help.option.inventory",
        ),
        click.option(
            "--lang",
            cls=Option,
            type=click.Choice(messages.LANGUAGES),
            expose_value=False,
            is_eager=True,
            callback=_keep_language,
            help="help.option.lang",
        ),
    ):
        function = decorate(function)
    return function


def json_option(function: _Function) -> _Function:
    """`--json`; kept in the session."""
    return click.option(
        "--json",
        cls=Option,
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=lambda context, parameter, value: _keep_json(context, parameter, value=value),
        help="help.option.json",
    )(function)


topic_option = click.option(
    "--topic", "topic_id", cls=Option, metavar="ID", default=None, help="help.option.topic"
)


def _keep_passphrase_file(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    context.ensure_object(Session).passphrase_file = value


passphrase_option = click.option(
    "--passphrase-file",
    cls=Option,
    metavar="FILE",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_keep_passphrase_file,
    help="help.option.passphrase_file",
)
"""Kept in the session, whose `passphrase` is handed to whatever opens files."""
dry_run_option = click.option("--dry-run", cls=Option, is_flag=True, help="help.option.dry_run")
pass_session = click.make_pass_decorator(Session, ensure=True)
