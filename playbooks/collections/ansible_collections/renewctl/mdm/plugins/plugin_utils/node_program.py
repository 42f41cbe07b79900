# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs on a node: its own Python, reading program and order from standard input.

An Ansible module would do, and take several times as long: most of that is to load what modules share.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils.node_step import ANSWER

_PACKAGE = "ansible_collections.renewctl.mdm.plugins.module_utils"
_PARTS = (
    "node_disk",
    "node_folder",
    "node_reload",
    "veil",
    "pair_match",
    "releases",
    "pair_place",
    "pair_journal",
    "pair_files",
    "node_step",
)
"""In the order of their imports."""

_LOADER = f"""
import sys, types
def load(parts):
    package = None
    for end in range(1, {_PACKAGE.count(".") + 2}):
        name = ".".join({_PACKAGE!r}.split(".")[:end])
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = []
    for name, text in parts:
        part = types.ModuleType(package.__name__ + "." + name)
        sys.modules[part.__name__] = part
        setattr(package, name, part)
        exec(compile(text, name + ".py", "exec"), part.__dict__)
    return part
"""
_BOOT = "import sys; order = sys.stdin.buffer; exec(order.read(int(order.readline())))"

PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3", "python3")
"""Looked for on a node whose `ansible_python_interpreter` nobody has named; RHEL 8 has only the second."""


def command(interpreter: str | None) -> str:
    """The shell command that takes what `message` gives; nothing in it belongs to one node or pair.

    Args:
        interpreter: the node's Python; None: the first of `PYTHONS` that is there.
    """
    how = f"-I -S -c {shlex.quote(_BOOT)}"
    if interpreter is not None:
        return f"{shlex.quote(interpreter)} {how}"
    places = " ".join(PYTHONS)
    return (
        f'for p in {places}; do if command -v "$p" >/dev/null 2>&1; then exec "$p" {how}; fi; done; exit 127'
    )


def message(order: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Program, order and files, as the command reads them."""
    sizes = {name: len(data) for name, data in files.items()}
    told = json.dumps({**order, "files": sizes}).encode() + b"\n"
    return b"%d\n%s%s%s" % (len(_program()), _program(), told, b"".join(files.values()))


def answer(stdout: str) -> dict[str, Any] | None:
    """The answer among what a node printed; None where there is none."""
    for line in stdout.splitlines():
        if line.startswith(ANSWER):
            try:
                told = json.loads(line[len(ANSWER) :])
            except (ValueError, RecursionError):
                return None
            return told if isinstance(told, dict) else None
    return None


@functools.cache
def _program() -> bytes:
    parts = [(name, _source(name)) for name in _PARTS]
    return f"{_LOADER}\nload({parts!r}).main(order)\n".encode()


def _source(name: str) -> str:
    spec = importlib.util.find_spec(f"{_PACKAGE}.{name}")
    assert spec is not None  # noqa: S101 - it is part of the collection
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).read_text(encoding="utf-8")
