"""How long a person waits for `--help` and for `status`; the rival is a command they know."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.table import Measured
from tests.bench.turns import by_turns
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, files_node, inventory

_ROUNDS = 9
_BIN = Path(sys.executable).parent


def measure(folder: Path) -> Iterator[Measured]:
    """`renewctl --help` and `renewctl status` (one topic, three file nodes, a store) against `ansible --version`."""
    for name in ("a", "b", "c"):
        (folder / f"{name}.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(folder, [files_node(name, folder / f"{name}.pem") for name in ("a", "b", "c")])
    _run(folder, "renewctl", "init", "--existing")
    yield by_turns(
        "renewctl --help / ansible --version",
        lambda: _run(folder, "renewctl", "--help"),
        lambda: _run(folder, "ansible", "--version"),
        bar=0.4,
        rounds=_ROUNDS,
    )
    yield by_turns(
        "renewctl status / ansible --version",
        lambda: _run(folder, "renewctl", "status", expected=(0, 4)),
        lambda: _run(folder, "ansible", "--version"),
        bar=1.0,
        rounds=_ROUNDS,
    )


def _run(folder: Path, program: str, *arguments: str, expected: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        [_BIN / program, *arguments],
        cwd=folder,
        env=os.environ | {"RENEWCTL_INVENTORY": str(folder / "inventory.yaml"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode not in expected:
        raise SystemExit(
            f"{program} {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
