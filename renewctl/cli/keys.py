"""`keys …`: prove that keys open, seal them to new recipients, destroy what is superseded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from renewctl.errors import ExitCode, Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.inventory.reading import Inventory
    from renewctl.secrets import SecretRef


_identity_option = click.option(
    "--identity", cls=Option, metavar="FILE", type=PATH, help="help.option.keys_identity"
)
_ticket_option = click.option("--ticket", cls=Option, metavar="TEXT", help="help.option.ticket")
_reason_option = click.option("--reason", cls=Option, metavar="TEXT", help="help.option.reason")


@click.group(cls=Group, help="help.keys")
@common_options
def keys() -> None:
    """Hold the commands."""


@keys.command(cls=Command, help="help.keys.check")
@_identity_option
@json_option
@common_options
@pass_session
def check(session: Session, identity: Path | None) -> ExitCode:
    """Open every key still needed; exit 1 where one does not, 4 where one is sealed to others."""
    from renewctl.cli.keys_view import show_check  # noqa: PLC0415 - SQL, pyrage; not for `--help`
    from renewctl.cli.workplace import workplace  # noqa: PLC0415
    from renewctl.workflow import keyring  # noqa: PLC0415

    chosen = _identity(session.inventory, identity)
    with workplace(session) as work:
        known = keyring.sorted_keys(work)
        return show_check(session, chosen, keyring.check(work, known, chosen), known.faults)


@keys.command(cls=Command, help="help.keys.rekey")
@_identity_option
@click.option("--proof-identity", cls=Option, metavar="FILE", type=PATH, help="help.option.proof_identity")
@_ticket_option
@_reason_option
@dry_run_option
@json_option
@common_options
@pass_session
def rekey(
    session: Session,
    identity: Path | None,
    proof_identity: Path | None,
    *,
    ticket: str | None,
    reason: str | None,
    dry_run: bool,
) -> ExitCode:
    """Seal every key to the recipients of the inventory; exit 1 where one could not be, or is in doubt."""
    from renewctl.cli.keys_view import show_rekey  # noqa: PLC0415 - SQL, pyrage; not for `--help`
    from renewctl.cli.workplace import workplace  # noqa: PLC0415
    from renewctl.workflow import keyring  # noqa: PLC0415

    opening = _identity(session.inventory, identity)
    proving = opening if proof_identity is None else _identity(session.inventory, proof_identity)
    with workplace(session, reason=reason, ticket=ticket, dry_run=dry_run) as work:
        known = keyring.sorted_keys(work)
        former = keyring.former_recipients(work, known)
        done = keyring.rekey(work, known, opening, proving)
        return show_rekey(session, done, former, known.faults, dry_run=dry_run, head=work.store.head())


@keys.command(cls=Command, help="help.keys.destroy")
@_ticket_option
@_reason_option
@dry_run_option
@json_option
@common_options
@pass_session
def destroy(session: Session, *, ticket: str | None, reason: str | None, dry_run: bool) -> ExitCode:
    """Take away keys that were superseded long enough ago; exit 1 where a topic's keys are in doubt."""
    from renewctl.cli.keys_view import show_destroyed  # noqa: PLC0415 - SQL, pyrage; not for `--help`
    from renewctl.cli.workplace import workplace  # noqa: PLC0415
    from renewctl.workflow import keyring  # noqa: PLC0415

    after = session.inventory.keys.destroy_after
    if after is None:
        where, expected = str(session.inventory.path), "400d"
        raise Unusable(
            Reason.INVENTORY_MISSING_KEY, where=where, path="keys.destroy_after", expected=expected
        )
    with workplace(session, reason=reason, ticket=ticket, dry_run=dry_run) as work:
        known = keyring.sorted_keys(work)
        gone = keyring.destroy(work, known, after)
        return show_destroyed(session, gone, after, known.faults, dry_run=dry_run, head=work.store.head())


def _identity(inventory: Inventory, given: Path | None) -> SecretRef:
    """A file named on the command line, else the inventory's reference."""
    from renewctl.secrets import Kind, SecretRef  # noqa: PLC0415
    from renewctl.workflow.pairs import identity  # noqa: PLC0415

    return identity(inventory) if given is None else SecretRef(Kind.FILE, (str(given.absolute()),))
