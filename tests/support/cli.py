"""The real CLI as a child process, and what a folder held before and after."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
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


def renewctl(
    *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None, seconds: float = 60
) -> Done:
    """Run `python -m renewctl …`, without a terminal, in English, with a home folder of its own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RENEWCTL_", "LC_", "LANG", "XDG_"))
    }
    environment |= {"LANG": "C.UTF-8", "HOME": str(cwd / "home"), **(env or {})}
    done = subprocess.run(
        [sys.executable, "-m", "renewctl", *map(str, words)],
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
    schemas = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    Draft202012Validator(schemas[name], registry=registry).validate(document)
