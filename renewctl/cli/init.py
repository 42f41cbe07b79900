"""`init`: writes an inventory, makes store and key store, says what it wrote; once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from renewctl.cli import init_ask
from renewctl.cli.context import Session
from renewctl.cli.init_ask import Told
from renewctl.cli.init_text import render
from renewctl.cli.init_write import Homes, IdentityAnswer, homes, identity_answer, make_homes, write
from renewctl.cli.options import (
    PATH,
    Command,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
)
from renewctl.cli.output import Output
from renewctl.errors import Refused
from renewctl.inventory.reading import Inventory
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef, shown

if TYPE_CHECKING:
    from renewctl.guidance import Step

DEFAULT_STORE = "sqlite:///state/renewctl.db"
DEFAULT_KEYS = "keys"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _option(*names: str, **more: Any) -> Callable[[_Function], _Function]:  # noqa: ANN401 - click's own types
    return click.option(*names, cls=Option, **more)


@click.command(cls=Command, help="help.init")
@_option("--store", metavar="URL", default=DEFAULT_STORE, help="help.option.store")
@_option("--keys", metavar="FOLDER", default=DEFAULT_KEYS, help="help.option.keys")
@_option("--recipient", metavar="AGE1…", multiple=True, help="help.option.recipient")
@_option("--identity", type=PATH, help="help.option.identity")
@_option("--topic", metavar="UID", help="help.option.topic_uid")
@_option("--id", metavar="ID", help="help.option.topic_id")
@_option("--name", metavar="TEXT", help="help.option.topic_name")
@_option("--account", metavar="ALIAS", help="help.option.account")
@_option("--account-address", metavar="ADDRESS", help="help.option.account_address")
@_option("--zone", metavar="ZONE", help="help.option.zone")
@_option("--node", metavar="NAME=URL", multiple=True, help="help.option.node")
@_option("--node-user", metavar="USER", help="help.option.node_user")
@_option("--node-password-file", metavar="FILE", help="help.option.node_password_file")
@_option("--node-sql", metavar="FILE", help="help.option.node_sql")
@_option("--from", "source", metavar="NODE", help="help.option.from")
@_option("--from-url", metavar="URL", help="help.option.from_url")
@_option("--from-user", metavar="USER", help="help.option.from_user")
@_option("--from-password-file", metavar="FILE", help="help.option.from_password_file")
@_option("--from-sql", metavar="FILE", help="help.option.from_sql")
@_option("--existing", is_flag=True, help="help.option.existing")
@dry_run_option
@json_option
@common_options
@pass_session
def init(session: Session, /, *, existing: bool, dry_run: bool, **options: Any) -> None:  # noqa: ANN401 - click's own types
    """Ask, look, write; nothing is written before all of it is known to be right."""
    if existing:
        _homes_of_existing(session, dry_run=dry_run)
    else:
        _new(session, Told(**options), dry_run=dry_run)


def _new(session: Session, told: Told, *, dry_run: bool) -> None:
    path, output = session.inventory_path, session.output()
    if path.exists():
        raise Refused(Reason.INVENTORY_EXISTS, path=str(path))
    identity = identity_answer(told.identity, told.recipient)
    answers = init_ask.answers(session, told, identity.recipients, identity.path)
    planned = init_ask.planned(answers, session, named=told.source is not None)
    text = render(answers, output.text)
    if dry_run and identity.text is not None:  # that identity is thrown away, so nobody may use its recipient
        answers = replace(answers, recipients=(output.text("init.recipient_to_come"),))
        text = render(answers, output.text)
    before = homes(planned, identity)
    if dry_run:
        output.raw(text.rstrip("\n"))
        _say_homes(output, planned, before, "would", identity.path)
    else:
        write(path, text, planned, identity)
        output.say("init.wrote.inventory", path=path)
        _say_homes(output, planned, before, "wrote", identity.path)
        _say_next(session, identity, before)
    output.json(
        {
            "inventory": path,
            "written": not dry_run,
            "store": told.store,
            "keys_folder": told.keys,
            "identity": identity.path,
            "there_already": before,
            "recipients": answers.recipients,
            "topics": [topic.topic for topic in answers.topics],
            "nodes": [node.name for node in answers.nodes],
        }
    )


def _homes_of_existing(session: Session, *, dry_run: bool) -> None:
    """Store and key store of an inventory that is there already: it was written by hand, or came from git."""
    planned, output = session.inventory, session.output()
    before = homes(planned)
    if not dry_run:
        make_homes(planned)
    _say_homes(output, planned, before, "would" if dry_run else "wrote")
    if not dry_run:
        output.next_steps([_look(session)])
    output.json(
        {
            "inventory": session.inventory_path,
            "written": not dry_run,
            "store": _store_shown(planned),
            "keys_folder": planned.keys.folder,
            "identity": None,
            "there_already": before,
            "recipients": planned.keys.recipients,
            "topics": [topic.topic for topic in planned.topics],
            "nodes": [node.name for node in planned.nodes],
        }
    )


def _say_homes(
    output: Output, planned: Inventory, before: Homes, made: str, identity: Path | None = None
) -> None:
    """What was made (`made`: `wrote`), would be (`would`), or was there already."""
    output.say(f"init.{'there' if before.store else made}.store", store=_store_shown(planned))
    if before.keys_folder is not None:
        output.say(f"init.{'there' if before.keys_folder else made}.keys", path=planned.keys.folder)
    if before.identity is not None:
        output.say(f"init.{'there' if before.identity else made}.identity", path=identity)


def _store_shown(planned: Inventory) -> str:
    """The store's URL as people may see it: by reference, or without a password."""
    return shown(planned.store) if isinstance(planned.store, SecretRef) else planned.store


def _say_next(session: Session, identity: IdentityAnswer, before: Homes) -> None:
    from renewctl.guidance import Step, command  # noqa: PLC0415

    path = session.inventory_path
    steps = [Step("init.next.read", {"path": path}), Step("init.next.git", {"path": path})]
    if before.identity is not None:
        key = "init.next.escrow_there" if before.identity else "init.next.escrow"
        steps.append(Step(key, {"path": identity.path}))
    adopt = command(session.options, "adopt", "--certificate", "FILE", "--key", "FILE")
    steps += [Step("init.next.adopt", {}, adopt), _look(session)]
    session.output().next_steps(steps)


def _look(session: Session) -> Step:
    from renewctl.guidance import Step, command  # noqa: PLC0415

    return Step("init.next.status", {}, command(session.options, "status"))
