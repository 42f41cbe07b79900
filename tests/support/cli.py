"""The real CLI as a child process, and what a folder held before and after."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[2] / "renewctl" / "schemas"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, as JSON."""
        return json.loads(self.out)


#: Root may write anywhere; without these two capabilities even root heeds a folder's mode.
HEED_MODES = (
    ["setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)

#: No file may grow: what a full disk does to every write.
FULL_DISK = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash"]


def renewctl(
    *words: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    seconds: float = 60,
    under: Sequence[str] = (),
) -> Done:
    """Run `python -m renewctl …`, without a terminal, in English, with a home folder of its own.

    Args:
        words: the command line.
        cwd: the folder to run in.
        env: further variables.
        seconds: how long it may take.
        under: a program to run it under (`HEED_MODES`, `FULL_DISK`).
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RENEWCTL_", "LC_", "LANG", "XDG_"))
        and not (under and name.startswith("COVERAGE_"))  # it could not write its figures either
    }
    environment |= {"LANG": "C.UTF-8", "HOME": str(cwd / "home"), **(env or {})}
    done = subprocess.run(
        [*under, sys.executable, "-m", "renewctl", *map(str, words)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def held(folder: Path) -> dict[str, tuple[int, str]]:
    """Path -> mode and content of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found


def validate(name: str, document: Any) -> None:
    """Check a document against one of the committed schemas."""
    _validator(name).validate(document)


@cache
def _validator(name: str) -> Draft202012Validator:
    schemas = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    return Draft202012Validator(schemas[name], registry=registry)
