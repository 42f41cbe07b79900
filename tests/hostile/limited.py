"""The parent's side of a child that feeds one parser: whatever becomes of it, an outcome comes back."""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hostile.parser import Parser
from tests.hostile.worker import LENGTH_BYTES

MEGABYTES = 200
"""Above what the child took for the good examples."""

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_KILLED_AFTER = (
    60.0  # seconds above a parser's own: on a busy machine slow is not hung; time is measured inside
)
_TRIES = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        outcome: taken, refused, raised, died, hung.
        words: reason, traceback, or the last the child wrote on standard error.
        seconds, memory: as measured in the child; megabytes above its baseline.
    """

    outcome: str
    words: str
    seconds: float = 0.0
    memory: float = 0.0

    def fault(self, parser: Parser) -> str | None:
        """Why this must not be; None where it is well."""
        if self.outcome not in {"taken", "refused"}:
            return f"{self.outcome}: {self.words}"
        if self.seconds > parser.seconds:
            return f"slow: {self.seconds:.1f} s, at most {parser.seconds:g} s ({self.outcome} {self.words})"
        if self.memory > MEGABYTES:
            return f"large: {self.memory:.0f} MB, at most {MEGABYTES} MB ({self.outcome} {self.words})"
        return None


class Limited:
    """A child for one parser; a new one after each that was lost."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._child: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this object
        self._folder = tempfile.TemporaryDirectory(prefix="hostile-")
        self.good: list[bytes] = []
        self.bad: list[bytes] = []
        self.told = ""
        self.first: list[str] = []
        self._start()

    def feed(self, data: bytes) -> Outcome:
        """Feed one input; what took too long is tried again: only what always takes too long is slow."""
        found = self._once(data)
        for _ in range(_TRIES - 1):
            if found.outcome not in {"taken", "refused"} or found.seconds <= self._parser.seconds:
                break
            found = min(found, self._once(data), key=lambda one: one.seconds)
        if found.fault(self._parser):
            self._stop()  # a high-water mark stays
        return found

    def close(self) -> None:
        """End the child."""
        self._stop()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        environment["TMPDIR"] = self._folder.name  # a child that is killed tidies nothing
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.worker", self._parser.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=_ROOT,
            env=environment,  # measured by coverage, a parser would take three times as long
        )
        told = self._answer(_START_SECONDS)
        assert not isinstance(told, str), f"{self._parser.name} does not start: {told} {self._last_words()}"
        self.good, self.bad = ([base64.b64decode(text) for text in told[name]] for name in ("good", "bad"))
        self.told, self.first = told["told"], told["first"]

    def _once(self, data: bytes) -> Outcome:
        if self._child is None:
            self._start()
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
            self._child.stdin.flush()
        except BrokenPipeError:
            return self._lost("died")
        told = self._answer(self._parser.seconds + _KILLED_AFTER)
        return self._lost(told) if isinstance(told, str) else Outcome(**told)

    def _answer(self, seconds: float) -> dict[str, Any] | str:
        assert self._child is not None
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return "hung"
        line = self._child.stdout.readline()
        told: dict[str, Any] | str = json.loads(line) if line.endswith(b"\n") else "died"
        return told

    def _lost(self, outcome: str) -> Outcome:
        code = self._stop()
        return Outcome(outcome, f"exit {code}; {self._last_words()}")

    def _stop(self) -> int | None:
        if self._child is None:
            return None
        with self._child as child:
            child.kill()
        self._child = None
        return child.returncode

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-1500:].decode(errors="replace")
