"""`renewctl backup`: the store and its keys in one file, without a secret in clear."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import click

from renewctl.cli.context import Session
from renewctl.cli.options import PATH, Command, common_options, dry_run_option, json_option, pass_session
from renewctl.errors import ExitCode, Refused
from renewctl.reasons import Reason


@click.command(cls=Command, help="help.backup")
@click.argument("path", type=PATH)
@dry_run_option
@json_option
@common_options
@pass_session
def backup(session: Session, *, path: Path, dry_run: bool) -> ExitCode:
    """Read everything, then write one file."""
    from renewctl.keys import keystore  # noqa: PLC0415
    from renewctl.upkeep import backup as copying  # noqa: PLC0415 - SQL; not for `--help`
    from renewctl.upkeep import backup_file  # noqa: PLC0415

    output, url, now = session.output(), session.store_url, session.now()
    file = _file(path, now)
    keys = keystore.home(session.inventory.keys, url)
    taken = copying.take(url, keys, now=now, tell=output.say)
    missing, broken = copying.missing_keys(taken), copying.broken_links(taken)
    name = None
    if not dry_run:
        output.say("backup.writing", path=file)
        name = backup_file.write(file, taken)
    output.json(
        {
            "path": file,
            "written": not dry_run,
            "sha256": name,
            "made_at": taken.made_at,
            "store": taken.kind,
            "schema": taken.schema,
            "counts": taken.counts,
            "renewals": taken.renewals,
            "keys_missing": missing,
            "events_damaged": broken,
        }
    )
    output.show("backup.would" if dry_run else "backup.done", path=file, **taken.counts)
    if missing:
        output.show_red("backup.keys_missing", keys=", ".join(missing))
    if broken:
        output.show_red("backup.events_damaged", events=", ".join(broken))
    if not dry_run:
        output.say("backup.not_inside")
    return ExitCode.ATTENTION if missing or broken else ExitCode.DONE


def _file(path: Path, now: datetime) -> Path:
    """A folder gets a file named by the time; a name without .tar at its end may be a missing folder's.

    Raises:
        Refused: what a dry run must know too. `backup_no_folder`: a file in its place would be in the way of
            the next backup; `backup_exists`, `folder_missing`.
    """
    file = path / f"renewctl-{now:%Y%m%dT%H%M%SZ}.tar" if path.is_dir() else path
    if os.path.lexists(file):
        raise Refused(Reason.BACKUP_EXISTS, path=str(file))
    if file.suffix != ".tar":
        raise Refused(Reason.BACKUP_NO_FOLDER, path=str(file))
    if not file.parent.is_dir():
        raise Refused(Reason.FOLDER_MISSING, path=str(file.parent))
    return file
