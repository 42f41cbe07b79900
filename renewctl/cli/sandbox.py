"""`renewctl sandbox …`: a false world to try everything in."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from renewctl.cli.context import Session
from renewctl.cli.options import PATH, Command, Group, Option, common_options, json_option, pass_session
from renewctl.errors import ExitCode, Refused, Unusable
from renewctl.reasons import Reason

_LOOK_SECONDS = 0.5


@click.group(cls=Group, help="help.sandbox")
@common_options
def sandbox() -> None:
    """Hold the commands."""


@sandbox.command("up", cls=Command, help="help.sandbox.up")
@click.option("--world", "name", cls=Option, default="happy-year", metavar="WORLD", help="help.option.world")
@click.option("--folder", cls=Option, metavar="FOLDER", type=PATH, required=True, help="help.option.folder")
@click.option("--exporter", cls=Option, is_flag=True, help="help.option.exporter")
@common_options
@json_option
@pass_session
def up(session: Session, /, name: str, folder: Path, *, exporter: bool) -> int:
    """Bring a world up and keep it until Ctrl-C."""
    from renewctl.guidance import Step, command  # noqa: PLC0415
    from renewctl.sandbox.children import WorldBroken  # noqa: PLC0415 - not for `--help`
    from renewctl.sandbox.up import World  # noqa: PLC0415
    from renewctl.sandbox.worlds import WORLDS, world  # noqa: PLC0415

    names = [spec.name for spec in WORLDS]
    if name not in names:
        raise Unusable(Reason.OPTION_INVALID, got=name, expected=", ".join(names), option="--world")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Unusable(Reason.FOLDER_NOT_EMPTY, path=str(folder))
    output = session.output()
    try:
        with output.working("sandbox.starting"):
            running = World.start(world(name), folder, exporter=exporter)
        with running:
            facts = json.loads((folder / "world.json").read_text())
            output.json(facts)
            for part, url in facts["urls"].items():
                if url:
                    output.raw(f"{part:13} {url}")
            inventory = facts["paths"]["inventory"]
            output.say("sandbox.up", inventory=inventory)
            init = command(("--inventory", inventory), "init", "--existing")
            output.next_steps([Step("next.sandbox_init", {}, init)])
            while True:
                running.check_alive()
                time.sleep(_LOOK_SECONDS)
    except WorldBroken as error:
        raise Refused(Reason.WORLD_BROKEN, got=str(error)) from None
    except KeyboardInterrupt:
        return ExitCode.DONE


@sandbox.command("wake", cls=Command, help="help.sandbox.wake")
@click.option("--folder", cls=Option, metavar="FOLDER", type=PATH, required=True, help="help.option.folder")
@common_options
@json_option
@pass_session
def wake(session: Session, /, folder: Path) -> int:
    """Push to every device through its node, and see them check in."""
    import httpx  # noqa: PLC0415 - not for `--help`

    from renewctl.sandbox import readings  # noqa: PLC0415

    output = session.output()
    try:
        with output.working("sandbox.waking"):
            woken = readings.wake_all(folder)
    except (OSError, httpx.HTTPError) as error:
        raise Refused(Reason.WORLD_BROKEN, got=type(error).__name__) from None
    for node, count in woken.accepted.items():
        output.show("sandbox.node_pushed", node=node, count=count)
    for serial, count in woken.serials.items():
        output.show("sandbox.push_service_saw", serial=serial, count=count)
    output.show("sandbox.checked_in", count=woken.checked_in, of=woken.enrolled)
    output.json(woken)
    return ExitCode.DONE if woken.complete else ExitCode.REFUSED


@sandbox.command("metrics", cls=Command, help="help.sandbox.metrics")
@click.option("--url", cls=Option, required=True, metavar="URL", help="help.option.exporter_url")
@click.argument("names", nargs=-1, required=True)
@common_options
@json_option
@pass_session
def metrics(session: Session, /, url: str, names: tuple[str, ...]) -> int:
    """Show samples of the exporter's metrics, as a scrape gets them."""
    import httpx  # noqa: PLC0415 - not for `--help`

    from renewctl.sandbox import readings  # noqa: PLC0415

    output = session.output()
    try:
        lines = readings.metrics(url, names)
    except httpx.HTTPError as error:
        raise Refused(Reason.WORLD_BROKEN, got=type(error).__name__) from None
    for line in lines:
        series, _, value = line.rpartition(" ")
        is_instant = series.partition("{")[0].endswith("_timestamp_seconds")
        shown = f"  # {output.instant(datetime.fromtimestamp(float(value), UTC))}" if is_instant else ""
        output.raw(line + shown)
    output.json({"samples": lines})
    return ExitCode.DONE if lines else ExitCode.REFUSED
