"""An operator at a sandbox world: the real CLI in child processes, the world's own logs as witnesses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renewctl.sandbox.up import World
from renewctl.sandbox.worlds import NODES, WorldSpec
from tests.support.cli import Done, renewctl


@dataclass
class Operator:
    """Somebody at work in a world.

    Attributes:
        folder: where commands run; files they leave are here.
    """

    world: World
    folder: Path

    @property
    def request(self) -> Path:
        """Where `renewal request` writes."""
        return self.folder / "request.plist"

    @property
    def environment(self) -> dict[str, str]:
        """What every command needs."""
        return {"RENEWCTL_INVENTORY": str(self.world.inventory)}

    def run(self, *words: str | Path, more: Mapping[str, str] | None = None, seconds: float = 240) -> Done:
        """One command, as typed; `more`: further environment variables."""
        return renewctl(*words, cwd=self.folder, env={**self.environment, **(more or {})}, seconds=seconds)

    def told(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """One command's JSON; its exit code must be `code`."""
        done = self.run(*words, "--json")
        assert done.code == code, (done.code, done.out, done.err)
        assert "Traceback" not in done.err
        document: dict[str, Any] = done.document
        return document

    def refusal(self, *words: str | Path, code: int) -> str:
        """The reason a command refused with."""
        return str(self.told(*words, code=code)["error"]["reason"])

    def adopt(self) -> None:
        """Store, key store, and what is in use."""
        self.told("init", "--existing")
        stage = self.world.stage
        key = ["--key", stage.old_key] if self.world.spec.old_key_at_hand else ["--certificate-only"]
        self.told("adopt", "--certificate", stage.old_certificate, *key)

    def to_request(self) -> None:
        """Adopted, open, requested."""
        self.adopt()
        self.told("renewal", "open")
        self.told("renewal", "request", "--out", self.request, code=3)

    def to_accepted(self) -> str:
        """And the person came back with a good certificate; its serial."""
        self.to_request()
        accepted = self.told("renewal", "accept", self.world.person(self.request))
        return str(accepted["renewal"]["serial"])

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does something else."""
        return subprocess.Popen(
            [sys.executable, "-m", "renewctl", *words, "--json"],
            cwd=self.folder,
            env=_environment(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def changes(self) -> dict[str, int]:
        """Node -> requests in its own log that stored a pair or pushed."""
        return {name: len(self.world.changing_requests(name)) for name in NODES}


@contextmanager
def operator(spec: WorldSpec, folder: Path) -> Iterator[Operator]:
    """A world, and somebody at work in it."""
    (folder / "work").mkdir()
    with World.start(spec, folder / "world") as world:
        yield Operator(world, folder / "work")
        world.check_alive()


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "LANG": "C.UTF-8", **more}
