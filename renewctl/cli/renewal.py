"""`renewctl renewal …`: the yearly run, a command a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click
from renewctl.cli.options import (
    Command,
    Group,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
    topic_option,
)
from renewctl.errors import ExitCode, Unusable
from renewctl.reasons import Reason

from renewctl.cli.context import Session
from renewctl.cli.renewal_view import Voice, show_dry_run, show_end, show_findings, show_renewal


@click.group(cls=Group, help="help.renewal")
@common_options
def renewal() -> None:
    """Hold the commands."""


_RECORD_OPTIONS = (
    click.option("--ticket", cls=Option, metavar="TEXT", help="help.option.ticket"),
    click.option("--reason", cls=Option, metavar="TEXT", help="help.option.reason"),
)


def _command(name: str, *, writes: bool = True) -> Callable[[Callable[..., int]], click.Command]:
    """A command of this group: the shared options; a reason and a ticket where it writes."""

    def decorate(function: Callable[..., int]) -> click.Command:
        for option in (*(_RECORD_OPTIONS if writes else ()), topic_option):
            function = option(function)
        return renewal.command(name, cls=Command, help=f"help.renewal.{name}")(
            common_options(json_option(function))
        )

    return decorate


def _at_work(function: Callable[..., int]) -> Callable[..., int]:
    """Hand a command its session, its topic and its voice."""

    @pass_session
    def wrapper(session: Session, /, topic_id: str | None, **options: Any) -> int:  # noqa: ANN401 - click's
        return function(Voice(session, session.topic(topic_id)), **options)

    return update_wrapper(wrapper, function)


@_command("open")
@dry_run_option
@_at_work
def open_(voice: Voice, *, dry_run: bool, **record: str | None) -> int:
    """Begin."""
    from renewctl.workflow import prepare  # noqa: PLC0415 - SQL; not for `--help`

    with voice.workplace(record) as work:
        if dry_run:
            return voice.would("open", prepare.next_renewal(work, voice.topic))
        opened = prepare.open_renewal(work, voice.topic)
        return show_end(voice, work, opened, "renewal.opened")


@_command("request")
@click.option("--csr-only", cls=Option, is_flag=True, help="help.option.csr_only")
@click.option(
    "--signed", cls=Option, metavar="FILE", type=click.Path(path_type=Path), help="help.option.signed"
)
@click.option("--new-key", cls=Option, is_flag=True, help="help.option.new_key")
@click.option(
    "--out",
    cls=Option,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="help.option.out",
)
@dry_run_option
@_at_work
def request(
    voice: Voice,
    *,
    csr_only: bool,
    signed: Path | None,
    new_key: bool,
    out: Path | None,
    dry_run: bool,
    **record: str | None,
) -> int:
    """Key, CSR and the file for the portal."""
    from renewctl.cli.request_files import write  # noqa: PLC0415

    from renewctl.workflow import pairs, prepare  # noqa: PLC0415

    with voice.workplace(record) as work:
        if dry_run:
            return voice.would("request", work.open_renewal(voice.topic).name)
        if signed is not None:
            made = prepare.take_signed(work, voice.topic, signed)
        else:
            made = prepare.make_request(work, voice.topic, new_key=new_key, csr_only=True)
            if not csr_only:
                pairs.prove_key_opens(work, made.renewal)  # before anybody is sent to the portal
                made = prepare.make_request(work, voice.topic, new_key=False, csr_only=False)
        files = write(made, out)
        show_findings(voice, made.findings)
        known = {"csr_file": files.csr, "request_file": files.request, "findings": made.findings}
        show_end(voice, work, made.renewal, "renewal.requested" if made.signed else "renewal.csr_made", known)
        return ExitCode.PERSONS_TURN


@_command("accept")
@click.argument("file", type=click.Path(path_type=Path))
@dry_run_option
@_at_work
def accept(voice: Voice, *, file: Path, dry_run: bool, **record: str | None) -> int:
    """Check what came back from the portal."""
    from renewctl.workflow import enrolled, prepare  # noqa: PLC0415

    with voice.workplace(record) as work:
        with voice.output.working("renewal.asking_nodes"):
            topics = enrolled.enrolled_topics(work.nodes(voice.topic))
        certificate = prepare.Downloaded(file, voice.session.passphrase, topics)
        if dry_run:
            show_findings(voice, prepare.judge(work, voice.topic, certificate))
            return voice.would("accept", work.open_renewal(voice.topic).name)
        accepted, findings = prepare.accept(work, voice.topic, certificate)
        show_findings(voice, findings)
        return show_end(voice, work, accepted, "renewal.accepted", {"findings": findings})


_ROLL_OPTIONS = (
    click.option("--waves", cls=Option, metavar="1,25%,100%", help="help.option.waves"),
    click.option(
        "--leave-out", cls=Option, multiple=True, metavar="NODE=REASON", help="help.option.leave_out"
    ),
    click.option("--forward-only", cls=Option, is_flag=True, help="help.option.forward_only"),
    click.option("--unproven-ok", cls=Option, is_flag=True, help="help.option.unproven_ok"),
)
_PROOF_OPTIONS = (
    click.option(
        "--canaries", cls=Option, type=click.IntRange(1, 20), default=3, help="help.option.canaries"
    ),
    click.option(
        "--check-in-timeout",
        cls=Option,
        type=click.FloatRange(1, 600),
        default=20.0,
        help="help.option.check_in_timeout",
    ),
)


def _with(options: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        for option in options:
            function = option(function)
        return function

    return decorate


@_command("roll-out")
@_with(_ROLL_OPTIONS)
@_with(_PROOF_OPTIONS)
@dry_run_option
@_at_work
def roll_out(
    voice: Voice,
    *,
    waves: str | None,
    leave_out: tuple[str, ...],
    dry_run: bool,
    ticket: str | None,
    reason: str | None,
    **choices: Any,  # noqa: ANN401 - passed on to Options
) -> int:
    """Give every node the accepted pair."""
    from renewctl import rollout  # noqa: PLC0415
    from renewctl.workflow import rolling  # noqa: PLC0415

    options = rolling.Options(
        waves=rollout.DEFAULT_WAVES if waves is None else rollout.parse_waves(waves),
        left_out=dict(_left_out(item) for item in leave_out),
        **choices,
    )
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        if dry_run:
            return show_dry_run(voice, rolling.dry_run(work, voice.topic, options))
        return voice.ending(work, lambda: rolling.roll_out(work, voice.topic, options), "renewal.rolled_out")


@_command("verify")
@click.option("--unproven-ok", cls=Option, is_flag=True, help="help.option.unproven_ok")
@_with(_PROOF_OPTIONS)
@_at_work
def verify(voice: Voice, *, ticket: str | None, reason: str | None, **choices: Any) -> int:  # noqa: ANN401
    """Prove every node again."""
    from renewctl.workflow import rolling  # noqa: PLC0415

    options = rolling.Options(**choices)
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        return voice.ending(work, lambda: rolling.verify(work, voice.topic, options), "renewal.verified")


@_command("roll-back")
@_with(_PROOF_OPTIONS)
@dry_run_option
@_at_work
def roll_back(
    voice: Voice,
    *,
    dry_run: bool,
    ticket: str | None,
    reason: str | None,
    **choices: Any,  # noqa: ANN401 - passed on to Options
) -> int:
    """Put every node back to the previous pair."""
    from renewctl.workflow import rolling  # noqa: PLC0415

    options = rolling.Options(**choices)
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        if dry_run:
            return voice.would("roll-back", rolling.can_roll_back(work, voice.topic).name)
        return voice.ending(
            work, lambda: rolling.roll_back(work, voice.topic, options), "renewal.rolled_back"
        )


@_command("close")
@click.option("--leave-owed", cls=Option, is_flag=True, help="help.option.leave_owed")
@click.option("--without-proof", cls=Option, is_flag=True, help="help.option.without_proof")
@dry_run_option
@_at_work
def close(voice: Voice, *, leave_owed: bool, without_proof: bool, dry_run: bool, **record: str | None) -> int:
    """End a renewal that is rolled out."""
    from renewctl.workflow import deploy  # noqa: PLC0415

    with voice.workplace(record) as work:
        if dry_run:
            renewal, _ = deploy.can_close(
                work, voice.topic, leave_owed=leave_owed, without_proof=without_proof
            )
            return voice.would("close", renewal.name)
        closed = deploy.close(work, voice.topic, leave_owed=leave_owed, without_proof=without_proof)
        return show_end(voice, work, closed, "renewal.closed")


@_command("abort")
@dry_run_option
@_at_work
def abort(voice: Voice, *, dry_run: bool, **record: str | None) -> int:
    """End a renewal that touched no node."""
    from renewctl.workflow import prepare  # noqa: PLC0415

    with voice.workplace(record) as work:
        if dry_run:
            return voice.would("abort", prepare.can_abort(work, voice.topic).name)
        return show_end(voice, work, prepare.abort(work, voice.topic), "renewal.aborted")


@_command("show", writes=False)
@click.option("--name", cls=Option, metavar="RENEWAL", help="help.option.name")
@_at_work
def show(voice: Voice, *, name: str | None) -> int:
    """Tell a renewal's story."""
    return show_renewal(voice, name)


def _left_out(item: str) -> tuple[str, str]:
    node, equals, reason = item.partition("=")
    if not equals or not reason.strip():
        raise Unusable(Reason.OPTION_INVALID, got=item, expected="NODE=REASON", option="--leave-out")
    return node, reason.strip()
