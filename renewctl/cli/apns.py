"""`apns check`: does the push service accept a pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from renewctl import messages
from renewctl.cli.context import Session
from renewctl.cli.options import (
    PATH,
    Command,
    Group,
    Option,
    common_options,
    json_option,
    pass_session,
    passphrase_option,
    topic_option,
)
from renewctl.errors import ExitCode, Refused, Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.apns import PairCheck
    from renewctl.certificate.pushcert import Pair
    from renewctl.inventory.reading import Topic


@click.group(cls=Group, help="help.apns")
def apns() -> None:
    """Hold what asks the push service."""


@apns.command(cls=Command, help="help.apns.check")
@topic_option
@click.option("--certificate", cls=Option, type=PATH, help="help.option.certificate")
@click.option("--key", cls=Option, type=PATH, help="help.option.key")
@passphrase_option
@json_option
@common_options
@pass_session
def check(session: Session, topic_id: str | None, certificate: Path | None, key: Path | None) -> ExitCode:
    """Ask; exit 1 where a pair was refused, 4 where nobody knows."""
    from renewctl.apns import PushService  # noqa: PLC0415 - HTTP

    service = PushService(session.inventory.apns.url, session.inventory.apns.ca_file)
    output = session.output()
    if certificate is not None or key is not None:
        pairs = [("file", _from_files(session, certificate, key))]
    else:
        pairs = list(_in_store(session, _only(session.topics(topic_id))))
    with output.working("apns.asking", url=session.inventory.apns.url):
        told = [(role, pair, service.check(pair)) for role, pair in pairs]
    output.json(
        {
            "url": session.inventory.apns.url,
            "pairs": [_as_json(session, role, pair, answer) for role, pair, answer in told],
        }
    )
    for role, pair, answer in told:
        _show(session, role, pair, answer)
    answers = {answer.accepted for _, _, answer in told}
    if False in answers:
        return ExitCode.REFUSED
    return ExitCode.ATTENTION if None in answers else ExitCode.DONE


def _only(topics: tuple[Topic, ...]) -> Topic:
    if len(topics) != 1:
        expected = ", ".join(topic.id for topic in topics)
        raise Unusable(Reason.SEVERAL_TOPICS, expected=expected, option="--topic")
    return topics[0]


def _from_files(session: Session, certificate: Path | None, key: Path | None) -> Pair:
    from renewctl.certificate import intake  # noqa: PLC0415 - cryptography
    from renewctl.certificate.pushcert import Pair  # noqa: PLC0415

    if certificate is None or key is None:
        raise Unusable(Reason.OPTION_MISSING, option="--key" if key is None else "--certificate")
    asked = session.passphrase
    return Pair(intake.read(certificate, asked).leaf(), intake.read(key, asked).private_key())


def _in_store(session: Session, topic: Topic) -> Iterator[tuple[str, Pair]]:
    """The pair in use, and the accepted one that is to follow it."""
    from renewctl.cli.workplace import workplace  # noqa: PLC0415 - SQL
    from renewctl.workflow.pairs import open_pair  # noqa: PLC0415

    with workplace(session) as work:
        history = work.history(topic)
        accepted = None if history.open is None else history.open.accepted
        found = {"current": history.current, "accepted": accepted}
        if found["current"] == accepted:
            found["accepted"] = None
        if not any(found.values()):
            raise Refused(Reason.NOT_ADOPTED, topic=topic.id)
        for role, ref in found.items():
            if ref is not None:
                yield role, open_pair(work, ref)


def _show(session: Session, role: str, pair: Pair, answer: PairCheck) -> None:
    output = session.output()
    verdict = {True: "accepted", False: "refused", None: "unknown"}[answer.accepted]
    show = output.show if answer.accepted else output.show_red
    name = output.text(f"apns.role.{role}")
    show(f"apns.{verdict}", pair=name, serial=pair.certificate.serial, topic=pair.certificate.topic)
    if answer.reason is not None:
        values = {"detail": answer.detail, "got": answer.detail, "url": session.inventory.apns.url}
        happened, hint = messages.sentence(answer.reason, output.language, values)
        output.show("apns.why", happened=happened)
        output.show("apns.hint", hint=hint)


def _as_json(session: Session, role: str, pair: Pair, answer: PairCheck) -> dict[str, object]:
    language = session.language()
    return {
        "role": role,
        "serial": pair.certificate.serial,
        "topic": pair.certificate.topic,
        "not_after": pair.certificate.not_after,
        "accepted": answer.accepted,
        "status": answer.status,
        "reason": answer.reason,
        "text": None if answer.reason is None else messages.text(answer.reason.value, language),
        "detail": answer.detail,
    }
