"""`renewctl renewal …`: the yearly run, a command a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from renewctl.cli.context import Session
from renewctl.cli.dry_run_view import show_dry_run
from renewctl.cli.options import (
    PATH,
    Command,
    Group,
    Option,
    common_options,
    dry_run_option,
    json_option,
    pass_session,
    passphrase_option,
    topic_option,
)
from renewctl.cli.renewal_view import Voice, show_end, show_findings, show_renewal
from renewctl.errors import ExitCode, RenewctlError, Unusable
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.renewal.rules import Phase, Renewal

if TYPE_CHECKING:
    from renewctl.observation import Observation
    from renewctl.workflow.workplace import Workplace


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
        voice = Voice(session, session.topic(topic_id))
        try:
            return function(voice, **options)
        except RenewctlError as error:
            return voice.refused(error, dry_run=bool(options.get("dry_run")))

    return update_wrapper(wrapper, function)


@_command("open")
@dry_run_option
@_at_work
def open_(voice: Voice, *, dry_run: bool, **record: str | None) -> int:
    """Begin."""
    from renewctl.workflow import prepare  # noqa: PLC0415 - SQL; not for `--help`

    with voice.workplace(record, dry_run=dry_run) as work:
        name, findings = prepare.open_renewal(work, voice.topic)
        show_findings(voice, findings)
        if dry_run:
            return voice.would("open", name, findings)
        opened = work.open_renewal(voice.topic)
        return show_end(voice, work, opened, "renewal.opened", findings=findings)


@_command("request")
@click.option("--csr-only", cls=Option, is_flag=True, help="help.option.csr_only")
@click.option("--signed", cls=Option, metavar="FILE", type=PATH, help="help.option.signed")
@click.option("--new-key", cls=Option, is_flag=True, help="help.option.new_key")
@click.option("--out", cls=Option, metavar="FILE", type=PATH, help="help.option.out")
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
    from renewctl.cli.request_files import RequestFiles  # noqa: PLC0415
    from renewctl.renewal.rules import require  # noqa: PLC0415
    from renewctl.workflow import pairs, prepare  # noqa: PLC0415

    with voice.workplace(record) as work:
        renewal = work.open_renewal(voice.topic)
        require(renewal, Kind.REQUESTED if signed else Kind.CSR_MADE)
        files = RequestFiles.at(out or Path(f"{renewal.name}.plist"), csr_only=csr_only and signed is None)
        files.check(prepare.handed_out(work, renewal))
        if dry_run:
            return voice.would("request", renewal.name)
        if signed is not None:
            pairs.prove_key_opens(work, renewal.key_fingerprint)  # before anybody goes to the portal
            made = prepare.take_signed(work, voice.topic, signed, files.request)
        else:
            made = prepare.make_csr(work, voice.topic, new_key=new_key)
            if not csr_only:
                pairs.prove_key_opens(work, made.renewal.key_fingerprint)  # before anybody goes to the portal
                made = prepare.sign(work, voice.topic, files.request)
        files.write(made.csr, made.signed)
        show_findings(voice, made.findings)
        told = "renewal.csr_made" if made.signed is None else "renewal.requested"
        show_end(voice, work, made.renewal, told, files=files, findings=made.findings)
        return ExitCode.PERSONS_TURN


def _needed(context: click.Context, argument: click.Parameter, file: Path | None) -> Path | None:
    if file is None and not context.params["previous"]:
        raise click.MissingParameter(ctx=context, param=argument)
    return file


@_command("accept")
@click.argument("file", type=PATH, required=False, callback=_needed)
@click.option("--previous", cls=Option, is_flag=True, is_eager=True, help="help.option.previous")
@passphrase_option
@dry_run_option
@_at_work
def accept(voice: Voice, *, file: Path | None, previous: bool, dry_run: bool, **record: str | None) -> int:
    """Check what came back from the portal, or the pair of before."""
    from renewctl.workflow import deploy, enrolled, prepare  # noqa: PLC0415

    if file is not None and previous:
        raise Unusable(Reason.OPTION_INVALID, got=f"{file} --previous", expected="FILE | --previous")
    with voice.workplace(record, dry_run=dry_run) as work:
        with voice.output.working("renewal.asking_nodes"):
            topics = enrolled.enrolled_topics(work.nodes(voice.topic))
        if file is None:
            accepted, findings = deploy.accept_before(work, voice.topic, topics)
        else:
            downloaded = prepare.Downloaded(file, voice.session.passphrase, topics)
            accepted, findings = prepare.accept(work, voice.topic, downloaded)
        show_findings(voice, findings)
        if dry_run:
            return voice.would("accept", accepted.name, findings)
        return show_end(voice, work, accepted, "renewal.accepted", findings=findings)


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
    from renewctl.renewal import rollout  # noqa: PLC0415
    from renewctl.workflow import dry_run as dry  # noqa: PLC0415
    from renewctl.workflow import rolling  # noqa: PLC0415
    from renewctl.workflow.choices import Options  # noqa: PLC0415

    options = Options(
        waves=rollout.DEFAULT_WAVES if waves is None else rollout.parse_waves(waves),
        left_out=dict(_left_out(item) for item in leave_out),
        **choices,
    )
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        if dry_run:
            return show_dry_run(voice, dry.dry_run(work, voice.topic, options), options.left_out)
        return voice.ending(work, lambda: rolling.roll_out(work, voice.topic, options), "renewal.rolled_out")


@_command("verify")
@click.option("--unproven-ok", cls=Option, is_flag=True, help="help.option.unproven_ok")
@_with(_PROOF_OPTIONS)
@_at_work
def verify(voice: Voice, *, ticket: str | None, reason: str | None, **choices: Any) -> int:  # noqa: ANN401
    """Prove every node again."""
    from renewctl.workflow import rolling  # noqa: PLC0415
    from renewctl.workflow.choices import Options  # noqa: PLC0415

    options = Options(**choices)
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        return voice.ending(work, lambda: rolling.verify(work, voice.topic, options), "renewal.verified")


@_command("roll-back")
@click.option("--without-push", cls=Option, is_flag=True, help="help.option.without_push")
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
    from renewctl.workflow import dry_run as dry  # noqa: PLC0415
    from renewctl.workflow import rolling_back  # noqa: PLC0415
    from renewctl.workflow.choices import Options  # noqa: PLC0415

    options = Options(**choices)
    with voice.workplace({"ticket": ticket, "reason": reason}) as work:
        if dry_run:
            return show_dry_run(voice, dry.dry_run_back(work, voice.topic, options), {})

        def act() -> Renewal:
            return rolling_back.roll_back(work, voice.topic, options, voice.confirms)

        return voice.ending(work, act, "renewal.rolled_back")


@_command("close")
@click.option("--without-proof", cls=Option, is_flag=True, help="help.option.without_proof")
@dry_run_option
@_at_work
def close(voice: Voice, *, without_proof: bool, dry_run: bool, **record: str | None) -> int:
    """End a renewal that is rolled out."""
    from renewctl.workflow import deploy  # noqa: PLC0415

    with voice.workplace(record, dry_run=dry_run) as work:
        closed = deploy.close(work, voice.topic, without_proof=without_proof)
        return (
            voice.would("close", closed.name) if dry_run else show_end(voice, work, closed, "renewal.closed")
        )


@_command("abort")
@dry_run_option
@_at_work
def abort(voice: Voice, *, dry_run: bool, **record: str | None) -> int:
    """End a renewal that touched no node, or whose nodes were all put back."""
    from renewctl.workflow import prepare  # noqa: PLC0415

    with voice.workplace(record, dry_run=dry_run) as work:
        ended = prepare.abort(work, voice.topic, _after_roll_back(voice, work))
        return (
            voice.would("abort", ended.name) if dry_run else show_end(voice, work, ended, "renewal.aborted")
        )


@_command("show", writes=False)
@click.option("--name", cls=Option, metavar="RENEWAL", help="help.option.name")
@_at_work
def show(voice: Voice, *, name: str | None) -> int:
    """Tell a renewal's story."""
    return show_renewal(voice, name)


def _after_roll_back(voice: Voice, work: Workplace) -> Mapping[str, Observation]:
    """A look at each node, where the renewal was rolled back; nothing is asked before a node was touched."""
    from renewctl.cli.looking import look  # noqa: PLC0415 - HTTP and SQL

    renewal = work.history(voice.topic).open
    if renewal is None or renewal.phase is not Phase.ROLLED_BACK:
        return {}
    nodes = work.nodes(voice.topic)
    with voice.output.working("node.asking", count=len(nodes)):
        return look(work.inventory, nodes, work.now())


def _left_out(item: str) -> tuple[str, str]:
    node, equals, reason = item.partition("=")
    if not equals or not reason.strip():
        raise Unusable(Reason.OPTION_INVALID, got=item, expected="NODE=REASON", option="--leave-out")
    return node, reason.strip()
