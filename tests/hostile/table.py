"""The table of parsers, and the part of every module that reads bytes of any kind."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.parser import Parser

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).parent / "seeds"

ROOMS = (
    "certificate",
    "keys",
    "inventory",
    "servers",
    "push",
    "playbooks",
    "store",
    "node",
    "exporter",
    "web",
    "cli",
)
"""Files of `parsers/`."""

READS = re.compile(
    r"\bjson\.loads?\(|plistlib\.loads?\(|tarfile\.open|zipfile\.ZipFile|\bload_(pem|der)_|_certificates\(der|"
    r"load_key_and_|load_pkcs12\(|yaml\.\w*Loader|fromisoformat\(|b64decode\(|fromhex\(|pyrage\.(decrypt|ssh|x25519)|"
    r"sqlite3\.connect|\bread_(bytes|text)\(|\.read\(|os\.(p?read)\(|struct\.unpack|unquote\(|urlsplit\(|make_url\(|"
    r"\.decode\(|float\(|\.isdecimal\(|\.isdigit\(|ip_address\(|html\.unescape|for line in \w+:"
)
"""How bytes, or the text in them, become something else. A module with one of these has a place below or in a row."""

NOT_FROM_OUTSIDE = {
    "renewctl.sandbox": "a false world of our own, on loopback, for a demonstration",
    "renewctl.cli.sandbox": "reads what that world wrote",
    "renewctl.cli.audit": "compares the beginning of a report with our own mark",
    "renewctl.cli.adopt": "files through `certificate.intake`",
    "renewctl.cli.apns": "files through `certificate.intake`",
    "renewctl.cli.request_files": "files through `certificate.intake`",
    "renewctl.cli.vendor_watch": "files through `certificate.intake`",
    "renewctl.visible": "makes text printable; reads nothing",
    "renewctl.database.sqlite_file": "the kernel's list of mounts; cells' text is covered by `store.file`",
    "renewctl.renewal.bodies": "checks what `store.rows` reads",
    "renewctl.renewal.rollout": "waves as typed on the command line",
    "renewctl.store.moved": "rows after `store.read`",
    "renewctl.store.write": "reads through `store.read`",
    "renewctl.upkeep.upgrade": "a run's row, after `store.meta`; a backup through `upkeep.backup_file`",
    "renewctl.web.guard": "counts tokens; the file through `web.config`, passwords through `web.authorization`",
    "renewctl.web.line": "a peer's address, from the kernel",
    "renewctl.workflow.equipment": "passwords through `secrets`, to see that they can be read",
    "renewctl.workflow.prepare": "files through `certificate.intake`",
    "exporter.main": "words of the command line",
    "exporter.expiry_look": "urls of the inventory, after `inventory.whole`",
    "exporter.process": "the kernel's account of this process",
    "exporter.status.page": "its own style sheet",
    "exporter.store_look": "reads through `store.read`",
    "ansible_collections.renewctl.mdm.plugins.module_utils.node_step": "orders of the controller, which may do more",
    "ansible_collections.renewctl.mdm.plugins.plugin_utils.pkcs12": "writes; the file before through `certificate.unlock`, keys opened before",
}
"""Modules that read nothing anybody else could have made, and why; a package stands for all in it."""


def of_room(room: str) -> list[Parser]:
    """The rows of one file; imported alone, so that a child loads no more than it needs."""
    found: list[Parser] = importlib.import_module(f"tests.hostile.parsers.{room}").PARSERS
    return found


def named(name: str) -> Parser:
    """One row."""
    return next(parser for parser in of_room(name.partition(".")[0]) if parser.name == name)


def everyone() -> list[Parser]:
    """All rows."""
    return [parser for room in ROOMS for parser in of_room(room)]


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product, dotted, and its file."""
    for top in ("renewctl", "exporter", "playbooks/collections/ansible_collections/renewctl/mdm/plugins"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield (
                ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("playbooks.collections."),
                path,
            )


def seeds(parser: Parser) -> list[Path]:
    """Inputs that once did harm, oldest name first."""
    return sorted((SEEDS / parser.name).glob("*"))
