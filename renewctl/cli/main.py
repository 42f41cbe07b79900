"""`renewctl`: finds the command, and turns whatever ends it into one message and an exit code.

Commands are imported when called, so that `renewctl --help` loads neither SQL nor HTTP nor Ansible.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

import click

import renewctl
from renewctl import messages
from renewctl.cli.context import Session
from renewctl.cli.faults import of_system
from renewctl.cli.options import Group, Option, common_options, localized
from renewctl.cli.usage import usage_error
from renewctl.errors import ExitCode, Refused, RenewctlError
from renewctl.reasons import Reason

DEBUG_VARIABLE = "RENEWCTL_DEBUG"
INTERRUPTED = 128 + signal.SIGINT
"""As shells say."""

COMMANDS = {
    "init": "renewctl.cli.init:init",
    "adopt": "renewctl.cli.adopt:adopt",
    "status": "renewctl.cli.status:status",
    "inspect": "renewctl.cli.inspect:inspect",
    "node": "renewctl.cli.node:node",
    "renewal": "renewctl.cli.renewal:renewal",
    "keys": "renewctl.cli.keys:keys",
    "apns": "renewctl.cli.apns:apns",
    "backup": "renewctl.cli.backup:backup",
    "restore": "renewctl.cli.restore:restore",
    "store": "renewctl.cli.store:store",
    "audit": "renewctl.cli.audit:audit",
    "sandbox": "renewctl.cli.sandbox:sandbox",
}
"""Name -> where it is; the line shown in `--help` is `help.<name>`."""


class LazyGroup(Group):
    """Commands by name, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of a year."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, click.Command)  # noqa: S101 - our own table
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing anything."""
        with formatter.section(localized("help.commands", ctx)):
            formatter.write_dl([(name, localized(f"help.{name}", ctx)) for name in COMMANDS])


@click.group(cls=LazyGroup, help="help.renewctl", context_settings={"help_option_names": ["-h", "--help"]})
@common_options
@click.version_option(renewctl.__version__, prog_name="renewctl", cls=Option, help="help.option.version")
@click.pass_context
def cli(context: click.Context) -> None:
    """Hold the session for the command that follows."""
    context.ensure_object(Session)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and hand back the exit code documented in the README; never a traceback.

    `RENEWCTL_DEBUG=1` lets unexpected exceptions through.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(language_option=_language_in(words), as_json="--json" in words)
    session.words = words
    if arguments is None:  # the process is ours
        _take_sigterm_as_control_c(session)
    _never_fail_to_encode(sys.stdout)
    _never_fail_to_encode(sys.stderr)
    try:
        code = cli.main(words, prog_name="renewctl", standalone_mode=False, obj=session)
        _tell_head(session)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # click's own answer to a closed pipe is to exit
        return _quiet_end()
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) == "1" and not isinstance(error, click.ClickException):
            raise
        return _end_of(error, session)
    return int(code or ExitCode.DONE)


def _take_sigterm_as_control_c(session: Session) -> None:
    """Whoever stops a job by SIGTERM (systemd, CI) gets a lease given back and no temporary folder left."""

    def end(number: int, _frame: FrameType | None) -> None:
        session.ended_by = number
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def _language_in(words: Sequence[str]) -> str | None:
    """`--lang ja`, also where the rest of the command line cannot be used."""
    for index, word in enumerate(words):
        given = words[index + 1 : index + 2] if word == "--lang" else [word.removeprefix("--lang=")]
        if word.startswith("--lang") and given and given[0] in messages.LANGUAGES:
            return given[0]
    return None


def _end_of(error: Exception, session: Session) -> int:
    """Say what ended the command; where stdout takes nothing (full disk, reader gone), on stderr alone."""
    try:
        code = _told(error, session)
    except BrokenPipeError:
        return _quiet_end()
    except OSError:
        session.as_json = False
        code = _told(error, session)
    try:
        sys.stdout.flush()
    except OSError:
        _quiet_end()  # what is still held for stdout would fail once more at the very end
    return code


def _tell_head(session: Session) -> None:
    """What vouches for the store now, for whoever keeps the log of this command."""
    if session.head:
        session.output().say("audit.head", head=session.head)


def _told(error: Exception, session: Session) -> int:
    """Say what ended the command, and choose the exit code."""
    output = session.output()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(f"{error.format_message()}\n")
        return ExitCode.UNUSABLE
    if isinstance(error, click.Abort):
        output.say("label.interrupted")
        return 128 + session.ended_by
    known = error if isinstance(error, RenewctlError) else _translated(error)
    output.error(known, session.head)
    _tell_head(session)
    return known.exit_code


def _translated(error: Exception) -> RenewctlError:
    """Foreign exceptions as ours. Their texts are not shown: they may quote what must not be seen."""
    if isinstance(error, click.ClickException):
        return usage_error(error)
    if isinstance(error, OSError):
        return of_system(error)
    return Refused(Reason.INTERNAL, got=type(error).__name__)


def _quiet_end() -> int:
    """The reader went away (`| head`): nothing can be said, but what was asked for was not told."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.REFUSED


def _never_fail_to_encode(stream: TextIO) -> None:
    """A terminal that cannot show a character gets a question mark, not a traceback."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
