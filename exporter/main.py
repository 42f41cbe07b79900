"""The command `renewctl-exporter`: flags in the words of the field, then serve until SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from exporter import logs
from renewctl import __version__, localfile, messages
from renewctl.errors import RenewctlError, Unusable
from renewctl.inventory.reading import Inventory, load
from renewctl.reasons import Reason
from renewctl.web import hangups
from renewctl.web.addresses import host_and_port

DEFAULT_PORT = 10092
"""Exporters' ports up to about 10060 are taken."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code: 0 after SIGTERM, 1 cannot listen, 2 command line or inventory unusable."""
    # Else a reload asked for now would end the process. It is done once the server is there to take it.
    hangups.hold()
    flags = _parser().parse_args(arguments)
    logs.to_stderr(flags.log_level, flags.log_format)
    try:
        inventory = load(flags.config_file)
        _check_snapshot_file(flags.snapshot_file)
        if flags.config_check:
            _check(inventory, flags)
        else:
            _run(inventory, flags)
    except RenewctlError as error:
        _tell(error)
        return int(error.exit_code)
    return 0


def _check(inventory: Inventory, flags: argparse.Namespace) -> None:
    """Addresses, and the files beside the inventory, those they name included."""
    for address in (*flags.listen_addresses, *flags.probe_listen_addresses):
        host_and_port(address)
    if flags.web_config_file:
        from renewctl.web.live import LiveConfig  # noqa: PLC0415 - only where it is used

        LiveConfig(flags.web_config_file)
    if flags.probe_config_file:
        from exporter.running import read_modules  # noqa: PLC0415 - only where it is used

        read_modules(flags.probe_config_file, inventory)


def _check_snapshot_file(path: Path | None) -> None:
    """Refuse what is there and is no file: a folder keeps nothing, and a pipe or device would be replaced."""
    if path is not None and localfile.exists(path) and not path.is_file():
        raise Unusable(Reason.SNAPSHOT_FILE_UNUSABLE, path=str(path))


def _run(inventory: Inventory, flags: argparse.Namespace) -> None:
    try:
        from exporter.running import Settings, run  # noqa: PLC0415 - help and check need no HTTP server
    except ModuleNotFoundError as error:
        raise Unusable(Reason.EXTRA_MISSING, got=error.name, expected="exporter") from None
    settings = Settings(
        config_file=flags.config_file,
        listen_addresses=flags.listen_addresses or [f"127.0.0.1:{DEFAULT_PORT}"],
        probe_listen_addresses=flags.probe_listen_addresses,
        web_config_file=flags.web_config_file,
        probe_config_file=flags.probe_config_file,
        snapshot_file=flags.snapshot_file,
        poll_interval=flags.poll_interval,
    )
    run(settings, inventory)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="renewctl-exporter",
        description="Watches MDM push certificates and tells Prometheus what it saw. Changes nothing.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config.file", dest="config_file", type=Path, required=True, metavar="PATH", help="the inventory")
    add("--config.check", dest="config_check", action="store_true", help="check the files and exit")
    _add_web_flags(parser)
    add(
        "--probe.config.file",
        dest="probe_config_file",
        type=Path,
        metavar="PATH",
        help="what /probe may ask beyond the inventory (default: nothing)",
    )
    add(
        "--snapshot.file",
        dest="snapshot_file",
        type=Path,
        default=_default_snapshot_file(),
        metavar="PATH",
        help="keeps what is known over a restart (default: snapshot.json in $STATE_DIRECTORY, else none)",
    )
    add(
        "--poll.interval",
        dest="poll_interval",
        type=_seconds,
        default=30.0,
        metavar="DURATION",
        help="between two looks at a node: 30s, 5m (default 30s); above 25m see RenewctlExporterStale",
    )
    _add_log_flags(parser)
    parser.add_argument("--version", action="version", version=f"renewctl-exporter {__version__}")
    return parser


def _add_web_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--web.listen-address",
        dest="listen_addresses",
        action="append",
        default=[],
        metavar="ADDRESS",
        help=f"HOST:PORT, or :PORT for all interfaces; may be repeated (default 127.0.0.1:{DEFAULT_PORT})",
    )
    add(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="PATH",
        help="TLS, users, headers, rate limit, in exporter-toolkit's format (default: none, plain HTTP)",
    )
    add(
        "--web.probe-listen-address",
        dest="probe_listen_addresses",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a further address for /-/healthy and /-/ready alone, without TLS and password; may be repeated",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--log.level",
        dest="log_level",
        choices=tuple(logs.LEVELS),
        default="info",
        help="default %(default)s",
    )
    add(
        "--log.format",
        dest="log_format",
        choices=tuple(logs.FORMATS),
        default="logfmt",
        help="default %(default)s",
    )


def _default_snapshot_file() -> Path | None:
    folder = os.environ.get("STATE_DIRECTORY")
    return Path(folder.partition(":")[0], "snapshot.json") if folder else None


def _seconds(text: str) -> float:
    """A duration in Prometheus's words, one unit: `500ms`, `30s`, `5m`, `1h`."""
    for unit, seconds in (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)):
        number = text.removesuffix(unit)
        if number != text and number.isdecimal() and int(number) > 0:
            return int(number) * seconds
    raise argparse.ArgumentTypeError(f"{text!r}: expected a duration such as 30s or 5m")


def _tell(error: RenewctlError) -> None:
    """What happened and what to do, a line each, in the language of the environment."""
    language = messages.language_of(os.environ)
    for fault in (error, *(error.others if isinstance(error, Unusable) else ())):
        for line in messages.sentence(fault.reason, language, fault.values):
            sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
