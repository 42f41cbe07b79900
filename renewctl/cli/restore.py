"""`renewctl restore`: a lost store comes back, and nothing it cannot know is claimed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import renewctl
from renewctl.cli.context import Session
from renewctl.cli.options import (
    PATH,
    Command,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
)
from renewctl.errors import ExitCode

if TYPE_CHECKING:
    from renewctl.cli.output import Output
    from renewctl.workflow.restoring import Restored


@click.command(cls=Command, help="help.restore")
@click.argument("file", type=PATH)
@click.option("--offline", cls=Option, is_flag=True, help="help.option.restore_offline")
@click.option("--ticket", cls=Option, metavar="TEXT", help="help.option.ticket")
@click.option("--reason", cls=Option, metavar="TEXT", help="help.option.reason")
@dry_run_option
@json_option
@common_options
@pass_session
def restore(
    session: Session, *, file: Path, offline: bool, ticket: str | None, reason: str | None, dry_run: bool
) -> ExitCode:
    """Check, ask the nodes, put it back."""
    from renewctl.keys import keystore  # noqa: PLC0415 - SQL; not for `--help`
    from renewctl.store.read import StoreReader  # noqa: PLC0415
    from renewctl.store.write import Stamp  # noqa: PLC0415
    from renewctl.workflow.restoring import Place, bring_back  # noqa: PLC0415

    output, inventory = session.output(), session.inventory
    host, digest = session.actor.partition("@")[2], inventory.digest
    place = Place(
        inventory=inventory,
        url=session.store_url,
        keys=keystore.home(inventory.keys, session.store_url),
        stamp=Stamp(session.actor, host, renewctl.__version__, digest, reason, ticket),
        now=session.now,
        tell=output.say,
        asked=not offline,
    )
    done = bring_back(place, file, dry_run=dry_run)
    if not dry_run:
        with StoreReader(session.store_url) as store:
            session.head = store.head()
    output.json({**_as_json(done, file, dry_run=dry_run), "head": session.head})
    _show(output, done, file, dry_run=dry_run)
    if not dry_run:
        _next(session, output, done)
    return ExitCode.ATTENTION if done.silent or done.strangers else ExitCode.DONE


def _as_json(done: Restored, file: Path, *, dry_run: bool) -> dict[str, object]:
    return {
        "file": file,
        "restored": not dry_run,
        "sha256": done.sha256,
        "made_at": done.backup.made_at,
        "counts": done.backup.counts,
        "keys_written": done.keys,
        "run": done.run,
        "nodes": done.told,
        "silent": done.silent,
        "strangers": done.strangers,
    }


def _show(output: Output, done: Restored, file: Path, *, dry_run: bool) -> None:
    told = "restore.would" if dry_run else "restore.done"
    output.show(told, path=file, made_at=done.backup.made_at, **done.backup.counts)
    output.table(
        ("column.node", "column.run", "column.serial"),
        [(one.node, one.run, ", ".join(one.serials) or None) for one in done.told],
    )
    output.show("restore.run", run=done.run)
    if done.silent:
        output.show_red("restore.silent", nodes=", ".join(done.silent))
        for one in done.told:
            if one.reason is not None:
                output.finding(one.reason, one.values)
    answered = {node for nodes in done.answered.values() for node in nodes}
    for key, nodes in (
        ("restore.strangers_requested", [node for node in done.strangers if node in answered]),
        ("restore.strangers", [node for node in done.strangers if node not in answered]),
    ):
        if nodes:
            output.show_red(key, nodes=", ".join(nodes))


def _next(session: Session, output: Output, done: Restored) -> None:
    from renewctl.guidance import Step  # noqa: PLC0415

    options = " ".join(["", *session.options]) if session.options else ""
    output.next_steps(
        [
            *(
                Step("restore.next.accept", {}, f"renewctl{options} renewal accept FILE --topic {topic}")
                for topic in done.answered
            ),
            Step("restore.next.status", {}, f"renewctl{options} status"),
            Step("restore.next.roll_out", {}, f"renewctl{options} renewal roll-out"),
            Step("restore.next.backup", {}, f"renewctl{options} backup FILE"),
        ]
    )
