"""What every command is handed: where the inventory is, the clock, who is at work, how to speak."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from renewctl import messages
from renewctl.cli.output import Output
from renewctl.errors import RenewctlError, Unusable
from renewctl.reasons import Reason, Word
from renewctl.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from renewctl.inventory.reading import Inventory, Node, Topic

DEFAULT_INVENTORY = Path("renewctl.yaml")
INVENTORY_VARIABLE = "RENEWCTL_INVENTORY"


_ANSWER_SHOWN = 80  # characters of an answer that are shown again: a line of a terminal


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(tz=UTC)


def store_url(inventory: Inventory) -> str:
    """The store's URL, absolute; read from its reference where the inventory gives one.

    Raises:
        Unusable: `store_none`; the reference cannot be read, the URL cannot be used.
    """
    from renewctl import secrets  # noqa: PLC0415 - reads files
    from renewctl.database import sql_url  # noqa: PLC0415 - for a server, SQLAlchemy

    store = inventory.store
    if not store:
        raise Unusable(Reason.STORE_NONE, path=str(inventory.path))
    text = store if isinstance(store, str) else secrets.read(store)
    return sql_url.resolve(text, inventory.folder)


@dataclass
class Session:
    """One call of `renewctl`; click's context object.

    Attributes:
        inventory_option: `--inventory`, None where it was not given.
        language_option: `--lang`.
        as_json: `--json`.
        passphrase_file: `--passphrase-file`, of commands that open what is locked.
        chosen: the one topic all this is about, once that is known: errors too speak its language.
        now: the clock, aware UTC.
        head: of the store, once this call has written to it or looked it up to tell it; "" before.
        words: the command line as typed, the program's name left out.
        ended_by: the signal that ends the command, if one does.
    """

    inventory_option: Path | None = None
    language_option: str | None = None
    as_json: bool = False
    now: Callable[[], datetime] = field(default=utc_now, repr=False)
    passphrase_file: Path | None = field(default=None, init=False)
    chosen: Topic | None = field(default=None, init=False)
    head: str = field(default="", init=False)
    words: Sequence[str] = field(default=(), init=False)
    ended_by: int = field(default=signal.SIGINT, init=False)

    @property
    def inventory_path(self) -> Path:
        """`--inventory`, else `$RENEWCTL_INVENTORY`, else `./renewctl.yaml`."""
        given = os.environ.get(INVENTORY_VARIABLE)
        return self.inventory_option or (Path(given) if given else DEFAULT_INVENTORY)

    @cached_property
    def inventory(self) -> Inventory:
        """The inventory, read once.

        Raises:
            Unusable: as `inventory.load`.
        """
        from renewctl.inventory import reading as inventory  # noqa: PLC0415 - YAML; not for `--help`

        loaded = inventory.load(self.inventory_path)
        if len(loaded.topics) == 1:
            self.chosen = loaded.topics[0]
        return loaded

    @property
    def actor(self) -> str:
        """Who is at work, as claimed: `user@host`."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's uid without a name
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    def language(self, topic: Topic | None = None) -> str:
        """`--lang`, else the topic's (None: of the one chosen), else the environment's, else English."""
        if self.language_option is not None:
            return self.language_option
        topic = topic or self.chosen
        if topic is not None and topic.language is not None:
            return topic.language.value
        return messages.language_of(os.environ)

    def output(self, topic: Topic | None = None) -> Output:
        """How to speak: of one topic (None: of the one chosen), in its language and zone."""
        topic = topic or self.chosen
        zone = "UTC" if topic is None else topic.zone
        return Output(self.language(topic), as_json=self.as_json, zone=zone)

    @property
    def options(self) -> Sequence[str]:
        """What every further command line needs again, for NEXT STEPS."""
        if self.inventory_option is None:
            return ()
        return ("--inventory", str(self.inventory_option))

    @property
    def store_url(self) -> str:
        """The store's URL, as `store_url`."""
        return store_url(self.inventory)

    def topics(self, topic_id: str | None) -> tuple[Topic, ...]:
        """The topic named (by id or UID), or all.

        Raises:
            Unusable: `topic_unknown`.
        """
        topics = self.inventory.topics
        if topic_id is None:
            return topics
        found = tuple(topic for topic in topics if topic_id in {topic.id, topic.topic})
        if not found:
            expected = ", ".join(topic.id for topic in topics)
            raise Unusable(Reason.TOPIC_UNKNOWN, got=topic_id, expected=expected)
        self.chosen = found[0] if len(found) == 1 else None
        return found

    def topic(self, topic_id: str | None) -> Topic:
        """The one topic a command works on.

        Raises:
            Unusable: `topic_unknown`; `several_topics` where one has to be named.
        """
        chosen = self.topics(topic_id)
        if len(chosen) != 1:
            expected = ", ".join(topic.id for topic in chosen)
            raise Unusable(Reason.SEVERAL_TOPICS, expected=expected, option="--topic")
        return chosen[0]

    def nodes(self, name: str | None) -> tuple[Node, ...]:
        """The node named, or all.

        Raises:
            Unusable: `node_not_in_inventory`.
        """
        nodes = self.inventory.nodes
        if name is None:
            return nodes
        found = tuple(node for node in nodes if node.name == name)
        if not found:
            expected = ", ".join(node.name for node in nodes)
            raise Unusable(Reason.NODE_NOT_IN_INVENTORY, got=name, expected=expected)
        return found

    def ask(
        self,
        key: str,
        option: str,
        default: str | None = None,
        judge: Callable[[str], None] = lambda _: None,
    ) -> str:
        """Ask a person, on stderr; one sentence (`<key>.why`) first says what is asked and where to find it.

        Args:
            key: of the question.
            option: what could have been given instead.
            default: what Enter means; "" is not shown.
            judge: raises `RenewctlError` for an answer that cannot be used: that is said, and asked again.

        Raises:
            Unusable: `option_missing`, without a terminal or where JSON was asked for.
        """
        if self.as_json or not sys.stdin.isatty():
            if default is not None:
                return default
            raise Unusable(Reason.OPTION_MISSING, option=option)
        if messages.has(f"{key}.why", self.language()):
            self.output().say(f"{key}.why")
        while True:
            question = self.output().text(key)
            text = str(click.prompt(question, default=default, show_default=bool(default), err=True))
            try:
                judge(text)
            except RenewctlError as error:
                self._say_again(error)
            else:
                return text

    def _say_again(self, error: RenewctlError) -> None:
        """One line on an answer that cannot be used."""
        output, values = self.output(), error.values
        if values.get("got") and values.get("expected"):
            output.say("ask.again", got=_shown(values["got"]), expected=values["expected"])
        else:
            output.say("ask.refused", why=output.sentence(error.reason, values)[0])

    @property
    def passphrase(self) -> Callable[[], str] | None:
        """Gives a file's passphrase when it is called: of `--passphrase-file`, else asked for, unseen.

        None where there is neither that option nor a terminal: `passphrase_needed` names both.
        """
        if self.passphrase_file is None:
            return self._ask_passphrase if sys.stdin.isatty() else None
        from renewctl.secrets import Kind, SecretRef, read  # noqa: PLC0415 - of few commands

        return partial(read, SecretRef(Kind.FILE, (str(self.passphrase_file.absolute()),)))

    def _ask_passphrase(self) -> str:
        return str(click.prompt(self.output().text("ask.passphrase"), hide_input=True, err=True))


def _shown(answer: object) -> object:
    """An answer as it may be shown again, on one line."""
    if isinstance(answer, Word):
        return answer
    text = visible(str(answer))
    return text if len(text) <= _ANSWER_SHOWN else f"{text[:_ANSWER_SHOWN]}…"
