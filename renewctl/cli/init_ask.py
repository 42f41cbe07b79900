"""What `init` is told: options as they were given; what is missing is asked for until it can be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from renewctl.cli.context import Session
from renewctl.cli.init_node import found
from renewctl.cli.init_options import as_options
from renewctl.cli.init_text import Answers, NodeAnswer, TopicAnswer, render
from renewctl.errors import Unusable
from renewctl.inventory import reading as inventory
from renewctl.inventory.reading import Inventory
from renewctl.reasons import Reason, Word

UNKNOWN = "unknown"

_NOT_YET = ""  # the answer of a person who presses Enter where that is allowed
_UTC = "UTC"
_REFERENCE = re.compile(r"\{\s*(file|env|credential)\s*:\s*['\"]?(.*?)['\"]?\s*\}")
_REFERENCES = "{file: PATH} | {env: NAME} | {credential: NAME}"
_DRAFT_TOPIC = TopicAnswer("topic", "com.apple.mgmt.External.x", "topic")
_DRAFT_NODE = NodeAnswer("node", "https://node.invalid")
"""They stand for what was not answered yet, so that every answer is judged as part of a whole inventory."""

_Change = Callable[[Answers, str], Answers]


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
    zone: str | None
    node: tuple[str, ...]
    node_user: str | None
    node_password_file: str | None
    node_sql: str | None
    source: str | None
    from_url: str | None
    from_user: str | None
    from_password_file: str | None
    from_sql: str | None


def answers(session: Session, told: Told, recipients: tuple[str, ...], identity: Path | None) -> Answers:
    """All that is needed for an inventory. What was given is judged before anything is asked.

    Raises:
        Unusable: an option that cannot be used, or is missing without a terminal.
        NodeFault, Refused: as `init_node.found`.
    """
    asking = _Asking(session, _given(session, told, recipients, identity), named=told.source is not None)
    asking.judge(asking.draft)
    if told.source is not None and told.from_url is None:
        asking.ask("ask.from_url", "--from-url", lambda draft, text: _source(draft, url=text))
    elif told.source is None and not told.node:
        asking.ask("ask.node", "--node", lambda draft, text: replace(draft, nodes=(_node(text),)))
    _access(asking, told)
    if told.source is None:
        _topic(asking, told)
    else:
        asking.require_all()
        topics = _found_topics(told, found(session, asking.draft.nodes[0]))
        asking.draft = replace(asking.draft, topics=topics)
    if told.account is None:
        default = None if told.source is None else UNKNOWN
        asking.ask("ask.account", "--account", lambda draft, text: replace(draft, account=text), default)
    if told.account_address is None:
        asking.ask(
            "ask.account_address",
            "--account-address",
            lambda draft, text: replace(draft, account_address=text or None),
            "",
        )
    if told.zone is None:
        asking.ask("ask.zone", "--zone", lambda draft, text: replace(draft, zone=text), _UTC)
    asking.require_all()
    return asking.draft


def planned(answers: Answers, session: Session, *, named: bool) -> Inventory:
    """The inventory these answers make.

    Args:
        named: the first node is the one named by `--from`.

    Raises:
        Unusable: what is wrong with it, told by the option it came from.
    """
    text = render(answers, session.output().text)
    try:
        return inventory.from_bytes(text.encode(), session.inventory_path)
    except Unusable as error:
        raise as_options(error, source=named) from error


class _Asking:
    """The answers so far, and how to come by the next one."""

    def __init__(self, session: Session, draft: Answers, *, named: bool) -> None:
        self.session, self.draft, self._named = session, draft, named
        self._missing: list[Unusable] = []

    def ask(self, key: str, option: str, change: _Change, default: str | None = None) -> None:
        """Take one more answer into the draft; a person is asked again until it can be used."""

        def judge(text: str) -> None:
            self.judge(change(self.draft, text))

        try:
            answer = self.session.ask(key, option, default, judge)
        except Unusable as error:
            self._missing.append(error)  # nobody can be asked: what else is missing is told in one go
        else:
            self.draft = change(self.draft, answer)

    def require_all(self) -> None:
        """Nothing that had to be asked for is missing.

        Raises:
            Unusable: `option_missing`, every further one in `.others`.
        """
        if self._missing:
            first, *others = self._missing
            first.others = tuple(others)
            raise first

    def judge(self, draft: Answers) -> None:
        """Refuse a draft that makes no inventory."""
        planned(draft, self.session, named=self._named)


def _given(session: Session, told: Told, recipients: tuple[str, ...], identity: Path | None) -> Answers:
    """What the options say, and stand-ins for the rest."""
    own = told.id or _DRAFT_TOPIC.id
    topic = TopicAnswer(own, told.topic or _DRAFT_TOPIC.topic, told.name or own)
    nodes = tuple(
        replace(
            _node(text),
            user=told.node_user,
            password=_in_file(told.node_password_file),
            devices=_database_in(told.node_sql),
        )
        for text in told.node
    )
    if told.source is not None:
        named = NodeAnswer(
            told.source,
            told.from_url or _DRAFT_NODE.url,
            told.from_user,
            _in_file(told.from_password_file),
            _database_in(told.from_sql),
        )
        nodes = (named, *nodes)
    return Answers(
        store=told.store,
        keys_folder=told.keys,
        recipients=recipients,
        identity=None if identity is None else str(identity.absolute()),  # an option is meant from here
        topics=(topic,),
        account=told.account or UNKNOWN,
        account_address=told.account_address,
        zone=told.zone or _UTC,
        language=session.language(),
        nodes=nodes or (_DRAFT_NODE,),
    )


def _in_file(path: str | None) -> Mapping[str, object] | None:
    return None if path is None else {"file": path}


def _database_in(path: str | None) -> Mapping[str, object] | None:
    return None if path is None else {"sql": {"file": path}}


def _access(asking: _Asking, told: Told) -> None:
    """How the node named by `--from`, else every node, is signed in to, and where its devices can be read."""
    first = told.source is not None
    given = (
        (told.from_user, told.from_password_file, told.from_sql)
        if first
        else (told.node_user, told.node_password_file, told.node_sql)
    )
    prefix = "--from" if first else "--node"

    def user(node: NodeAnswer, text: str) -> NodeAnswer:
        return replace(node, user=text or None)

    def password(node: NodeAnswer, text: str) -> NodeAnswer:
        return replace(node, password=_reference(text, f"{prefix}-password-file") if text else None)

    def devices(node: NodeAnswer, text: str) -> NodeAnswer:
        return replace(node, devices=_devices(text, f"{prefix}-sql") if text else None)

    questions = (
        ("ask.user", f"{prefix}-user", user),
        ("ask.password", f"{prefix}-password-file", password),
        ("ask.devices", f"{prefix}-sql", devices),
    )
    for (key, option, change), told_already in zip(questions, given, strict=True):
        if told_already is None:
            asking.ask(key, option, _each(change, first_only=first), _NOT_YET)


def _each(change: Callable[[NodeAnswer, str], NodeAnswer], *, first_only: bool) -> _Change:
    """The change of one node, done to the first node or to all."""

    def changed(draft: Answers, text: str) -> Answers:
        count = 1 if first_only else len(draft.nodes)
        nodes = tuple(change(node, text) for node in draft.nodes[:count])
        return replace(draft, nodes=(*nodes, *draft.nodes[count:]))

    return changed


def _reference(text: str, option: str) -> Mapping[str, object]:
    """A reference to a secret; anything else may be the secret itself and is not repeated.

    Raises:
        Unusable: it is none.
    """
    found = _REFERENCE.fullmatch(text.strip())
    if found is None:
        got = Word("word.no_reference")
        raise Unusable(Reason.OPTION_VALUE, option=option, got=got, expected=_REFERENCES)
    return {found[1]: found[2]}


def _devices(text: str, option: str) -> Mapping[str, object]:
    """A folder by its path, a database by its URL or by a reference to one."""
    if text.startswith(("/", "~", ".")):
        return {"folder": text}
    return {"sql": text if "://" in text else _reference(text, option)}


def _topic(asking: _Asking, told: Told) -> None:
    def change(draft: Answers, **fields: str) -> Answers:
        return replace(draft, topics=(replace(draft.topics[0], **fields),))

    if told.topic is None:
        asking.ask("ask.topic", "--topic", lambda draft, text: change(draft, topic=text))
    if told.id is None:
        own = _short(asking.draft.topics[0].topic)
        asking.ask("ask.id", "--id", lambda draft, text: change(draft, id=text), own)
    if told.name is None:
        name = asking.draft.topics[0].id
        asking.ask("ask.name", "--name", lambda draft, text: change(draft, name=text), name)


def _found_topics(told: Told, uids: list[str]) -> tuple[TopicAnswer, ...]:
    """An entry for each topic a node told of; `--id` and `--name` are for the one topic there is."""
    if told.id is not None and len(uids) == 1:
        return (TopicAnswer(told.id, uids[0], told.name or told.id),)
    return tuple(TopicAnswer(_short(uid), uid, _short(uid)) for uid in uids)


def _short(uid: str) -> str:
    """A topic's id from its UID: the start of the uuid, `t-1a2b3c4d`."""
    return "t-" + re.sub(r"[^A-Za-z0-9]", "", uid.rpartition(".")[2])[:8].lower()


def _source(draft: Answers, url: str) -> Answers:
    return replace(draft, nodes=(replace(draft.nodes[0], url=url), *draft.nodes[1:]))


def _node(text: str) -> NodeAnswer:
    """`NAME=URL`.

    Raises:
        Unusable: it is not of this form.
    """
    name, equals, url = text.partition("=")
    if not equals:
        raise Unusable(Reason.OPTION_VALUE, option="--node", got=text, expected="NAME=URL")
    return NodeAnswer(name.strip(), url.strip())
