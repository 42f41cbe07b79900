"""`init`: writes an inventory, makes store and key store, says what it wrote; once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from renewctl import inventory
from renewctl.cli.context import Session, store_url
from renewctl.cli.faults import of_system
from renewctl.cli.init_text import Answers, NodeAnswer, TopicAnswer, render
from renewctl.cli.options import (
    Command,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
)
from renewctl.errors import Refused, Unusable
from renewctl.inventory import Inventory
from renewctl.reasons import Reason
from renewctl.secrets import SecretRef, shown

DEFAULT_STORE = "sqlite:///state/renewctl.db"
DEFAULT_KEYS = "keys"
UNKNOWN = "unknown"

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Told:
    """The options as they were given; None or empty: not given."""

    store: str
    keys: str
    recipient: tuple[str, ...]
    identity: Path | None
    topic: str | None
    id: str | None
    name: str | None
    account: str | None
    account_address: str | None
    zone: str
    node: tuple[str, ...]
    node_user: str | None
    node_password_file: str | None
    source: str | None
    from_url: str | None
    from_user: str | None
    from_password_file: str | None
    from_sql: str | None


def _option(*names: str, **more: Any) -> Callable[[_Function], _Function]:  # noqa: ANN401 - click's own types
    return click.option(*names, cls=Option, **more)


@click.command(cls=Command, help="help.init")
@_option("--store", metavar="URL", default=DEFAULT_STORE, help="help.option.store")
@_option("--keys", metavar="FOLDER", default=DEFAULT_KEYS, help="help.option.keys")
@_option("--recipient", metavar="AGE1…", multiple=True, help="help.option.recipient")
@_option("--identity", type=click.Path(path_type=Path), help="help.option.identity")
@_option("--topic", metavar="UID", help="help.option.topic_uid")
@_option("--id", metavar="ID", help="help.option.topic_id")
@_option("--name", metavar="TEXT", help="help.option.topic_name")
@_option("--account", metavar="ALIAS", help="help.option.account")
@_option("--account-address", metavar="ADDRESS", help="help.option.account_address")
@_option("--zone", metavar="ZONE", default="UTC", help="help.option.zone")
@_option("--node", metavar="NAME=URL", multiple=True, help="help.option.node")
@_option("--node-user", metavar="USER", help="help.option.node_user")
@_option("--node-password-file", metavar="FILE", help="help.option.node_password_file")
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
    nodes, topics = _nodes(session, told), _topics(session, told)
    identity, recipients, new_identity = _identity(told)
    answers = Answers(
        store=told.store,
        keys_folder=told.keys,
        recipients=recipients,
        identity=None if identity is None else str(identity),
        topics=topics,
        account=told.account or session.ask("ask.account", "--account", UNKNOWN if told.source else None),
        account_address=told.account_address,
        zone=told.zone,
        language=session.language(),
        nodes=nodes,
    )
    text = render(answers, output.text)
    planned = inventory.from_bytes(text.encode(), path)
    if dry_run:
        output.raw(text.rstrip("\n"))
    else:
        _write(session, text, planned, identity, new_identity)
        _tell(session, planned, identity if new_identity else None)
    output.json(
        {
            "inventory": path,
            "written": not dry_run,
            "store": told.store,
            "keys_folder": told.keys,
            "identity": identity,
            "recipients": recipients,
            "topics": [topic.topic for topic in topics],
            "nodes": [node.name for node in nodes],
        }
    )


def _homes_of_existing(session: Session, *, dry_run: bool) -> None:
    """Store and key store of an inventory that is there already: it was written by hand, or came from git."""
    planned, output = session.inventory, session.output()
    if dry_run:
        output.say("init.would.store", store=_store_shown(planned))
        if planned.keys.folder is not None:
            output.say("init.would.keys", path=planned.keys.folder)
    else:
        _make_homes(planned)
        output.say("init.wrote.store", store=_store_shown(planned))
        if planned.keys.folder is not None:
            output.say("init.wrote.keys", path=planned.keys.folder)
    output.json(
        {
            "inventory": session.inventory_path,
            "written": not dry_run,
            "store": _store_shown(planned),
            "keys_folder": planned.keys.folder,
            "identity": None,
            "recipients": planned.keys.recipients,
            "topics": [topic.topic for topic in planned.topics],
            "nodes": [node.name for node in planned.nodes],
        }
    )


def _make_homes(planned: Inventory) -> None:
    """Create what is not there yet; what is there stays as it is."""
    from renewctl.store import Store  # noqa: PLC0415 - SQL

    Store.create(store_url(planned))
    if planned.keys.folder is not None:
        planned.keys.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _store_shown(planned: Inventory) -> str:
    """The store's URL as people may see it: by reference, or without a password."""
    return shown(planned.store) if isinstance(planned.store, SecretRef) else planned.store


def _topics(session: Session, told: Told) -> tuple[TopicAnswer, ...]:
    if told.source is None:
        uid = told.topic or session.ask("ask.topic", "--topic")
        own = told.id or session.ask("ask.id", "--id", _short(uid))
        return (TopicAnswer(own, uid, told.name or session.ask("ask.name", "--name", own)),)
    found = _found(session, _source(told))
    if told.id is not None and len(found) == 1:
        return (TopicAnswer(told.id, found[0], told.name or told.id),)
    return tuple(TopicAnswer(_short(uid), uid, _short(uid)) for uid in found)


def _short(uid: str) -> str:
    """A topic's id from its UID: the start of the uuid, `t-1a2b3c4d`."""
    return "t-" + re.sub(r"[^A-Za-z0-9]", "", uid.rpartition(".")[2])[:8].lower()


def _source(told: Told) -> NodeAnswer:
    if told.from_url is None:
        raise Unusable(Reason.OPTION_MISSING, option="--from-url")
    return NodeAnswer(
        told.source or "", told.from_url, told.from_user, told.from_password_file, told.from_sql
    )


def _found(session: Session, answer: NodeAnswer) -> list[str]:
    """The topics a node serves, or its devices are enrolled with."""
    from renewctl.servers.registry import connect  # noqa: PLC0415 - HTTP and SQL

    mapping: dict[str, object] = {"name": answer.name, "product": "nanomdm", "url": answer.url}
    if answer.user is not None:
        mapping["user"] = answer.user
    if answer.password_file is not None:
        mapping["password"] = {"file": answer.password_file}
    if answer.sql_file is not None:
        mapping["devices"] = {"sql": {"file": answer.sql_file}}
    node = inventory.node_from_mapping(mapping, session.inventory_path.absolute().parent)
    with session.output().working("node.asking", count=1):
        server = connect(node)
        seen = server.observe(session.now())
        topics = {served.topic for served in seen.certificates} | set(server.enrolled_topics() or {})
    if not topics:
        told = ", ".join(dict.fromkeys(failure.reason.value for failure in seen.failures)) or "-"
        raise Refused(Reason.INIT_NO_TOPICS, node=answer.name, got=told)
    return sorted(topics)


def _nodes(session: Session, told: Told) -> tuple[NodeAnswer, ...]:
    given: Sequence[str] = told.node
    if not given and told.source is None:
        given = [session.ask("ask.node", "--node")]
    nodes = [] if told.source is None else [_source(told)]
    for text in given:
        name, found, url = text.partition("=")
        if not found:
            raise Unusable(Reason.OPTION_INVALID, got=f"--node {text}", expected="--node NAME=URL")
        nodes.append(NodeAnswer(name, url, told.node_user, told.node_password_file))
    return tuple(nodes)


def _identity(told: Told) -> tuple[Path | None, tuple[str, ...], str | None]:
    """Where the identity is, the recipients, and the text of a new identity where one is to be made."""
    from renewctl.unseal import new_identity  # noqa: PLC0415 - age

    if told.recipient:
        return told.identity, told.recipient, None
    path = told.identity or Path.home() / ".config" / "renewctl" / "identity.txt"
    if path.exists():
        named = re.search(r"^# public key: (age1\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if named is None:
            raise Unusable(Reason.IDENTITY_WITHOUT_RECIPIENT, path=str(path), option="--recipient")
        return path, (named[1],), None
    text, recipient = new_identity()
    return path, (recipient,), text


def _write(
    session: Session, text: str, planned: Inventory, identity: Path | None, new_identity: str | None
) -> None:
    """The inventory comes last: it is there once everything it names is there."""
    path = session.inventory_path
    with _beside(path, text) as draft:
        made: list[Path] = []
        try:
            if new_identity is not None and identity is not None:
                identity.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write_new(identity, new_identity, 0o600)
                made.append(identity)
            _make_homes(planned)
            os.link(draft, path)  # fails where somebody else was quicker; a rename would not
        except BaseException:
            for file in made:
                file.unlink(missing_ok=True)
            raise


@contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_new(draft, text, 0o644)
        yield draft
    except FileExistsError as error:
        raise Refused(Reason.INVENTORY_EXISTS, path=str(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _write_new(path: Path, text: str, mode: int) -> None:
    """A new file, whole and on disk, or none.

    Raises:
        Refused: `write_failed`.
        FileExistsError: it is there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink()
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise of_system(error, path) from error


def _tell(session: Session, planned: Inventory, identity: Path | None) -> None:
    from renewctl.guidance import Step  # noqa: PLC0415

    output, path = session.output(), session.inventory_path
    output.say("init.wrote.inventory", path=path)
    output.say("init.wrote.store", store=planned.store)
    output.say("init.wrote.keys", path=planned.keys.folder)
    if identity is not None:
        output.say("init.wrote.identity", path=identity)
    options = " ".join(["", *session.options]) if session.options else ""
    steps = [Step("init.next.read", {"path": path}), Step("init.next.git", {"path": path})]
    if identity is not None:
        steps.append(Step("init.next.escrow", {"path": identity}))
    adopt = f"renewctl{options} adopt --certificate FILE --key FILE"
    steps += [Step("init.next.adopt", {}, adopt), Step("init.next.status", {}, f"renewctl{options} status")]
    output.next_steps(steps)
