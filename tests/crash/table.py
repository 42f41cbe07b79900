"""What `make crash` found, as values and as one table; and when that is a failure.

A row is good when its four figures are equal and not zero: every point of the trace was killed, the state was
sound right after each kill, and repeating the command healed each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Kills during one command.

    Attributes:
        part: which part of the run, as `sqlite`.
        command: what was killed, as `accept`.
        traced: points an untouched run has.
        killed: points at which a run was seen to die.
        consistent: kills after which what is on disk told the truth.
        healed: kills after which the repeated command led to the same end as the untouched one.
    """

    part: str
    command: str
    traced: int
    killed: int
    consistent: int
    healed: int

    @property
    def good(self) -> bool:
        """Whether every point was killed, consistent and healed; no point at all proves nothing."""
        return 0 < self.traced == self.killed == self.consistent == self.healed


@dataclass(frozen=True)
class ErrorRow:
    """Errors injected at one call.

    Attributes:
        part: which part of the run.
        call: what failed, as `fdatasync`.
        kind: of file, as `sqlite journal`; or what else was cut.
        error: as `ENOSPC`.
        injected: how often it was.
        contained: how often it led to a clear message, the right exit code, an intact state and a good repeat.
    """

    part: str
    call: str
    kind: str
    error: str
    injected: int
    contained: int

    @property
    def good(self) -> bool:
        """Whether each was contained; none at all proves nothing."""
        return 0 < self.injected == self.contained


@dataclass(frozen=True)
class Took:
    """How long a part took, in seconds by the clock: more on a crowded machine."""

    part: str
    seconds: float

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{self.part} took {minutes} min {seconds:02} s"


@dataclass(frozen=True)
class Part:
    """What one part of the run found.

    Attributes:
        rows, errors: the figures; all are judged.
        beside: rows of other programs, measured by the same harness; shown, not judged.
        states: lines on what was seen, as `43 x between two waves`; shown.
        failures: one line each on what went wrong, with what is needed to see it again; any fails the run.
        took: how long it took; None: not measured.
    """

    rows: Sequence[Row] = ()
    errors: Sequence[ErrorRow] = ()
    beside: Sequence[Row] = ()
    states: Sequence[str] = ()
    failures: Sequence[str] = ()
    took: Took | None = None

    @property
    def good(self) -> bool:
        """Whether it has figures, all of them good, and no failure."""
        figures: list[Row | ErrorRow] = [*self.rows, *self.errors]
        return bool(figures) and all(figure.good for figure in figures) and not self.failures


def shown(parts: Sequence[Part]) -> str:
    """All parts as Markdown: kills, errors, states seen, durations, failures."""
    rows = [row for part in parts for row in part.rows]
    beside = [row for part in parts for row in part.beside]
    errors = [row for part in parts for row in part.errors]
    kills = _grid(
        ("part", "command", "points traced", "killed", "consistent", "healed"),
        [
            (row.part, row.command, row.traced, row.killed, row.consistent, row.healed)
            for row in [*rows, *beside]
        ],
    )
    injected = _grid(
        ("part", "call", "file kind", "error", "injected", "contained"),
        [(row.part, row.call, row.kind, row.error, row.injected, row.contained) for row in errors],
    )
    states = "\n".join(f"- {line}" for part in parts for line in part.states)
    times = "\n".join(f"- {part.took}" for part in parts if part.took is not None)
    failures = "\n".join(f"- FAILED: {line}" for part in parts for line in part.failures)
    return "\n\n".join(block for block in (kills, injected, states, times, failures) if block)


def _grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[at]) for line in [head, *lines]) for at in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [head, rule, *lines]
    )
