"""Options many commands share, and help that speaks the reader's language.

A help text that begins with `help.` is a key of the catalogues.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from renewctl import messages
from renewctl.cli.context import Session

_Function = TypeVar("_Function", bound=Callable[..., Any])

PATH = click.Path(path_type=Path, readable=False)
"""A file or folder, taken as typed: who opens it says why it cannot be read.

Click, which looks by itself, would refuse it in words of its own, and also where it is only written to.
"""


def localized(text: str, context: click.Context | None) -> str:
    """A help text in the reader's language."""
    if not text.startswith("help."):
        return text
    session = context.find_object(Session) if context is not None else None
    language = messages.language_of(os.environ) if session is None else session.language()
    return messages.text(text, language)


class _Helped(Protocol):
    """What has a help text."""

    help: str | None


@contextmanager
def _speaking(what: _Helped, context: click.Context | None) -> Iterator[None]:
    """Its help is the sentence instead of the key, for as long as click looks at it."""
    key = what.help
    what.help = None if key is None else localized(key, context)
    try:
        yield
    finally:
        what.help = key


class Option(click.Option):
    """An option whose help is a key."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Names and help, for `--help`."""
        with _speaking(self, ctx):
            return super().get_help_record(ctx)


class Command(click.Command):
    """A command whose help is a key, and whose `--help` says click's own words in the reader's language."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first line."""
        prefix = localized("help.usage", ctx)
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), f"{prefix}: ")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The paragraph under the usage line."""
        with _speaking(self, ctx):
            super().format_help_text(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The line in a group's list."""
        with _speaking(self, click.get_current_context(silent=True)):
            return super().get_short_help_str(limit)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options; arguments are in the usage line."""
        records = [
            parameter.get_help_record(ctx)
            for parameter in self.get_params(ctx)
            if not isinstance(parameter, click.Argument)
        ]
        with formatter.section(localized("help.options", ctx)):
            formatter.write_dl([record for record in records if record is not None])

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """`-h, --help`."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = localized("help.option.help", ctx)
        return option


class Group(Command, click.Group):
    """A group of `Command`s."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Options without a command are no command line either: the usage page, as without options."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if type(error) is click.UsageError and error.ctx is ctx:  # "Missing command."
                raise click.exceptions.NoArgsIsHelpError(ctx) from None
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order they are defined: that of the work, not of the alphabet."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, then the commands."""
        Command.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its line."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        lines = [(name, command.get_short_help_str(200)) for name, command in found if command is not None]
        with formatter.section(localized("help.commands", ctx)):
            formatter.write_dl(lines)


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
            type=PATH,
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
    type=PATH,
    expose_value=False,
    callback=_keep_passphrase_file,
    help="help.option.passphrase_file",
)
"""Kept in the session, whose `passphrase` is handed to whatever opens files."""
dry_run_option = click.option("--dry-run", cls=Option, is_flag=True, help="help.option.dry_run")
pass_session = click.make_pass_decorator(Session, ensure=True)
