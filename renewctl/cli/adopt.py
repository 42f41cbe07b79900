"""`renewctl adopt`: take over the pair in use, so that there is a way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from renewctl.cli.context import Session
from renewctl.cli.options import (
    PATH,
    Command,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
    passphrase_option,
    topic_option,
)
from renewctl.cli.output import steps_json
from renewctl.errors import ExitCode, RenewctlError, Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.inventory.reading import Topic


@click.command(cls=Command, help="help.adopt")
@click.option("--certificate", cls=Option, metavar="FILE", type=PATH, help="help.option.certificate")
@click.option("--key", cls=Option, metavar="FILE", type=PATH, help="help.option.key")
@click.option("--certificate-only", cls=Option, is_flag=True, help="help.option.certificate_only")
@topic_option
@passphrase_option
@dry_run_option
@common_options
@json_option
@pass_session
def adopt(
    session: Session,
    *,
    certificate: Path | None,
    key: Path | None,
    certificate_only: bool,
    topic_id: str | None,
    dry_run: bool,
) -> int:
    """Take over certificate and key, or the certificate alone."""
    from renewctl.cli.renewal_view import Voice  # noqa: PLC0415 - not for `--help`

    voice = Voice(session, session.topic(topic_id))
    given = _Given(certificate, key, certificate_only, dry_run)
    try:
        return _adopt(session, voice.topic, given)
    except RenewctlError as error:
        return voice.refused(error, dry_run=dry_run)


@dataclass(frozen=True)
class _Given:
    certificate: Path | None
    key: Path | None
    certificate_only: bool
    dry_run: bool


def _adopt(session: Session, topic: Topic, given: _Given) -> int:
    from renewctl.certificate import intake  # noqa: PLC0415
    from renewctl.cli.workplace import steps_for, workplace  # noqa: PLC0415 - SQL
    from renewctl.workflow import deploy  # noqa: PLC0415

    key, dry_run = given.key, given.dry_run
    if key is not None and given.certificate_only:
        raise Unusable(
            Reason.OPTION_INVALID, got="--key --certificate-only", expected="--key | --certificate-only"
        )
    file = given.certificate or Path(session.ask("ask.certificate", "--certificate"))
    if key is None and not given.certificate_only:
        key = Path(session.ask("ask.key", "--key / --certificate-only"))
    output = session.output(topic)
    found = intake.read(file, session.passphrase, certificate_only=True)
    pem = None if key is None else intake.read(key, session.passphrase).private_key()
    with workplace(session, dry_run=dry_run) as work:
        adopted = deploy.adopt(work, topic, found, pem)
        steps = steps_for(session, topic, work.history(topic))
        head = work.store.head()
    session.head = "" if dry_run else head
    told = "adopt.would" if dry_run else ("adopt.done" if adopted.changed else "adopt.already")
    output.show(told, topic=topic.id, serial=adopted.pair.serial, not_after=adopted.pair.not_after)
    if adopted.pair.key_fingerprint is None:
        output.say("adopt.without_key")
    output.json(
        {
            "topic": topic.id,
            "changed": adopted.changed,
            "dry_run": dry_run,
            "serial": adopted.pair.serial,
            "not_after": adopted.pair.not_after,
            "key_fingerprint": adopted.pair.key_fingerprint,
            "next_steps": steps_json(steps, output, topic.zone),
            "head": head,
        }
    )
    output.next_steps(steps, topic.zone)
    return ExitCode.DONE
