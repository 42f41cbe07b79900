"""What click says of a command line it cannot use, as errors of ours: in the reader's language.

Click's own sentences are English; its classes tell apart what went wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.exceptions import NoSuchCommand

from renewctl.errors import Unusable
from renewctl.reasons import Reason

_VALUE = re.compile(r"^'?(.*?)'? is not ")
"""How every type of click begins to refuse a value: `'xx' is not one of …`, `0 is not in the range …`."""


def usage_error(error: click.ClickException) -> Unusable:
    """The same as an error of ours; what no class tells apart keeps click's words."""
    for kind, told in _BY_CLASS.items():
        if isinstance(error, kind):
            return told(error)
    if type(error) is click.UsageError and error.ctx is not None and "(" in error.message:
        got = error.message.partition("(")[2].rstrip(")")  # "Got unexpected extra argument (x)"
        return Unusable(Reason.ARGUMENT_UNEXPECTED, got=got, **_of(error.ctx))
    return Unusable(Reason.OPTION_INVALID, got=error.format_message(), expected="--help")


def _missing(error: click.MissingParameter) -> Unusable:
    parameter = error.param
    if isinstance(parameter, click.Argument):
        name = parameter.human_readable_name.upper()
        return Unusable(Reason.ARGUMENT_MISSING, argument=name, **_of(error.ctx))
    return Unusable(Reason.OPTION_MISSING, option=None if parameter is None else parameter.opts[0])


def _no_option(error: click.NoSuchOption) -> Unusable:
    similar = error.possibilities or []
    return Unusable(Reason.OPTION_UNKNOWN, option=error.option_name, expected=similar, **_of(error.ctx))


def _no_command(error: NoSuchCommand) -> Unusable:
    group = None if error.ctx is None else error.ctx.command
    known = group.list_commands(error.ctx) if isinstance(group, click.Group) and error.ctx else []
    return Unusable(Reason.COMMAND_UNKNOWN, got=error.command_name, expected=known, **_of(error.ctx))


def _bad_option(error: click.BadOptionUsage) -> Unusable:
    """Click raises one class for both, and knows no context here."""
    flag = "does not take" in error.message
    reason = Reason.OPTION_WITHOUT_VALUE if flag else Reason.OPTION_NEEDS_VALUE
    return Unusable(reason, option=error.option_name)


def _bad_value(error: click.BadParameter) -> Unusable:
    parameter, found = error.param, _VALUE.match(error.message)
    name = None if parameter is None else parameter.opts[0]
    got = found[1] if found else error.message
    return Unusable(Reason.OPTION_VALUE, option=name, got=got, expected=_expected(parameter, error.ctx))


def _expected(parameter: click.Parameter | None, context: click.Context | None) -> str:
    kind = None if parameter is None else parameter.type
    if isinstance(kind, click.Choice):
        return " | ".join(map(str, kind.choices))
    if isinstance(kind, click.IntRange | click.FloatRange):
        return f"{kind.min} … {kind.max}"
    return "VALUE" if parameter is None or context is None else parameter.make_metavar(context)


def _of(context: click.Context | None) -> Mapping[str, str]:
    """The command and how it is typed."""
    if context is None:
        return {"command": "renewctl", "usage": "renewctl --help"}
    pieces = context.command.collect_usage_pieces(context)
    return {"command": context.command_path, "usage": " ".join([context.command_path, *pieces])}


_BY_CLASS: Mapping[type[click.ClickException], Callable[[Any], Unusable]] = {
    click.MissingParameter: _missing,
    click.NoSuchOption: _no_option,
    NoSuchCommand: _no_command,
    click.BadOptionUsage: _bad_option,
    click.BadParameter: _bad_value,
}
"""In this order: a missing parameter is also a bad one."""
