"""`renewctl store …`: what is done to the store itself."""

from __future__ import annotations

from pathlib import Path

import click

from renewctl.cli.context import Session
from renewctl.cli.options import (
    PATH,
    Command,
    Group,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
)
from renewctl.errors import ExitCode


@click.group(cls=Group, help="help.store")
@common_options
def store() -> None:
    """Hold the commands."""


@store.command("upgrade", cls=Command, help="help.store.upgrade")
@click.option(
    "--backup",
    cls=Option,
    metavar="FILE",
    type=PATH,
    help="help.option.upgrade_backup",
)
@dry_run_option
@json_option
@common_options
@pass_session
def upgrade(session: Session, *, backup: Path | None, dry_run: bool) -> ExitCode:
    """Bring an older store to this version."""
    from renewctl.upkeep import upgrade as upgrading  # noqa: PLC0415 - SQL; not for `--help`

    output = session.output()
    done = upgrading.upgrade(
        session.store_url, now=session.now(), backup=backup, dry_run=dry_run, tell=output.say
    )
    changed = done.before != done.after
    output.json(
        {
            "store": done.store,
            "before": done.before,
            "after": done.after,
            "changed": changed and not dry_run,
            "dry_run": dry_run,
            "copy": done.copy,
        }
    )
    told = "upgrade.nothing" if not changed else ("upgrade.would" if dry_run else "upgrade.done")
    output.show(told, store=done.store, before=done.before, after=done.after)
    if done.copy is not None:
        output.show("upgrade.would_copy" if dry_run else "upgrade.copy", path=done.copy)
    return ExitCode.DONE
